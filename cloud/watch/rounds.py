"""Rounds: the first due row of every machine is judged, all together, then the second, and so on."""

from collections.abc import Iterator, Sequence

from cloud.stores import Block
from cloud.watch.observations import Observation
from cloud.watch.sayings import describe_verdict, join_verdicts, make_blocks
from cloud.watch.watched import WatchedMachine
from models.anomaly.judging import Verdict
from models.anomaly.together import Seating, judge_many


def judge_due(
    machines: Sequence[WatchedMachine], seating: Seating
) -> Iterator[tuple[WatchedMachine, list[Observation], list[Block]]]:
    """Yield what is new of each machine with due rows: observations in time order, and blocks to store.

    All of a machine's due rows count as judged from then on.
    """
    due = [(machine, rows) for machine in machines if (rows := machine.take_due())]
    verdicts: list[list[Verdict]] = [[] for _ in due]
    for turn in range(max((len(rows) for _, rows in due), default=0)):
        places = [place for place, (_, rows) in enumerate(due) if turn < len(rows)]
        ready = [due[place][0].prepare(due[place][1][turn]) for place in places]
        judged = judge_many(seating, [(one.bundle, one.prepared) for one in ready])
        for place, row, verdict in zip(places, ready, judged, strict=True):
            verdicts[place].append(row.complete(verdict, due[place][0].gaps))
    for (machine, _), found in zip(due, verdicts, strict=True):
        path, trouble = machine.machine, machine.trouble
        seen = [one for verdict in found for one in describe_verdict(path, verdict, trouble)]
        yield machine, seen, make_blocks(path, join_verdicts(found))
