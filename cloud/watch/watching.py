"""Settings of the watcher."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from cloud.watch.rules import MachineRule
from models.anomaly.signing import Keys, locate_keys
from models.settings import ConfigPath, Settings

DetectorName = Literal["conditional", "fuse", "isolation_forest", "knn", "pca", "robust_zscore"]


class LearningSettings(Settings):
    """When machines without a model get one by themselves.

    `automatic`: "first" trains a machine once it has `good_hours` of good values, "never" waits for
    `forewarn cloud train`. `refit`: "gated" lets a challenger learn every `refit_days` from newer rows that
    were not alarmed; it takes charge if it misses no confirmed event. Drift is measured every `drift_hours`,
    over as many. All this is looked at every `check_s`.
    """

    automatic: Literal["first", "never"] = "first"
    good_hours: float = Field(default=24.0, gt=0.0, le=8_760.0)
    refit: Literal["gated", "never"] = "gated"
    refit_days: float = Field(default=7.0, gt=0.0, le=3_650.0)
    drift_hours: float = Field(default=24.0, gt=0.0, le=8_760.0)
    check_s: float = Field(default=300.0, gt=0.0, le=86_400.0)


class WatchSettings(Settings):
    """How the watcher puts values on a grid and how long it waits for late ones.

    `grid_s` is the step that training uses; a bundle keeps its own. A grid row is judged once the machine's
    newest value is `lateness_s` past it; what comes later than that is history, judged once nothing more has
    come late for `history_after_s`. A machine that says nothing for `silent_after_s` cannot be judged. Of
    `rules` the first that fits a machine's path counts.
    `signing_key` is the file of the private key that signs models, `trusted_keys` the folder of the public
    keys whose models are believed: both lie in the folder `keys` of the bundles' if not said.
    """

    grid_s: float = Field(default=1.0, gt=0.0, le=3600.0)
    base_rows: int = Field(default=5, ge=2, le=600)
    lateness_s: float = Field(default=1.0, ge=0.0, le=600.0)
    history_after_s: float = Field(default=5.0, ge=0.0, le=3600.0)
    silent_after_s: float = Field(default=10.0, ge=1.0, le=86_400.0)
    detector: DetectorName = "fuse"
    rules: list[MachineRule] = []
    learning: LearningSettings = LearningSettings()
    queue_blocks_max: int = Field(default=2_000, ge=1, le=1_000_000)
    bundle_check_s: float = Field(default=3.0, gt=0.0, le=3600.0)
    signing_key: ConfigPath | None = None
    trusted_keys: ConfigPath | None = None

    def locate_keys(self, bundles: Path) -> Keys:
        """Return where the keys lie that sign models and that are trusted."""
        usual = locate_keys(bundles)
        return Keys(self.signing_key or usual.private, self.trusted_keys or usual.trusted)
