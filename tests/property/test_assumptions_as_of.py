"""What was found at an as-of never changes: not by later arrivals, not by the order of rows, not by older days."""

from datetime import timedelta

import polars as pl
from checked_days import AS_OF, N_DAYS, at, changed, check, daily, fleet
from hypothesis import given, settings
from hypothesis import strategies as st

ROWS = changed(changed(fleet(4), 2, "EngCoolantTemp", 22, 1.8, 32), 3, "HighResTotalVehicleDistance", 18, 0.6214)
"""Two trucks with another unit: something to find, and something to hide."""
FRAME = daily(ROWS)
EARLIER = AS_OF - timedelta(days=4)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=15, deadline=None)
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    assert check(FRAME.sample(fraction=1.0, shuffle=True, seed=seed)).equals(check(FRAME))


@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_data_known_later_change_no_earlier_result(data: st.DataObject) -> None:
    late = data.draw(st.lists(st.sampled_from(range(len(ROWS))), min_size=1, max_size=60, unique=True))
    scale = data.draw(st.sampled_from([0.5, 1.0, 1.8, 1000.0]))
    hours = data.draw(st.integers(1, 200))
    files = [
        ROWS[index]
        | {"known_at": EARLIER + timedelta(hours=hours), "log_file_id": 900_000 + index}
        | {name: scale * float(str(ROWS[index][name])) for name in ("mean", "minimum", "maximum")}
        for index in late
    ]
    with_late = pl.concat([FRAME, daily(files)])
    before = check(FRAME.filter(pl.col("known_at") <= EARLIER), as_of=EARLIER)
    assert check(FRAME, as_of=EARLIER).equals(before)
    assert check(with_late, as_of=EARLIER).equals(before)


@given(cut=st.integers(0, N_DAYS), parts=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_day_in_several_files_is_the_day(cut: int, parts: int) -> None:
    """Equal partials of one day pool to the same mean and extremes: nobody is found who was not."""
    day = at(cut).date()
    twice = FRAME.filter(pl.col("day") == day)
    copies = [twice.with_columns(log_file_id=pl.col("log_file_id") + 500_000 * copy) for copy in range(1, parts)]
    found = check(pl.concat([FRAME, *copies]))
    who = ("check_name", "vehicle_id", "message", "signal", "status", "conversion")
    assert found.select(who).equals(check(FRAME).select(who))
