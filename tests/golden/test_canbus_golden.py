"""Real truck logs against values computed by an independent decoder (`../shared/can/expected`)."""

import csv
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from pm.canbus.dbc import load_dbc
from pm.canbus.decode import DecodeReport, LogDecoder
from pm.canbus.logfile import LogFile, open_log

PROJECT = Path(__file__).resolve().parents[2]
SHARED = PROJECT.parent / "shared" / "can"
J1939 = PROJECT / "dbc" / "j1939_open_subset.dbc"
LOGS = ("P1", "P2", "P4", "P5", "P6")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

FAILURES = {
    "gapDT": "packet_gap",
    "orphanDT": "packet_without_announcement",
    "dupDT": "packet_repeated",
    "replaced": "announced_again_before_the_end",
    "open": "open_at_the_end",
    "abort3": "abort_3",
    "abort255": "abort_255",
}
STATES = frozenset({"695", "696", "897"})
"""The expected counts mask these; can/README says that their codes 2 and 3 are states, and so do we."""

pytestmark = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared is missing: real logs and their expected values")


@dataclass(frozen=True)
class Decoded:
    signals: dict[str, pl.DataFrame]
    faults: pl.DataFrame
    messages: pl.DataFrame
    report: DecodeReport


def opened(log: Path) -> LogFile:
    """Times on candump's screen count from the start of the log: here from 1970, as in the expected files."""
    return open_log(log, start=EPOCH if "candump-screen" in log.name else None)


def decode(log: Path, *dbc: Path) -> Decoded:
    decoder = LogDecoder(load_dbc(dbc))
    batches = list(decoder.batches(opened(log)))
    names = {name for batch in batches for name in batch.signals}
    signals = {name: pl.concat([b.signals[name] for b in batches if name in b.signals]) for name in names}
    faults, messages = (pl.concat([getattr(b, part) for b in batches]) for part in ("faults", "messages"))
    return Decoded(signals, faults, messages, decoder.report)


def log_path(name: str) -> Path:
    return next((SHARED / "logs").glob(f"{name}_*"))


@cache
def decoded(name: str) -> Decoded:
    return decode(log_path(name), J1939)


def expected(name: str, kind: str) -> Iterator[dict[str, str]]:
    with next((SHARED / "expected").glob(f"{name}_*.{kind}.csv")).open(newline="") as stream:
        yield from csv.DictReader(stream)


def other_points() -> Iterator[dict[str, str]]:
    with (SHARED / "expected" / "points_other_protocols.csv").open(newline="") as stream:
        yield from csv.DictReader(stream)


def summary(name: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(next((SHARED / "expected").glob(f"{name}_*.summary.json")).read_text())
    return found


def micro(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    return int(whole) * 1_000_000 + int(fraction.ljust(6, "0"))


def close(got: object, text: str) -> bool:
    return math.isclose(float(str(got)), float(text), rel_tol=1e-8, abs_tol=1e-8)


@pytest.mark.parametrize("name", LOGS)
def test_frames_and_transport_counts(name: str) -> None:
    want, report = summary(name), decoded(name).report
    assert report.n_frames == want["frames"]
    assert report.n_messages == want["tp_messages"]
    failures = want["tp_failures"]
    assert isinstance(failures, dict)
    assert report.transport_failures == {FAILURES[kind]: count for kind, count in failures.items()}
    assert report.n_frames == report.n_decoded + report.n_transport + report.rejected["not_in_dbc"]
    assert report.rejected.get("remote_frame", 0) == (1 if name == "P5" else 0)


@pytest.mark.parametrize("name", LOGS)
def test_identifiers_channels_and_kinds_of_messages(name: str) -> None:
    want, whole = summary(name), decoded(name)
    blocks = list(opened(log_path(name)).blocks())
    can_id, is_extended, channel, time_us = (
        np.concatenate([getattr(block, column) for block in blocks])
        for column in ("can_id", "is_extended", "channel", "time_us")
    )
    assert is_extended.sum() == want["extended"]
    assert len(np.unique(can_id + is_extended * (1 << 31))) == want["distinct_ids"]
    assert sorted(blocks[-1].channels[number] for number in np.unique(channel)) == want["channels"]
    seconds = [time_us[0], time_us[-1], time_us.min(), time_us.max()]
    assert [value / 1e6 for value in seconds] == pytest.approx(
        [want[t] for t in ("t0", "t1", "tmin", "tmax")], abs=1e-6
    )
    kinds = whole.messages.group_by("pgn", "source_address").len()
    assert {f"BAM:{pgn}:sa{source}": n for pgn, source, n in kinds.rows()} == want["tp_by"]
    assert (whole.messages["destination_address"] == 255).all() or name == "P5"
    n_long = whole.messages.filter(pl.col("pgn") == 65226).height
    assert n_long + (whole.signals["DM1"].height if "DM1" in whole.signals else 0) == want["dm1_rows"]


@pytest.mark.parametrize("name", LOGS)
def test_no_series_beside_the_expected_ones(name: str) -> None:
    want = {(row["message"], row["channel"], int(row["sa"]), int(row["da"])) for row in expected(name, "stats")}
    reassembled = {(row["message"], int(row["sa"])) for row in expected(name, "tp_signals")}
    got = {
        (message, *row)
        for message, frame in decoded(name).signals.items()
        for row in frame.select("channel", "source_address", "destination_address").unique().rows()
    }
    assert {series for series in got if (series[0], series[2]) not in reassembled} == want


@pytest.mark.parametrize("name", LOGS)
def test_every_signal_of_every_series(name: str) -> None:
    whole, nulls, n_rows = decoded(name), {}, 0
    for row in expected(name, "stats"):
        n_rows += 1
        series = whole.signals[row["message"]].filter(
            pl.col("channel") == row["channel"],
            pl.col("source_address") == int(row["sa"]),
            pl.col("destination_address") == int(row["da"]),
        )
        where = (row["message"], row["sa"], row["da"], row["signal"])
        values = series[row["signal"]]
        if row["spn"] in STATES:
            assert values.null_count() == 0, where
            counts = [(values == code).sum() for code in (2, 3)]
            assert counts == [int(row["n_error"]), int(row["n_not_available"])], where
            continue
        assert (values.len(), values.len() - values.null_count()) == (int(row["n_frames"]), int(row["n_valid"])), where
        times = series["time"].dt.epoch("us")
        assert (times[0], times[-1]) == (micro(row["first_t"]), micro(row["last_t"])), where
        known = values.drop_nulls()
        if row["min"]:
            got = (known.min(), known.max(), known.mean(), known[0], known[-1])
            asked = [row[part] for part in ("min", "max", "mean", "first", "last")]
            assert all(close(g, a) for g, a in zip(got, asked, strict=True)), (where, got, asked)
        total = nulls.setdefault((row["message"], row["signal"]), Counter())
        total.update({reason: int(row[f"n_{reason}"]) for reason in ("reserved", "error", "not_available")})
    assert n_rows > 60
    for (message, signal), want in nulls.items():
        assert Counter(whole.report.nulls[message].get(signal, {})) == +want, (message, signal)


@pytest.mark.parametrize("name", LOGS)
def test_every_reassembled_message(name: str) -> None:
    got = decoded(name).messages.select(
        pl.col("first_time", "last_time").dt.epoch("us"),
        "pgn",
        "source_address",
        "destination_address",
        pl.col("payload").bin.encode("hex"),
    )
    want = [
        (micro(r["t_first"]), micro(r["t_last"]), int(r["pgn"]), int(r["sa"]), int(r["da"]), r["payload_hex"])
        for r in expected(name, "tp")
    ]
    assert got.rows() == want


@pytest.mark.parametrize("name", LOGS)
def test_signals_of_reassembled_messages(name: str) -> None:
    frames = {
        message: {(t, sa): row for t, sa, row in zip(
            frame["time"].dt.epoch("us"), frame["source_address"], frame.iter_rows(named=True), strict=True
        )}
        for message, frame in decoded(name).signals.items()
        if message in ("EC1", "RC", "VI")
    }  # fmt: skip
    n_rows = 0
    for row in expected(name, "tp_signals"):
        n_rows += 1
        got = frames[row["message"]][micro(row["t_last"]), int(row["sa"])][row["signal"]]
        if row["status"] == "NA/err":
            assert got is None, row
        elif row["status"] == "valid":
            assert got is not None, row
            assert close(got, row["physical"]), row
        else:
            assert got == row["physical"], row
    assert n_rows > 140


@pytest.mark.parametrize("name", LOGS)
def test_every_trouble_code(name: str) -> None:
    faults = decoded(name).faults
    got = Counter(
        faults.select(
            pl.col("time").dt.epoch("us"), "source_address", "spn", "fmi", "occurrence_count", "conversion_method",
            "lamp_mil", "lamp_red", "lamp_amber", "lamp_protect",
            "flash_mil", "flash_red", "flash_amber", "flash_protect", "dm",
        ).rows()
    )  # fmt: skip
    want: Counter[tuple[int | None, ...]] = Counter()
    for row in expected(name, "dm1"):
        lamps = tuple(int(row[lamp]) for lamp in ("mil", "red", "amber", "protect"))
        flash = tuple(int(row["flash_hex"], 16) >> shift & 3 for shift in (6, 4, 2, 0))
        for code in (row["dtcs spn/fmi/oc/cm"] or "").split():
            spn, fmi, count, method_bit = map(int, code.split("/"))
            occurrences, method = None if count == 127 else count, 3 if method_bit else 4
            want[micro(row["t"]), int(row["sa"]), spn, fmi, occurrences, method, *lamps, *flash, 1] += 1
    assert got == want
    assert decoded(name).report.n_faults == want.total()


def test_single_values_four_decoders_looked_at() -> None:
    n_rows = 0
    with (SHARED / "expected" / "points.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            n_rows += 1
            found = [
                frame.filter(
                    pl.col("time").dt.epoch("us") == micro(row["t"]),
                    pl.col("channel") == row["channel"],
                    pl.col("source_address") == int(row["sa"]),
                )
                for frame in decoded(row["log"][:2]).signals.values()
                if row["signal"] in frame.columns
            ]
            (value,) = next(frame for frame in found if frame.height)[row["signal"]].to_list()
            if row["status"] == "valid":
                assert value is not None, row
                assert math.isclose(value, float(row["physical"]), rel_tol=1e-6), row
            else:
                assert value is None, row
    assert n_rows > 60


@pytest.mark.parametrize(
    ("name", "dbc"),
    [("P10", "css_OBD-v4.4.dbc"), ("P10", "css_canedge-internal-can9.dbc"), ("P2", "canmod-gps.dbc")],
)
def test_other_protocols(name: str, dbc: str) -> None:
    whole, n_rows = decode(log_path(name), SHARED / "dbc" / dbc), 0
    for row in other_points():
        if (row["log"], row["dbc"]) != (name, dbc):
            continue
        n_rows += 1
        found = [
            frame.filter(pl.col("time").dt.epoch("us") == micro(row["t"]), pl.col("channel") == row["channel"])[
                row["signal"]
            ]
            for frame in whole.signals.values()
            if row["signal"] in frame.columns
        ]
        values = [value for column in found for value in column.to_list() if value is not None]
        assert any(math.isclose(value, float(row["cantools"]), rel_tol=1e-9) for value in values), row
    assert n_rows > 20
    if dbc.startswith("css_OBD"):
        # cantools refuses 546 frames for an unknown parameter id and 4 for an unknown service.
        assert whole.report.rejected["unknown_multiplexer"] == 546 + 4


@pytest.mark.parametrize("suffix", ["asc", "blf", "csv", "log", "mf4", "trc"])
def test_the_same_frames_in_every_format(suffix: str) -> None:
    original = list(open_log(log_path("P5")).blocks())
    log = open_log(SHARED / "derived" / f"P5_normal_ops2.{suffix}")
    derived = list(log.blocks())
    for column in ("can_id", "is_extended", "length", "data"):
        got, want = (np.concatenate([getattr(block, column) for block in blocks]) for blocks in (derived, original))
        assert np.array_equal(got, want), column
    times, right = (np.concatenate([block.time_us for block in blocks]) for blocks in (derived, original))
    shift = times - right
    # ASC holds microseconds of a start in milliseconds; TRC holds a start rounded to days with ten digits.
    if suffix == "trc":
        assert np.abs(shift - shift[0]).max() <= 1000
    else:
        assert np.abs(shift).max() <= (1000 if suffix == "asc" else 1)
    assert log.rejected == ({} if suffix == "trc" else {"remote_frame": 1})


def test_extended_ids_below_the_standard_limit_stay_extended() -> None:
    blocks = list(open_log(log_path("P7")).blocks())
    ids = np.concatenate([block.can_id for block in blocks])
    assert np.array_equal(np.sort(ids), np.arange(65_536))
    assert all(block.is_extended.all() for block in blocks)


def test_two_odometers_of_one_truck_stay_apart() -> None:
    distance = decoded("P1").signals["VDHR"].group_by("source_address").agg(pl.col("HighResTotalVehicleDistance").max())
    assert {source: round(value) for source, value in distance.rows()} == {0x00: 438_978, 0x31: 537_152}


def test_identification_texts() -> None:
    assert decoded("P5").signals["VI"]["VehicleIdentificationNumber"].unique().to_list() == ["1XKYDP9X7FJ469058"]
    (scrambled,) = decoded("P4").signals["VI"]["VehicleIdentificationNumber"].unique().to_list()
    # 28 bytes, not all of them characters; what is no character is written in hexadecimal.
    assert scrambled == r"1L06130RELP969468>,\x05)]\x07\x01'\x01\x01"


def test_log_of_many_channel_groups() -> None:
    whole = decode(log_path("P3"), J1939, SHARED / "dbc" / "css_canedge-internal-can9.dbc")
    assert whole.report.n_frames == 150_411
    assert {name for name, frame in whole.signals.items() if "9" in frame["channel"]} >= {"GnssPos", "ImuData"}
    position = whole.signals["GnssPos"].drop_nulls()
    assert position.height > 1000
    spread = position.select(pl.col("Latitude", "Longitude").max() - pl.col("Latitude", "Longitude").min()).row(0)
    assert max(spread) < 0.01  # it stands


def test_diagnostic_frames_of_eleven_bits() -> None:
    dbc = SHARED / "dbc" / "tp_uds.dbc"
    report = decode(log_path("P9"), dbc).report
    assert (report.n_frames, report.n_decoded, report.transport_failures) == (2_010, 2_010, {})


def test_long_diagnostic_messages(tmp_path: Path) -> None:
    # They are put together from P9's frames by ISO-TP, which is not done here; a CAN FD frame can hold each.
    rows = [row for row in other_points() if row["log"] == "P9"]
    log = tmp_path / "p9.log"
    payloads = [row["data_hex"].rpartition(" ")[2].ljust(128, "0") for row in rows]
    log.write_text(
        "".join(f"({row['t']}) can0 {row['can_id']}##0{data}\n" for row, data in zip(rows, payloads, strict=True))
    )
    signals = decode(log, SHARED / "dbc" / "tp_uds.dbc").signals
    for row in rows:
        (frame,) = (frame for frame in signals.values() if row["signal"] in frame.columns)
        (value,) = frame.filter(pl.col("time").dt.epoch("us") == micro(row["t"]))[row["signal"]]
        assert value == float(row["cantools"]), row
    assert len(rows) == 8


def test_trouble_codes_change_under_attack() -> None:
    whole = decode(log_path("P11"), J1939)
    assert whole.report.n_frames == 15_723
    by_time = whole.faults.with_columns(second=pl.col("time").dt.epoch("s"))
    before = set(by_time.filter(pl.col("second") < 15).select("source_address", "spn", "fmi").rows())
    after = set(by_time.filter(pl.col("second") >= 15).select("source_address", "spn", "fmi").rows())
    assert before == {(0, 191, 9), (0, 5357, 31), (0, 84, 9)}
    assert after == {(49, 1483, 9), (3, 2000, 9), (3, 2003, 31)}


def test_component_identification_of_a_real_truck() -> None:
    whole = decode(log_path("P6"), J1939, J1939.with_name("j1939_component_identification.dbc"))
    texts = whole.signals["CI"].select(
        "ComponentMake", "ComponentModel", "ComponentSerialNumber", "ComponentUnitNumber"
    )
    assert texts.height == 13
    assert texts.unique().rows() == [("SYNER", "SSS-MaxxForce", "1R10004", None)]
