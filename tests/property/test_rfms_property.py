"""rFMS: whatever a server sends is read or refused, and neither order nor paging decides what is read."""

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from rfms_server import DAY, VIN_1, VIN_2, full_status, ready_mapping, status, statuses_page

from pm.errors import DataError
from pm.pipelines.imports.times import TimeLimits
from pm.pipelines.rfms.classes import class_name
from pm.pipelines.rfms.fleet import read_vehicles
from pm.pipelines.rfms.response import read_response
from pm.pipelines.rfms.rows import decoded_rows
from pm.pipelines.rfms.statuses import Rules, Status, Statuses, read_statuses

MAPPING = ready_mapping()
RULES = Rules(
    TimeLimits(datetime(2000, 1, 1, tzinfo=UTC), None, DAY + timedelta(days=9), timedelta(minutes=5)), positions=True
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
NAMES = ("from", "to", "label", "seconds", "meters", "vehicleAxlePosition", "vehicleAxleLoad", "tellTale", "state")
ITEMS = st.lists(st.dictionaries(st.sampled_from(NAMES), JSON, max_size=5) | JSON, max_size=4) | JSON
FIELDS = sorted(
    {entry.field for entry in (*MAPPING.numbers, *MAPPING.texts, *MAPPING.listed, *MAPPING.classes)}
    | {"uptimeData.tellTaleInfo", "triggerType.tellTaleInfo", "driver1Id.tachoDriverIdentification"}
)


@st.composite
def odd_statuses(draw: st.DrawFn) -> dict[str, Any]:
    """A usable status in which some fields hold anything at all."""
    record = status(draw(st.sampled_from([VIN_1, VIN_2])), draw(st.integers(0, 5)))
    for path in draw(st.lists(st.sampled_from(FIELDS), max_size=6, unique=True)):
        *blocks, name = path.split(".")
        place = record
        for block in blocks:
            place = place.setdefault(block, {})
        place[name] = draw(ITEMS)
    return record


def content(found: Statuses) -> list[Status]:
    return [replace(row, row_no=0) for row in found.rows]


@given(st.lists(odd_statuses() | JSON, max_size=6))
def test_any_record_is_read_or_refused(records: list[Any]) -> None:
    found = read_statuses(records, MAPPING, RULES)
    assert len(found.rows) + len(found.rejected) == len(records)
    for row in found.rows:
        values = [value for signals in row.messages.values() for value in signals.values()]
        assert all(isinstance(value, str) or math.isfinite(value) for value in values)
        assert all(
            set(signals) <= {signal.name for signal in found.plans[name].signals}
            for name, signals in row.messages.items()
        )
        assert not any(vin in text for vin in (VIN_1, VIN_2) for text in map(str, (row.messages, row.events)))
    rows = decoded_rows(found.rows, found.plans, {VIN_1: 1, VIN_2: 2}, MAPPING.channel)
    written = sum(len(row.messages) for row in found.rows)
    assert sum(frame.height for _, frame in rows.telemetry) == written


@given(
    st.permutations([full_status(vin, minute) for vin in (VIN_1, VIN_2) for minute in (0, 1, 45)]), st.integers(0, 6)
)
def test_order_and_split_decide_nothing(records: Sequence[dict[str, Any]], cut: int) -> None:
    whole = read_statuses(records, MAPPING, RULES)
    halves = [read_statuses(part, MAPPING, RULES) for part in (records[:cut], records[cut:])]
    together = sorted((row for half in halves for row in content(half)), key=lambda row: (row.vin, row.created_at))
    assert together == content(whole)


ENVELOPES = st.builds(
    lambda records, more: statuses_page(records, **more),
    st.lists(JSON, max_size=3),
    st.dictionaries(st.sampled_from(["moreDataAvailable", "moreDataAvailableLink", "requestServerDateTime"]), JSON),
)


@given(st.binary(max_size=50) | (JSON | ENVELOPES).map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_a_response_or_refused(sent: bytes) -> None:
    try:
        kind = read_response(sent, "here").kind
    except DataError as refused:
        kind = str(refused).partition(": expected ")[0]
    assert kind in ("vehicles", "vehiclestatuses", "here")


@given(
    st.lists(
        JSON | st.fixed_dictionaries({"vin": JSON, "customerVehicleName": JSON, "productionDate": JSON, "model": JSON}),
        max_size=4,
    )
)
def test_any_vehicle_is_read_or_refused(records: list[Any]) -> None:
    found, rejected = read_vehicles(records)
    assert len(found) + len(rejected) == len(records)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_class_names_are_column_names(low: float, high: float) -> None:
    name = class_name({"from": low, "to": high})
    assert name is not None
    assert name.isidentifier() or name[0].isdigit()
    assert name == name.lower()
    assert len(name) < 40
