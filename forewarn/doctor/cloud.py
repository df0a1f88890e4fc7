"""Checks what cloud.yaml leads to: broker, records, store, models, mail server, the console's port."""

import socket
import stat
from pathlib import Path

from cloud.console.settings import ConsoleSettings
from cloud.notifiers.email import EmailSettings
from cloud.settings import SQLITE, CloudSettings, RecordsSettings
from cloud.stores import StoredMachine, StoreUnavailable
from cloud.transactions import RecordsUnavailable
from forewarn.doctor.broker import check_broker
from forewarn.doctor.findings import Finding
from models.anomaly.bundle import BundleDamaged, BundleMissing, load_current
from models.anomaly.signing import Keys, KeyUnusable, list_trusted, name_key, read_private
from models.settings import SettingsError

GREETING_S_MAX = 10.0


def check_cloud(settings: CloudSettings) -> list[Finding]:
    """Return what is to be said of everything that the cloud service needs."""
    store, machines = check_store(settings)
    return [
        *check_broker(settings.broker),
        check_records(settings.records),
        store,
        *check_keys(settings.watch.locate_keys(settings.bundles)),
        *(check_bundle(settings, machine) for machine in machines),
        *(check_mail_server(one) for one in settings.notifiers if isinstance(one, EmailSettings)),
        check_console(settings.console),
    ]


def check_records(settings: RecordsSettings) -> Finding:
    """Open the records; those in a file are not made by looking."""
    place = settings.path or (
        Path(settings.url.removeprefix(SQLITE)) if settings.url and settings.url.startswith(SQLITE) else None
    )
    if place is not None and not place.exists():
        if place.parent.is_dir():
            return Finding("ok", "records", f"{place} will be made")
        return Finding("fail", "records", f"there is no folder {place.parent}: make it, or correct records")
    try:
        settings.build().dispose()
    except RecordsUnavailable as error:
        return Finding("fail", "records", str(error))
    return Finding("ok", "records", "answer")


def check_store(settings: CloudSettings) -> tuple[Finding, list[StoredMachine]]:
    """Ask the store for its machines."""
    reader = settings.store.build_reader()
    try:
        machines = list(reader.list_machines())
        described = settings.store.describe()
    except (StoreUnavailable, SettingsError) as error:
        return Finding("fail", "store", str(error)), []
    finally:
        reader.close()
    return Finding("ok", "store", f"answers, {len(machines)} machines ({described})"), machines


def check_keys(keys: Keys) -> list[Finding]:
    """Look at the key that signs models, where one was made: others must not read it."""
    what = "key of models"
    if not keys.private.exists():
        return []
    try:
        name = name_key(read_private(keys).public_key())
    except KeyUnusable as error:
        return [Finding("fail", what, str(error))]
    mode = stat.S_IMODE(keys.private.stat().st_mode)
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        words = f"others can read {keys.private} and sign models with it: chmod 600 {keys.private}"
        return [Finding("warn", what, words)]
    return [Finding("ok", what, f"{name}; {len(list_trusted(keys))} trusted")]


def check_bundle(settings: CloudSettings, machine: StoredMachine) -> Finding:
    """Load the model that is in charge of a machine."""
    what = f"model of {machine.machine}"
    try:
        keys = settings.watch.locate_keys(settings.bundles)
        bundle = load_current(settings.bundles, machine.machine, keys)
    except BundleMissing:
        mend = f"forewarn cloud train --machine {machine.machine} --config FILE"
        return Finding("warn", what, f"none yet, the machine is learning: {mend}")
    except BundleDamaged as error:
        return Finding("fail", what, str(error))
    return Finding("ok", what, f"{len(bundle.card.tags)} tags")


def check_mail_server(settings: EmailSettings) -> Finding:
    """Connect to the mail server and wait for its greeting; nothing is sent."""
    what = f"mail server {settings.address}"
    try:
        with socket.create_connection((settings.host, settings.port), GREETING_S_MAX) as connection:
            connection.settimeout(GREETING_S_MAX)
            greeting = "220" if settings.tls else connection.recv(512).decode("ascii", "replace")
    except OSError as error:
        words = f"cannot be reached ({error}): check host, port and the firewall"
        return Finding("fail", what, words)
    if not greeting.startswith("220"):
        words = f"does not speak SMTP (it says {greeting[:60]!r}): check the port, and tls"
        return Finding("fail", what, words)
    return Finding("ok", what, "answers")


def check_console(settings: ConsoleSettings) -> Finding:
    """See whether the console's port is free."""
    where = f"{settings.host}:{settings.port}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.host, settings.port))
        except OSError as error:
            words = f"{where}: {error.strerror}: either forewarn cloud runs already, or set console.port"
            return Finding("warn", "console", words)
    return Finding("ok", "console", f"{where} is free")
