"""rFMS responses: the envelope, and what is taken of a stranger's text."""

import json
from datetime import UTC, datetime

import pytest
from rfms_server import VIN_1, statuses_page, vehicles_page

from pm.errors import DataError
from pm.pipelines.rfms.fleet import FleetVehicle, read_vehicles
from pm.pipelines.rfms.response import (
    LARGEST_BYTES,
    hide_vins,
    is_usual_vin,
    read_instant,
    read_number,
    read_response,
    read_text,
    read_vin,
)


def test_envelope() -> None:
    page = statuses_page([1, 2], moreDataAvailable=True, moreDataAvailableLink="/rfms/vehiclestatuses?x=1")
    got = read_response(json.dumps(page).encode(), "here")
    assert (got.kind, got.records, got.more, got.more_link) == (
        "vehiclestatuses",
        (1, 2),
        True,
        "/rfms/vehiclestatuses?x=1",
    )
    assert got.server_at == datetime(2026, 3, 2, 2, tzinfo=UTC)
    assert read_response(json.dumps(vehicles_page([])).encode(), "here").kind == "vehicles"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected an rFMS response in JSON"),
        (b"<html>", "expected an rFMS response in JSON"),
        (b"\xff\xfe\x00", "expected an rFMS response in JSON"),
        (b"[" * 100_000, "expected an rFMS response in JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "expected an rFMS response in JSON"),
        (b"[]", "expected an object with vehicleResponse or vehicleStatusResponse"),
        (b'{"vehiclePositionResponse": {}}', "expected an object with vehicleResponse or vehicleStatusResponse"),
        (b'{"vehicleStatusResponse": {"vehicleStatuses": 7}}', "expected a list, but got int"),
        (b" " * (LARGEST_BYTES + 1), f"expected at most {LARGEST_BYTES} bytes"),
    ],
)
def test_what_is_no_response_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason) as raised:
        read_response(content, "here")
    assert str(raised.value).startswith("here: ")


def test_the_other_endpoints_response_is_refused() -> None:
    with pytest.raises(DataError, match="expected a response of /vehicles, but got one of /vehiclestatuses"):
        read_response(json.dumps(statuses_page([])).encode(), "here", "vehicles")


def test_no_records_and_no_flag() -> None:
    got = read_response(b'{"vehicleStatusResponse": {}}', "here")
    assert (got.records, got.more, got.more_link, got.server_at) == ((), False, None, None)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2019-05-22T07:44:42.800Z", datetime(2019, 5, 22, 7, 44, 42, 800_000, UTC)),
        ("2019-05-22T09:44:42+02:00", datetime(2019, 5, 22, 7, 44, 42, tzinfo=UTC)),
        ("2019-05-22T07:44:42", None),
        ("0001-01-01T00:00:00+14:00", None),
        ("", None),
        (7, None),
        ("2" * 1000, None),
    ],
)
def test_instants(given: object, expected: datetime | None) -> None:
    assert read_instant(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(1, 1.0), (-2.5, -2.5), (True, None), ("1", None), (None, None), (10**400, None), (float("inf"), None)],
)
def test_numbers(given: object, expected: float | None) -> None:
    assert read_number(given) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("OFF", "OFF"),
        (False, "OFF"),
        (True, "ON"),
        (3, "3"),
        ("  a\tb\x00 ", "ab"),
        ("", None),
        (None, None),
        ({}, None),
        ("x" * 500, "x" * 200),
        (f"truck {VIN_1.lower()}!", "truck VIN!"),
        ("ENGINE_COOLANT_TEMPERATURE", "ENGINE_COOLANT_TEMPERATURE"),
    ],
)
def test_texts(given: object, expected: str | None) -> None:
    assert read_text(given) == expected


def test_a_vin_of_another_length_is_hidden_where_it_is_known() -> None:
    assert hide_vins("status of abc-1234567", ["ABC-1234567"]) == "status of VIN"


@pytest.mark.parametrize(
    ("given", "vin", "usual"),
    [
        (VIN_1.lower(), VIN_1, True),
        (" YV2RT40A5 KB123456\n", VIN_1, True),
        ("ABC12345678901234", "ABC12345678901234", True),
        ("YV2RTO0A5KB123456", "YV2RTO0A5KB123456", False),
        ("SHORT1", "SHORT1", False),
    ],
)
def test_odd_vins_are_taken(given: str, vin: str, usual: bool) -> None:
    assert read_vin(given) == vin
    assert is_usual_vin(vin) is usual


@pytest.mark.parametrize("given", [None, 7, "", " ", "V" * 65, "V" * 1000])
def test_what_is_no_vin(given: object) -> None:
    assert read_vin(given) is None


def test_vehicles() -> None:
    made = {"day": 3, "month": 7, "year": 2024}
    records = [
        {"vin": VIN_1, "customerVehicleName": "T 17", "brand": "VOLVO TRUCKS", "model": "FH", "productionDate": made},
        {"vin": "B" * 17, "customerVehicleName": f"no. {VIN_1}", "model": "R 450", "productionDate": {"year": 2023}},
        {"vin": "C123456", "customerVehicleName": "Truck c123456", "brand": "SCANIA", "model": "Scania R"},
        {"vin": "D123456", "productionDate": {"year": 2023, "month": 13, "day": 1}},
        {"vin": "E123456", "productionDate": {"year": "2023"}, "brand": "MAN"},
        {"brand": "MAN"},
        None,
    ]
    found, rejected = read_vehicles(records)
    assert found == [
        FleetVehicle(VIN_1, "T 17", "VOLVO TRUCKS FH", 2024, datetime(2024, 7, 3, tzinfo=UTC)),
        FleetVehicle("B" * 17, None, "R 450", 2023, None),
        FleetVehicle("C123456", None, "Scania R", None, None),
        FleetVehicle("D123456", None, None, 2023, None),
        FleetVehicle("E123456", None, "MAN", None, None),
    ]
    assert [row.line for row in rejected] == [6, 7]
