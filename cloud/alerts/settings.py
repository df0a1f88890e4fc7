"""When an alert is raised and cleared, and of which changes people are told."""

from typing import Literal

from pydantic import Field, model_validator

from models.settings import ConfigPath, Settings


class ForecastSettings(Settings):
    """How forecasts of open alerts are made: every `every_s`, to a score of `failure_ratio` limits.

    A blamed tag that goes up to a fixed limit of its own is asked first, and with five recorded failures of
    machines of the same type these.
    """

    every_s: float = Field(default=10.0, ge=1.0, le=86_400.0)
    failure_ratio: float = Field(default=10.0, gt=1.0, le=1e6)


class AlertSettings(Settings):
    """The patience of alerts (ISA-18.2: on-delay, off-delay, deadband).

    An alert is raised when the score was above its limit in `windows_above` of the last `windows` judged
    windows and for `on_delay_s` at least; it is cleared after `off_delay_s` below `off_ratio` x limit, or
    below what nine in ten rows of normal running score where that is higher.
    A tag must be faulty for `tag_on_delay_s`. `advice` names a folder with one YAML file per machine type.
    """

    on_delay_s: float = Field(default=5.0, ge=0.0, le=86_400.0)
    off_delay_s: float = Field(default=30.0, ge=0.0, le=86_400.0)
    tag_on_delay_s: float = Field(default=10.0, ge=0.0, le=86_400.0)
    windows: int = Field(default=10, ge=1, le=1000)
    windows_above: int = Field(default=8, ge=1, le=1000)
    off_ratio: float = Field(default=0.65, gt=0.0, le=1.0)
    tell: list[Literal["raised", "escalated", "cleared"]] = ["raised", "escalated"]
    advice: ConfigPath | None = None
    forecast: ForecastSettings = ForecastSettings()

    @model_validator(mode="after")
    def _possible(self) -> "AlertSettings":
        if self.windows_above > self.windows:
            raise ValueError(
                f"windows_above ({self.windows_above}) is more than windows ({self.windows}): "
                "no alert could ever be raised"
            )
        return self
