"""`python -m tests.soak [--minutes 14.4] [--write FILE]`: the soak, and what it found in words."""

import argparse
import os
import tempfile
from pathlib import Path

from tests.bench.conftest import describe_machine
from tests.soak.course import INTERVAL_S, WARM_UP, Course, soak

DAY_MINUTES = 24 * 60 * INTERVAL_S


def describe(course: Course, load: tuple[float, float]) -> str:
    """Return the outcome, for a person."""
    slope, error = course.fit_memory()
    before, after = course.before, course.after
    happened = ", ".join(f"{count} {name}" for name, count in course.events.items())
    return "\n".join(
        [
            f"{course.simulated_h:.1f} h of reads at one a second, in {course.wall_s / 60:.1f} minutes "
            f"(load average {load[0]:.1f} at the start, {load[1]:.1f} at the end)",
            f"meanwhile: {happened}; {course.values:,} values arrived",
            f"RSS slope after the first {WARM_UP:.0%}: {slope:+.3f} MB per simulated hour, "
            f"standard error {error:.3f} (least squares over {len(course.samples)} seconds)",
            f"RSS   {before.rss_mb:6.1f} MB before, {after.rss_mb:6.1f} MB after",
            f"asyncio tasks {before.task_count} before, {after.task_count} after; "
            f"open files {before.files} before, {after.files} after; "
            f"threads {before.threads} before, {after.threads} after",
        ]
    )


PAGE = Path(__file__).with_name("page.md")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=DAY_MINUTES, help=f"default {DAY_MINUTES:g}: a day")
    parser.add_argument("--write", type=Path, help="write this page, for instance docs/SOAK.md")
    wishes = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        told: list[str] = []

        def tell(line: str) -> None:
            print(line, flush=True)
            told.append(line)

        course = soak(Path(folder), 60 * wishes.minutes, tell)
    outcome = describe(course, (load, os.getloadavg()[0]))
    print(outcome)
    outcome = "\n".join([outcome, "every half minute:", *told])
    if wishes.write is not None:
        page = PAGE.read_text(encoding="utf-8").format(
            arguments=f"--minutes {wishes.minutes:g}",
            machine=describe_machine(),
            interval_ms=1e3 * INTERVAL_S,
            day=DAY_MINUTES,
            outcome=outcome,
        )
        wishes.write.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
