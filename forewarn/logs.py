"""Sets up the log: text for a person, JSON for a collector; stack traces only when asked for."""

import logging
import sys
from typing import Any, Literal

import structlog

from forewarn.faults import SEE_MORE, are_traces_wanted, describe_fault
from models.errors import ForewarnError

LIBRARY_LINE = "%(levelname)s %(name)s %(message)s"

LogFormat = Literal["auto", "text", "json"]


def set_up_logs(log_format: LogFormat = "auto") -> None:
    """Send every log line to stderr: text on a terminal, JSON elsewhere, unless told which."""
    as_text = log_format == "text" or (log_format == "auto" and sys.stderr.isatty())
    debug = are_traces_wanted()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *_choose_fault_words(as_text=as_text, debug=debug),
            _choose_renderer(as_text=as_text),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    of_libraries = logging.StreamHandler(sys.stderr)
    of_libraries.setFormatter((logging.Formatter if debug else _TracelessFormatter)(LIBRARY_LINE))
    logging.basicConfig(level=logging.WARNING, handlers=[of_libraries])


class _TracelessFormatter(logging.Formatter):
    """What a library logs with an exception: its line, and the exception in one more."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # the name that logging calls
        """Return the exception and its place."""
        return f"  {describe_fault(ei[1])}: {SEE_MORE}"


def _choose_renderer(*, as_text: bool) -> structlog.typing.Processor:
    if not as_text:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def _choose_fault_words(*, as_text: bool, debug: bool) -> list[structlog.typing.Processor]:
    """Return what turns an exception into words. No trace shows local variables: they may hold secrets."""
    if not debug:
        return [_shorten_fault]
    if as_text:
        return []
    plain = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(plain)]


def _shorten_fault(
    _logger: structlog.typing.WrappedLogger, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    given = event.pop("exc_info", None)
    if not given:
        return event
    error = given if isinstance(given, BaseException) else sys.exc_info()[1]
    if error is not None:
        event["fault"] = describe_fault(error)
        if not isinstance(error, ForewarnError):
            event["mend"] = SEE_MORE
    return event
