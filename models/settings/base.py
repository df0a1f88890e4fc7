"""The base of every settings class: frozen, unknown keys refused, relative paths beside their file."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Settings(BaseModel):
    """Frozen settings of one part. A subclass's `build()` makes the part; its docstring says what it is."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def _resolve(path: Path, info: ValidationInfo) -> Path:
    context: dict[str, Any] = info.context or {}
    return Path(context.get("folder", ".")) / path.expanduser()


ConfigPath = Annotated[Path, AfterValidator(_resolve)]
"""A path that, when relative, is meant from the folder of the settings file that names it."""
