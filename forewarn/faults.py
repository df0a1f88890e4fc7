"""What a fault of our own looks like: one line, or the stack trace for whoever says --debug."""

import os
import traceback
from pathlib import Path

SEE_MORE = "this is a fault in Forewarn: run the same command with --debug to see the stack trace"

_VARIABLE = "FOREWARN_DEBUG"
_ROOT = Path(__file__).parent.parent


def ask_for_traces() -> None:
    """Show stack traces from now on, also in the programs that this one starts."""
    os.environ[_VARIABLE] = "1"


def are_traces_wanted() -> bool:
    """Return whether somebody asked for stack traces: by --debug, or by FOREWARN_DEBUG=1."""
    return os.environ.get(_VARIABLE, "") not in ("", "0")


def describe_fault(error: BaseException) -> str:
    """Return an exception and where in our code it came up, in one line."""
    words = " ".join(str(error).split())
    what = f"{type(error).__name__}: {words}" if words else type(error).__name__
    place = _find_place(error)
    return f"{what} ({place})" if place else what


def _find_place(error: BaseException) -> str:
    """Return file and line of the innermost of our own frames; of any frame where none is ours."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    ours = [
        (str(Path(file).relative_to(_ROOT)), line)
        for file, line in frames
        # An environment may lie inside the checkout: its libraries are not ours.
        if Path(file).is_relative_to(_ROOT) and "site-packages" not in Path(file).relative_to(_ROOT).parts
    ]
    return "{}, line {}".format(*(ours or frames)[-1]) if frames else ""
