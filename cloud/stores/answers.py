"""Reads the answers of InfluxDB: JSON rows into columns, and columns into one table."""

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from cloud.stores import Table
from cloud.stores.lines import tag_name
from models.telemetry import MachinePath

Cell = int | float | str | bool | None


class AnswerRejected(ValueError):
    """The database answered the query with an error, or not with JSON of the known shape."""


class Series(msgspec.Struct, frozen=True):
    """One table of an answer: `values` are rows, the first column is the time in nanoseconds."""

    columns: list[str]
    values: list[list[Cell]] = []
    tags: dict[str, str] = {}
    name: str = ""


class _Result(msgspec.Struct, frozen=True):
    series: list[Series] = []
    error: str = ""


class _Answer(msgspec.Struct, frozen=True):
    results: list[_Result] = []
    error: str = ""


_decoder = msgspec.json.Decoder(_Answer)


Floats = NDArray[np.float64]


class Page(msgspec.Struct, frozen=True):
    """Rows of one machine: timestamps int64, and a float64 column per tag with NaN where it has nothing."""

    timestamps: NDArray[np.int64]
    columns: dict[str, Floats]


def decode_answer(body: str) -> list[Series]:
    """Return the tables of the answer to one query; raise `AnswerRejected` with the database's words."""
    try:
        answer = _decoder.decode(body)
    except msgspec.DecodeError as error:
        raise AnswerRejected(f"{error} (in {body[:120]!r})") from error
    if problem := answer.error or next((result.error for result in answer.results if result.error), ""):
        raise AnswerRejected(problem)
    return [series for result in answer.results for series in result.series]


def read_page(series: Sequence[Series]) -> Page | None:
    """Return the rows of an answer about one machine, None without any."""
    if not series or not series[0].values:
        return None
    table = series[0]
    columns = list(zip(*table.values, strict=True))
    return Page(
        np.array(columns[0], np.int64),
        {
            tag_name(name): np.array(column, np.float64)
            for name, column in zip(table.columns[1:], columns[1:], strict=True)
        },
    )


def machine_of(series: Series) -> MachinePath:
    """Return the machine that a table of a query over all machines is about."""
    return MachinePath(*(series.tags[key] for key in ("site", "area", "line", "machine")))


def choose_ours(series: Sequence[Series]) -> dict[MachinePath, Series]:
    """Return the tables by machine; what others wrote under the same measurement has not our tags."""
    ours = [one for one in series if all(one.tags.get(key) for key in ("site", "area", "line", "machine"))]
    return {machine_of(one): one for one in ours}


def tags_of(series: Series) -> list[str]:
    """Return the tags for which `SELECT_LAST_OF_TAGS` found anything."""
    return sorted(
        tag_name(name.removeprefix("last_"))
        for name, cell in zip(series.columns[1:], series.values[0][1:], strict=True)
        if cell is not None
    )


def join_pages(pages: Sequence[Page]) -> Page:
    """Return pages that follow each other as one."""
    if not pages:
        return Page(np.empty(0, np.int64), {})
    if len(pages) == 1:
        return pages[0]
    names = list(dict.fromkeys(name for page in pages for name in page.columns))
    empty = [np.full(len(page.timestamps), np.nan) for page in pages]
    return Page(
        np.concatenate([page.timestamps for page in pages]),
        {
            name: np.concatenate(
                [page.columns.get(name, none) for page, none in zip(pages, empty, strict=True)]
            )
            for name in names
        },
    )


def tabulate(numbers: Page, quality: Page, missing: Page, tags: Sequence[str] | None) -> Table:
    """Return numbers and codes side by side over all their instants; a tag asked for is there even if empty.

    `missing` holds codes of readings without a number: they count only where no number came at all.
    """
    timestamps = np.unique(np.concatenate([page.timestamps for page in (numbers, quality, missing)]))
    values, good = _spread(numbers, timestamps), _spread(quality, timestamps)
    absent = _spread(missing, timestamps)
    seen = {
        name for columns in (values, absent) for name, column in columns.items() if not np.isnan(column).all()
    }
    names = sorted(seen) if tags is None else list(dict.fromkeys(tags))
    nothing = np.full(len(timestamps), np.nan)
    chosen = {name: values.get(name, nothing).copy() for name in names}
    codes = {}
    for name in names:
        said = np.where(np.isnan(chosen[name]), absent.get(name, nothing), good.get(name, nothing))
        if np.nan_to_num(said).any():
            codes[name] = np.nan_to_num(said).astype(np.uint32)
    return Table(timestamps, chosen, codes)


def _spread(page: Page, timestamps: NDArray[np.int64]) -> dict[str, Floats]:
    if len(page.timestamps) == len(timestamps):
        return page.columns
    rows = np.searchsorted(timestamps, page.timestamps)
    spread = {}
    for name, column in page.columns.items():
        spread[name] = np.full(len(timestamps), np.nan)
        spread[name][rows] = column
    return spread
