"""Runs ThingsBoard's gateway in its own environment, as it is but for two things: no calls home, no pip.

It is started by its environment's Python with TB_GW_CONFIG_DIR set, and knows nothing of this project.
"""

from thingsboard_gateway.tb_gateway import main
from thingsboard_gateway.tb_utility.tb_updater import TBUpdater
from thingsboard_gateway.tb_utility.tb_utility import TBUtility


def stay_at_home(_updater: object) -> None:
    """Ask nobody for a newer version: a benchmark talks to this computer alone."""


def refuse_to_install(package: str, *_wishes: object, **_more: object) -> None:
    """Say what is missing, instead of installing it while the clock runs."""
    raise SystemExit(f"{package} is missing in this environment: make bench-peers installs it")


TBUpdater.check_for_new_version = stay_at_home
TBUtility.install_package = staticmethod(refuse_to_install)

if __name__ == "__main__":
    main()
