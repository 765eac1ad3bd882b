"""The archive of raw files, in a folder and in a store that fsspec opens."""

import hashlib
import os
import signal
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest
from fsspec import AbstractFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from pm.errors import ConfigError, DataError, StoreError
from pm.store import archive

LINES = b"".join(b"(%d.000000) can0 18FEEE00#80FFFFFFFFFFFFFF\n" % number for number in range(20_000))


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def raw(tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "a.log"
    path.write_bytes(LINES)
    return path, sha256_of(LINES)


class Uploading(MemoryFileSystem):
    """An object store: an upload appears at its end, and nothing is ever renamed."""

    protocol = "gs"
    store: dict[str, object] = {}  # noqa: RUF012 - as its parent declares it
    pseudo_dirs = [""]  # noqa: RUF012

    _strip_protocol = classmethod(AbstractFileSystem._strip_protocol.__func__)  # its parent's knows "memory" alone

    def mv(self, *_: object, **__: object) -> None:
        raise AssertionError("an object store copies what it renames")


@pytest.fixture(params=["folder", "memory", "uploading"])
def address(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "folder":
        yield str(tmp_path / "archive")
        return
    kind, protocol = (MemoryFileSystem, "memory") if request.param == "memory" else (Uploading, "gs")
    monkeypatch.setitem(_registry, protocol, kind)
    yield f"{protocol}://bucket/logs"
    kind.store.clear()
    kind.pseudo_dirs[:] = [""]


def everything(address: str) -> list[str]:
    filesystem, root = fsspec.core.url_to_fs(address)
    return sorted(str(path).removeprefix(str(root)) for path in filesystem.find(root))


def test_what_was_put_is_fetched_and_takes_less_room(address: str, raw: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = raw
    put = archive.put(address, path, sha256=sha256)
    assert (put.sha256, put.size_bytes, put.is_new) == (sha256, len(LINES), True)
    assert put.stored_bytes == archive.size(address, sha256)
    assert put.stored_bytes < len(LINES) / 5
    assert everything(address) == [f"/{sha256[:2]}/{sha256}.zst"]
    found = archive.fetch(address, sha256, tmp_path, "b.log", size_bytes=len(LINES))
    assert found == tmp_path / "b.log"
    assert found.read_bytes() == LINES


def test_the_same_bytes_again_are_not_written_again(
    address: str, raw: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sha256 = raw
    archive.put(address, path, sha256=sha256)
    monkeypatch.setattr(archive, "_pieces", lambda path: pytest.fail(f"{path} was read again"))
    again = archive.put(address, path, sha256=sha256)
    assert not again.is_new
    assert again.stored_bytes == archive.size(address, sha256)


def test_what_is_deleted_is_gone(address: str, raw: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = raw
    assert not archive.has(address, sha256)
    archive.put(address, path, sha256=sha256)
    assert archive.has(address, sha256)
    assert archive.delete(address, sha256)
    assert not archive.delete(address, sha256)
    assert archive.size(address, sha256) is None
    with pytest.raises(StoreError, match="expected a file in the archive, but got none"):
        archive.fetch(address, sha256, tmp_path, "b.log")
    assert not (tmp_path / "b.log").exists()


def test_other_bytes_than_said_are_refused_and_leave_nothing(address: str, raw: tuple[Path, str]) -> None:
    path, _ = raw
    with pytest.raises(DataError, match="a.log: expected the bytes of sha256 0{64}, but got"):
        archive.put(address, path, sha256="0" * 64)
    assert everything(address) == []


def packed(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


@pytest.mark.parametrize(
    ("stored", "said"),
    [
        (packed(LINES)[:-20], "expected a readable file|expected bytes of sha256"),
        (b"\0" * 64, "expected a readable file"),
        (packed(LINES + b"x"), "expected a readable file, but got: more than"),
        (packed(b"y" + LINES[1:]), "expected bytes of sha256"),
        (b"", "expected a readable file|expected bytes of sha256"),
    ],
    ids=["truncated", "not_zstd", "longer", "other_bytes", "empty"],
)
def test_damage_in_the_archive_is_named_and_nothing_is_left(
    address: str, raw: tuple[Path, str], tmp_path: Path, stored: bytes, said: str
) -> None:
    path, sha256 = raw
    archive.put(address, path, sha256=sha256)
    filesystem, root = fsspec.core.url_to_fs(address)
    filesystem.pipe_file(f"{root}/{sha256[:2]}/{sha256}.zst", stored)
    with pytest.raises(StoreError, match=said):
        archive.fetch(address, sha256, tmp_path, "b.log", size_bytes=len(LINES))
    assert not (tmp_path / "b.log").exists()


@pytest.mark.parametrize("sha256", ["", "../../etc/passwd", "A" * 64, "0" * 63])
def test_a_name_that_is_no_sha256_leads_nowhere(tmp_path: Path, sha256: str) -> None:
    with pytest.raises(StoreError, match="64 hex digits"):
        archive.has(str(tmp_path), sha256)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b.log", "/etc/passwd"])
def test_a_file_name_with_a_folder_leads_nowhere(raw: tuple[Path, str], tmp_path: Path, name: str) -> None:
    path, sha256 = raw
    archive.put(str(tmp_path), path, sha256=sha256)
    with pytest.raises(StoreError, match="expected a file name without folder"):
        archive.fetch(str(tmp_path), sha256, tmp_path, name)


def test_a_folder_that_cannot_be_written_is_named(raw: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = raw
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="file.*: expected .*, but got: Not a directory"):
        archive.put(str(tmp_path / "file"), path, sha256=sha256)


def test_a_file_that_cannot_be_read_is_a_matter_of_the_input(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere.log: expected a readable file"):
        archive.put(str(tmp_path), tmp_path / "nowhere.log", sha256="0" * 64)


@pytest.mark.parametrize("address", ["nosuch://me:secret@bucket/logs", "adl://me:secret@bucket/logs?key=secret"])
def test_a_store_that_cannot_be_opened_is_named_without_credentials(address: str) -> None:
    with pytest.raises(ConfigError, match="bucket/logs: expected") as refused:
        archive.has(address, "0" * 64)
    assert "secret" not in str(refused.value)


class Halting(MemoryFileSystem):
    """A file server whose connection breaks in the middle of an upload."""

    protocol = "halting"
    store: dict[str, object] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012

    _strip_protocol = classmethod(AbstractFileSystem._strip_protocol.__func__)

    def put_file(self, lpath: str, rpath: str, **_: object) -> None:
        self.pipe_file(rpath, Path(lpath).read_bytes()[:100])
        raise RuntimeError("lost ftp://me:secret@host/logs\nTraceback")


def test_an_upload_that_breaks_off_leaves_nothing_and_tells_no_credentials(
    raw: tuple[Path, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sha256 = raw
    monkeypatch.setitem(_registry, "halting", Halting)
    with pytest.raises(StoreError, match="expected an archive to write to, but got: lost ftp://host/logs$") as refused:
        archive.put("halting://bucket/logs", path, sha256=sha256)
    assert "secret" not in str(refused.value)
    assert not archive.has("halting://bucket/logs", sha256)
    assert everything("halting://bucket/logs") == []


_KILLED = """
import os, signal, sys
from pathlib import Path
from pm.store import archive
pieces = archive._pieces
def some(path):
    yield next(pieces(path))
    os.kill(os.getpid(), signal.SIGKILL)
archive._pieces = some
archive.put(sys.argv[1], Path(sys.argv[2]), sha256=sys.argv[3])
"""


def test_after_a_kill_the_file_is_absent_and_what_is_left_can_be_swept(raw: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = raw
    address = tmp_path / "archive"
    ran = subprocess.run([sys.executable, "-c", _KILLED, str(address), str(path), sha256], check=False)
    assert ran.returncode == -signal.SIGKILL
    assert not archive.has(str(address), sha256)
    assert len(everything(str(address))) == 1
    archive.put(str(address), path, sha256=sha256)
    assert archive.sweep(str(address)) == 1
    assert everything(str(address)) == [f"/{sha256[:2]}/{sha256}.zst"]


def test_raw_logs_are_for_this_user_alone(raw: tuple[Path, str], tmp_path: Path) -> None:
    path, sha256 = raw
    archive.put(str(tmp_path / "new" / "archive"), path, sha256=sha256)
    (file,) = (tmp_path / "new" / "archive").glob("*/*")
    assert [place.stat().st_mode & 0o077 for place in (file, file.parent, file.parent.parent)] == [0, 0, 0]


def test_memory_stays_flat_over_the_file_size(tmp_path: Path) -> None:
    peaks = []
    for size in (8, 64):
        path = tmp_path / f"{size}.log"
        path.write_bytes(os.urandom(1 << 20) * size)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        tracemalloc.start()
        before = pa.total_allocated_bytes()
        archive.put(str(tmp_path / "archive"), path, sha256=sha256)
        archive.fetch(str(tmp_path / "archive"), sha256, tmp_path, f"{size}.back")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert pa.total_allocated_bytes() == before
    assert peaks[1] < peaks[0] * 1.5
