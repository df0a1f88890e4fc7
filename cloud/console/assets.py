"""Files for the browser: our own style and scripts, and Plotly out of its installed wheel."""

import gzip
import hashlib
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, HTTPException, Request, Response

STATIC = Path(__file__).parent / "static"
KINDS = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
CACHE_FOREVER = "public, max-age=31536000, immutable"
CACHE_CHECKED = "no-cache"


class Asset:
    """One file in memory: packed once, known by the hash of its bytes."""

    def __init__(self, path: Path) -> None:
        body = path.read_bytes()
        self.kind = KINDS[path.suffix]
        self.packed = gzip.compress(body, compresslevel=6, mtime=0)
        self.version = hashlib.sha256(body).hexdigest()[:16]

    @property
    def body(self) -> bytes:
        """The file as it stands on disk."""
        return gzip.decompress(self.packed)


@lru_cache
def list_paths() -> dict[str, Path]:
    """Return every file that may be asked for, by name. Nothing else in the world can be asked for."""
    paths = {path.name: path for path in sorted(STATIC.iterdir()) if path.suffix in KINDS}
    # Importing plotly costs 30 MB and a second; only its browser half is wanted, and it lies in its wheel.
    spec = find_spec("plotly")
    if spec is not None and spec.origin is not None:
        paths["plotly.min.js"] = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return paths


@lru_cache
def load_asset(name: str) -> Asset | None:
    """Return a file of the console, or None. Read and packed at its first request, then kept."""
    path = list_paths().get(name)
    return Asset(path) if path is not None and path.is_file() else None


@lru_cache
def link_asset(name: str) -> str:
    """Return the address of a file with its version: it may be kept for ever, a new version has a new one."""
    path = list_paths()[name]
    stamp = path.stat()
    version = hashlib.sha256(f"{stamp.st_size}:{stamp.st_mtime_ns}".encode()).hexdigest()[:12]
    return f"/static/{name}?v={version}"


router = APIRouter(include_in_schema=False)


@router.get("/static/{name}")
def serve_asset(name: str, request: Request, v: str = "") -> Response:
    """Answer with a file, packed where the browser takes that, or 304 when it has this version."""
    asset = load_asset(name)
    if asset is None:
        raise HTTPException(404)
    facts = {
        "ETag": f'"{asset.version}"',
        "Cache-Control": CACHE_FOREVER if v else CACHE_CHECKED,
        "Vary": "Accept-Encoding",
    }
    if request.headers.get("if-none-match") == facts["ETag"]:
        return Response(status_code=304, headers=facts)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, media_type=asset.kind, headers=facts | {"Content-Encoding": "gzip"})
    return Response(asset.body, media_type=asset.kind, headers=facts)
