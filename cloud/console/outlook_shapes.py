"""What an alert's page shows of what lies ahead, as frozen shapes."""

from pydantic import BaseModel, ConfigDict


class AlertForecast(BaseModel):
    """What lies ahead of an open alert, as told at `at_ms` (milliseconds since 1970 UTC, as all `_ms`).

    From `earliest_ms` to `latest_ms` is an 80 % band; they are None where `words` say why there is none.
    """

    model_config = ConfigDict(frozen=True)

    at_ms: int
    basis: str
    words: str
    earliest_ms: int | None
    latest_ms: int | None


class AlertSeverity(BaseModel):
    """How bad it is: slight, distinct, severe or critical, with the reason in words."""

    model_config = ConfigDict(frozen=True)

    grade: str
    words: str
