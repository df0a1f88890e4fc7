"""How far each machine's learning has come, kept in SQL for the console and the watcher."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import BigInteger, Column, Engine, String, Table, Text, select

from cloud.records import metadata
from cloud.transactions import begin_read, begin_write, insert_into
from cloud.watch.lessons import Lesson
from models.telemetry import MachinePath

learning = Table(
    "learning",
    metadata,
    Column("machine", String(260), primary_key=True),
    Column("checked_ns", BigInteger, nullable=False),
    Column("lesson", Text, nullable=False),
)

_decoder = msgspec.json.Decoder(Lesson)


class LearningBook:
    """Puts and lists lessons; every call is one transaction and raises `RecordsUnavailable`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def put(self, lessons: Sequence[Lesson], checked_ns: int) -> None:
        """Keep the newest lesson of each machine."""
        rows = [
            {"machine": one.machine, "checked_ns": checked_ns, "lesson": msgspec.json.encode(one).decode()}
            for one in lessons
        ]
        if not rows:
            return
        with begin_write(self._engine) as connection:
            statement = insert_into(connection, learning)
            rest = {name: statement.excluded[name] for name in ("checked_ns", "lesson")}
            connection.execute(statement.on_conflict_do_update(index_elements=["machine"], set_=rest), rows)

    def find(self, machine: MachinePath) -> Lesson | None:
        """Return the lesson of a machine, None when nobody has looked yet."""
        query = select(learning.c.lesson).where(learning.c.machine == str(machine))
        with begin_read(self._engine) as connection:
            found = connection.execute(query).scalar_one_or_none()
        return None if found is None else _decoder.decode(found)

    def list(self) -> dict[MachinePath, Lesson]:
        """Return the lesson of every machine."""
        with begin_read(self._engine) as connection:
            rows = connection.execute(select(learning)).all()
        return {MachinePath.parse(row.machine): _decoder.decode(row.lesson) for row in rows}
