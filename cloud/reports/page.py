"""Writes a report as one HTML page that needs nothing else: no script, no request, printable."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cloud.console.words import say_number
from cloud.reports.facts import Report

_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=True,  # names of tags and words of people come from outside: nothing of them becomes markup
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters["number"] = say_number


def render_report(report: Report) -> str:
    """Return the page."""
    fields = {name: getattr(report, name) for name in report.__struct_fields__}
    return _templates.get_template("model_report.html").render(fields)
