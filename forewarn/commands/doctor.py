"""`forewarn doctor`: looks at this computer, and at all that a settings file leads to."""

from pathlib import Path
from typing import Annotated

import typer


def doctor(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="edge.yaml or cloud.yaml")
    ] = None,
) -> None:
    """Check this computer and, with --config, broker, machines, store, models and mail server of a file.

    Nothing is changed or sent. Exit 1 when something failed.
    """
    from forewarn.doctor.computer import check_computer
    from forewarn.doctor.findings import describe_findings
    from forewarn.doctor.settings import check_settings
    from forewarn.logs import set_up_logs

    set_up_logs("text")
    findings = check_computer(config.absolute().parent if config and config.exists() else Path.cwd())
    if config is not None:
        findings += check_settings(config)
    typer.echo(describe_findings(findings))
    raise typer.Exit(1 if any(one.verdict == "fail" for one in findings) else 0)
