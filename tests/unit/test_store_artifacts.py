"""The artifact folder."""

import hashlib
from pathlib import Path

import pytest

from pm.errors import StoreError
from pm.store import artifacts


def test_what_was_put_can_be_got(tmp_path: Path) -> None:
    sha256 = artifacts.put(tmp_path / "new", b"model")
    assert sha256 == hashlib.sha256(b"model").hexdigest()
    assert artifacts.get(tmp_path / "new", sha256) == b"model"


def test_putting_twice_leaves_one_file_and_no_part(tmp_path: Path) -> None:
    sha256 = artifacts.put(tmp_path, b"model")
    artifacts.put(tmp_path, b"model")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [artifacts.path(tmp_path, sha256)]


def test_changed_bytes_are_refused_and_putting_mends_them(tmp_path: Path) -> None:
    sha256 = artifacts.put(tmp_path, b"model")
    artifacts.path(tmp_path, sha256).write_bytes(b"other")
    with pytest.raises(StoreError, match="expected bytes of sha256"):
        artifacts.get(tmp_path, sha256)
    artifacts.put(tmp_path, b"model")
    assert artifacts.get(tmp_path, sha256) == b"model"


def test_a_missing_artifact_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="0{64}: expected a readable file"):
        artifacts.get(tmp_path, "0" * 64)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_that_is_no_sha256_leads_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match="64 hex digits"):
        artifacts.get(tmp_path, name)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="expected a folder to write to"):
        artifacts.put(tmp_path / "file", b"model")
