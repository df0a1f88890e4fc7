"""The console as one FastAPI application: pages, JSON API, live stream, health."""

import structlog
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.gzip import GZipMiddleware

from cloud.console import assets
from cloud.console.actions import make_action_router
from cloud.console.api import make_api_router, make_health_router
from cloud.console.live import make_live_router
from cloud.console.pages import Pages, make_page_router
from cloud.console.security import HEADERS, FormTokens, SecurityHeaders
from cloud.console.view import PlantView
from models.errors import ForewarnError

log = structlog.get_logger()

GZIP_BYTES_MIN = 2_000
HEADLINES = {
    403: "Not allowed",
    404: "There is nothing here",
    405: "Not possible here",
    413: "Too large",
    422: "That cannot be understood",
    500: "The console made a mistake",
    503: "Not available now",
}


def make_app(view: PlantView) -> FastAPI:
    """Return the console over `view`. It needs no network: every file that a page asks for is its own."""
    app = FastAPI(
        title="Forewarn",
        description="What the plant's machines say, what the model makes of it, and the alerts.",
        version="1",
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # FastAPI's own pages load their scripts from the internet
        redoc_url=None,
    )
    app.state.closing = False
    app.add_middleware(GZipMiddleware, minimum_size=GZIP_BYTES_MIN, compresslevel=3)
    app.add_middleware(SecurityHeaders)
    pages, tokens = Pages(view), FormTokens()
    for router in (
        assets.router,
        make_api_router(view),
        make_live_router(view),
        make_health_router(view),
        make_page_router(view, pages, tokens),
        make_action_router(view, tokens),
    ):
        app.include_router(router)
    _answer_errors(app, pages)
    return app


def _answer_errors(app: FastAPI, pages: Pages) -> None:
    """Answer every error in the asker's language: a page for a person, JSON for a program."""

    def answer(request: Request, status: int, words: str) -> Response:
        if _wants_page(request):
            return pages.render_error(status, HEADLINES.get(status, "That did not work"), words)
        return JSONResponse({"detail": words}, status_code=status)

    @app.exception_handler(StarletteHTTPException)
    def refuse(request: Request, error: HTTPException) -> Response:
        words = (
            error.detail if error.detail != "Not Found" else f"No page has the address {request.url.path}."
        )
        return answer(request, error.status_code, words)

    @app.exception_handler(RequestValidationError)
    def explain(request: Request, error: RequestValidationError) -> Response:
        wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return answer(request, 422, "; ".join(wrong))

    @app.exception_handler(ForewarnError)
    def wait(request: Request, error: ForewarnError) -> Response:
        return answer(request, 503, str(error))

    @app.exception_handler(DBAPIError)
    def wait_for_records(request: Request, error: DBAPIError) -> Response:
        return answer(request, 503, f"The records do not answer: {error.orig}")

    @app.exception_handler(Exception)
    def apologise(request: Request, error: Exception) -> Response:
        log.error("console_request_failed", path=request.url.path, reason=repr(error))
        answered = answer(request, 500, "The log of the cloud says more: look for console_request_failed.")
        answered.headers.update(HEADERS)  # this answer is made outside of the middleware
        return answered


def _wants_page(request: Request) -> bool:
    is_program = request.url.path.startswith(("/api/", "/healthz", "/metrics", "/static/"))
    return not is_program and "text/html" in request.headers.get("accept", "")
