"""What lies in the inbox."""

import os
from datetime import UTC, datetime

from pm.pipelines.uploads import list_uploads, uploads_between

SEEN_AT = datetime(2026, 5, 1, 12, tzinfo=UTC)


def inbox(folder, *names):
    for name in names:
        path = folder / "logs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
        os.utime(path, (0, 0))
    return folder


def test_a_file_outside_the_manifest_is_known_when_it_is_seen_not_when_it_was_written(tmp_path):
    (upload,) = list_uploads(inbox(tmp_path, "T-1/a.log"), seen_at=SEEN_AT)
    assert (upload.vehicle_ref, upload.uploaded_at) == ("T-1", SEEN_AT)


def test_the_manifest_says_when_a_file_arrived_and_order_is_arrival(tmp_path):
    inbox(tmp_path, "T-1/a.log", "T-1/b.log")
    (tmp_path / "uploads.csv").write_text(
        "file,vehicle_ref,uploaded_at\nlogs/T-1/b.log,T-9,2026-01-02T00:00:00Z\n", encoding="utf-8"
    )
    found = list_uploads(tmp_path, seen_at=SEEN_AT)
    assert [(upload.path.name, upload.vehicle_ref) for upload in found] == [("b.log", "T-9"), ("a.log", "T-1")]


def test_a_day_has_its_start_and_not_its_end(tmp_path):
    found = list_uploads(inbox(tmp_path, "T-1/a.log"), seen_at=SEEN_AT)
    assert uploads_between(found, SEEN_AT, SEEN_AT.replace(hour=13)) == found
    assert uploads_between(found, SEEN_AT.replace(hour=11), SEEN_AT) == ()


def test_an_empty_inbox_and_hidden_files_are_nothing(tmp_path):
    assert list_uploads(tmp_path, seen_at=SEEN_AT) == ()
    assert list_uploads(inbox(tmp_path, "T-1/.partial"), seen_at=SEEN_AT) == ()
