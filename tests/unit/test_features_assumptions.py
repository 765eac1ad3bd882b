"""Each check of the daily aggregates, on rows made up by hand."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest
from checked_days import (
    AS_OF,
    FIRST,
    N_DAYS,
    at,
    changed,
    check,
    converted,
    daily,
    findings,
    fleet,
    fleet_status,
    row,
    told,
    vehicles,
)

from pm.errors import DataError, LeakageError
from pm.features.assumptions import (
    TrainingProfile,
    blocked_vehicles,
    fleet_block,
    make_profile,
    read_profile,
)
from pm.features.quantities import QUANTITIES
from pm.policy import CHECKS, Assumptions, Policy


def policy(**given: object) -> Policy:
    return replace(Policy(), assumptions=replace(Assumptions(), **given))


def profile_of(rows: list[dict[str, object]], as_of=AS_OF) -> TrainingProfile:
    return make_profile(
        daily(rows), as_of, feature_set_id="truck-1", vehicles=vehicles(), quantities=QUANTITIES, profile_d=90
    )


def without(rows, vehicle_id, signal, since):
    """`rows` without one truck's signal from day `since` on."""
    day = FIRST + timedelta(days=since)
    return [r for r in rows if not (r["vehicle_id"] == vehicle_id and r["signal"] == signal and r["day"] >= day)]


def with_values(rows, vehicle_id, signal, since, **values):
    day = FIRST + timedelta(days=since)
    is_it = [r["vehicle_id"] == vehicle_id and r["signal"] == signal and r["day"] >= day for r in rows]
    return [r | values if it else r for r, it in zip(rows, is_it, strict=True)]


def units_of(found: pl.DataFrame) -> list[dict[str, object]]:
    return findings(found).filter(pl.col("check_name") == "units").to_dicts()


class TestAll:
    def test_nothing_is_said_of_a_fleet_with_which_nothing_is_wrong(self):
        found = check(fleet())
        assert told(found) == []
        assert set(found["check_name"]) == set(CHECKS)
        statuses = dict(found.select("check_name", "status").iter_rows())
        assert statuses == dict.fromkeys(CHECKS, "pass") | {"nulls": "not_checked"}
        assert "there is no training profile yet" in found.filter(pl.col("check_name") == "nulls")["reason"].item()

    def test_an_empty_fleet_is_not_checked_and_says_so(self):
        found = check([])
        assert set(found["status"]) == {"not_checked"}
        said = found.filter(pl.col("check_name") == "units")["reason"].item()
        assert said == "there is nothing to look at: no daily values of the days looked back on are known"

    @pytest.mark.parametrize(("message", "is_told"), [("DM1", False), ("DM1_BROADCAST", False), ("DMX", True)])
    def test_trouble_codes_that_come_and_go_are_no_sensor(self, message, is_told):
        some = [row(2, day, "EngCoolantTemp") | {"message": message} for day in range(N_DAYS - 5)]
        assert bool(told(check(fleet() + some))) == is_told

    def test_a_check_that_is_off_leaves_a_row_that_says_so(self):
        rows = changed(fleet(), 2, "EngCoolantTemp", 25, 1.8, 32)
        found = check(rows, policy=policy(units="off", range="off"))
        assert told(found) == []
        row_of = found.filter(pl.col("check_name") == "units").to_dicts()[0]
        assert (row_of["status"], row_of["reason"]) == ("not_checked", "switched off by the policy")

    def test_a_mark_blocks_nobody(self):
        rows = changed(fleet(), 2, "EngCoolantTemp", 25, 1.8, 32)
        found = check(rows, policy=policy(units="mark", range="off"))
        assert told(found) == [("units", 2, "EngCoolantTemp", "mark")]
        assert blocked_vehicles(found) == {}

    def test_a_weekend_is_no_silence(self):
        parked = {FIRST + timedelta(days=day) for day in range(N_DAYS) if day % 7 >= 5}
        assert told(check([r for r in fleet() if r["day"] not in parked])) == []

    def test_a_truck_that_stands_for_three_weeks_is_not_silent(self):
        rows = [r for r in fleet() if r["vehicle_id"] != 3 or r["day"] < FIRST + timedelta(days=9)]
        assert told(check(rows)) == []


class TestUnits:
    @pytest.mark.parametrize(
        ("signal", "scale", "offset", "words"),
        [
            ("EngCoolantTemp", 1.8, 32.0, "degrees Fahrenheit in place of degrees Celsius"),
            ("EngCoolantTemp", 1.0, 273.15, "kelvin in place of degrees Celsius"),
            ("PneumaticSupplyPressure", 1 / 6.894757, 0.0, "psi in place of kPa"),
            ("PneumaticSupplyPressure", 0.01, 0.0, "bar in place of kPa"),
            ("BatteryPotential_PowerInput1", 0.5, 0.0, "volts of a 12 V system in place of a 24 V system"),
            ("HighResTotalVehicleDistance", 1 / 1.609344, 0.0, "miles in place of kilometres"),
            ("EngTotalHoursOfOperation", 60.0, 0.0, "minutes in place of hours"),
        ],
    )
    def test_a_change_of_unit_is_named(self, signal, scale, offset, words):
        (line,) = units_of(check(changed(fleet(), 2, signal, 26, scale, offset)))
        assert (line["vehicle_id"], line["signal"], line["conversion"], line["status"]) == (2, signal, words, "block")
        assert words in line["reason"]

    def test_the_figures_are_those_of_the_days(self):
        (line,) = units_of(check(changed(fleet(), 2, "EngCoolantTemp", 26, 1.8, 32)))
        # Days 27, 28 and 29 of truck 2 are off by -.82, 0 and .82: the median is 82 degC, 179.6 degF.
        assert line["value"] == pytest.approx(1.8 * 82.0 + 32)
        assert (line["expected_low"], line["expected_high"]) == (pytest.approx(60.0), pytest.approx(95.0))
        assert line["unit"] == "degC"
        assert line["known_at"] == at(N_DAYS - 1, 20)

    def test_a_truck_that_always_sent_another_unit_is_told_by_its_peers(self):
        (line,) = units_of(check(changed(fleet(), 2, "EngCoolantTemp", 0, 1.8, 32)))
        assert line["conversion"] == "degrees Fahrenheit in place of degrees Celsius"
        assert "trucks of its model" in line["reason"]

    def test_two_trucks_have_no_peers_and_a_profile_stands_in(self):
        rows = changed(fleet(2), 2, "EngCoolantTemp", 0, 1.8, 32)
        assert units_of(check(rows, n_vehicles=2)) == []
        (line,) = units_of(check(rows, n_vehicles=2, profile=profile_of(fleet(5, 20), at(20))))
        assert (line["vehicle_id"], line["signal"], line["status"]) == (2, "EngCoolantTemp", "block")
        assert "trucks of its model in training" in line["reason"]

    def test_what_wears_is_no_unit(self):
        rows = with_values(fleet(), 2, "EngCoolantTemp", 20, mean=99.0, minimum=66.0, maximum=112.0)
        assert told(check(rows)) == []
        rows = with_values(fleet(), 2, "BatteryPotential_PowerInput1", 20, mean=24.6, minimum=17.0, maximum=26.0)
        assert told(check(rows)) == []

    def test_a_signal_that_no_feature_is_made_of_is_marked_only(self):
        found = check(changed(fleet(), 2, "CabInteriorTemp", 26, 1.8, 32))
        assert told(found) == [("units", 2, "CabInteriorTemp", "mark")]

    def test_a_whole_model_blocked_is_the_fleet_blocked(self):
        rows = fleet()
        for vehicle in (1, 2, 3, 4):
            rows = changed(rows, vehicle, "EngCoolantTemp", 26, 1.8, 32)
        found = check(rows)
        assert set(blocked_vehicles(found)) == {1, 2, 3, 4}
        assert fleet_status(found, "units") == "block"
        assert "4 blocked" in str(fleet_block(found))
        assert fleet_block(check(changed(fleet(), 1, "EngCoolantTemp", 26, 1.8, 32))) is None


class TestCounters:
    def test_a_fall_is_found_with_both_readings(self):
        rows = with_values(
            fleet(), 4, "HighResTotalVehicleDistance", 29,
            minimum=100.0, maximum=600.0, first_value=100.0, last_value=600.0, mean=350.0,
        )  # fmt: skip
        found = findings(check(rows))
        (line,) = found.to_dicts()
        assert (line["check_name"], line["vehicle_id"], line["status"]) == ("counters", 4, "mark")
        assert (line["value"], line["expected_low"]) == (100.0, 54_500.0)
        assert "falls from 54,500.0 to 100.0 on 2026-03-31" in line["reason"]

    def test_a_jump_further_than_a_truck_drives(self):
        # 500 km a day; from 14 to 6 o'clock are 16 hours: at 130 km/h 2080 km, and 1 km of slack.
        jump = {"minimum": 56_582.0, "maximum": 57_082.0, "first_value": 56_582.0, "last_value": 57_082.0}
        rows = with_values(fleet(), 4, "HighResTotalVehicleDistance", 29, mean=56_800.0, **jump)
        (line,) = findings(check(rows)).to_dicts()
        assert "jumps from 54,500.0 to 56,582.0 within 16 h" in line["reason"]
        near = {name: value - 1.5 for name, value in jump.items()}
        assert told(check(with_values(fleet(), 4, "HighResTotalVehicleDistance", 29, mean=56_800.0, **near))) == []

    def test_a_fall_within_a_day_shows_in_its_extremes(self):
        rows = with_values(fleet(), 1, "EngTotalHoursOfOperation", 29, minimum=3.0)
        assert told(check(rows)) == [("counters", 1, "EngTotalHoursOfOperation", "mark")]

    def test_miles_for_three_days_and_kilometres_again_are_no_other_unit_any_more(self):
        there = changed(fleet(), 2, "HighResTotalVehicleDistance", 20, 1 / 1.609344)
        back = changed(there, 2, "HighResTotalVehicleDistance", 24, 1.609344)
        assert units_of(check(back)) == []
        assert len(units_of(check(there))) == 1

    def test_two_controllers_with_different_counts_are_both_right(self):
        other = [
            converted([r], 1.17, 40_000.0)[0] | {"source_address": 33}
            for r in fleet()
            if r["signal"] == "HighResTotalVehicleDistance"
        ]
        assert told(check(fleet() + other)) == []

    def test_two_channels_with_one_address_are_two_counters(self):
        other = [
            converted([r], 1.0, -5_000.0)[0] | {"channel": "can1"}
            for r in fleet()
            if r["signal"] == "HighResTotalVehicleDistance"
        ]
        assert told(check(fleet() + other)) == []


class TestRange:
    def test_outside_of_what_a_quantity_can_be(self):
        rows = with_values(fleet(), 2, "EngCoolantTemp", 29, maximum=151.0)
        (line,) = findings(check(rows)).to_dicts()
        assert (line["check_name"], line["value"]) == ("range", 151.0)
        assert line["reason"] == "expected -40 to 150 degC, but got 151"
        assert told(check(with_values(fleet(), 2, "EngCoolantTemp", 29, maximum=150.0))) == []

    def test_of_a_signal_without_quantity_the_range_of_the_dbc_counts(self):
        rows = with_values(fleet(), 2, "CabInteriorTemp", 29, minimum=-300.0)
        assert told(check(rows)) == [("range", 2, "CabInteriorTemp", "mark")]

    def test_an_old_day_that_came_late_is_looked_at_when_it_comes(self):
        rows = with_values(fleet(), 2, "EngCoolantTemp", 10, maximum=95.0)
        late = [
            r | {"maximum": 190.0, "known_at": at(N_DAYS - 1, 12)}
            if (r["vehicle_id"], r["signal"], r["day"]) == (2, "EngCoolantTemp", FIRST + timedelta(days=15))
            else r
            for r in rows
        ]
        assert ("range", 2, "EngCoolantTemp", "mark") in told(check(late))
        assert told(check(late, as_of=AS_OF + timedelta(days=2))) == []


class TestLiveness:
    def test_stuck_is_found_after_three_days_and_not_after_two(self):
        still = {"minimum": 77.0, "maximum": 77.0, "mean": 77.0, "m2": 0.0}
        assert told(check(with_values(fleet(), 2, "EngCoolantTemp", 28, **still))) == []
        found = findings(check(with_values(fleet(), 2, "EngCoolantTemp", 27, **still)))
        (line,) = found.to_dicts()
        assert (line["check_name"], line["value"]) == ("stuck", 77.0)
        assert line["reason"] == "one value (77) over the last 3 driving days, while the truck drove; before, it varied"

    def test_a_signal_that_never_varied_is_not_stuck(self):
        still = {"minimum": 77.0, "maximum": 77.0, "mean": 77.0, "m2": 0.0}
        assert told(check(with_values(fleet(), 2, "EngSpeed", 0, **still))) == []

    def test_a_state_without_a_unit_may_stay_as_it_is(self):
        states = [row(v, d, "EngCoolantTemp") | {"signal": "Fan"} for v in range(1, 4) for d in range(N_DAYS)]
        still = {"minimum": 77.0, "maximum": 77.0, "mean": 77.0, "m2": 0.0}
        assert told(check(fleet() + with_values(states, 2, "Fan", 25, **still))) == []

    def test_silent_is_found_after_three_days_and_not_after_two(self):
        assert told(check(without(fleet(), 2, "EngCoolantTemp", 28))) == []
        (line,) = findings(check(without(fleet(), 2, "EngCoolantTemp", 27))).to_dicts()
        assert line["check_name"] == "silent"
        expected = "no value over the last 3 driving days, while the truck drove; before, it was there on 27 of 27"
        assert line["reason"] == expected

    def test_silent_stays_found_while_there_is_a_past_to_compare_with(self):
        assert told(check(without(fleet(), 2, "EngCoolantTemp", 8))) == [("silent", 2, "EngCoolantTemp", "mark")]

    def test_a_third_of_the_rows_an_hour_is_found_and_two_thirds_are_not(self):
        few = with_values(fleet(), 2, "EngSpeed", 27, n_values=160)
        (line,) = findings(check(few)).to_dicts()
        assert (line["check_name"], line["message"], line["signal"]) == ("sampling", "EEC1", "")
        # 160 rows in 8 engine hours, 480 before.
        assert (line["value"], line["expected_low"], line["expected_high"]) == (20.0, 30.0, 120.0)
        assert told(check(with_values(fleet(), 2, "EngSpeed", 27, n_values=320))) == []

    def test_a_short_day_is_no_other_rate(self):
        rows = with_values(fleet(), 2, "EngSpeed", 29, n_values=240)
        short = with_values(rows, 2, "EngTotalHoursOfOperation", 29, last_value=20_236.0, maximum=20_236.0)
        assert told(check(short)) == []

    def test_the_share_of_null_is_held_against_the_profile(self):
        same_message = [
            row(v, d, "EngCoolantTemp") | {"signal": "EngOilTemp1"} for v in range(1, 6) for d in range(N_DAYS)
        ]
        profile = profile_of([r for r in fleet() + same_message if r["day"] < FIRST + timedelta(days=20)], at(20))
        rows = with_values(fleet() + same_message, 2, "EngCoolantTemp", 27, n_values=336)
        (line,) = findings(check(rows, profile=profile)).to_dicts()
        # 336 of 480: 30 % null, none in training, 20 % more allowed.
        assert (line["check_name"], line["signal"]) == ("nulls", "EngCoolantTemp")
        assert (line["value"], line["expected_high"]) == (pytest.approx(0.3), pytest.approx(0.2))
        rows = with_values(fleet() + same_message, 2, "EngCoolantTemp", 27, n_values=400)
        assert told(check(rows, profile=profile)) == []


class TestDeclared:
    @pytest.mark.parametrize(
        ("broken", "words"),
        [
            ({"mean": 300.0}, "the mean is not between the extremes"),
            ({"m2": -1.0}, "m2 is negative"),
            ({"mean": float("nan")}, "a figure is not finite"),
            ({"n_values": 0}, "n_values is not positive"),
            ({"known_at": at(5, 2)}, "it was known before it happened"),
            ({"last_at": at(29, 5)}, "the last value is before the first"),
            ({"first_at": at(28, 6)}, "a value is of another day"),
        ],
    )
    def test_a_row_that_cannot_be_blocks_its_vehicle(self, broken, words):
        rows = fleet()
        at_row = next(
            i for i, r in enumerate(rows)
            if (r["vehicle_id"], r["signal"], r["day"]) == (3, "EngSpeed", FIRST + timedelta(days=29))
        )  # fmt: skip
        rows[at_row] = rows[at_row] | broken
        reasons = blocked_vehicles(check(rows))
        assert list(reasons) == [3]
        assert words in reasons[3]
        assert "EEC1.EngSpeed on 2026-03-31" in reasons[3]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda frame: frame.drop("mean"),
            lambda frame: frame.with_columns(pl.col("mean").cast(pl.String)),
            lambda frame: pl.concat([frame, frame.head(1)]),
            lambda frame: frame.drop("known_at"),
            lambda frame: frame.with_columns(mean=pl.when(pl.col("vehicle_id") != 3).then("mean")),
        ],
        ids=["column missing", "text", "key twice", "no known_at", "null"],
    )
    def test_a_frame_that_is_not_as_declared_blocks_the_fleet_and_nothing_else_is_checked(self, spoil):
        found = check(spoil(daily(fleet())))
        assert "table daily_signal" in str(fleet_block(found))
        assert set(found.filter(pl.col("check_name") != "schema")["status"]) == {"not_checked"}


class TestProfile:
    def test_the_document_is_the_same_profile_again(self):
        profile = profile_of(fleet())
        again = read_profile(profile.content_json)
        assert again.rows.equals(profile.rows)
        assert again.profile_id == profile.profile_id

    def test_a_row_is_what_one_counts_by_hand(self):
        (line,) = profile_of(fleet()).rows.filter(pl.col("signal") == "EngTotalHoursOfOperation").to_dicts()
        assert (line["n_vehicles"], line["n_days"]) == (5, 150)
        assert (line["varying_share"], line["null_share_high"], line["rows_an_hour"]) == (1.0, 0.0, 60.0)

    def test_rows_known_after_the_cutoff_change_nothing(self):
        late = [r | {"known_at": at(40), "log_file_id": 9, "mean": 1.0} for r in fleet()]
        assert profile_of(fleet() + late).profile_id == profile_of(fleet()).profile_id

    def test_a_profile_of_later_is_refused(self):
        with pytest.raises(LeakageError, match="expected one made by"):
            check(fleet(), as_of=at(20), profile=profile_of(fleet()))

    @pytest.mark.parametrize("content", ["{}", "[]", '{"as_of": "x", "rows": [], "feature_set_id": ""}', "no json"])
    def test_another_document_is_refused(self, content):
        with pytest.raises(DataError, match="training profile"):
            read_profile(content)
