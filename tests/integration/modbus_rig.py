"""A Modbus server by the standard's text alone: many units, every transport, silent and slow on demand."""

import asyncio
import os
import ssl
import struct
import tty
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOST = "127.0.0.1"
READS = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
Send = Callable[[bytes], None]


def compute_crc(octets: bytes) -> bytes:
    """Return the two bytes that end a serial frame (Modbus over Serial Line 1.02, 6.2.2)."""
    crc = 0xFFFF
    for octet in octets:
        crc ^= octet
        for _ in range(8):
            crc = (crc >> 1) ^ 0xA001 if crc & 1 else crc >> 1
    return struct.pack("<H", crc)


class UnitsRig:
    """Register n of unit u holds 1000 * u + n, in every table; registers from 100 on are illegal."""

    def __init__(self, *units: int) -> None:
        self.units = set(units)
        self.silent: set[int] = set()
        self.delays_s: list[float] = []
        self.requests: list[tuple[int, int, int, int]] = []
        self.times_s: list[float] = []
        self.written: list[int] = []
        self.overlaps = 0
        self.connections = 0
        self.port = 0
        self.device = ""
        self._under_way = 0
        self._server: asyncio.Server | None = None
        self._files: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []

    async def start_tcp(self, port: int = 0, trust: ssl.SSLContext | None = None) -> None:
        """Serve Modbus TCP, or TLS with a context."""
        self._server = await asyncio.start_server(self._serve_tcp, HOST, port, ssl=trust)
        self.port = self._server.sockets[0].getsockname()[1]

    async def start_rtu_over_tcp(self) -> None:
        """Serve serial frames over TCP, as a converter passes them on."""
        self._server = await asyncio.start_server(self._serve_rtu_over_tcp, HOST, 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def start_rtu(self) -> None:
        """Serve serial frames on one end of a pair of pseudo terminals; `device` is the other."""
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        self._files = [ours, theirs]
        self.device = os.ttyname(theirs)
        self.connections += 1
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        # A copy of its own: the pipe closes what it is given.
        pipe = os.fdopen(os.dup(ours), "rb", 0)
        await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        self._start(self._serve_rtu(reader, lambda frame: _write(ours, frame)))

    async def stop(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for file in self._files:
            os.close(file)

    def _start(self, work: Awaitable[None]) -> None:
        self._tasks.add(asyncio.ensure_future(work))  # type: ignore[arg-type]  # a coroutine of ours: a task

    async def _serve_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        while header := await _read(reader, 7):
            number, _, length, unit = struct.unpack(">HHHB", header)
            pdu = await reader.readexactly(length - 1)

            def send(answer: bytes, number: int = number, unit: int = unit) -> None:
                writer.write(struct.pack(">HHHB", number, 0, len(answer) + 1, unit) + answer)

            self._start(self._answer(unit, pdu, send))

    async def _serve_rtu_over_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        await self._serve_rtu(reader, writer.write)

    async def _serve_rtu(self, reader: asyncio.StreamReader, write: Send) -> None:
        while frame := await _read(reader, 8):  # every request to read is this long
            unit, pdu = frame[0], frame[1:-2]
            assert compute_crc(frame[:-2]) == frame[-2:]

            def send(answer: bytes, unit: int = unit) -> None:
                octets = bytes([unit]) + answer
                write(octets + compute_crc(octets))

            self._start(self._answer(unit, pdu, send))

    async def _answer(self, unit: int, pdu: bytes, send: Send) -> None:
        function, first, count = struct.unpack(">BHH", pdu[:5])
        if function not in READS:
            self.written.append(function)
            return
        self.requests.append((unit, function, first, count))
        self.times_s.append(monotonic())
        if unit not in self.units or unit in self.silent:
            return
        self.overlaps += self._under_way > 0
        self._under_way += 1
        await asyncio.sleep(self.delays_s.pop(0) if self.delays_s else 0.005)
        self._under_way -= 1
        if first + count > 100:
            send(bytes([function | 0x80, 2]))
        elif function in (1, 2):
            octets = [sum((at % 2) << at - low for at in range(low, low + 8)) for low in range(0, count, 8)]
            send(bytes([function, len(octets), *octets]))
        else:
            words = [1000 * unit + at for at in range(first, first + count)]
            send(struct.pack(f">BB{count}H", function, 2 * count, *words))


async def _read(reader: asyncio.StreamReader, count: int) -> bytes:
    """Return the next bytes, or none at the end."""
    try:
        return await reader.readexactly(count)
    except (asyncio.IncompleteReadError, ConnectionError, OSError):
        return b""


def _write(file: int, octets: bytes) -> None:
    os.write(file, octets)


def make_certificate(folder: Path, *names: str) -> None:
    """Write `ca.pem`, and what it signed: `server.pem` for these names, and `client.pem`, with their keys."""
    authority = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Plant authority")])
    now = datetime.now(UTC)

    def sign(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *extensions: x509.ExtensionType) -> bytes:
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(days=1))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        signed = builder.sign(authority, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    root = sign(issuer, authority, x509.BasicConstraints(ca=True, path_length=None))
    (folder / "ca.pem").write_bytes(root)
    alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
    for file, name, extensions in (("server", names[0], [alternatives]), ("client", "pi-01", [])):
        own = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        (folder / f"{file}.pem").write_bytes(sign(subject, own, *extensions))
        pem = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / f"{file}.key").write_bytes(pem)
