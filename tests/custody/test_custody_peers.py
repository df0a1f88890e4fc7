"""The same faults for our gateway and ThingsBoard's, side by side: `make custody-peers`."""

import os
from pathlib import Path

import pytest

from tests.custody.figures import Figures
from tests.custody.side_by_side import MACHINES, PeerPlant, choose_shared_faults, compare, describe


@pytest.mark.bench
@pytest.mark.timeout(1800)
def test_beside_thingsboard(tmp_path: Path, book: Figures) -> None:
    """Of ours nothing is missing that no gap covers; what others lose is printed, and asserted nowhere."""
    with PeerPlant(tmp_path, machines=MACHINES) as plant:
        found = compare(plant, choose_shared_faults(is_root=os.geteuid() == 0))
    print(f"\n{describe(found)}")
    book.beside = found
    assert found.fates[0].unknown == 0, found
    assert all(fate.arrived for fate in found.fates)
