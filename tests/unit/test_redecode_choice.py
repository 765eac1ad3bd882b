"""Which logs a span is decoded again from."""

from datetime import UTC, datetime, timedelta

import polars as pl

from pm.pipelines.redecoding.choice import logs_to_redecode
from pm.policy import Telemetry
from pm.tables import LOG_FILE

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
KNOWN_AT = NOON + timedelta(days=30)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def stored(*files: tuple[int, datetime, datetime], vehicle_id: int = 7) -> pl.DataFrame:
    """(log_file_id, first_at, last_at) as LOG_FILE."""
    return LOG_FILE.frame(
        [
            {
                "log_file_id": number,
                "sha256": f"{number:064x}",
                "vehicle_id": vehicle_id,
                "file_name": f"{number}.log",
                "format": "candump",
                "first_at": first_at,
                "last_at": last_at,
                "n_frames": 1,
                "n_decoded": 1,
                "rejected_json": "{}",
                "known_at": KNOWN_AT,
                "dbc_sha256": ["a"],
                "decoder_version": "2",
                "ingested_at": KNOWN_AT,
                "part": 0,
            }
            for number, first_at, last_at in files
        ]
    )


def chosen(files: pl.DataFrame, start: datetime, end: datetime) -> list[int]:
    return logs_to_redecode(files, start=start, end=end, telemetry=Telemetry())["log_file_id"].to_list()


def test_a_log_with_a_frame_in_the_span_is_chosen_whose_end_is_not_in_it() -> None:
    files = stored((1, at(0), at(10)), (2, at(20), at(30)), (3, at(40), at(50)))
    assert chosen(files, at(20), at(40)) == [2]
    assert chosen(files, at(30), at(41)) == [2, 3]
    assert chosen(files, at(11), at(20)) == []


def test_logs_that_overlap_one_after_the_other_are_chosen_together() -> None:
    files = stored((1, at(0), at(10)), (2, at(9), at(20)), (3, at(20), at(30)), (4, at(31), at(40)))
    assert chosen(files, at(0), at(1)) == [1, 2, 3]
    assert chosen(files, at(35), at(36)) == [4]


def test_a_long_log_joins_short_ones_inside_it() -> None:
    files = stored((1, at(0), at(60)), (2, at(5), at(6)), (3, at(50), at(51)))
    assert chosen(files, at(50), at(51)) == [1, 2, 3]


def test_logs_of_another_vehicle_do_not_overlap() -> None:
    files = pl.concat([stored((1, at(0), at(10))), stored((2, at(5), at(15)), vehicle_id=8)])
    assert chosen(files, at(0), at(1)) == [1]


def test_times_that_cannot_be_join_no_logs() -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    files = stored(
        (1, at(0), at(10)), (2, at(20), at(30)), (3, epoch, at(5)), (4, at(25), KNOWN_AT + timedelta(days=1))
    )
    assert chosen(files, at(20), at(21)) == [2, 4]
    early = stored((1, at(0), at(10)), (3, epoch, epoch + timedelta(hours=1)))
    assert chosen(early, at(0), at(1)) == [1]


def test_the_order_is_that_of_precedence() -> None:
    files = stored((3, at(0), at(10)), (1, at(5), at(15)), (2, at(6), at(7)))
    first = pl.when(pl.col("log_file_id") == 2).then(pl.lit(NOON)).otherwise("known_at").dt.cast_time_unit("us")
    assert chosen(files.with_columns(known_at=first), at(0), at(1)) == [2, 1, 3]


def test_no_logs_are_chosen_of_none() -> None:
    assert chosen(LOG_FILE.empty(), at(0), at(1)) == []
