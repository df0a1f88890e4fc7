"""Settings: YAML files checked against typed classes; every mistake is named with its line and column."""

from models.settings.base import ConfigPath, Settings
from models.settings.loader import SettingsError, load_settings, parse_settings
from models.settings.secret import Secret, read_secrets

__all__ = [
    "ConfigPath",
    "Secret",
    "Settings",
    "SettingsError",
    "load_settings",
    "parse_settings",
    "read_secrets",
]
