"""Columns into DDATA metrics: the fast way says what one metric after the other would."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edge.sparkplug.columns import encode_rows
from edge.sparkplug.decoding import decode_payload
from edge.sparkplug.keys import MetricKey, TagKeys
from edge.sparkplug.payload import BOOLEAN, DOUBLE, INT32, INT64, Metric, Property, wrap_metrics
from models.telemetry import Frame
from models.telemetry import quality as status
from tests.servers import find_peer
from tests.unit.sparkplug_rig import NOW_MS, make_frame, read_by_npm

DOUBLES = st.floats(allow_nan=False)
TAG_NAMES = ["a", "b", "longer name", "running"]
COLUMN_VALUES = st.none() | DOUBLES


@st.composite
def frames(draw: st.DrawFn) -> list[Frame]:
    """Draw frames of any tags, with holes and qualities."""
    found = []
    for _ in range(draw(st.integers(1, 3))):
        tags = draw(st.lists(st.sampled_from(TAG_NAMES), min_size=1, unique=True))
        start = draw(st.sampled_from([1, NOW_MS * 1_000_000]))
        steps = draw(st.lists(st.sampled_from([1_000_000, 1_500_000, 10**9]), min_size=1, max_size=5))
        times = list(itertools.accumulate([start, *steps]))
        columns = {
            tag: draw(st.lists(COLUMN_VALUES, min_size=len(times), max_size=len(times))) for tag in tags
        }
        codes = {
            tag: {0: draw(st.sampled_from([status.UNCERTAIN, status.GOOD, status.BAD_TIMEOUT]))}
            for tag in tags
            if draw(st.booleans())
        }
        found.append(Frame(times, columns, codes))
    return found


KEYS = [
    {
        tag: MetricKey(BOOLEAN if tag == "running" else DOUBLE, alias=alias)
        for alias, tag in enumerate(TAG_NAMES, 126)
    },
    {tag: MetricKey(BOOLEAN if tag == "running" else DOUBLE, name=tag) for tag in TAG_NAMES},
]


def say(tag: str, frame: Frame, row: int) -> tuple[float | bool | None, int]:
    """Return the value and status code that a metric should say."""
    value = frame.values[tag][row]
    code = frame.quality.get(tag, {}).get(row, status.GOOD if value is not None else status.BAD)
    return None if value is None else value != 0 if tag == "running" else value, code


def hear(metric: Metric) -> tuple[object, object]:
    """Return the value and status code that a metric says."""
    code = metric.properties.get("statusCode")
    return metric.value, status.GOOD if code is None else code.value


@given(frames(), st.sampled_from(KEYS), st.booleans(), st.sampled_from([1, 60, 100_000]))
def test_columns_say_what_one_metric_after_the_other_would(
    given_frames: list[Frame], keys: dict[str, MetricKey], is_historical: bool, bytes_max: int
) -> None:
    """Every value arrives once, with its time and quality, oldest first, however tags are named or cut."""
    encoded = encode_rows(given_frames, TagKeys(keys), is_historical=is_historical, bytes_max=bytes_max)
    found = decode_payload(wrap_metrics(b"".join(encoded.parts), None, None)).metrics
    by_key = {key.name or key.alias: tag for tag, key in keys.items()}
    wanted = [
        (tag, at // 1_000_000, *say(tag, frame, row))
        for frame in given_frames
        for tag in frame.values
        for row, at in enumerate(frame.timestamps)
    ]
    said = [(by_key[metric.name or metric.alias], metric.timestamp, *hear(metric)) for metric in found]
    assert encoded.merged == 0
    assert sorted(map(repr, said)) == sorted(map(repr, wanted))
    assert all(metric.is_historical == is_historical for metric in found)
    assert all(metric.is_null == (metric.value is None) for metric in found)
    stamps = [metric.timestamp or 0 for metric in found]
    assert stamps == sorted(stamps)


@given(st.lists(st.integers(1, 700_000), min_size=1, max_size=40), st.sampled_from([1, NOW_MS * 1_000_000]))
def test_values_within_a_millisecond_get_the_next_ones_while_there_is_room(
    steps: list[int], start: int
) -> None:
    """Each said time is its own, at most 2 ms late; what has no room goes, counted, and never the last."""
    times = list(itertools.accumulate(steps, initial=start))
    frame = Frame(times, {"a": [float(row) for row in range(len(times))]})
    encoded = encode_rows([frame], TagKeys({"a": MetricKey(DOUBLE, alias=5)}))
    found = decode_payload(wrap_metrics(b"".join(encoded.parts), None, None)).metrics
    assert len(found) + encoded.merged == len(times)
    rows = [int(metric.value or 0) for metric in found]
    assert rows == sorted(set(rows))
    assert rows[-1] == len(times) - 1
    stamps = [metric.timestamp or 0 for metric in found]
    assert stamps == sorted(set(stamps))
    for row, stamp in zip(rows, stamps, strict=True):
        assert -2 <= times[row] // 1_000_000 - stamp <= 0 or row == len(times) - 1
    if len(times) <= 3:
        assert encoded.merged == 0


def test_tck_id_operational_behavior_data_publish_dbirth_order() -> None:
    """Metrics of frames whose times overlap stand in chronological order in one payload."""
    slow = Frame([NOW_MS * 10**6, (NOW_MS + 1000) * 10**6], {"slow": [1.0, 2.0]})
    fast = Frame([(NOW_MS + at) * 10**6 for at in (100, 600, 1100)], {"fast": [3.0, 4.0, 5.0]})
    keys = {"slow": MetricKey(DOUBLE, alias=1), "fast": MetricKey(DOUBLE, alias=2)}
    encoded = encode_rows([slow, fast], TagKeys(keys))
    found = decode_payload(wrap_metrics(b"".join(encoded.parts), None, None)).metrics
    assert [metric.value for metric in found] == [1.0, 3.0, 4.0, 2.0, 5.0]


def test_tck_id_payloads_propertyset_quality_value_type_and_value() -> None:
    """Bad is Quality 0 and null, uncertain 500, good says nothing; type 3, the OPC UA code beside it."""
    frame = make_frame({"a": [None, 61.5, 62.0]}, {"a": {0: status.BAD_TIMEOUT, 1: status.UNCERTAIN}})
    encoded = encode_rows([frame], TagKeys({"a": MetricKey(DOUBLE, alias=5)}))
    bad, uncertain, good = decode_payload(wrap_metrics(encoded.parts[0], None, None)).metrics
    assert (bad.is_null, bad.value) == (True, None)
    assert bad.properties == {
        "Quality": Property(INT32, 0),
        "statusCode": Property(INT64, status.BAD_TIMEOUT),
    }
    assert uncertain.value == 61.5
    assert uncertain.properties["Quality"] == Property(INT32, 500)
    assert good.properties == {}


def test_npm_reads_our_columns() -> None:
    """The bytes of the fast way are as good to npm's decoder as those of the slow one."""
    frame = make_frame({"a": [1.5, None, -0.0], "b": [2.5, 1e300, 5e-324]})
    keys = {"a": MetricKey(DOUBLE, alias=128), "b": MetricKey(DOUBLE, alias=129)}
    [part] = encode_rows([frame], TagKeys(keys), is_historical=True).parts
    [read] = read_by_npm(find_peer("sparkplug-payload"), [wrap_metrics(part, NOW_MS, 9)])
    said = {
        (metric["alias"], metric["timestamp"] - NOW_MS): metric["wireValue"] for metric in read["metrics"]
    }
    assert said == {
        (128, 0): 1.5,
        (128, 1000): None,
        (128, 2000): 0,
        (129, 0): 2.5,
        (129, 1000): 1e300,
        (129, 2000): 5e-324,
    }
    assert all(metric["isHistorical"] and not metric["hasDatatype"] for metric in read["metrics"])
