"""The records hold every table from the first start on, whichever part opens them."""

import re
from pathlib import Path

from cloud import records

CLOUD = Path(records.__file__).parent


def test_every_module_that_owns_tables_is_listed() -> None:
    """A table whose module is imported later would be missing until the next start."""
    owners = {
        ".".join(("cloud", *file.relative_to(CLOUD).with_suffix("").parts))
        for file in CLOUD.rglob("*.py")
        if re.search(r"^[a-z_]+ = (?:Sql)?Table\($", file.read_text(), re.MULTILINE)
    }
    assert set(records.TABLE_MODULES) == owners
