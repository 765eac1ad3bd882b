"""Files of a capture: names that cannot collide, what a killed one left, and the list of uploads."""

import fcntl
import threading
from datetime import UTC, datetime

import polars as pl
import pytest
from capture_bus import SEEN_AT, T0, captured, frame, frames_of, job_for

from pm.canbus.formats.write import Channels
from pm.errors import ConfigError
from pm.pipelines.capture_files import GrowingFile, Place, file_stem, list_upload
from pm.pipelines.uploads import list_uploads


@pytest.fixture
def inbox(tmp_path):
    return tmp_path / "inbox"


@pytest.fixture
def job(inbox, request):
    return job_for(inbox, request.node.name)


@pytest.mark.parametrize("vehicle_ref", ["", ".", "..", "a/b", ".hidden", " x", "x\n", "x" * 101])
def test_a_vehicle_that_cannot_name_a_folder_is_refused(vehicle_ref):
    with pytest.raises(ConfigError, match="can name a folder"):
        file_stem(vehicle_ref, "virtual", ["a"])


def test_a_file_name_tells_vehicle_interface_and_channels():
    assert file_stem("Süd 7", "slcan", ["/dev/ttyUSB0@115200"]) == "S-d-7_slcan-dev-ttyUSB0-115200"


WHOLE = b"(1780000000.000001) can0 18FEF100#0102\n(1780000000.000002) can0 123##0AA\n"


@pytest.mark.parametrize(
    ("left", "kept"),
    [
        (WHOLE + b"(1780000000.000003) can0 18F", WHOLE),
        (WHOLE + bytes(5000), WHOLE),
        (WHOLE[:-1], WHOLE[: WHOLE.index(b"\n") + 1]),
        (WHOLE, WHOLE),
        (b"", None),
        (b"(1780000000.000001) can0 20000080#00\n(1780000000.000001) can0 123#R8\n(1", None),
    ],
    ids=["half a line", "zeros after a power cut", "no end of line", "whole", "empty", "no data frame"],
)
def test_what_a_killed_capture_left_is_finished_at_the_next_start(job, inbox, left, kept):
    folder = inbox / "logs" / "T-7"
    folder.mkdir(parents=True)
    (folder / ".x_20260501.log.capturing").write_bytes(left)
    report = captured(job, [frame(1)])
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert found == ({} if kept is None else {"x_20260501.log": kept})
    assert [file.path.name for file in report.files if file.recovered] == list(found)
    listed = [upload.vehicle_ref for upload in list_uploads(inbox, seen_at=SEEN_AT) if upload.is_listed]
    assert sorted(listed) == ["T-1"] + ["T-7"] * len(found)


def test_a_blf_that_was_not_completed_keeps_its_frames_and_times(job, inbox):
    place = Place(inbox, "T-7", "x", "blf", Channels())
    file = GrowingFile(place, T0)
    file.write([frame(number) for number in range(3)])
    file.sync()
    (hidden,) = (inbox / "logs" / "T-7").iterdir()
    left = hidden.read_bytes()
    file.abandon()
    hidden.write_bytes(left + left[144:180])  # the head of a container whose rest is missing
    recovered = [one for one in captured(job, [frame(1)]).files if one.recovered]
    assert [row[0] for row in frames_of(recovered)] == pytest.approx([(T0 + n / 1000) * 1e6 for n in range(3)], abs=1)


def test_a_file_that_another_capture_writes_is_left_alone(job, inbox):
    other = GrowingFile(Place(inbox, "T-1", "other", "candump", Channels()), T0)
    other.write([frame(1)])
    assert [file.path.name[:5] for file in captured(job, [frame(2)]).files] == ["T-1_v"]
    other.write([frame(3)])
    done = other.finish(T0)
    assert len(frames_of([done])) == 2


def test_two_files_of_the_same_name_are_two_files(inbox):
    place = Place(inbox, "T-1", "x", "candump", Channels())
    first, second = GrowingFile(place, T0), GrowingFile(place, T0)
    for file in (first, second):
        file.write([frame(1)])
    done = [file.finish(T0) for file in (second, first)]
    third = GrowingFile(place, T0)
    third.write([frame(1)])
    done.append(third.finish(T0))
    assert len({file.path for file in done}) == 3
    assert all(file.path.stat().st_size == file.n_bytes for file in done)


def test_a_log_is_known_no_earlier_than_its_last_frame(inbox):
    file = GrowingFile(Place(inbox, "T-1", "x", "candump", Channels()), T0)
    file.write([frame(2500)])
    file.finish(T0)  # an adapter's clock is 2.5 s ahead of ours
    (upload,) = list_uploads(inbox, seen_at=SEEN_AT)
    assert upload.uploaded_at == datetime.fromtimestamp(T0 + 2.5, UTC)


def test_the_manifest_keeps_its_columns_and_many_can_add_to_it(inbox):
    inbox.mkdir()
    path = inbox / "uploads.csv"
    path.write_text("uploaded_at,note,vehicle_ref,file\n2026-01-01T00:00:00Z,hi,T-9,logs/T-9/a", encoding="utf-8")
    at = datetime(2026, 5, 1, tzinfo=UTC)

    def add(writer):
        for number in range(20):
            list_upload(inbox, f"logs/{writer}, 1/{number}", f"{writer}, 1", at)

    threads = [threading.Thread(target=add, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = pl.read_csv(path)
    assert rows.height == 61
    assert rows.columns == ["uploaded_at", "note", "vehicle_ref", "file"]
    assert rows.row(0) == ("2026-01-01T00:00:00Z", "hi", "T-9", "logs/T-9/a")
    assert rows["file"].n_unique() == 61
    assert set(rows["vehicle_ref"]) == {"T-9", "a, 1", "b, 1", "c, 1"}


def test_a_manifest_that_is_replaced_while_one_waits_gets_the_line_all_the_same(inbox):
    inbox.mkdir()
    path, replaced = inbox / "uploads.csv", inbox / "new.csv"
    path.write_text("file,vehicle_ref,uploaded_at\n", encoding="utf-8")
    replaced.write_text("file,vehicle_ref,uploaded_at\nlogs/T-1/other,T-1,2026-01-01T00:00:00Z\n", encoding="utf-8")
    with path.open("r+b") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        thread = threading.Thread(target=list_upload, args=(inbox, "logs/T-1/mine", "T-1", SEEN_AT))
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
        replaced.replace(path)
    thread.join()
    assert pl.read_csv(path)["file"].to_list() == ["logs/T-1/other", "logs/T-1/mine"]
