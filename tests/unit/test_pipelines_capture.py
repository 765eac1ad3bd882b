"""Live capture over python-can's virtual bus: every frame once, whole files only, whatever happens."""

import resource
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import can
import numpy as np
import polars as pl
import pytest
from capture_bus import SEEN_AT, T0, Watcher, captured, filled, frame, frames_of, job_for, never, sent_rows

from pm.canbus import listen
from pm.canbus.bus import OpenedBus
from pm.canbus.dbc import load_dbc
from pm.canbus.decode import LogDecoder
from pm.canbus.logfile import open_log
from pm.errors import ConfigError, DataError, StoreError
from pm.pipelines.capture import CHUNK_FRAMES, capture
from pm.pipelines.uploads import list_uploads

DBC = Path(__file__).parents[2] / "dbc" / "j1939_open_subset.dbc"


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def job(inbox, request):
    return job_for(inbox, request.node.name)


MIXED = [
    frame(0),
    frame(1, arbitration_id=0x7FF, is_extended_id=False, data=b"\x01"),
    frame(2, data=b""),
    frame(3, is_remote_frame=True, data=None, dlc=4),
    frame(4, is_error_frame=True, arbitration_id=0x80, data=bytes(8)),
    frame(5, is_fd=True, bitrate_switch=True, data=bytes(range(64))),
    frame(6, arbitration_id=0x123, is_extended_id=False, is_fd=True, error_state_indicator=True, data=bytes(12)),
    frame(5, data=b"back"),
]


@pytest.mark.parametrize("format", ["candump", "blf"])
def test_what_was_sent_is_what_is_read(job, format):
    report = captured(job, MIXED, format=format)
    assert (report.n_frames, report.n_remote, report.n_error, report.ended_by) == (8, 1, 1, "frames")
    (file,) = report.files
    log = open_log(file.path)
    assert log.format == format
    rows, sent = frames_of(report.files), sent_rows(MIXED, job.channels[0][:32])
    assert [row[1:4] for row in rows] == [row[1:4] for row in sent]
    # BLF counts from its start in floats: a microsecond may be lost.
    assert np.abs(np.subtract([row[0] for row in rows], [row[0] for row in sent])).max() <= (format == "blf")
    assert format == "blf" or [row[4] for row in rows] == [row[4] for row in sent]
    list(log.blocks())
    assert log.rejected == {"remote_frame": 1, "error_frame": 1}


def test_the_product_decodes_what_it_captured(job):
    speed = frame(9, arbitration_id=0x0CF00400, data=bytes([0, 0, 0, 0x20, 0x4E, 0xFF, 0xFF, 0xFF]))
    report = captured(job, [speed])
    decoder = LogDecoder(load_dbc([DBC]))
    (batch,) = [batch.signals for batch in decoder.batches(open_log(report.files[0].path))]
    assert 2500.0 in pl.concat(batch.values(), how="diagonal").row(0)  # 0x4E20 * 0.125 rpm
    assert decoder.report.n_frames == 1


def two_buses(job):
    names = (job.channels[0][:20] + "A", job.channels[0][:20] + "B")
    parts = [[frame(number) for number in range(start, 100, 2)] for start in (0, 1)]
    return names, parts, [(name, filled(name, part)) for name, part in zip(names, parts, strict=True)]


def test_two_buses_are_one_log(job):
    names, parts, openers = two_buses(job)
    report = capture(replace(job, channels=names, n_frames=100), never, Watcher(), openers=openers)
    rows = frames_of(report.files)
    for name, part in zip(names, parts, strict=True):
        assert [row for row in rows if row[4] == name] == sent_rows(part, name)
    assert len(rows) == 100
    assert report.channels == dict.fromkeys(names, 50)


def test_what_came_from_two_buses_is_in_order_of_time(job):
    _, _, openers = two_buses(job)
    with listen.Listening(openers) as listening:
        deadline = time.monotonic() + 20
        while sum(len(bus.frames) for bus in listening.buses) < 100 and time.monotonic() < deadline:
            time.sleep(0.005)
        taken = listening.take()
    assert [message.timestamp for message in taken] == [frame(number).timestamp for number in range(100)]


def test_a_file_ends_by_size_and_no_frame_is_lost_between(job, inbox):
    messages = [frame(number) for number in range(5000)]
    report = captured(job, messages, rotate_bytes=100_000)
    line_bytes = report.n_bytes // 5000
    assert len(report.files) >= 2
    assert all(100_000 <= file.n_bytes < 100_000 + CHUNK_FRAMES * line_bytes for file in report.files[:-1])
    assert frames_of(report.files) == sent_rows(messages, job.channels[0][:32])
    assert sum(file.n_frames for file in report.files) == 5000
    assert sum(file.n_bytes for file in report.files) == report.n_bytes
    uploads = list_uploads(inbox, seen_at=SEEN_AT)
    assert {upload.path for upload in uploads} == {file.path for file in report.files}
    assert all(upload.is_listed and upload.vehicle_ref == "T-1" for upload in uploads)
    age = datetime.now(UTC) - min(upload.uploaded_at for upload in uploads)
    assert timedelta(0) <= age < timedelta(minutes=1)


def test_a_file_ends_with_its_period_even_if_no_frame_comes(job):
    """The clock stands at 23:59 until the first file has frames, then at 00:01."""
    name, watcher, deadline = job.channels[0], Watcher(), time.monotonic() + 5
    late = datetime(2026, 5, 1, 23, 59, tzinfo=UTC).timestamp()
    growing = partial(job.inbox.glob, "logs/*/.*.capturing")

    def clock():
        return late + 120 * any(path.stat().st_size for path in growing())

    def stop():
        return "1 frames" in " ".join(watcher.notices) or time.monotonic() > deadline

    report = capture(replace(job, rotate_s=0), stop, watcher, openers=[(name, filled(name, [frame(1)]))], clock=clock)
    assert time.monotonic() < deadline
    assert [file.n_frames for file in report.files] == [1]
    assert report.files[0].path.name.endswith(f"{datetime.fromtimestamp(T0 + 0.001, UTC):%Y%m%dT%H%M%S.%f}Z.log")


def test_a_log_that_grows_is_no_log_yet(job, inbox):
    name, seen, deadline = job.channels[0], [], time.monotonic() + 20

    def stop():
        grown = [path for path in (inbox / "logs").glob("*/.*") if path.stat().st_size]
        seen.extend((path.name, list_uploads(inbox, seen_at=SEEN_AT)) for path in grown)
        return bool(seen) or time.monotonic() > deadline

    report = capture(job, stop, Watcher(), openers=[(name, filled(name, [frame(1)]))])
    ((hidden, uploads), *_) = seen
    assert uploads == ()
    assert hidden == f".{report.files[0].path.name}.capturing"
    assert len(list_uploads(inbox, seen_at=SEEN_AT)) == 1


def test_a_file_of_errors_alone_is_counted_and_not_kept(job, inbox):
    report = captured(job, [frame(1, is_error_frame=True), frame(2, is_remote_frame=True, data=None)])
    assert (report.n_error, report.n_remote, report.n_files_without_data, report.files) == (1, 1, 1, [])
    assert [path for path in inbox.rglob("*") if path.is_file()] == []


class Flaky(can.BusABC):
    """A bus that hands over what its plan says: a frame, None for silence, or an error that is raised."""

    def __init__(self, plan):
        super().__init__(channel="flaky")
        self.plan = plan

    def recv(self, timeout=None):  # noqa: ARG002
        if not self.plan:
            time.sleep(0.01)
            return None
        step = self.plan.pop(0)
        if isinstance(step, Exception):
            raise step
        return step

    def send(self, msg, timeout=None):  # noqa: ARG002
        raise AssertionError("a capture never sends")


def flaky(*plans):
    """Each opening takes the next plan; an error in its place is raised by the opening."""
    left = list(plans)

    def opener():
        plan = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(plan, Exception):
            raise plan
        return OpenedBus(Flaky(plan), ("heard of it",))

    return [("can0", opener)]


def test_a_bus_that_comes_back_goes_on(job, monkeypatch):
    monkeypatch.setattr(listen, "LONGEST_PAUSE_S", 0.01)
    gone = can.CanOperationError("No such device")
    openers = flaky([frame(1), gone], ConfigError("down"), ConfigError("down"), [frame(2)])
    watcher = Watcher()
    report = capture(replace(job, n_frames=2), never, watcher, openers=openers)
    assert (report.n_frames, report.n_reconnects, report.exit_code) == (2, 1, 0)
    assert [row[0] for row in frames_of(report.files)] == [round((T0 + n / 1000) * 1e6) for n in (1, 2)]
    said = " ".join(watcher.notices)
    assert "can0: heard of it" in said
    assert "can0: the bus went away (down); trying again" in said
    assert "the bus is back" in said


def test_a_bus_that_stays_away_ends_the_capture_with_its_frames_kept(job, monkeypatch):
    monkeypatch.setattr(listen, "LONGEST_PAUSE_S", 0.01)
    openers = flaky([frame(1), RuntimeError("")], can.CanInitializationError("unplugged"))
    report = capture(replace(job, give_up_s=0.1), never, Watcher(), openers=openers)
    assert (report.ended_by, report.exit_code, report.n_frames) == ("bus lost", 3, 1)
    assert "expected the bus to come back within" in report.problem
    assert len(frames_of(report.files)) == 1


def test_what_came_before_a_loss_does_not_wait_for_the_bus(job, inbox):
    openers = flaky([frame(1), RuntimeError("")], can.CanInitializationError("unplugged"))
    deadline = time.monotonic() + 20

    def stop():
        return len(list_uploads(inbox, seen_at=SEEN_AT)) > 0 or time.monotonic() > deadline

    assert capture(job, stop, Watcher(), openers=openers).ended_by == "stopped"
    assert time.monotonic() < deadline


def test_a_single_bad_datagram_is_no_loss(job):
    openers = flaky([can.CanOperationError("could not unpack"), frame(1)], [frame(2)])
    watcher = Watcher()
    report = capture(replace(job, n_frames=1), never, watcher, openers=openers)
    assert (report.n_frames, report.n_reconnects) == (1, 1)
    assert "went away" not in " ".join(watcher.notices)


def test_frames_that_find_the_queue_full_are_counted(job, monkeypatch):
    monkeypatch.setattr(listen, "QUEUE_FRAMES", 10)
    openers, watcher = flaky([frame(number) for number in range(500)]), Watcher()

    def stop():
        return openers[0][1]().bus.plan == []

    report = capture(job, stop, watcher, openers=openers)
    assert report.n_dropped > 0
    assert report.n_frames + report.n_dropped == 500
    assert any("frames were lost" in text for text in watcher.notices)


def test_an_identifier_that_no_bus_carries_is_counted_and_not_written(job):
    wrong = can.Message(timestamp=T0, arbitration_id=0x800, is_extended_id=False, data=b"x")
    report = capture(replace(job, n_frames=1), never, Watcher(), openers=flaky([wrong, frame(1)]))
    assert (report.n_malformed, report.n_frames) == (1, 1)


def test_a_full_disk_leaves_whole_lines_only(job, inbox):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    name, messages = job.channels[0], [frame(number) for number in range(9000)]
    openers = [(name, filled(name, messages))]
    resource.setrlimit(resource.RLIMIT_FSIZE, (250_001, hard))
    try:
        report = capture(job, never, Watcher(), openers=openers)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (report.ended_by, report.exit_code) == ("disk", 4)
    assert "File too large" in report.problem
    rows = frames_of(report.files)
    assert rows == sent_rows(messages[: len(rows)], name[:32])
    assert len(rows) == report.n_frames > 0
    assert list(inbox.rglob(".*")) == []


def test_no_capture_begins_without_room_a_clock_or_a_usable_manifest(job, inbox):
    with pytest.raises(StoreError, match=r"at least 1,000,000,000 MB free \(--reserve-mb\), but got"):
        capture(replace(job, reserve_bytes=10**15), never, Watcher())
    with pytest.raises(ConfigError, match="expected a clock that is set, but got 1970-01-01"):
        capture(job, never, Watcher(), clock=lambda: 5.0)
    with pytest.raises(ConfigError, match="each channel once"):
        capture(replace(job, channels=("a", "a")), never, Watcher())
    (inbox / "uploads.csv").write_text("name,when\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"expected columns \['file', 'vehicle_ref', 'uploaded_at'\]"):
        capture(job, never, Watcher())
    inbox.joinpath("logs", "T-2").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="expected a folder to write"):
        capture(replace(job, vehicle_ref="T-2"), never, Watcher())
