"""A gateway's hour or two in one minute: what it holds after all the trouble is what it held before."""

from pathlib import Path

import pytest

from tests.soak.__main__ import describe
from tests.soak.course import soak

SECONDS = 70.0
GROWTH_MB_MAX = 8.0


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_a_soaked_gateway_holds_no_more_than_a_fresh_one(tmp_path: Path) -> None:
    """Restarts and reloads leave no task, file or thread behind, and no memory worth the name."""
    course = soak(tmp_path, SECONDS)
    print(describe(course, (0.0, 0.0)))
    assert course.after.task_count <= course.before.task_count, (course.before.tasks, course.after.tasks)
    assert course.after.files <= course.before.files
    assert course.after.threads <= course.before.threads + 1  # a settings file is read in a pool of threads
    assert course.after.rss_mb <= course.before.rss_mb + GROWTH_MB_MAX
    assert min(course.events.values()) >= 2
