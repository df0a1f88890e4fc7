"""The settings of the cloud service: cloud.yaml."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator
from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from cloud.alerts.settings import AlertSettings
from cloud.console.settings import ConsoleSettings
from cloud.ingest.dead_letters import DeadLetters
from cloud.ingest.intake import IngestSettings
from cloud.machines import MachineCard
from cloud.notifiers.shelf import NotifierSettings
from cloud.records import open_records
from cloud.stores.shelf import StoreSettings
from cloud.transactions import RecordsUnavailable
from cloud.watch.watching import WatchSettings
from models.link import BrokerSettings
from models.settings import ConfigPath, Settings
from models.telemetry.topics import SEGMENT, SEGMENT_WORDS

Role = Literal["ingest", "watch", "notify", "console"]

SQLITE = "sqlite:///"


class RecordsSettings(Settings):
    """Where ledger, alerts, mails and dead letters are kept: `{path: FILE}` for SQLite, or `{url: URL}`.

    A URL is SQLAlchemy's, such as `postgresql+psycopg://forewarn@db.plant/forewarn`; the relative path of a
    `sqlite:///` URL is meant from the settings file's folder, as all paths are.
    """

    path: ConfigPath | None = None
    url: str | None = None

    @field_validator("url")
    @classmethod
    def _resolve(cls, url: str | None, info: ValidationInfo) -> str | None:
        if url is None:
            return None
        try:
            make_url(url)
        except ArgumentError as error:
            raise ValueError(
                f"{url!r} is no database URL: write sqlite:///records.sqlite, or postgresql+psycopg://..."
            ) from error
        if not url.startswith(SQLITE):
            return url
        context: dict[str, Any] = info.context or {}
        return f"{SQLITE}{Path(context.get('folder', '.')) / url.removeprefix(SQLITE)}"

    @model_validator(mode="after")
    def _one_place(self) -> "RecordsSettings":
        if (self.path is None) == (self.url is None):
            raise ValueError("say exactly one of {path: FILE} or {url: URL}")
        return self

    def build(self) -> Engine:
        """Open the records, with all tables there; raise `RecordsUnavailable`."""
        url = self.url or f"{SQLITE}{self.path}"
        try:
            return open_records(url)
        except (DBAPIError, OSError) as error:
            shown = make_url(url).render_as_string(hide_password=True)
            raise RecordsUnavailable(
                f"the records at {shown} cannot be opened ({getattr(error, 'orig', None) or error}): "
                "check `records` in the settings, the folder's permissions, or the database"
            ) from error


class DeadLetterSettings(Settings):
    """How many messages that cannot be stored are kept; beyond that the oldest go."""

    rows_max: int = Field(default=10_000, ge=1)
    bytes_max: int = Field(default=100_000_000, ge=1_000_000)

    def build(self, engine: Engine) -> DeadLetters:
        """Return the dead letters kept in `engine`."""
        return DeadLetters(engine, self.rows_max, self.bytes_max)


class CloudSettings(Settings):
    """Everything that `forewarn cloud run` needs. Run twice, each service needs a `name` of its own."""

    name: str = "cloud"
    namespace: str = "forewarn"
    roles: list[Role] = Field(default=["ingest", "watch", "notify", "console"], min_length=1)
    broker: BrokerSettings = BrokerSettings()
    ingest: IngestSettings = IngestSettings()
    records: RecordsSettings
    store: StoreSettings
    bundles: ConfigPath = Path("bundles")
    watch: WatchSettings = WatchSettings()
    alerts: AlertSettings = AlertSettings()
    notifiers: list[NotifierSettings] = []
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    console: ConsoleSettings = ConsoleSettings()
    machines: list[MachineCard] = []

    @field_validator("name", "namespace")
    @classmethod
    def _check_segment(cls, word: str) -> str:
        if not re.fullmatch(SEGMENT, word):
            raise ValueError(f"{word!r} is not {SEGMENT_WORDS}")
        return word

    @field_validator("machines")
    @classmethod
    def _describe_once(cls, cards: list[MachineCard]) -> list[MachineCard]:
        paths = [card.path for card in cards]
        twice = next((path for path in paths if paths.count(path) > 1), None)
        if twice is not None:
            raise ValueError(f"{twice} is described twice: keep one")
        return cards

    @field_validator("notifiers")
    @classmethod
    def _name_once(cls, notifiers: list[NotifierSettings]) -> list[NotifierSettings]:
        names = [one.name for one in notifiers]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two notifiers are named {twice!r}: give each a name of its own")
        return notifiers

    @model_validator(mode="after")
    def _watch_what_comes_in(self) -> "CloudSettings":
        if "watch" in self.roles and "ingest" not in self.roles:
            raise ValueError("roles: watch is fed by ingest and needs it in the same service")
        return self
