"""A Sparkplug session without a broker, and npm's sparkplug-payload as the other reader."""

import json
import subprocess
from pathlib import Path
from typing import Any

from edge.outbox.outbox import StoredBatch
from edge.sparkplug.decoding import decode_payload
from edge.sparkplug.devices import DeviceTag
from edge.sparkplug.names import NodeNames
from edge.sparkplug.payload import Payload
from edge.sparkplug.session import Message, NodeSession
from models.telemetry import Batch, Frame, MachinePath, Value, encode_batch

PUMP = MachinePath.parse("riverside/hall-1/water/pump-7")
MOTOR = MachinePath.parse("riverside/hall-1/water/motor-3")
NAMES = NodeNames("riverside", "pi-01")
NOW_MS = 1_795_337_912_000
NODE_VALUES = {"Gateway/Machines connected": 2}
TAGS = {
    PUMP: [DeviceTag("bearing_temperature", "°C"), DeviceTag("running", is_boolean=True)],
    MOTOR: [DeviceTag("current", "A")],
}


def make_session(**more: Any) -> NodeSession:
    """Return a session with a pump and a motor, connected with bdSeq 7 and not born."""
    session = NodeSession(NAMES, TAGS, {"Software": "Forewarn"}, **more)
    session.connect(7)
    return session


def make_frame(
    columns: dict[str, list[Value]], quality: dict[str, dict[int, int]] | None = None, later_s: int = 0
) -> Frame:
    """Return rows a second apart, the first so long after NOW_MS."""
    rows = len(next(iter(columns.values())))
    times = [(NOW_MS + 1000 * (later_s + row)) * 1_000_000 for row in range(rows)]
    return Frame(times, columns, quality or {})


PUMP_ID = "hall-1:water:pump-7"
PUMP_FRAME = make_frame({"bearing_temperature": [61.5, 61.6], "running": [1.0, 0.0]})


def born_session() -> NodeSession:
    """Return a session whose node and pump are born."""
    session = make_session()
    session.observe(PUMP, [PUMP_FRAME])
    session.birth([PUMP], NODE_VALUES, NOW_MS)
    return session


def make_batch(sequence: int, machine: object = PUMP, tag: str = "bearing_temperature") -> StoredBatch:
    """Return a batch with one value, its sequence."""
    frame = make_frame({tag: [float(sequence)]})
    return StoredBatch(sequence, str(machine), encode_batch(Batch("pi-01", "00ff", sequence, [frame])))


def read(message: Message) -> Payload:
    """Return what a message says, by our own decoder."""
    return decode_payload(message.payload)


def kinds(messages: list[Message]) -> list[str]:
    """Return the topics without namespace and group: `DBIRTH/pi-01/hall-1:water:pump-7`."""
    return [message.topic.removeprefix("spBv1.0/riverside/") for message in messages]


def ask_npm(folder: Path, lines: list[str]) -> list[str]:
    """Have one node process answer all lines."""
    answered = subprocess.run(
        ["node", "sparkplug_reader.js"],
        input="\n".join(lines) + "\n",
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return answered.stdout.splitlines()


def read_by_npm(folder: Path, payloads: list[bytes]) -> list[dict[str, Any]]:
    """Return what npm's sparkplug-payload reads in each payload."""
    return [json.loads(line) for line in ask_npm(folder, [payload.hex() for payload in payloads])]
