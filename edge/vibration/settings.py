"""What a waveform's settings may say: how it was sampled, which features, which bearing, which speed."""

from math import pi
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from edge.vibration.bearings import Geometry
from edge.vibration.fourier import is_smooth
from models.settings import Settings

SAMPLES_MIN, SAMPLES_MAX = 64, 65_536
BANDS_MAX = 32
VELOCITY_HZ = (10.0, 1_000.0)
"""The band of broad-band velocity (ISO 20816-1:2016; ISO 10816-1:1995 before it)."""

ENVELOPE_SHARES = (0.1, 0.4)
"""The band of the envelope, in parts of the rate, where the settings name none."""

Feature = Literal["rms", "peak", "crest_factor", "kurtosis", "velocity_rms", "bands", "envelope"]
VibrationUnit = Literal["m/s2", "g", "mm/s"]
Band = tuple[float, float]

_SHAPE: dict[Feature, bool] = {"rms": True, "peak": True, "crest_factor": False, "kurtosis": False}
"""The features of single numbers, and whether each has the waveform's unit."""

ENVELOPE_NAMES = ("bpfo", "bpfi", "bsf", "ftf", "envelope_floor")


def _check_samples(samples: int) -> int:
    if samples % 2 == 0 and is_smooth(samples):
        return samples
    near = next(fewer for fewer in range(samples - 1, 0, -1) if fewer % 2 == 0 and is_smooth(fewer))
    raise ValueError(
        f"{samples} is no even product of 2, 3 and 5, as the transform needs: say {near}, "
        f"and the first {near} of each waveform are used"
    )


def _check_band(band: Band) -> Band:
    if not 0 <= band[0] < band[1]:
        raise ValueError(f"[{band[0]:g}, {band[1]:g}] is no band: say [low, high] in Hz")
    return band


BandSetting = Annotated[Band, AfterValidator(_check_band)]


class BearingSettings(Settings):
    """A rolling bearing's geometry, as its maker tells it; the outer ring stands still."""

    balls: int = Field(ge=3, le=500)
    ball_diameter_mm: float = Field(gt=0, allow_inf_nan=False)
    pitch_diameter_mm: float = Field(gt=0, allow_inf_nan=False)
    contact_angle_deg: float = Field(default=0.0, ge=0, lt=90)

    @field_validator("pitch_diameter_mm")
    @classmethod
    def _has_room_for_the_balls(cls, pitch_mm: float, info: ValidationInfo) -> float:
        balls, ball_mm = info.data.get("balls"), info.data.get("ball_diameter_mm")
        if balls is not None and ball_mm is not None and balls * ball_mm >= pi * pitch_mm:
            raise ValueError(
                f"{balls} balls of {ball_mm:g} mm do not fit on a circle of {pitch_mm:g} mm: the pitch "
                "diameter is that of the circle through the balls' centres"
            )
        return pitch_mm

    @property
    def geometry(self) -> Geometry:
        """The geometry by itself."""
        return Geometry(self.balls, self.ball_diameter_mm, self.pitch_diameter_mm, self.contact_angle_deg)


class SpeedSettings(Settings):
    """How fast the shaft turns: fixed, or by a tag of the same machine (rpm = value * scale).

    Below `rpm_min` the machine counts as standing: its bearings have no lines then.
    """

    rpm: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    tag: str | None = Field(default=None, min_length=1)
    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    rpm_min: float = Field(default=30.0, gt=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _says_one(self) -> "SpeedSettings":
        if (self.rpm is None) == (self.tag is None):
            raise ValueError("say either rpm: 1500, or tag: the name of the tag that tells the speed")
        return self


class WaveformSettings(Settings):
    """The tag is a waveform: `samples` numbers, `rate_hz` a second, each times `scale` in `unit`.

    Not it but its features travel, as tags named after it: `vibration.rms` and so on.
    """

    samples: Annotated[int, Field(ge=SAMPLES_MIN, le=SAMPLES_MAX), AfterValidator(_check_samples)]
    rate_hz: float = Field(gt=0, le=10_000_000)
    unit: VibrationUnit = "m/s2"
    scale: float = Field(default=1.0, allow_inf_nan=False)
    bands_hz: tuple[BandSetting, ...] = Field(default=(), max_length=BANDS_MAX)
    envelope_band_hz: BandSetting | None = None
    bearing: BearingSettings | None = None
    speed: SpeedSettings | None = None
    features: tuple[Feature, ...] | None = Field(default=None, min_length=1, validate_default=True)

    @field_validator("bands_hz", "envelope_band_hz")
    @classmethod
    def _is_below_half_the_rate(
        cls, bands: tuple[Band, ...] | Band | None, info: ValidationInfo
    ) -> tuple[Band, ...] | Band | None:
        rate_hz = info.data.get("rate_hz")
        if not bands or rate_hz is None:
            return bands
        several = bands if info.field_name == "bands_hz" else (bands,)
        highest = max(high for _, high in several)  # type: ignore[misc]  # a tuple of bands either way
        if highest > rate_hz / 2:
            raise ValueError(
                f"{highest:g} Hz is above half of rate_hz: a waveform of {rate_hz:g} Hz has nothing "
                f"beyond {rate_hz / 2:g} Hz"
            )
        return bands

    @field_validator("features")
    @classmethod
    def _can_be_computed(
        cls, features: tuple[Feature, ...] | None, info: ValidationInfo
    ) -> tuple[Feature, ...]:
        given = info.data
        if features is None:
            return _choose_features(given.get("bands_hz"), given.get("bearing"))
        if "bands" in features and not given.get("bands_hz"):
            raise ValueError("bands needs bands_hz: [[low, high], ...]")
        if "envelope" in features and not (given.get("bearing") and given.get("speed")):
            raise ValueError("envelope needs bearing (its geometry) and speed (rpm, or the tag of it)")
        return features

    @model_validator(mode="after")
    def _is_long_and_fast_enough(self) -> "WaveformSettings":
        if self.bearing is not None and self.speed is None:
            raise ValueError("a bearing needs a speed: add speed: {rpm: 1500} or speed: {tag: NAME}")
        low, high = VELOCITY_HZ
        names = self.features or ()
        if "velocity_rms" in names and (self.rate_hz < 2 * high or self.duration_s * low < 1):
            raise ValueError(
                f"velocity_rms is from {low:g} to {high:g} Hz, which takes {2 * high:g} samples a second and "
                f"{1 / low:g} s of them; these are {self.rate_hz:g} a second for {self.duration_s:.3g} s: "
                f"list the other features, for instance features: [rms, peak, kurtosis]"
            )
        for one in self.bands_hz if "bands" in names else ():
            self._check_resolved("bands_hz", one)
        if "envelope" in names:
            self._check_resolved("envelope_band_hz", self.envelope_band)
        return self

    def _check_resolved(self, name: str, band: Band) -> None:
        bin_hz = self.rate_hz / self.samples
        if band[1] - band[0] < 2 * bin_hz:
            raise ValueError(
                f"{name}: [{band[0]:g}, {band[1]:g}] is narrower than two steps of {bin_hz:.4g} Hz, which is "
                f"what {self.samples} samples at {self.rate_hz:g} Hz tell apart"
            )

    @property
    def duration_s(self) -> float:
        """How long the waveform lasts."""
        return self.samples / self.rate_hz

    @property
    def envelope_band(self) -> Band:
        """The band whose envelope is taken: that of the resonances which a fault excites."""
        return self.envelope_band_hz or (
            ENVELOPE_SHARES[0] * self.rate_hz,
            ENVELOPE_SHARES[1] * self.rate_hz,
        )

    @property
    def units(self) -> dict[str, str]:
        """The names of the features behind the tag's, and their units."""
        told: dict[str, str] = {}
        for feature in self.features or ():
            if feature in _SHAPE:
                told[feature] = self.unit if _SHAPE[feature] else ""
            elif feature == "velocity_rms":
                told[feature] = "mm/s"
            elif feature == "bands":
                told |= {name_band(band): self.unit for band in self.bands_hz}
            else:
                told |= dict.fromkeys(ENVELOPE_NAMES, self.unit)
        return told


def name_band(band: Band) -> str:
    """Return a band's feature name: `band_10_1000`."""
    return f"band_{band[0]:.10g}_{band[1]:.10g}"


def _choose_features(bands: object, bearing: object) -> tuple[Feature, ...]:
    chosen: list[Feature] = ["rms", "peak", "crest_factor", "kurtosis", "velocity_rms"]
    if bands:
        chosen.append("bands")
    if bearing:
        chosen.append("envelope")
    return tuple(chosen)
