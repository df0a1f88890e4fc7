"""The demo's broker: Mosquitto where it is on the PATH, else the one that came with the installation."""

import importlib.util
import shutil
import sys
from pathlib import Path

from forewarn.demo.programs import Program, ProgramFailed

# The demo's broker keeps its queues in memory, so it gets small ones: custody survives what it forgets.
IOTCORE_CONFIGURATION = """\
id = 0
[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 1048576
max_segment_count = 10
[v5.1]
name = "v5-1"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1
    [v5.1.connections]
    connection_timeout_ms = 60000
    max_payload_size = 2048000
    max_inflight_count = 100
    dynamic_filters = true
"""
# Started by root, Mosquitto would become another user, which frees it from ending together with the demo.
# For anybody else the last line has no effect.
MOSQUITTO_CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence false
user root
"""


def make_broker(port: int, folder: Path) -> tuple[str, Program]:
    """Return the name of the broker and its program, listening on `port` of 127.0.0.1 once started."""
    mosquitto = shutil.which("mosquitto")
    if mosquitto is not None:
        configuration = folder / "mosquitto.conf"
        configuration.write_text(MOSQUITTO_CONFIGURATION.format(port=port))
        return "mosquitto", Program("broker", [mosquitto, "-c", str(configuration)], folder)
    if importlib.util.find_spec("iotcore") is None:
        raise ProgramFailed(
            "no MQTT broker is here: install mosquitto (Debian: apt-get install mosquitto), "
            "or the embedded one (pip install iotcore)"
        )
    configuration = folder / "iotcore.toml"
    configuration.write_text(IOTCORE_CONFIGURATION.format(port=port))
    command = [sys.executable, "-m", "iotcore", "--config", str(configuration), "--log-level", "CRITICAL"]
    return "iotcore", Program("broker", command, folder)
