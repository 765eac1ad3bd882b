"""Windows, changes, counters, codes and repairs of a truck, worked out by hand."""

import hashlib
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from pm.errors import ConfigError, DataError
from pm.features.events import KNOWN_EVENT
from pm.features.featureset import Feature, FeatureSet, Recipe, default_feature_set
from pm.features.windows import build_vectors
from pm.policy import Policy
from pm.tables import DAILY_FAULT, DAILY_SIGNAL, FAILURE, FEATURE_VECTOR, VEHICLE

AS_OF = datetime(2025, 3, 1, tzinfo=UTC)
COOLANT = ("ET1", "EngCoolantTemp")
ODOMETER = ("VDHR", "HighResTotalVehicleDistance")


def vehicle(vehicle_id=1, **given):
    row = {"vehicle_id": vehicle_id, "fleet": "f", "vehicle_ref": str(vehicle_id), "model": "A", "model_year": 2020,
           "known_at": AS_OF - timedelta(days=900)}  # fmt: skip
    return {**row, **given}


def day(ago, mean=80.0, *, source=COOLANT, known_d=None, low=None, high=None, first=None, last=None, **given):
    """One partial of the day `ago` days before the as-of, known at its end unless `known_d` (days from the as-of)."""
    start = AS_OF - timedelta(days=ago)
    row = {
        "vehicle_id": 1, "day": start.date(), "log_file_id": ago,
        "known_at": AS_OF + timedelta(days=1 - ago if known_d is None else known_d),
        "message": source[0], "signal": source[1], "channel": "can0", "source_address": 0, "n_values": 10,
        "mean": mean, "m2": 0.0, "minimum": mean if low is None else low, "maximum": mean if high is None else high,
        "first_at": start + timedelta(hours=6), "last_at": start + timedelta(hours=9),
        "first_value": mean if first is None else first, "last_value": mean if last is None else last,
    }  # fmt: skip
    return {**row, **given}


def reading(ago, first, last, **given):
    """A counter's day."""
    values = {"low": min(first, last), "high": max(first, last), "first": first, "last": last, "source": ODOMETER}
    return day(ago, **{**values, **given})


def code(ago, *, spn=110, fmi=16, red=0, amber=0, **given):
    start = AS_OF - timedelta(days=ago)
    row = {
        "vehicle_id": 1, "day": start.date(), "log_file_id": ago, "known_at": start + timedelta(days=1),
        "channel": "can0", "source_address": 0, "spn": spn, "fmi": fmi, "n_reports": 400, "first_at": start,
        "last_at": start + timedelta(hours=1), "n_red": red, "n_amber": amber,
    }  # fmt: skip
    return {**row, **given}


def visit(failed_ago, *, known_ago, restored_ago=None, kind="failure", component="cooling", order="W", vehicle_id=1):
    back = failed_ago - 1 if restored_ago is None else restored_ago
    return {
        "source_system": "s", "work_order_id": order, "line_no": 1, "known_at": AS_OF - timedelta(days=known_ago),
        "vehicle_id": vehicle_id, "component": component, "kind": kind, "rule": "r",
        "failed_at": AS_OF - timedelta(days=failed_ago), "restored_at": AS_OF - timedelta(days=back),
    }  # fmt: skip


def event(ago_d, code="E1", *, kind="error", known_ago=None, vehicle_id=1):
    time = AS_OF - timedelta(days=ago_d)
    known_at = time if known_ago is None else AS_OF - timedelta(days=known_ago)
    return {"vehicle_id": vehicle_id, "time": time, "kind": kind, "code": code, "severity": None, "value": None,
            "log_file_id": 1, "known_at": known_at}  # fmt: skip


def vectors(recipes, *, signals=(), codes=(), visits=(), vehicles=None, as_ofs=(AS_OF,), events=(), readings=()):
    features = tuple(Feature(f"f{i}", "1", "m", ("s",), recipe) for i, recipe in enumerate(recipes))
    return build_vectors(
        FeatureSet("test", 1, features), as_ofs, vehicles=VEHICLE.frame(vehicles or [vehicle()]),
        daily_signals=DAILY_SIGNAL.frame(list(signals)), daily_faults=DAILY_FAULT.frame(list(codes)),
        failures=FAILURE.frame(list(visits)), policy=Policy(), events=KNOWN_EVENT.frame(list(events)),
        readings=DAILY_SIGNAL.frame(list(readings)),
    )  # fmt: skip


def value(kind, of="", days=0, **given):
    """The one feature of the one vehicle at the one as-of."""
    made = vectors([Recipe(kind, of, days)], **given)
    assert made.height == 1
    return made["features"].to_list()[0][0]


def test_window_is_the_whole_days_before_the_as_of():
    signals = [day(0, 999.0, known_d=0), day(1, 80.0), day(2, 90.0), day(3, 100.0), day(4, 500.0)]
    assert value("mean", "coolant_c", 3, signals=signals) == 90.0
    assert value("mean", "coolant_c", 1, signals=signals) == 80.0
    assert value("min", "coolant_c", 3, signals=signals) == 80.0
    assert value("max", "coolant_c", 3, signals=signals) == 100.0


def test_mean_weighs_values_and_spread_counts_within_and_between_days():
    signals = [day(1, 2.0, n_values=3, m2=2.0), day(2, 6.0, n_values=1)]  # values 1, 2, 3 and 6
    assert value("mean", "coolant_c", 7, signals=signals) == 3.0
    assert value("std", "coolant_c", 7, signals=signals) == pytest.approx(np.std([1, 2, 3, 6], ddof=1))
    assert value("std", "coolant_c", 7, signals=[day(1, 6.0, n_values=1)]) is None


def test_day_known_later_than_the_as_of_is_not_there_and_changes_the_next_as_of():
    signals = [day(1, 80.0), day(2, 90.0, known_d=0.5)]
    assert value("mean", "coolant_c", 7, signals=signals) == 80.0
    assert value("mean", "coolant_c", 7, signals=signals, as_ofs=[AS_OF + timedelta(days=1)]) == 85.0


def test_second_file_of_a_day_joins_when_it_is_known():
    signals = [day(1, 80.0), day(1, 90.0, log_file_id=50, known_d=1)]
    means = vectors([Recipe("mean", "coolant_c", 7)], signals=signals, as_ofs=[AS_OF, AS_OF + timedelta(days=1)])
    assert means["features"].to_list() == [[80.0], [85.0]]


def test_slope_is_that_of_the_daily_means_and_needs_four_days():
    signals = [day(ago, 100.0 - 2.0 * ago) for ago in (1, 2, 5, 9)]
    assert value("slope", "coolant_c", 14, signals=signals) == pytest.approx(2.0)
    assert value("slope", "coolant_c", 14, signals=signals[:3]) is None


def test_change_is_against_the_trucks_own_past():
    past = [day(ago, 80.0) for ago in range(4, 11)]
    recent = [day(ago, 86.0) for ago in (1, 2, 3)]
    assert value("change", "coolant_c", 3, signals=past + recent) == 6.0
    assert value("change", "coolant_c", 3, signals=past[1:] + recent) is None
    assert value("change", "coolant_c", 3, signals=past) is None


def test_peers_are_other_trucks_of_the_same_model_and_duty():
    duties = ["regional"] * 4 + ["urban"] * 4
    vehicles = [vehicle(i, duty=duty) for i, duty in enumerate(duties, 1)] + [vehicle(9, model="B", duty="urban")]
    means = (80.0, 82.0, 90.0, 91.0, 10.0, 20.0, 30.0, 40.0, 500.0)
    signals = [day(1, mean, vehicle_id=i) for i, mean in enumerate(means, 1)]
    made = vectors([Recipe("peers", "coolant_c", 7)], signals=signals, vehicles=vehicles)
    assert made["features"].to_list() == [[-10.0], [-8.0], [8.0], [9.0], [-20.0], [-10.0], [10.0], [20.0], [None]]


def test_too_few_peers_of_the_duty_leave_those_of_the_model_and_then_nothing():
    vehicles = [vehicle(i, duty="urban" if i < 4 else "regional") for i in range(1, 5)]
    signals = [day(1, mean, vehicle_id=i) for i, mean in enumerate((80.0, 82.0, 90.0, 100.0), 1)]
    recipes = [Recipe("peers", "coolant_c", 7)]
    made = vectors(recipes, signals=signals, vehicles=vehicles)
    assert made["features"].to_list() == [[-10.0], [-8.0], [8.0], [18.0]]
    made = vectors(recipes, signals=signals[:3], vehicles=vehicles)
    assert made["features"].to_list() == [[None]] * 4


def test_excess_is_the_difference_of_two_means():
    signals = [day(1, 85.0), day(1, 5.0, source=("AMB", "AmbientAirTemp"))]
    assert value("excess", "coolant_c-ambient_c", 7, signals=signals) == 80.0
    assert value("excess", "coolant_c-ambient_c", 7, signals=signals[:1]) is None


def test_counter_gains_within_and_between_days():
    signals = [reading(3, 1000.0, 1100.0), reading(2, 1150.0, 1200.0)]
    assert value("gain", "odometer_km", 7, signals=signals) == 200.0
    assert value("gain", "odometer_km", 2, signals=signals) == 50.0
    assert value("latest", "odometer_km", 28, signals=signals) == 1200.0
    assert value("gain", "odometer_km", 1, signals=signals) is None


def test_counter_that_falls_was_reset():
    between_days = [reading(3, 1000.0, 1100.0), reading(2, 20.0, 60.0)]
    assert value("gain", "odometer_km", 7, signals=between_days) == 140.0
    within_a_day = [reading(2, 1000.0, 30.0, low=0.0, high=1010.0)]
    assert value("gain", "odometer_km", 7, signals=within_a_day) == 40.0


def test_files_of_a_day_join_in_the_order_driven_not_in_that_of_arrival():
    noon = AS_OF - timedelta(hours=12)
    morning = reading(1, 1000.0, 1040.0, log_file_id=2, known_d=0, last_at=noon)
    evening = reading(
        1, 1050.0, 1100.0, log_file_id=1, known_d=-0.1, first_at=noon, last_at=noon + timedelta(hours=3)
    )  # fmt: skip
    for signals in ([morning, evening], [evening, morning]):
        assert value("latest", "odometer_km", 28, signals=signals) == 1100.0
        assert value("gain", "odometer_km", 7, signals=signals) == 100.0
    assert (
        value("gain", "odometer_km", 7, signals=[{**morning, "known_at": AS_OF - timedelta(days=1)}, evening]) == 100.0
    )


def test_two_controllers_are_never_mixed():
    cluster, tachograph = {"source_address": 23}, {"source_address": 238}
    signals = [reading(ago, 1000.0 - ago, 1001.0 - ago, **cluster) for ago in (1, 2)]
    signals += [reading(ago, 9000.0 - ago, 9001.0 - ago, log_file_id=90, **tachograph) for ago in (1, 2)]
    assert value("latest", "odometer_km", 28, signals=signals) == 1000.0
    assert value("gain", "odometer_km", 28, signals=signals) == 2.0
    rare = [{**row, "n_values": 4} if row["source_address"] == 23 else row for row in signals]
    assert value("latest", "odometer_km", 28, signals=rare) == 9000.0


def test_second_choice_of_a_signal_is_used_where_the_first_is_missing():
    low_resolution = reading(1, 500.0, 600.0, source=("VD", "TotalVehicleDistance"))
    assert value("latest", "odometer_km", 28, signals=[low_resolution]) == 600.0
    assert value("latest", "odometer_km", 28, signals=[low_resolution, reading(9, 10.0, 20.0)]) == 20.0


CODES = [
    code(1), code(2), code(2, fmi=0, red=1), code(10, spn=111, amber=5), code(20, spn=1569, fmi=31), code(27),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "of", "days", "expected"),
    [
        ("codes", "cooling", 3, 3.0),
        ("codes", "cooling", 14, 4.0),
        ("codes", "brakes_air", 14, 0.0),
        ("codes", "", 28, 6.0),
        ("code_days", "cooling", 28, 4.0),
        ("code_days", "", 7, 2.0),
        ("different_codes", "", 28, 4.0),
        ("new_codes", "", 7, 1.0),
        ("newest_code", "", 28, 2.0),
        ("red_days", "", 14, 1.0),
        ("amber_days", "", 14, 1.0),
    ],
)
def test_codes_are_counted_by_day(kind, of, days, expected):
    signals = [day(ago) for ago in range(1, 29)]
    assert value(kind, of, days, codes=CODES, signals=signals) == expected


def test_silence_is_zero_codes_only_where_the_truck_was_heard():
    assert value("codes", "cooling", 14, signals=[day(3)]) == 0.0
    assert value("codes", "cooling", 14, signals=[day(20)]) is None
    assert value("newest_code", "", 28, signals=[day(3)]) is None


def test_code_known_later_is_not_there():
    assert value("codes", "", 14, codes=[code(1, known_at=AS_OF + timedelta(hours=1))], signals=[day(1)]) == 0.0
    assert value("codes", "", 14, codes=[code(0, known_at=AS_OF)], signals=[day(1)]) == 0.0


def test_days_since_repair_runs_from_the_last_repair_known():
    visits = [
        visit(60, known_ago=50, order="old"),
        visit(20, known_ago=10, kind="planned", order="planned"),
        visit(9, known_ago=5, kind="no_trouble_found", order="ntf"),
        visit(8, known_ago=5, component="brakes_air", order="other part"),
        visit(6, known_ago=-1, order="not yet known"),
        visit(3, known_ago=2, restored_ago=-4, order="still in the workshop"),
    ]
    assert value("days_since_repair", "cooling", visits=visits) == 19.0
    assert value("days_since_repair", "cooling", visits=visits[:1]) == 59.0
    assert value("days_since_repair", "cooling") is None
    assert value("days_since_repair", "cooling", visits=[visit(20, known_ago=18, restored_ago=10)]) == 10.0
    assert value("days_since_repair", "cooling", visits=[visit(800, known_ago=790)]) == 365.0


def test_failures_before_count_in_their_latest_version():
    visits = [visit(60, known_ago=50, order="a"), visit(30, known_ago=25, order="b"), visit(9, known_ago=8, order="c")]
    assert value("failures", "cooling", visits=visits) == 3.0
    assert value("failures", "", 40, visits=visits) == 2.0
    withdrawn = [*visits, visit(9, known_ago=1, order="c", kind="withdrawn")]
    assert value("failures", "cooling", visits=withdrawn) == 2.0
    assert value("failures", "brakes_air", visits=visits) == 0.0
    found_nothing = [
        visit(9, known_ago=8, kind="no_trouble_found"),
        visit(100, known_ago=99, kind="no_trouble_found", order="b"),
    ]
    assert value("no_trouble_found", "cooling", 90, visits=found_nothing) == 1.0


def test_runs_and_shares_of_code_days_leave_out_days_without_data():
    signals = [day(ago) for ago in (1, 2, 4, 5, 6)]
    codes = [code(1), code(2), code(4), code(6)]
    assert value("code_streak", "cooling", 28, signals=signals, codes=codes) == 3.0
    assert value("code_day_share", "cooling", 28, signals=signals, codes=codes) == pytest.approx(0.8)
    assert value("code_streak", "cooling", 28, signals=signals) == 0.0
    assert value("code_streak", "cooling", 3, signals=signals[3:]) is None


def test_days_on_which_two_components_speak():
    codes = [code(1), code(1, spn=46), code(2), code(3, spn=46), code(9), code(9, spn=46)]
    assert value("component_days", "", 7, codes=codes, signals=[day(1)]) == 1.0
    assert value("component_days", "", 14, codes=codes, signals=[day(1)]) == 2.0
    assert value("component_days", "", 14, signals=[day(1)]) == 0.0


def test_red_lamp_with_a_raised_quantity():
    signals = [day(ago, 90.0 if ago < 3 else 80.0) for ago in range(1, 20)]
    codes = [code(1, red=1), code(2), code(5, red=1)]
    assert value("red_above", "coolant_c", 14, signals=signals, codes=codes) == 1.0
    assert value("red_above", "coolant_c", 14, signals=signals) == 0.0
    assert value("red_above", "coolant_c", 14) is None


def test_gain_of_a_counter_since_the_last_repair():
    signals = [reading(1, 5000.0, 5100.0)]
    after = [reading(ago, 1000.0 + ago, 1000.5 + ago) for ago in (97, 98, 99)]
    visits = [visit(101, known_ago=90, restored_ago=100), visit(300, known_ago=299, order="old")]
    given = {"signals": signals, "visits": visits}
    assert value("gain_since_repair", "odometer_km-cooling", 28, readings=after, **given) == 5100.0 - 1099.0
    assert value("gain_since_repair", "odometer_km-cooling", 28, **given) is None
    other = [{**row, "source_address": 238} for row in after]
    assert value("gain_since_repair", "odometer_km-cooling", 28, readings=other, **given) is None
    reset = [{**row, "first_value": 9e5} for row in after]
    assert value("gain_since_repair", "odometer_km-cooling", 28, readings=reset, **given) is None
    assert value("gain_since_repair", "odometer_km-turbo", 28, readings=after, **given) is None


def test_events_are_counted_back_from_the_as_of():
    events = [event(0.5), event(0.6), event(3, "E2"), event(9, kind="alarm"), event(0.1, known_ago=-1)]
    assert value("events", "", 7, events=events) == 3.0
    assert value("events", "code:E1", 14, events=events) == 3.0
    assert value("events", "kind:alarm", 14, events=events) == 1.0
    assert value("event_days", "code:E1", 7, events=events) == 1.0
    assert value("days_since_event", "code:E2", 28, events=events) == 3.0
    assert value("days_since_event", "code:E2", 2, events=events) is None
    assert value("events", "code:none", 7) == 0.0


def test_coverage_and_age():
    signals = [day(1), day(3), day(3, source=ODOMETER), day(9), day(2, source=("X", "unused"))]
    assert value("days_with_data", "", 7, signals=signals) == 3.0
    assert value("days_with_data", "", 14, signals=signals) == 4.0
    assert value("age") == pytest.approx(5 + 59 / 365.25)
    assert value("age", vehicles=[vehicle(model_year=None)]) is None


def test_data_until_is_the_last_value_known_within_the_lookback():
    signals = [day(0, known_d=0), day(1, known_d=1), day(4), day(2, source=("X", "unused"))]
    made = vectors([Recipe("mean", "coolant_c", 7)], signals=signals)
    assert made["data_until"].to_list() == [AS_OF - timedelta(days=2) + timedelta(hours=9)]
    assert vectors([Recipe("mean", "coolant_c", 7)], signals=[day(8)])["data_until"].to_list() == [None]


def test_vehicle_without_data_has_a_row_of_nulls_and_one_out_of_the_fleet_has_none():
    made = build_vectors(
        default_feature_set(Policy()), [AS_OF],
        vehicles=VEHICLE.frame([
            vehicle(1), vehicle(2, left_at=AS_OF), vehicle(3, in_service_at=AS_OF + timedelta(days=1)),
            vehicle(4, known_at=AS_OF + timedelta(days=1)), vehicle(5, left_at=AS_OF + timedelta(days=1)),
        ]),
        daily_signals=DAILY_SIGNAL.empty(), daily_faults=DAILY_FAULT.empty(), failures=FAILURE.empty(), policy=Policy(),
    )  # fmt: skip
    assert made["vehicle_id"].to_list() == [1, 5]
    names = default_feature_set(Policy()).names
    numbers = {
        name: number for name, number in zip(names, made["features"].to_list()[0], strict=True) if number is not None
    }
    assert set(numbers) == {n for n in names if n.startswith(("n_days_with", "age", "n_failures", "n_no_trouble"))}
    assert made["data_until"].to_list() == [None, None]


def test_hash_covers_set_vehicle_as_of_and_values():
    row = vectors([Recipe("mean", "coolant_c", 7)], signals=[day(1)]).row(0, named=True)
    head = f"{row['feature_set_id']}|1|2025-03-01T00:00:00+00:00|".encode()
    expected = hashlib.sha256(head + np.array([80.0], "<f4").tobytes()).hexdigest()[:16]
    assert row["inputs_hash"] == expected


def test_no_as_of_and_no_vehicle_give_no_rows():
    recipes = [Recipe("mean", "coolant_c", 7)]
    assert vectors(recipes, as_ofs=[]).equals(FEATURE_VECTOR.empty())
    early = vectors(recipes, vehicles=[vehicle(in_service_at=AS_OF + timedelta(days=9))])
    assert early.equals(FEATURE_VECTOR.empty())


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe("mean", "nonsense", 7),
        Recipe("codes", "gearbox", 7),
        Recipe("codes", "cooling", 60),
        Recipe("gain_since_repair", "odometer_km-gearbox", 7),
        Recipe("events", "component:gearbox", 7),
    ],
)
def test_feature_that_cannot_be_computed_is_named(recipe):
    with pytest.raises(ConfigError, match="feature f0: expected"):
        vectors([recipe])


def test_as_of_without_utc_is_refused():
    with pytest.raises(DataError, match="as_of: expected a UTC instant"):
        vectors([Recipe("age")], as_ofs=[datetime(2025, 3, 1)])


def test_frame_of_another_shape_is_refused():
    with pytest.raises(DataError, match="table daily_fault: expected columns"):
        build_vectors(
            default_feature_set(Policy()), [AS_OF], vehicles=VEHICLE.frame([vehicle()]), failures=FAILURE.empty(),
            daily_signals=DAILY_SIGNAL.empty(), daily_faults=pl.DataFrame(), policy=Policy(),
        )  # fmt: skip
