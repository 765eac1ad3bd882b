"""Conversion of rFMS vehicle statuses: each field with a value computed by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from rfms_server import DAY, VIN_1, VIN_2, full_status, ready_mapping, status

from pm.pipelines.imports.times import TimeLimits
from pm.pipelines.rfms.mapping import RfmsMapping
from pm.pipelines.rfms.rows import decoded_rows
from pm.pipelines.rfms.statuses import Event, Rules, Status, Statuses, read_statuses
from pm.store.telemetry_tables import dtype_of

LIMITS = TimeLimits(datetime(2000, 1, 1, tzinfo=UTC), None, DAY + timedelta(days=1), timedelta(minutes=5))


@pytest.fixture(scope="module")
def mapping() -> RfmsMapping:
    return ready_mapping()


def read(mapping: RfmsMapping, *records: Any, **rules: Any) -> Statuses:
    return read_statuses(records, mapping, Rules(LIMITS, **rules))


def one(mapping: RfmsMapping, **fields: Any) -> Status:
    found = read(mapping, status(**fields))
    assert not found.rejected
    return found.rows[0]


@pytest.mark.parametrize(
    ("field", "given", "to", "value"),
    [
        ("hrTotalVehicleDistance", 95055, "VDHR.HighResTotalVehicleDistance", 95.055),
        ("totalEngineHours", 1234.3, "HOURS.EngTotalHoursOfOperation", 1234.3),
        ("engineTotalFuelUsed", 7890123, "LFC1.EngTotalFuelUsed", 7890.123),
        ("grossCombinationVehicleWeight", 23456, "rfms_status.gross_combination_weight_kg", 23456.0),
        ("totalElectricMotorHours", 12.5, "rfms_status.electric_motor_h", 12.5),
        ("totalFuelUsedGaseous", 88, "rfms_status.gas_used_kg", 88.0),
        ("totalElectricEnergyUsed", -1500, "rfms_status.electric_energy_used_kwh", -1.5),
        ("snapshotData.wheelBasedSpeed", 54.3, "CCVS1.WheelBasedVehicleSpeed", 54.3),
        ("snapshotData.parkingBrakeSwitch", True, "CCVS1.ParkingBrakeSwitch", 1.0),
        ("snapshotData.parkingBrakeSwitch", False, "CCVS1.ParkingBrakeSwitch", 0.0),
        ("snapshotData.tachographSpeed", 54.4, "TCO1.TachographVehicleSpeed", 54.4),
        ("snapshotData.engineSpeed", 1234, "EEC1.EngSpeed", 1234.0),
        ("snapshotData.fuelLevel1", 86, "DD1.FuelLevel1", 86.0),
        ("snapshotData.fuelLevel2", 12.4, "DD1.FuelLevel2", 12.4),
        ("snapshotData.catalystFuelLevel", 43, "AT1T1I.Aft1DEFTankVolume1", 43.0),
        ("snapshotData.ambientAirTemperature", -23.7, "AMB.AmbientAirTemp", -23.7),
        ("snapshotData.batteryPackChargingPower", 43000, "rfms_snapshot.battery_pack_charging_kw", 43.0),
        ("snapshotData.estimatedDistanceToEmpty", {"total": 512345}, "rfms_snapshot.distance_to_empty_km", 512.345),
        ("snapshotData.driver1WorkingState", "DRIVE", "rfms_snapshot.driver_1_working_state", "DRIVE"),
        (
            "snapshotData.vehicleAxles",
            [{"vehicleAxlePosition": 2, "vehicleAxleLoad": 11500.5}],
            "rfms_snapshot.axle_2_load_kg",
            11_500.5,
        ),
        (
            "snapshotData.trailers",
            [{"trailerNo": 1, "trailerAxleLoadSum": 8000}],
            "rfms_snapshot.trailer_1_load_kg",
            8000.0,
        ),
        ("uptimeData.engineCoolantTemperature", 90, "ET1.EngCoolantTemp", 90.0),
        ("uptimeData.serviceBrakeAirPressureCircuit1", 812000, "AIR1.ServiceBrakeCircuit1AirPressure", 812.0),
        ("uptimeData.serviceBrakeAirPressureCircuit2", 834000, "AIR1.ServiceBrakeCircuit2AirPressure", 834.0),
        ("uptimeData.serviceDistance", -2500, "rfms_uptime.service_distance_km", -2.5),
        ("uptimeData.hvessTemperature", 31.5, "rfms_uptime.battery_pack_c", 31.5),
        ("uptimeData.bellowPressureRearAxleLeft", 234000, "rfms_uptime.bellow_rear_left_kpa", 234.0),
        (
            "uptimeData.alternatorInfo",
            {"alternatorStatus": "CHARGING", "alternatorNumber": 1},
            "rfms_uptime.alternator_1_status",
            "CHARGING",
        ),
        (
            "uptimeData.alternatorInfo",
            [{"alternatorStatus": "ERROR", "alternatorNumber": 4}],
            "rfms_uptime.alternator_4_status",
            "ERROR",
        ),
        ("accumulatedData.durationWheelbasedSpeedOverZero", 123456, "rfms_accumulated.moving_s", 123_456.0),
        ("accumulatedData.brakePedalCounterSpeedOverZero", 12765, "rfms_accumulated.n_brake_pedal", 12_765.0),
    ],
)
def test_field_becomes_signal(mapping: RfmsMapping, field: str, given: Any, to: str, value: object) -> None:
    block, _, name = field.rpartition(".")
    message, _, signal = to.partition(".")
    got = one(mapping, **({block: {name: given}} if block else {name: given})).messages
    assert got == {message: {signal: pytest.approx(value) if isinstance(value, float) else value}}


@pytest.mark.parametrize(
    ("name", "item", "expected"),
    [
        ("engineSpeedClass", {"from": 0, "to": 400, "seconds": 7, "meters": 8, "milliLitres": 9},
         {"engine_speed_rpm_0_to_400_s": 7.0, "engine_speed_rpm_0_to_400_m": 8.0, "engine_speed_rpm_0_to_400_ml": 9.0}),
        ("engineSpeedClass", {"from": 3600, "seconds": 7}, {"engine_speed_rpm_from_3600_s": 7.0}),
        ("accelerationClass", {"from": -1.1, "to": -0.9, "seconds": 1}, {"acceleration_ms2_m1p1_to_m0p9_s": 1.0}),
        ("accelerationClass", {"to": -1.1, "seconds": 2}, {"acceleration_ms2_below_m1p1_s": 2.0}),
        ("accelerationClass", {"from": None, "to": -1.1, "seconds": 2}, {"acceleration_ms2_below_m1p1_s": 2.0}),
        ("electricMotorTorqueClass", {"from": 90, "to": 100, "watthours": 5}, {"motor_torque_pct_90_to_100_wh": 5.0}),
        ("currentGearClass", {"label": "3", "seconds": 4}, {"current_gear_3_s": 4.0}),
        ("currentGearClass", {"label": 0, "kilograms": 4}, {"current_gear_0_kg": 4.0}),
        ("currentGearClass", {"label": "-1", "seconds": 4}, {"current_gear_m1_s": 4.0}),
        ("ptoActiveClass", {"label": "WHEELBASED_SPEED_ZERO", "seconds": 4}, {"pto_wheelbased_speed_zero_s": 4.0}),
    ],
)  # fmt: skip
def test_class_has_its_bounds_in_the_name(
    mapping: RfmsMapping, name: str, item: Any, expected: dict[str, float]
) -> None:
    assert one(mapping, accumulatedData={name: [item]}).messages == {"rfms_accumulated": expected}


def test_units_of_made_signals(mapping: RfmsMapping) -> None:
    found = read(mapping, full_status())
    signals = {(name, signal.name): signal for name, plan in found.plans.items() for signal in plan.signals}
    assert signals["VDHR", "HighResTotalVehicleDistance"].spn == 917
    assert signals["rfms_uptime", "service_distance_km"].unit == "km"
    assert signals["rfms_accumulated", "engine_speed_rpm_400_to_800_ml"].unit == "ml"
    assert signals["rfms_accumulated", "engine_speed_rpm_400_to_800_ml"].comment == "engine speed, class 400_to_800"
    assert signals["rfms_uptime", "alternator_1_status"].is_text


def test_counters_are_stored_in_double_precision(mapping: RfmsMapping) -> None:
    found = read(mapping, full_status())
    narrow = {
        signal.name
        for name, plan in found.plans.items()
        for signal in plan.signals
        if any(f"{name}.{signal.name}" in row.counters for row in found.rows) and dtype_of(signal) != pl.Float64()
    }
    assert narrow == set()


def test_clocks(mapping: RfmsMapping) -> None:
    row = one(mapping, minute=30, late_min=7)
    assert row.created_at == DAY + timedelta(minutes=30)
    assert row.known_at == DAY + timedelta(minutes=37)


def test_a_server_clock_ahead_of_ours_makes_nothing_known_in_the_future(mapping: RfmsMapping) -> None:
    early = Rules(replace(LIMITS, imported_at=DAY + timedelta(minutes=31)))
    found = read_statuses([status(minute=30, late_min=7)], mapping, early)
    assert found.rows[0].known_at == DAY + timedelta(minutes=31)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vin": None}, "vin: expected a text"),
        ({"vin": "  "}, "vin: expected a text"),
        ({"vin": 17}, "vin: expected a text"),
        ({"createdDateTime": "yesterday"}, "createdDateTime: expected an ISO 8601 instant"),
        ({"createdDateTime": "2026-03-02T00:00:00"}, "createdDateTime: expected an ISO 8601 instant with an offset"),
        ({"receivedDateTime": None}, "receivedDateTime: expected an ISO 8601 instant"),
        ({"createdDateTime": "1999-12-31T23:59:59Z"}, "createdDateTime: expected 2000-01-01 or later"),
        ({"createdDateTime": "2026-03-02T01:00:00Z"}, "createdDateTime: expected an instant before receivedDateTime"),
        ({"triggerType": None}, "triggerType.triggerType: expected a text"),
        ({"triggerType": "TIMER"}, "triggerType.triggerType: expected a text"),
    ],
)
def test_record_is_refused_with_its_reason(mapping: RfmsMapping, change: dict[str, Any], reason: str) -> None:
    found = read(mapping, status(VIN_2), status() | change)
    assert [row.vin for row in found.rows] == [VIN_2]
    assert [row.line for row in found.rejected] == [2]
    assert found.rejected[0].reason.startswith(reason)
    assert VIN_1 not in found.rejected[0].reason


def test_what_retention_dropped_is_not_taken_again(mapping: RfmsMapping) -> None:
    rules = Rules(replace(LIMITS, dropped_before=DAY + timedelta(minutes=1)))
    found = read_statuses([status(minute=0), status(minute=1)], mapping, rules)
    assert [row.created_at for row in found.rows] == [DAY + timedelta(minutes=1)]
    assert "dropped for its age" in found.rejected[0].reason


@pytest.mark.parametrize("record", [None, 7, "x", [], True])
def test_what_is_no_object_is_refused(mapping: RfmsMapping, record: Any) -> None:
    assert read(mapping, record).rejected[0].reason.startswith("expected an object, but got")


@pytest.mark.parametrize("value", [None, [], "x", 7, True, {"x": 1}])
@pytest.mark.parametrize(
    "part", ["snapshotData", "uptimeData", "accumulatedData", "driver1Id", "hrTotalVehicleDistance"]
)
def test_a_part_of_another_shape_leaves_the_record_usable(mapping: RfmsMapping, part: str, value: Any) -> None:
    found = read(mapping, status(**{"totalEngineHours": 3.0, part: value}))
    assert found.rows[0].messages["HOURS"] == {"EngTotalHoursOfOperation": 3.0}


def test_a_value_out_of_the_signals_range_is_left_out_and_counted(mapping: RfmsMapping) -> None:
    found = read(mapping, status(snapshotData={"wheelBasedSpeed": 400, "engineSpeed": "fast", "fuelLevel1": 10**400}))
    assert found.rows[0].messages == {}
    assert found.left_out == {
        "snapshotData.wheelBasedSpeed: outside the range of CCVS1.WheelBasedVehicleSpeed": 1,
        "snapshotData.engineSpeed: no number": 1,
        "snapshotData.fuelLevel1: no number": 1,
    }


def test_odd_classes_are_left_out_and_counted(mapping: RfmsMapping) -> None:
    classes = [{"seconds": 1}, 7, {"from": 0, "to": 4, "seconds": -1, "meters": "x"}, {"from": 1e9, "seconds": 1}]
    found = read(mapping, status(accumulatedData={"vehicleSpeedClass": classes, "engineSpeedClass": {"from": 0}}))
    assert found.rows[0].messages == {}
    assert found.left_out == {
        "accumulatedData.vehicleSpeedClass: a class without bounds or label": 3,
        "accumulatedData.vehicleSpeedClass.seconds: no number from 0": 1,
        "accumulatedData.vehicleSpeedClass.meters: no number from 0": 1,
        "accumulatedData.engineSpeedClass: no list": 1,
    }


def test_histogram_columns_are_bounded(mapping: RfmsMapping) -> None:
    small = replace(mapping, maximum_class_columns=3)
    classes = [{"from": number, "to": number + 1, "seconds": 1} for number in range(5)]
    stored = frozenset({"rfms_accumulated.speed_kmh_4_to_5_s", "rfms_accumulated.speed_kmh_90_to_91_s"})
    found = read_statuses([status(accumulatedData={"vehicleSpeedClass": classes})], small, Rules(LIMITS), stored)
    assert sorted(found.rows[0].messages["rfms_accumulated"]) == ["speed_kmh_0_to_1_s", "speed_kmh_4_to_5_s"]
    assert found.left_out == {"class of a histogram: no column left": 3}


def test_trigger_and_tell_tales_become_events(mapping: RfmsMapping) -> None:
    record = status(
        trigger="TELL_TALE",
        uptimeData={
            "tellTaleInfo": [
                {"tellTale": "BRAKES", "state": "OFF"},
                {"tellTale": "ENGINE_OIL", "state": "YELLOW"},
                {"tellTale": "A_LAMP_OF_NEXT_YEAR", "state": "PURPLE"},
                {"tellTale": "OEM_SPECIFIC_TELL_TALE", "oemTellTale": "NO_GPS_SIGNAL", "state": "INFO"},
                {"tellTale": "FUEL_LEVEL", "state": "NOT_AVAILABLE"},
                {"state": "RED"},
            ]
        },
    )
    record["triggerType"]["tellTaleInfo"] = {"tellTale": "BRAKES", "state": "RED"}
    found = read(mapping, record)
    assert found.rows[0].events == (
        Event("trigger", "RFMS/TELL_TALE", None),
        Event("tell_tale", "BRAKES", "RED"),  # the trigger's own state counts
        Event("tell_tale", "ENGINE_OIL", "YELLOW"),
        Event("tell_tale", "A_LAMP_OF_NEXT_YEAR", "PURPLE"),
        Event("tell_tale", "OEM_SPECIFIC_TELL_TALE/NO_GPS_SIGNAL", "INFO"),
    )
    assert found.left_out == {"tell-tale NOT_AVAILABLE": 1, "tellTaleInfo.tellTale: no text": 1}


def test_off_that_yaml_made_false_is_off(mapping: RfmsMapping) -> None:
    row = one(mapping, uptimeData={"tellTaleInfo": [{"tellTale": "BRAKES", "state": False}]})
    assert row.events[1] == Event("tell_tale", "BRAKES", "OFF")


def test_unknown_enumeration_values_are_kept(mapping: RfmsMapping) -> None:
    row = one(mapping, trigger="SOLAR_ECLIPSE", snapshotData={"driver1WorkingState": "JUGGLING"})
    assert row.trigger == "RFMS/SOLAR_ECLIPSE"
    assert row.messages["rfms_snapshot"] == {"driver_1_working_state": "JUGGLING"}


def test_positions_and_drivers_are_left_out_unless_the_policy_says_otherwise(mapping: RfmsMapping) -> None:
    usual = read(mapping, full_status())
    assert "rfms_position" not in usual.rows[0].messages
    assert "rfms_driver" not in usual.rows[0].messages
    open_ = read(mapping, full_status(), positions=True, driver_name=lambda driver: f"name of {driver}")
    assert open_.rows[0].messages["rfms_position"] == {"latitude_deg": 57.71727, "longitude_deg": 11.921161}
    assert open_.rows[0].messages["rfms_driver"] == {"driver_1": "name of S/D1234567890123"}


def test_texts_hold_no_vin_and_nothing_unprintable(mapping: RfmsMapping) -> None:
    row = one(mapping, trigger=f"DOOR\x00_{VIN_1.lower()}\ud800", snapshotData={"fuelType": f"5 {VIN_2}"})
    assert row.trigger == "RFMS/DOOR_VIN"
    assert row.messages["rfms_snapshot"] == {"fuel_type": "5 VIN"}


def test_order_of_records_decides_nothing(mapping: RfmsMapping) -> None:
    records = [
        full_status(VIN_2, 3),
        full_status(VIN_1, 9),
        full_status(VIN_1, 3),
        full_status(VIN_1, 3, trigger="IGNITION_ON"),
    ]
    there, back = read(mapping, *records), read(mapping, *reversed(records))
    assert [replace(row, row_no=0) for row in there.rows] == [replace(row, row_no=0) for row in back.rows]
    assert there.plans == back.plans


def test_frames_have_the_shapes_of_the_store(mapping: RfmsMapping) -> None:
    found = read(mapping, full_status(VIN_1, 0), status(VIN_2, 1, totalEngineHours=5.0))
    rows = decoded_rows(found.rows, found.plans, {VIN_1: 11, VIN_2: 22}, mapping.channel)
    frames = {plan.name: frame for plan, frame in rows.telemetry}
    hours = frames["HOURS"]
    assert hours.select("vehicle_id", "channel", "source_address", "destination_address").rows() == [
        (22, "rfms", -1, -1),
        (11, "rfms", -1, -1),
    ]
    assert hours["EngTotalHoursOfOperation"].to_list() == [5.0, 1234.3]
    assert frames["ET1"].height == 1
    assert rows.events is not None
    assert rows.events.filter(kind="trigger").height == 2
    assert rows.events["value"].null_count() == rows.events.height
