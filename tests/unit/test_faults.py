"""Our own faults in words: one line with the place, a trace only for whoever asked, never a secret."""

import json
import logging
import threading
from collections.abc import Iterator

import pytest
import structlog

from forewarn.cli import explain_thread_fault
from forewarn.faults import SEE_MORE, ask_for_traces, describe_fault
from forewarn.logs import set_up_logs
from models.telemetry import decode_batch
from models.telemetry.batch import BatchRejected


@pytest.fixture(autouse=True)
def _fresh_logs(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test sets the log up anew, and leaves it as it was."""
    monkeypatch.setenv("FOREWARN_DEBUG", "")
    before = structlog.get_config()
    yield
    structlog.configure(**before)


def fail_with_a_secret(log: structlog.typing.FilteringBoundLogger) -> None:
    """Log a fault of a function that holds a password."""
    password = "hunter2"
    try:
        json.loads(f"{{{len(password)}")
    except ValueError:
        log.exception("part_died", part="publisher")


def test_a_fault_is_placed_in_our_own_code() -> None:
    """The innermost frame of ours is named, not the library's beneath it."""
    with pytest.raises(BatchRejected) as caught:
        decode_batch(b"{")
    assert describe_fault(caught.value).startswith("BatchRejected: ")
    assert "(models/telemetry/batch.py, line " in describe_fault(caught.value)
    assert describe_fault(ValueError("two\nlines")) == "ValueError: two lines"
    assert describe_fault(KeyboardInterrupt()) == "KeyboardInterrupt"


def test_a_part_that_dies_is_one_line_of_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    """The line says what, where and how to see more."""
    set_up_logs("json")
    fail_with_a_secret(structlog.get_logger())
    (line,) = capsys.readouterr().err.splitlines()
    said = json.loads(line)
    assert said["fault"].startswith("JSONDecodeError: Expecting property name")
    assert said["mend"] == SEE_MORE
    assert "exception" not in said


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_trace_that_is_asked_for_shows_no_local_variable(
    capsys: pytest.CaptureFixture[str], log_format: str
) -> None:
    """With traces on the frames are there; what stood in their variables is not."""
    ask_for_traces()
    set_up_logs("json" if log_format == "json" else "text")
    fail_with_a_secret(structlog.get_logger())
    said = capsys.readouterr().err
    assert "fail_with_a_secret" in said
    assert "hunter2" not in said


def test_what_a_library_logs_keeps_to_the_rule(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The standard library's log shows no trace either, until it is asked for."""
    root = logging.getLogger()
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(root, "handlers", [])  # pytest's own would keep ours away
    set_up_logs("json")
    try:
        json.loads("{")
    except ValueError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved")
    said = capsys.readouterr().err
    assert said.startswith("ERROR asyncio Task exception was never retrieved\n  JSONDecodeError: ")
    assert "Traceback" not in said


def test_a_thread_that_dies_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception nobody expected in a thread reads as one in the command itself."""
    monkeypatch.setattr(threading, "excepthook", explain_thread_fault)
    thread = threading.Thread(target=lambda: {}["absent"])
    thread.start()
    thread.join()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("unexpected KeyError: 'absent' (tests/unit/test_faults.py, line ")
    assert line.endswith(SEE_MORE)
