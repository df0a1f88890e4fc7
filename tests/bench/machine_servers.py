"""A Modbus or OPC UA server in a process of its own, for measuring a client alone."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from time import monotonic, sleep

from tests.integration.drivers_rig import HOST, ModbusRig, OpcuaRig


async def serve(kind: str, port: int, count: int) -> None:
    """Serve `count` registers, or `count` nodes."""
    if kind == "modbus":
        await ModbusRig(port, {"holding": {at: at for at in range(count)}}).start()
    else:
        rig = OpcuaRig(port)
        await rig.start({f"t{at}": at + 0.5 for at in range(count)})
    await asyncio.Event().wait()


@contextlib.contextmanager
def machine_server(kind: str, port: int, count: int) -> Iterator[None]:
    """Run such a server while the block runs."""
    command = [sys.executable, "-m", "tests.bench.machine_servers", kind, str(port), str(count)]
    server = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port)
        yield
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int, patience_s: float = 60.0) -> None:
    end = monotonic() + patience_s
    while monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1.0):
            return
        sleep(0.1)
    raise TimeoutError(f"no server on port {port} after {patience_s} s")


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
