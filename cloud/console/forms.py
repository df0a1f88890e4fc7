"""What people write into the console: forms read with a bound, checked, with words for what is wrong."""

from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qs

from fastapi import Depends, HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cloud.alerts.findings import NOTE_CHARS_MAX, VerdictKind

FORM_BYTES_MAX = 4_096
NAME_CHARS_MAX = 80
MS_MAX = 2**63 // 1_000_000 - 1
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"


class Signed(BaseModel):
    """A change, and who asks for it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)

    by: str = Field(min_length=1, max_length=NAME_CHARS_MAX, pattern=PRINTABLE)


class Acknowledgement(Signed):
    """Who has taken an alert on and, where known, what it was.

    `failed_ms`: when the machine failed or was stopped; without it a real fault counts from the first value
    over a fixed limit, if there is one.
    """

    verdict: VerdictKind | None = None
    note: str = Field(default="", max_length=NOTE_CHARS_MAX, pattern=r"^[^\x00-\x1f\x7f]*$")
    failed_ms: int | None = Field(default=None, ge=0, le=MS_MAX)


class FreshStart(Signed):
    """A machine was repaired: what it said before `since_ms` (now, if not said) is not normal any more."""

    since_ms: int | None = Field(default=None, ge=0, le=MS_MAX)


Change = TypeVar("Change", bound=Signed)


async def read_form(request: Request) -> dict[str, str]:
    """Return the fields of a small form; raise 413 or 422 for anything else."""
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > FORM_BYTES_MAX:
            raise HTTPException(413, "The form is too large.")
    try:
        fields = parse_qs(body.decode("utf-8"), max_num_fields=12, errors="strict")
    except ValueError as error:
        raise HTTPException(422, "The form cannot be read.") from error
    return {name: values[0] for name, values in fields.items()}


Form = Annotated[dict[str, str], Depends(read_form)]


def check_form(kind: type[Change], fields: dict[str, str], instants: dict[str, str]) -> Change:
    """Return what a form says as `kind`; raise 422 with the fields that are wrong.

    `instants` maps a form's instant to the field that takes it in milliseconds: a browser with scripts sends
    the reader's clock as `<instant>_ms`, one without sends a date and a time that are meant as UTC.
    """
    said: dict[str, Any] = {name: fields[name] for name in kind.model_fields if fields.get(name)}
    for name, field in instants.items():
        if field not in said and fields.get(name):
            said[field] = _read_utc(name, fields[name])
    try:
        return kind.model_validate(said)
    except ValidationError as error:
        wrong = [f"{_NAMES.get(str(one['loc'][0]), one['loc'][0])}: {one['msg']}" for one in error.errors()]
        raise HTTPException(422, f"Nothing was changed. {'; '.join(wrong)}.") from error


_NAMES = {
    "by": f"Write your name (1 to {NAME_CHARS_MAX} characters)",
    "note": "The note",
    "verdict": "What it was",
}


def _read_utc(name: str, text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise HTTPException(422, f"{name}: {text[:40]!r} is no date and time.") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
