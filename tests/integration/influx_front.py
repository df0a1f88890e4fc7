"""Debian's InfluxDB 1.6 behind a small front that speaks the write API and the errors of InfluxDB 2."""

import http.client
import json
import urllib.parse
from pathlib import Path

from cloud.stores.influxdb import InfluxdbStoreSettings
from tests.integration.influx_http import Answer, InfluxHttp
from tests.servers import Server, find_free_port, find_program

PRECISIONS = {"ns": "n", "us": "u", "ms": "ms", "s": "s"}


class Influxd(Server):
    """A time series database of the test's own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        port, inner_port = find_free_port(), find_free_port()
        configuration = folder / f"influxd-{port}.conf"
        places = {name: (folder / f"influxd-{port}" / name).as_posix() for name in ("meta", "data", "wal")}
        configuration.write_text(
            "reporting-enabled = false\n"
            f'bind-address = "127.0.0.1:{inner_port}"\n'
            f'[meta]\n  dir = "{places["meta"]}"\n'
            f'[data]\n  dir = "{places["data"]}"\n  wal-dir = "{places["wal"]}"\n'
            "[monitor]\n  store-enabled = false\n"
            f'[http]\n  bind-address = "127.0.0.1:{port}"\n  log-enabled = false\n'
        )
        super().__init__([find_program("influxd"), "-config", str(configuration)], port, folder)

    def create_bucket(self, name: str) -> None:
        """Make the database that stands for a bucket."""
        query = urllib.parse.urlencode({"q": f'CREATE DATABASE "{name}"'})
        status, _, body = ask(self.port, "POST", f"/query?{query}", b"")
        assert status == 200, body


def ask(port: int, method: str, path: str, body: bytes) -> Answer:
    """Return what the server on `port` answers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()
    finally:
        connection.close()


class InfluxFront(InfluxHttp):
    """Answers as InfluxDB 2 does: /api/v2/write with a token, /query passed on, 422 for refused points.

    `upcoming` are answers given in place of the database's, in turn.
    """

    def __init__(self, upstream_port: int, token: str = "secret") -> None:
        self.upcoming: list[Answer] = []
        self.body_bytes_max = 1 << 40
        self._upstream_port = upstream_port
        self._token = token
        super().__init__()

    def answer(self, authorization: str | None, method: str, path: str, body: bytes) -> Answer:
        """Return the answer to one request."""
        address = urllib.parse.urlparse(path)
        if address.path == "/ping":
            return 204, {"X-Influxdb-Version": "v2.0.0-front"}, b""
        if authorization != f"Token {self._token}":
            return 401, {}, b'{"code":"unauthorized","message":"unauthorized access"}'
        if self.upcoming:
            return self.upcoming.pop(0)
        if len(body) > self.body_bytes_max:
            return 413, {}, b'{"code":"request too large","message":"request too large"}'
        if address.path == "/query":
            status, _, answer = ask(self._upstream_port, method, path, body)
            return status, {}, answer
        if address.path != "/api/v2/write":
            return 404, {}, b'{"code":"not found","message":"path not found"}'
        return self._write(dict(urllib.parse.parse_qsl(address.query)), body)

    def _write(self, query: dict[str, str], body: bytes) -> Answer:
        place = urllib.parse.urlencode({"db": query["bucket"], "precision": PRECISIONS[query["precision"]]})
        status, _, answer = ask(self._upstream_port, "POST", f"/write?{place}", body)
        if status == 400 and b"partial write" in answer:
            words = {"code": "unprocessable entity", "message": json.loads(answer)["error"]}
            return 422, {}, json.dumps(words).encode()
        if status == 404:
            return 404, {}, b'{"code":"not found","message":"bucket not found"}'
        return status, {}, answer


class InfluxServer:
    """The database and its front together."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.database = Influxd(folder)
        self.database.start()
        self.front = InfluxFront(self.database.port)

    def make_settings(
        self, bucket: str, *, token: str = "secret", timeout_s: float = 10
    ) -> InfluxdbStoreSettings:
        """Return settings for a bucket that is there from now on."""
        self.database.create_bucket(bucket)
        return self.settings_for(bucket, token=token, timeout_s=timeout_s)

    def settings_for(
        self, bucket: str, *, token: str = "secret", timeout_s: float = 10
    ) -> InfluxdbStoreSettings:
        """Return settings for a bucket that may not be there."""
        file = self._folder / f"token-{token}"
        file.write_text(f"{token}\n")
        return InfluxdbStoreSettings.model_validate(
            {
                "kind": "influxdb",
                "url": self.front.url,
                "org": "plant",
                "bucket": bucket,
                "token": {"file": str(file)},
                "timeout_s": timeout_s,
            }
        )

    def native_settings(self, bucket: str, **more: object) -> InfluxdbStoreSettings:
        """Return settings that lead to the database itself, past the front: version 1 and nothing else."""
        url = f"http://127.0.0.1:{self.database.port}"
        facts = {"kind": "influxdb", "url": url, "org": "plant", "bucket": bucket}
        return InfluxdbStoreSettings.model_validate(facts | more)

    def close(self) -> None:
        """Stop both."""
        self.front.close()
        self.database.stop()
