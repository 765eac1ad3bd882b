"""Label states on random histories: against a second engine in plain Python, and against time."""

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from pm.asof import latest_known
from pm.labels.booking import Booking, Calendar
from pm.labels.horizon import changed_labels, label_rows
from pm.labels.maturation import estimate_lag_d
from pm.policy import Policy
from pm.tables import FAILURE, LABEL, VEHICLE

DAY_0 = datetime(2025, 1, 1, tzinfo=UTC)
POLICY = Policy()
H = timedelta(days=POLICY.horizon.days)
LONGEST = timedelta(days=POLICY.labels.maximum_lag_d)
COMPONENTS = ("brakes_air", "cooling")
AS_OFS = tuple(DAY_0 + timedelta(days=day) for day in range(0, 40, 3))
VEHICLES = (1, 2)
KINDS = ("failure", "failure", "planned", "campaign", "no_trouble_found", "other", "withdrawn")
LABEL_KEY = ("vehicle_id", "component", "as_of", "horizon_d")

days = st.integers(0, 120).map(lambda half: DAY_0 + timedelta(days=half / 2))


@st.composite
def a_version(draw):
    failed_at = draw(days)
    stay = draw(st.one_of(st.none(), st.integers(0, 12)))
    return {
        "source_system": "s", "work_order_id": draw(st.sampled_from("ABCD")), "line_no": 1,
        "known_at": draw(days), "vehicle_id": draw(st.sampled_from(VEHICLES)),
        "component": draw(st.sampled_from((*COMPONENTS, "other"))),
        "kind": draw(st.sampled_from(KINDS)),
        "failed_at": failed_at, "rule": "r",
        "restored_at": None if stay is None else failed_at + timedelta(days=stay / 2),
    }  # fmt: skip


histories = st.lists(
    a_version(), max_size=10, unique_by=lambda version: (version["work_order_id"], version["known_at"])
)  # fmt: skip


@st.composite
def a_fleet(draw):
    return [
        {
            "vehicle_id": vehicle_id, "fleet": "f", "vehicle_ref": str(vehicle_id),
            "known_at": DAY_0 - timedelta(days=9),
            "in_service_at": draw(st.one_of(st.none(), days)), "left_at": draw(st.one_of(st.none(), days)),
        }
        for vehicle_id in VEHICLES
    ]  # fmt: skip


def table(history, fleet, known_at, observed_until, lag_d):
    return label_rows(
        AS_OFS, vehicles=VEHICLE.frame(fleet), failures=FAILURE.frame(history), components=COMPONENTS,
        known_at=known_at, observed_until=observed_until, lag_d=lag_d, policy=POLICY,
    )  # fmt: skip


def plain_state(vehicle, component, as_of, latest, *, known_at, observed_until, lag):
    """The definition, read off the design line by line; None: no row."""
    end = as_of + H
    mine = [line for line in latest if line["vehicle_id"] == vehicle["vehicle_id"] and line["kind"] != "withdrawn"]
    left_at = vehicle["left_at"] if vehicle["left_at"] and vehicle["left_at"] <= known_at else None
    if (vehicle["in_service_at"] and vehicle["in_service_at"] > as_of) or (left_at and left_at <= as_of):
        return None
    if any(v["failed_at"] <= as_of < (v["restored_at"] or v["failed_at"] + LONGEST) for v in mine):
        return None
    inside = [v for v in mine if v["component"] == component and as_of < v["failed_at"] <= end]
    failed = [v["failed_at"] for v in inside if v["kind"] == "failure"]
    if failed:
        return "positive", min(failed)
    if any(v["kind"] in ("planned", "campaign") for v in inside) or (left_at and left_at < end):
        return "censored", None
    if end > observed_until and known_at >= end:
        return "censored", None
    return ("negative" if known_at >= end + lag else "pending"), None


@settings(max_examples=150, deadline=None)
@given(history=histories, fleet=a_fleet(), known_at=days, observed_until=days, lag_d=st.sampled_from((0.0, 3.5, 20.0)))
def test_two_engines_agree(history, fleet, known_at, observed_until, lag_d):
    newest = {}
    for version in sorted(history, key=lambda version: version["known_at"]):
        if version["known_at"] <= known_at:
            newest[version["work_order_id"]] = version
    expected = {}
    for vehicle in fleet:
        for component in COMPONENTS:
            for as_of in AS_OFS:
                state = plain_state(
                    vehicle, component, as_of, newest.values(), known_at=known_at, observed_until=observed_until,
                    lag=timedelta(days=lag_d),
                )  # fmt: skip
                if state:
                    expected[vehicle["vehicle_id"], component, as_of] = state
    rows = table(history, fleet, known_at, observed_until, lag_d)
    assert {row[:3]: row[3:] for row in rows.drop("horizon_d", "known_at").rows()} == expected
    assert rows.filter(pl.col("known_at") > known_at).is_empty()


@settings(max_examples=60, deadline=None)
@given(history=histories, fleet=a_fleet(), known_at=days, seed=st.randoms())
def test_what_becomes_known_later_and_the_order_of_arrival_change_nothing(history, fleet, known_at, seed):
    full = table(history, fleet, known_at, DAY_0 + timedelta(days=300), 7.0)
    shuffled = [version for version in history if version["known_at"] <= known_at]
    seed.shuffle(shuffled)
    assert full.equals(table(shuffled, fleet, known_at, DAY_0 + timedelta(days=300), 7.0))


@settings(max_examples=60, deadline=None)
@given(history=histories, fleet=a_fleet(), knowledge=st.lists(days, min_size=1, max_size=5, unique=True))
def test_history_of_changes_replays_every_state(history, fleet, knowledge):
    stored, seen = LABEL.empty(), {}
    for known_at in sorted(knowledge):
        now = table(history, fleet, known_at, DAY_0 + timedelta(days=300), 7.0)
        stored = LABEL.check(pl.concat([stored, changed_labels(stored, now, known_at=known_at)]))
        seen[known_at] = now
    for known_at, now in seen.items():
        replayed = latest_known(stored, known_at, LABEL_KEY)
        both = now.join(replayed, on=LABEL_KEY, suffix="_replayed")
        assert both.height == now.height
        assert both.filter(
            (pl.col("state") != pl.col("state_replayed"))
            | pl.col("failed_at").ne_missing(pl.col("failed_at_replayed"))
        ).is_empty()  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(history=histories, fleet=a_fleet())
def test_positive_dates_from_the_instant_it_became_so(history, fleet):
    end = DAY_0 + timedelta(days=100)
    positives = table(history, fleet, end, DAY_0 + timedelta(days=300), 7.0).filter(pl.col("state") == "positive")
    for vehicle_id, component, as_of, _, known_at, _, failed_at in positives.head(3).rows():
        row = (pl.col("vehicle_id") == vehicle_id) & (pl.col("component") == component) & (pl.col("as_of") == as_of)
        then = table(history, fleet, known_at, DAY_0 + timedelta(days=300), 7.0).filter(row)
        before = table(history, fleet, known_at - timedelta(microseconds=1), DAY_0 + timedelta(days=300), 7.0).filter(
            row
        )
        assert then.is_empty() or then["failed_at"].to_list() == [failed_at]
        assert before.is_empty() or before["failed_at"].to_list() != [failed_at]


WORKDAYS = Calendar(frozenset({5, 6}))
calendars = st.builds(
    Calendar,
    closed_weekdays=st.frozensets(st.integers(0, 6), max_size=5),
    closed_days=st.frozensets(st.dates(DAY_0.date(), DAY_0.date() + timedelta(days=90)), max_size=5),
    month_days=st.one_of(st.none(), st.tuples(st.integers(-2, 0), st.integers(0, 2))),
)
instants = st.integers(0, 24 * 90).map(lambda hour: DAY_0 + timedelta(hours=hour))


@settings(max_examples=200, deadline=None)
@given(calendar=calendars, first=instants, second=instants)
def test_what_is_due_later_is_booked_no_earlier_and_nothing_is_booked_before_it_is_due(calendar, first, second):
    early, late = sorted((first, second))
    booked = calendar.next_booking(early)
    assert early <= booked <= calendar.next_booking(late)
    assert calendar.next_booking(booked) == booked


@settings(max_examples=80, deadline=None)
@given(history=histories, fleet=a_fleet(), known_at=days, later=st.integers(0, 40), booking=st.builds(
    Booking, recorded=st.sampled_from((Calendar(), WORKDAYS, Calendar(month_days=(0, 0)))),
    dated=st.sampled_from((Calendar(), WORKDAYS)),
))  # fmt: skip
def test_without_news_a_label_changes_by_time_alone_and_only_from_pending(history, fleet, known_at, later, booking):
    """The same versions known, and nothing leaving the fleet: only pending turns, into negative and at its time."""
    staying = [{**vehicle, "left_at": None} for vehicle in fleet]
    seen = [version for version in history if version["known_at"] <= known_at]
    then, now = (
        label_rows(
            AS_OFS, vehicles=VEHICLE.frame(staying), failures=FAILURE.frame(seen), components=COMPONENTS,
            known_at=instant, observed_until=DAY_0 + timedelta(days=300), lag_d=2.0, policy=POLICY, booking=booking,
        )
        for instant in (known_at, known_at + timedelta(days=later))
    )  # fmt: skip
    both = then.join(now, on=LABEL_KEY, suffix="_now")
    assert both.height == then.height == now.height
    changed = both.filter(pl.col("state") != pl.col("state_now"))
    assert set(changed.select("state", "state_now").rows()) <= {("pending", "negative")}
    for row in changed.iter_rows(named=True):
        due = booking.recorded.next_booking(row["as_of"] + H + timedelta(days=2))
        assert known_at < due <= known_at + timedelta(days=later)


@settings(max_examples=80, deadline=None)
@given(history=histories, fleet=a_fleet(), known_at=days)
def test_a_closed_calendar_only_delays_and_only_takes_negatives_away(history, fleet, known_at):
    """Against the same labels without calendars: pending or censored where it was negative, nothing else."""
    plain = table(history, fleet, known_at, DAY_0 + timedelta(days=300), 2.0)
    closed = label_rows(
        AS_OFS, vehicles=VEHICLE.frame(fleet), failures=FAILURE.frame(history), components=COMPONENTS,
        known_at=known_at, observed_until=DAY_0 + timedelta(days=300), lag_d=2.0, policy=POLICY,
        booking=Booking(WORKDAYS, WORKDAYS),
    )  # fmt: skip
    both = plain.join(closed, on=LABEL_KEY, suffix="_closed")
    assert both.height == plain.height == closed.height
    changed = both.filter(pl.col("state") != pl.col("state_closed"))
    assert set(changed.select("state", "state_closed").rows()) <= {
        ("negative", "pending"), ("negative", "censored"), ("pending", "censored"),
    }  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(history=histories, known_at=days, seed=st.randoms())
def test_lag_and_calendars_are_those_of_what_was_known(history, known_at, seed):
    shuffled = [version for version in history if version["known_at"] <= known_at]
    seed.shuffle(shuffled)
    full, part = (estimate_lag_d(FAILURE.frame(rows), known_at, POLICY) for rows in (history, shuffled))
    assert full == part
