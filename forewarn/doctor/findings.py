"""What a check found, and the table of it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

Verdict = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """The outcome of one check; `words` end with the mend where there is something to mend."""

    verdict: Verdict
    what: str
    words: str


def describe_findings(findings: Sequence[Finding]) -> str:
    """Return the findings as a table, and a last line that counts them."""
    width = max((len(one.what) for one in findings), default=0)
    lines = [f"{one.verdict:<4}  {one.what:<{width}}  {one.words}" for one in findings]
    counts = {verdict: sum(one.verdict == verdict for one in findings) for verdict in ("fail", "warn")}
    if not any(counts.values()):
        return "\n".join([*lines, "all is well"])
    return "\n".join([*lines, f"{counts['fail']} failed, {counts['warn']} to look at"])
