"""Secrets come from files or the environment, never from YAML in clear."""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import model_validator

from models.settings.base import ConfigPath, Settings
from models.settings.loader import SettingsError


class Secret(Settings):
    """Where a secret is kept: `{file: PATH}` or `{env: NAME}`."""

    file: ConfigPath | None = None
    env: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _refuse_clear_text(cls, value: Any) -> Any:
        if isinstance(value, str):
            raise ValueError(  # noqa: TRY004  # pydantic collects ValueErrors, not TypeErrors
                "a secret is never written in YAML: put it into a file and say {file: PATH}, "
                "or into the environment and say {env: NAME}"
            )
        return value

    @model_validator(mode="after")
    def _one_source(self) -> "Secret":
        if (self.file is None) == (self.env is None):
            raise ValueError("say exactly one of {file: PATH} or {env: NAME}")
        return self

    def read(self) -> str:
        """Return the secret, without the line end of its file; raise `SettingsError` when it is not there."""
        if self.file is not None:
            try:
                return self.file.read_text(encoding="utf-8").rstrip("\r\n")
            except OSError as error:
                raise SettingsError(
                    f"{self.file}: cannot read the secret ({error.strerror}): create the file, "
                    "readable by this user only (chmod 600)"
                ) from error
        assert self.env is not None  # the validator saw to it
        if self.env not in os.environ:
            raise SettingsError(f"the environment has no {self.env}: export it before the start")
        return os.environ[self.env]


def read_secrets(settings: Settings) -> None:
    """Read every secret that the settings name, so that a missing one is a mistake at the start.

    Raises `SettingsError` with all that are not there.
    """
    missing: dict[str, None] = {}
    for secret in _find_secrets(settings):
        try:
            secret.read()
        except SettingsError as error:
            missing[str(error)] = None
    if missing:
        raise SettingsError("\n".join(missing))


def _find_secrets(node: Any) -> Iterator[Secret]:
    if isinstance(node, Secret):
        yield node
    elif isinstance(node, Settings):
        for name in type(node).model_fields:
            yield from _find_secrets(getattr(node, name))
    elif isinstance(node, Mapping):
        for inner in node.values():
            yield from _find_secrets(inner)
    elif isinstance(node, (list, tuple)):
        for inner in node:
            yield from _find_secrets(inner)
