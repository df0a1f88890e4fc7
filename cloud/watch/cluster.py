"""Training on a Dask cluster: asks its workers, and tells a lost worker from a lost cluster."""

import re
import time
import warnings
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import Any

import msgspec
from distributed import Client
from distributed.scheduler import KilledWorker
from distributed.security import Security

from cloud.stores import Table
from cloud.watch.fleet import LearnersLost
from cloud.watch.remote_lessons import answer_question, name_version, read_answer, write_question
from cloud.watch.watching import WatchSettings
from models.anomaly.bundle import Bundle
from models.anomaly.provenance import Origin
from models.errors import ForewarnError
from models.telemetry import MachinePath
from models.words import say_duration

CONNECT_S_MAX = 10.0
WORKERLESS_S_MAX = 60.0
ANSWER_S_MAX = 60.0
POLL_S = 2.0
ADDRESS = re.compile(r"(tcp|tls)://(\[[0-9a-fA-F:.]+\]|[^\s:/]+):\d{1,5}")
JOBS_MAX = 64
"""So many machines at a time are read from the store and held in memory here."""


# distributed has types for some of its functions only.
_CONNECT: Callable[..., Any] = Client
_SECURITY: Callable[..., Any] = Security


class ClusterLost(LearnersLost):
    """The scheduler or all workers are away: what is trained is kept, the same command goes on from there."""


class AddressRejected(ForewarnError):
    """This cannot be connected to; the message says what can, or what lacks."""

    exit_code = 2


class LearningFailed(ForewarnError):
    """A worker could not learn this machine, and another would not either."""


def check_address(address: str) -> None:
    """Refuse what is no scheduler's address, or one that needs certificates which cannot be read.

    Raises `AddressRejected`. (Dask's own client would take 20 s to give either up.)
    """
    if not ADDRESS.fullmatch(address):
        raise AddressRejected(
            f"{address!r} is no scheduler's address: write tcp://HOST:PORT, or tls://HOST:PORT"
        )
    if address.startswith("tcp:"):
        return
    try:
        known = _SECURITY().get_connection_args("client")
    except OSError as error:
        raise AddressRejected(f"{address}: the certificates cannot be read ({error})") from error
    if known.get("ssl_context") is None:
        raise AddressRejected(
            f"{address} needs certificates: name them in Dask's settings (distributed.comm.tls), or as "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, DASK_DISTRIBUTED__COMM__TLS__CLIENT__CERT and "
            "DASK_DISTRIBUTED__COMM__TLS__CLIENT__KEY"
        )


class Cluster:
    """A scheduler and its workers. Safe from several threads; every call blocks."""

    def __init__(self, address: str, *, workerless_s_max: float = WORKERLESS_S_MAX) -> None:
        """Connect and wait for a worker that fits; raise `ClusterLost` or `AddressRejected`."""
        self._address = address
        self._workerless_s_max = workerless_s_max
        self._workerless_since_s: float | None = None
        check_address(address)
        try:
            self._client = _CONNECT(address, timeout=CONNECT_S_MAX, set_as_default=False)
        except OSError as error:
            raise ClusterLost(
                f"the scheduler at {address} cannot be reached ({error}): is it the address that "
                "`dask scheduler` prints, and does it trust the same certificates?"
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=workerless_s_max)
            self._check_versions()
        except TimeoutError as error:
            self.close()
            raise ClusterLost(self._say_workerless()) from error
        except ForewarnError:
            self.close()
            raise

    @property
    def jobs(self) -> int:
        """How many machines to have under way: one a thread of the cluster, and some to hold in readiness."""
        threads = sum(self._client.nthreads().values())
        return int(min(JOBS_MAX, threads + 2))

    def learn(self, machine: MachinePath, table: Table, settings: WatchSettings, origin: Origin) -> Bundle:
        """Return what the values teach; raise `TrainingRejected`, `LearningFailed` or `ClusterLost`."""
        question = write_question(machine, table, settings, origin)
        with warnings.catch_warnings():
            # Dask would like large arrays to be on a worker beforehand; there they would die with it.
            warnings.simplefilter("ignore", UserWarning)
            future = self._client.submit(answer_question, question, pure=False)
        error = self._wait(future)
        if isinstance(error, KilledWorker):
            raise LearningFailed(
                f"{machine}: {error.allowed_failures + 1} workers were lost while they learned it: have they "
                "enough memory for its values? Their logs say how they ended"
            )
        if error is not None:
            raise LearningFailed(f"{machine}: a worker failed with {type(error).__name__}: {error}")
        try:
            bundle = read_answer(future.result(timeout=ANSWER_S_MAX), machine)
        except (CancelledError, OSError) as lost:
            raise ClusterLost(self._say_lost(str(lost))) from lost
        # Versions are told apart by when they were trained: by one clock, whichever worker it was.
        card = msgspec.structs.replace(bundle.card, trained_ns=time.time_ns())
        return msgspec.structs.replace(bundle, card=card)

    def close(self) -> None:
        """Leave the cluster; what is under way there is given up."""
        self._client.close()

    def _wait(self, future: Any) -> BaseException | None:
        """Return the error of a future that is done, or None; raise `ClusterLost` when it never will be."""
        while True:
            try:
                error: BaseException | None = future.exception(timeout=POLL_S)
            except TimeoutError:
                self._look_for_workers()
                continue
            if future.cancelled():
                raise ClusterLost(self._say_lost("its connection was lost"))
            return error

    def _look_for_workers(self) -> None:
        try:
            there = self._client.nthreads()
        except (CancelledError, OSError) as error:
            raise ClusterLost(self._say_lost(str(error))) from error
        now_s = time.monotonic()
        if there:
            self._workerless_since_s = None
        elif self._workerless_since_s is None:
            self._workerless_since_s = now_s
        elif now_s - self._workerless_since_s > self._workerless_s_max:
            raise ClusterLost(self._say_workerless())

    def _check_versions(self) -> None:
        ours = name_version()
        for worker, found in self._client.run(name_version, on_error="return").items():
            if found != ours:
                raise ClusterLost(
                    f"the worker {worker} has not Forewarn {ours} ({found}): install the same there, "
                    "with the extras cloud and dask, and start it anew"
                )

    def _say_workerless(self) -> str:
        waited = say_duration(self._workerless_s_max)
        return (
            f"the scheduler at {self._address} has had no worker for {waited}: start some with "
            f"`dask worker {self._address}`, then repeat this command"
        )

    def _say_lost(self, why: str) -> str:
        return (
            f"the scheduler at {self._address} is gone ({why}): what is trained is kept, repeat this command"
        )
