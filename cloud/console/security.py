"""What the console asks of browsers: strict headers on every answer, and proof that a change is meant."""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

from fastapi import HTTPException, Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

VISIT_COOKIE = "forewarn_visit"
HEADERS = {
    # Plotly writes style attributes and one style sheet of its own; no script may stand in a page.
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
        "img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}


class SecurityHeaders:
    """Puts the headers on every answer, a streamed one included, without buffering it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on and dress its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self._app(scope, receive, send_dressed)


class FormTokens:
    """Tokens that tie a form to the browser that was given it. The key lives as long as the process."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def issue(self, request: Request) -> tuple[str, str]:
        """Return (visit, token): the visit belongs into the cookie, the token into the form."""
        visit = request.cookies.get(VISIT_COOKIE) or secrets.token_urlsafe(18)
        return visit, self._sign(visit)

    def is_ours(self, request: Request, token: str) -> bool:
        """Return whether `token` was issued to the browser that sends it back."""
        visit = request.cookies.get(VISIT_COOKIE, "")
        return bool(visit) and hmac.compare_digest(self._sign(visit).encode(), token.encode())

    def _sign(self, visit: str) -> str:
        return hmac.new(self._key, visit.encode(), hashlib.sha256).hexdigest()


def keep_visit(response: Response, visit: str) -> None:
    """Leave the visit in the browser, out of the reach of scripts and of other sites."""
    response.set_cookie(VISIT_COOKIE, visit, httponly=True, samesite="strict", path="/")


def refuse_other_sites(request: Request) -> None:
    """Raise 403 when a browser says that the request comes from a page of another site."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "This change was asked for by a page of another site: it was not made.")
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise HTTPException(403, f"This change was asked for by a page of {origin[:200]}: it was not made.")
