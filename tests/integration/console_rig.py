"""A small plant with a past, in a real embedded store and real records, and the console served over it."""

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray

from cloud.alerts.advice import load_adviser
from cloud.alerts.book import AlertBook
from cloud.alerts.settings import AlertSettings
from cloud.console.accounts import GatewayAccounts
from cloud.console.app import make_app
from cloud.console.gaps import GapRecords
from cloud.console.ledger import LedgerBook
from cloud.console.model_records import ModelRecords
from cloud.console.server import ConsoleServer
from cloud.console.shapes import PartHealth
from cloud.console.view import PlantView
from cloud.gateways import Gateways
from cloud.ingest.ledger import EpochChange, Ledger
from cloud.machines import CardBox, MachineCard, TagCard
from cloud.metrics import CloudMetrics
from cloud.notifiers.outbox import NotificationOutbox
from cloud.records import open_records
from cloud.stores import Block, Measurement
from cloud.stores.embedded import EmbeddedStoreSettings
from cloud.watch.machine_states import MachineStates
from cloud.watch.observations import Contribution, MachineState, Observation
from cloud.watch.watching import LearningSettings
from models.telemetry import Frame, MachinePath, MachineStatus, Status

Column = NDArray[np.float64]

PUMP = MachinePath("riverside", "hall-1", "water", "pump-7")
COMPRESSOR = MachinePath("riverside", "hall-1", "air", "compressor-2")
MOTOR = MachinePath("riverside", "hall-1", "water", "motor-3")
FAN = MachinePath("riverside", "hall-2", "drying", "fan-1")
SCRIPT_TAG = "<script>alert(1)</script>"
LIMIT = 1.0
SIGMA_STRANGE = 4.0
HTML = {"accept": "text/html"}

CARDS = CardBox([
    MachineCard(
        path=PUMP,
        type="pump",
        title="Feed pump 7",
        tags={
            "bearing_temperature": TagCard(unit="°C", high=95.0),
            "vibration": TagCard(unit="mm/s"),
            "motor_current": TagCard(unit="A"),
            "flow": TagCard(unit="m³/h"),
            "discharge_pressure": TagCard(unit="bar"),
            "speed": TagCard(unit="1/min"),
        },
    ),
    MachineCard(path=COMPRESSOR, title="Air compressor 2", tags={"oil_temperature": TagCard(unit="°C")}),
    MachineCard(path=MOTOR, title="Conveyor motor 3", tags={"current": TagCard(unit="A")}),
])  # fmt: skip

HEALTHY = {
    "bearing_temperature": (38.0, 26.0, 0.35),
    "vibration": (0.9, 1.2, 0.06),
    "motor_current": (6.0, 8.5, 0.12),
    "flow": (12.0, 30.0, 0.4),
    "discharge_pressure": (2.2, 3.4, 0.05),
    "speed": (900.0, 580.0, 3.0),
}
"""Of each tag: its value without load, what full load adds, and one sigma of its noise."""


class PlantRig:
    """The plant's store and records in a folder, with the view and the server over them."""

    def __init__(self, folder: Path) -> None:
        settings = EmbeddedStoreSettings(kind="embedded", path=folder / "store.sqlite")
        self.writer, self.reader = settings.build_writer(), settings.build_reader()
        self.engine = open_records(f"sqlite:///{folder / 'records.sqlite'}")
        self.book = AlertBook(self.engine, AlertSettings(), CARDS, adviser=load_adviser())
        self.bundles, self.states = folder / "bundles", MachineStates(self.engine)
        self.metrics = CloudMetrics()
        self.warnings: list[str] = []
        self.parts = [PartHealth(part="ingester", ok=True, state="connected to the broker")]
        self.view = PlantView(
            reader=self.reader,
            alerts=self.book,
            notices=NotificationOutbox(self.engine),
            states=self.states,
            cards=CARDS,
            gateways=GatewayAccounts(self.engine),
            gaps=GapRecords(self.engine),
            ledgers=LedgerBook(self.engine),
            models=ModelRecords(self.engine, self.bundles, LearningSettings()),
            parts=self,
        )
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self.url = ""

    def list_parts(self) -> list[PartHealth]:
        """Return what a test says of the parts."""
        return self.parts

    def render_metrics(self) -> bytes:
        """Return the service's counters."""
        return self.metrics.render()

    def write(
        self, measurement: Measurement, machine: MachinePath, times: NDArray[np.int64], **columns: Column
    ) -> None:
        """Store columns of one machine; a tag with any name comes as `**{name: column}`."""
        values = {tag: [None if np.isnan(v) else float(v) for v in column] for tag, column in columns.items()}
        rejected = self.writer.write([Block(measurement, machine, [Frame(times.tolist(), values)])])
        assert rejected == []

    def observe(
        self,
        machine: MachinePath,
        *,
        state: MachineState = "judged",
        at_ns: int | None = None,
        score: float = 0.2,
        parts: list[Contribution] | None = None,
        faulty: dict[str, str] | None = None,
        reason: str = "",
    ) -> None:
        """Say what the watcher would say of a machine."""
        judged = state == "judged"
        seen = Observation(
            machine,
            time.time_ns() if at_ns is None else at_ns,
            state,
            score if judged else None,
            LIMIT if judged else None,
            contributions=parts or [],
            faulty_tags=faulty or {},
            reason=reason,
        )
        self.book.observe([seen])
        self.states.put([seen])

    def report_gateway(
        self, gateway: str = "pi-01", *, online: bool = True, sequences: int = 100, stored: int = 100
    ) -> None:
        """Put a gateway's account and status into the records: `stored` of its `sequences` batches."""
        now_ns = time.time_ns()
        machines = [
            MachineStatus(str(PUMP), "connected", now_ns - 3_600_000_000_000),
            MachineStatus(
                str(MOTOR), "lost", now_ns - 60_000_000_000, "no answer from 127.0.0.1:5020 in 2 s"
            ),
        ]
        status = Status(
            v=1,
            gateway=gateway,
            state="online" if online else "offline",
            timestamp=now_ns,
            epoch="e1",
            sequence_last=sequences,
            values_total=sequences * 1_000,
            machines=machines,
            clock_synchronised=True,
            version="0.1.0",
            warnings=self.warnings,
        )
        change = EpochChange(stored=[(number, 1_000) for number in range(1, stored + 1)], status=status)
        ledger = Ledger(self.engine)
        with ledger.begin() as connection:
            ledger.record(connection, {(gateway, "e1"): change})
            Gateways(self.engine).put(connection, {gateway: status}, now_ns)

    def start(self, port: int = 0) -> str:
        """Serve the console on 127.0.0.1, on a free port unless told which; return its address."""
        server = ConsoleServer(make_app(self.view), "127.0.0.1", port)
        server.bind()
        begun = threading.Event()

        async def serve() -> None:
            self._stop, self._loop = asyncio.Event(), asyncio.get_running_loop()
            begun.set()
            await server.run(self._stop)

        self._thread = threading.Thread(target=lambda: asyncio.run(serve()))
        self._thread.start()
        assert begun.wait(10)
        self.url = f"http://127.0.0.1:{server.port}"
        return self.url

    def stop(self) -> None:
        """End the server, and close the store."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(15)
            assert not self._thread.is_alive()
        self.writer.close()
        self.reader.close()
        self.engine.dispose()


def seed_pump(rig: PlantRig, *, end_ns: int, seconds: int, wear_s: int) -> None:
    """Store a pump that carries a changing load, and whose bearing wears in its last `wear_s` seconds."""
    random = np.random.default_rng(7)
    half_steps = seconds * 2
    times = end_ns - np.arange(half_steps, dtype=np.int64)[::-1] * 500_000_000
    load = 0.62 + 0.22 * np.sin(np.arange(half_steps) / 260) + 0.1 * np.sin(np.arange(half_steps) / 71)
    age_s = np.clip(np.arange(half_steps) / 2 - (seconds - wear_s), 0, None)
    worn = {"bearing_temperature": 14.0 * age_s / wear_s, "vibration": 1.6 * (age_s / wear_s) ** 1.5}
    values: dict[str, Column] = {}
    expected: dict[str, Column] = {}
    sigmas: dict[str, Column] = {}
    for tag, (base, gain, noise) in HEALTHY.items():
        expected[tag] = base + gain * load
        values[tag] = expected[tag] + random.normal(0, noise, half_steps) + worn.get(tag, 0.0)
        sigmas[tag] = (values[tag] - expected[tag]) / noise
    strange = np.sqrt(np.mean([sigma**2 for sigma in sigmas.values()], axis=0))
    score = np.convolve(strange, np.ones(10) / 10, mode="full")[:half_steps] / SIGMA_STRANGE
    seen = slice(None, None, 2)
    rig.write("telemetry", PUMP, times, **values)
    rig.write("expected", PUMP, times[seen], **{tag: column[seen] for tag, column in expected.items()})
    rig.write("contribution", PUMP, times[seen], **{tag: column[seen] for tag, column in sigmas.items()})
    rig.write("score", PUMP, times[seen], score=score[seen], limit=np.full(len(times[seen]), LIMIT))
    for row in range(half_steps - 2 * (wear_s + 30), half_steps, 2):
        order = sorted(HEALTHY, key=lambda tag: -abs(sigmas[tag][row]))[:3]
        parts = [
            Contribution(t, float(values[t][row]), float(expected[t][row]), float(sigmas[t][row]))
            for t in order
        ]
        rig.observe(PUMP, at_ns=int(times[row]), score=float(score[row]), parts=parts)


def seed_calm(
    rig: PlantRig, machine: MachinePath, tags: dict[str, float], *, end_ns: int, seconds: int
) -> None:
    """Store a machine of which nothing stands out."""
    random = np.random.default_rng(len(machine.machine))
    times = end_ns - np.arange(seconds, dtype=np.int64)[::-1] * 1_000_000_000
    sway = np.sin(np.arange(seconds) / 180)
    columns = {
        tag: level * (1 + 0.08 * sway) + random.normal(0, level / 200, seconds) for tag, level in tags.items()
    }
    if SCRIPT_TAG in columns:  # its sensor is stuck
        columns[SCRIPT_TAG][-45:] = columns[SCRIPT_TAG][-45]
    score = 0.25 + 0.05 * np.abs(np.convolve(random.normal(0, 1, seconds), np.ones(8) / 3, mode="same"))
    rig.write("telemetry", machine, times, **columns)
    rig.write("score", machine, times, score=score, limit=np.full(seconds, LIMIT))


def seed_plant(rig: PlantRig, *, seconds: int = 1800, wear_s: int = 150) -> None:
    """Store half an hour of four machines: one wears out, one has a stuck sensor, one is well, one is new."""
    end_ns = time.time_ns() - 1_000_000_000
    seed_pump(rig, end_ns=end_ns, seconds=seconds, wear_s=wear_s)
    seed_calm(
        rig,
        MOTOR,
        {"current": 14.2, "speed": 1470.0, "winding_temperature": 71.0},
        end_ns=end_ns,
        seconds=seconds,
    )
    seed_calm(
        rig,
        COMPRESSOR,
        {"pressure": 7.4, "oil_temperature": 78.0, SCRIPT_TAG: 3.0},
        end_ns=end_ns,
        seconds=seconds,
    )
    seed_calm(rig, FAN, {"speed": 960.0, "current": 4.4}, end_ns=end_ns, seconds=60)
    for age_s in range(14, -1, -1):
        at_ns = end_ns - age_s * 1_000_000_000
        rig.observe(COMPRESSOR, at_ns=at_ns, score=0.31, faulty={SCRIPT_TAG: f"unchanged for {44 - age_s} s"})
    rig.observe(MOTOR, at_ns=end_ns, score=0.28)
    rig.observe(FAN, state="learning", at_ns=end_ns, reason="1 min of values; a model needs 10 min")
    rig.report_gateway()


def get(rig: PlantRig, path: str, **headers: str) -> httpx.Response:
    """Ask the console."""
    return httpx.get(rig.url + path, headers=headers, timeout=20)


def raise_alert(rig: PlantRig, tag: str = "vibration") -> str:
    """Let the pump be strange long enough; return the alert's id."""
    part = Contribution(tag, 3.1, 1.9, 8.0)
    for second in range(20):
        rig.observe(PUMP, at_ns=time.time_ns() + second * 1_000_000_000, score=2.0, parts=[part])
    [alert] = rig.book.list_alerts()
    return alert.id


def wait_for(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    """Return once the condition holds."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
