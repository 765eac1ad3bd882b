"""A log through the decoder: matching, sampling over block borders, and every frame accounted for."""

from pathlib import Path

import polars as pl
import pytest

from pm.canbus.dbc import SignalDatabase, load_dbc
from pm.canbus.decode import DecodedBatch, LogDecoder
from pm.canbus.formats import lines
from pm.canbus.logfile import open_log
from pm.canbus.staging import MOST_ROWS

DATABASE = load_dbc([Path(__file__).resolve().parents[2] / "dbc" / "j1939_open_subset.dbc"])


def speed_line(at_ms: int, speed_raw: int, can_id: str = "0CF00400", channel: str = "can0") -> str:
    low, high = speed_raw & 255, speed_raw >> 8
    return f"({1_600_000_000 + at_ms / 1000:.6f}) {channel} {can_id}#FFFFFF{low:02X}{high:02X}FFFFFF\n"


def run(
    path: Path, period_s: float = 0.0, database: SignalDatabase = DATABASE, staged_rows: int = MOST_ROWS
) -> tuple[LogDecoder, list[DecodedBatch]]:
    decoder = LogDecoder(database, sample_period_s=period_s, staged_rows=staged_rows)
    return decoder, list(decoder.batches(open_log(path)))


def joined(batches: list[DecodedBatch], message: str) -> pl.DataFrame:
    return pl.concat([batch.signals[message] for batch in batches if message in batch.signals])


def test_series_are_told_apart_and_every_frame_is_accounted_for(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(
        speed_line(0, 8000) + speed_line(1, 8008, "0CF00401") + speed_line(2, 0xFEFF)
        + speed_line(3, 8016, channel="can1")
        + "(1600000000.004000) can0 18FF0000#00\n" + "(1600000000.005000) can0 123#00\n"
        + "(1600000000.006000) can0 18FECA00#00FF\n" + "(1600000000.007000) can0 1CEBFF00#0100000000000000\n"
    )  # fmt: skip
    decoder, batches = run(path)
    engine = joined(batches, "EEC1")
    assert engine.columns[:4] == ["time", "channel", "source_address", "destination_address"]
    assert engine.select("channel", "source_address", "destination_address", "EngSpeed").rows() == [
        ("can0", 0, 255, 1000.0),
        ("can0", 1, 255, 1001.0),
        ("can0", 0, 255, None),
        ("can1", 0, 255, 1002.0),
    ]
    report = decoder.report
    assert (report.n_frames, report.n_decoded, report.n_transport) == (8, 5, 1)
    assert report.rejected == {"not_in_dbc": 2, "dm1_too_short": 1}
    assert report.transport_failures == {"packet_without_announcement": 1}
    assert report.nulls["EEC1"]["EngSpeed"] == {"error": 1}
    assert report.first_at is not None
    assert report.last_at is not None
    assert (report.last_at - report.first_at).total_seconds() == pytest.approx(0.007)


def test_messages_of_other_protocols_match_by_id(tmp_path: Path) -> None:
    dbc = tmp_path / "o.dbc"
    body = 'BO_ {} {}: 2 X\n SG_ s : 7|16@0+ (0.1,0) [0|0] "" X\n'
    dbc.write_text('VERSION ""\nNS_ :\nBS_:\nBU_:\n' + body.format(0x123, "STD") + body.format(0x80000123, "EXT"))
    path = tmp_path / "a.log"
    path.write_text("(1600000000.000000) can0 123#FFFF\n(1600000000.000000) can0 00000123#0010\n")
    _, batches = run(path, database=load_dbc([dbc]))
    assert joined(batches, "STD").row(0)[1:] == ("can0", -1, -1, pytest.approx(6553.5))
    assert joined(batches, "EXT").row(0)[1:] == ("can0", 0x23, 1, pytest.approx(1.6))


def test_multi_packet_message_is_decoded_and_handed_on(tmp_path: Path) -> None:
    vin = b"1XKYDP9X7FJ469058*"
    lines = ["(1600000000.000000) can0 1CECFF00#20120003FFECFE00\n"]
    for number in range(3):
        piece = vin[7 * number : 7 * number + 7].ljust(7, b"\xff")
        lines.append(f"(1600000000.{number + 1:06d}) can0 1CEBFF00#{number + 1:02X}{piece.hex().upper()}\n")
    path = tmp_path / "a.log"
    path.write_text("".join(lines) + speed_line(10, 8000))
    decoder, batches = run(path)
    assert joined(batches, "VI")["VehicleIdentificationNumber"].to_list() == ["1XKYDP9X7FJ469058"]
    message = batches[-1].messages.row(0, named=True)
    assert (message["pgn"], message["source_address"], message["payload"]) == (65260, 0, vin)
    assert message["first_time"] < message["last_time"]
    assert decoder.report.n_messages == 1


@pytest.mark.parametrize(("staged", "read_bytes"), [(MOST_ROWS, 1 << 20), (1, 300), (1, 64)])
def test_sampling_keeps_the_last_frame_of_a_period_over_borders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, staged: int, read_bytes: int
) -> None:
    monkeypatch.setattr(lines, "READ_BYTES", read_bytes)
    kept_ms = [999, 1500, 3999, *range(4000, 100_000, 1000)]  # more periods than rows wait at a time
    times = [0, 100, 999, 1000, 1001, 1500, 3999, *range(4000, 100_000, 1000)]
    path = tmp_path / "a.log"
    path.write_text(
        "".join(speed_line(t, 8000 + min(t, 4000)) + speed_line(t, 9000 + min(t, 4000), "0CF00401") for t in times)
    )
    decoder, batches = run(path, period_s=1.0, staged_rows=staged)
    engine = joined(batches, "EEC1")
    assert (len(batches) > 1) == (staged == 1)
    for source, base in ((0, 8000), (1, 9000)):
        kept = engine.filter(pl.col("source_address") == source)
        assert (kept["EngSpeed"] * 8 - base).to_list() == [min(t, 4000) for t in kept_ms]
        assert ((kept["time"].dt.epoch("us") - 1_600_000_000_000_000) // 1000).to_list() == kept_ms
    assert decoder.report.n_decoded == 2 * len(times)


def test_sampling_goes_on_when_the_clock_jumps_back(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(speed_line(5000, 8000) + speed_line(100, 8008) + speed_line(5100, 8016))
    decoder, batches = run(path, period_s=1.0)
    assert joined(batches, "EEC1")["EngSpeed"].to_list() == [1000.0, 1001.0, 1002.0]
    assert decoder.report.n_backward == 1


def test_report_before_any_log_is_empty() -> None:
    assert LogDecoder(DATABASE).report.n_frames == 0
