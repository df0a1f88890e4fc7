"""`forewarn edge ...`."""

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def edge() -> None:
    """What runs beside the machines."""
