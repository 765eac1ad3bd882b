"""A dump file comes back as it was written, or is refused with what is wrong with it; and no more of it is read."""

import os
import stat
import tracemalloc
import zipfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dump_files import changed, entries_of, packed, table_in, written

from pm.errors import DataError, StoreError
from pm.store.dump_file import create_dump, open_dump
from pm.store.dump_manifest import (
    FORMAT,
    VERSION,
    DumpedColumn,
    DumpedMigration,
    DumpedSequence,
    DumpedTable,
    Manifest,
    write_manifest,
)

ROWS = {"vehicle": b"PGCOPY" + bytes(range(256)) * 3, "et1": b"PGCOPY rows of et1", "event": b"PGCOPY"}
COLUMNS = (DumpedColumn("vehicle_id", "integer", None), DumpedColumn("value", "double precision", "a value [K]"))


def table(name: str, n_bytes: int) -> DumpedTable:
    schema = "telemetry" if name == "et1" else "pm"
    return DumpedTable(schema, name, None, COLUMNS, 3, n_bytes, "0123456789abcdef")


MANIFEST = Manifest(
    FORMAT,
    VERSION,
    datetime(2026, 4, 1, tzinfo=UTC),
    "0.1.0",
    "17.11",
    None,
    "policy",
    (DumpedMigration(1, "0001_create_schemas.sql", "a" * 64),),
    tuple(table(name, len(content)) for name, content in ROWS.items()),
    (DumpedSequence("pm", "vehicle", "vehicle_id", 7),),
)


def write(path: Path, *, overwrite: bool = False) -> Path:
    with create_dump(path, replace=overwrite) as writer:
        for one in MANIFEST.tables:
            with writer.table(one.entry) as entry:
                for at in range(0, len(ROWS[one.name]), 100):
                    entry.write(ROWS[one.name][at : at + 100])
                assert entry.n_bytes == one.n_bytes
        writer.write_manifest(MANIFEST)
    return path


def read(path: Path) -> dict[str, bytes]:
    with open_dump(path) as reader:
        assert reader.manifest.format == FORMAT
        return {one.name: b"".join(reader.blocks(one)) for one in reader.manifest.tables}


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read(path)
    assert path.name in str(caught.value)
    return str(caught.value)


@pytest.fixture
def dump(tmp_path):
    return write(tmp_path / "good.pmdump")


def test_what_was_written_is_read(dump):
    assert read(dump) == ROWS
    with open_dump(dump) as reader:
        assert reader.manifest == MANIFEST


def test_the_same_bytes_make_the_same_file(dump, tmp_path):
    assert write(tmp_path / "again.pmdump").read_bytes() == dump.read_bytes()


def test_only_its_owner_can_read_it_whatever_the_mask_is(tmp_path):
    before = os.umask(0)
    try:
        path = write(tmp_path / "a.pmdump")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_there_stays_unless_it_may_be_replaced(dump):
    dump.write_bytes(b"before")
    with pytest.raises(DataError, match="good.pmdump: expected a new file"):
        write(dump)
    assert dump.read_bytes() == b"before"
    assert read(write(dump, overwrite=True)) == ROWS


def test_a_failure_leaves_what_was_there_and_nothing_else(dump):
    before = dump.read_bytes()
    with pytest.raises(KeyboardInterrupt), create_dump(dump, replace=True):
        raise KeyboardInterrupt
    assert [path.name for path in dump.parent.iterdir()] == ["good.pmdump"]
    assert dump.read_bytes() == before


def test_a_folder_that_is_missing_is_a_store_error(tmp_path):
    with pytest.raises(StoreError, match="nowhere/a.pmdump: expected a folder to write to"):
        write(tmp_path / "nowhere" / "a.pmdump")


def test_a_file_that_is_missing_or_a_folder_is_refused(tmp_path):
    assert "expected a readable file" in refusal(tmp_path / "nowhere.pmdump")
    assert "expected a readable file" in refusal(tmp_path)


def test_a_name_that_no_dump_may_have_is_not_written():
    with pytest.raises(DataError, match="name: String should match pattern"):
        write_manifest(replace(MANIFEST, tables=(table("Vehicle; --", 1),)))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\x00" * 5000, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_dump_is_refused(tmp_path, content):
    path = tmp_path / "bad.pmdump"
    path.write_bytes(content)
    assert "cut off or no dump" in refusal(path)


def test_a_dump_cut_off_anywhere_is_refused(dump):
    whole = dump.read_bytes()
    bad = dump.with_name("bad.pmdump")
    for length in range(0, len(whole), 7):
        bad.write_bytes(whole[:length])
        assert "cut off or no dump" in refusal(bad)


def test_a_flipped_bit_anywhere_is_refused_or_of_no_consequence(dump):
    """Of no consequence: a date or a flag in the zip's own directory. The rows are always whole or refused."""
    whole = dump.read_bytes()
    bad = dump.with_name("bad.pmdump")
    harmless = 0
    for at in range(len(whole)):
        flipped = bytearray(whole)
        flipped[at] ^= 1 << at % 8
        bad.write_bytes(flipped)
        try:
            found = read(bad)
        except DataError:
            continue
        assert found == ROWS, at
        harmless += 1
    assert harmless < len(whole) / 4


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(version=2), "format version 1, but got version"),
        (lambda m: m.update(format="other"), "format version 1, but got format"),
        (lambda m: m.pop("tables"), "tables: Field required"),
        (lambda m: table_in(m, "vehicle").update(name="../../etc/passwd"), "name: String should match pattern"),
        (lambda m: table_in(m, "vehicle").update(name='v"; DROP TABLE x; --'), "name: String should match pattern"),
        (lambda m: table_in(m, "vehicle").update(name="vehicle\n"), "name: String should match pattern"),
        (lambda m: table_in(m, "vehicle").update(name="v" * 64), "name: String should match pattern"),
        (lambda m: table_in(m, "vehicle").update(schema="pg_catalog"), "schema: Input should be 'pm' or 'telemetry'"),
        (lambda m: table_in(m, "vehicle").update(n_rows=-1), "n_rows: Input should be greater than"),
        (lambda m: table_in(m, "vehicle").update(columns=[]), "columns: Tuple should have at least 1 item"),
        (lambda m: table_in(m, "vehicle")["columns"][0].update(type="integer); DROP"), "type: String should match"),
        (lambda m: table_in(m, "vehicle")["columns"][0].update(comment="x" * 100_001), "comment: String should have"),
        (lambda m: m["tables"].append(table_in(m, "vehicle")), "each table once, but got ['pm.vehicle']"),
        (lambda m: table_in(m, "vehicle")["columns"].append(table_in(m, "vehicle")["columns"][0]), "column of pm.veh"),
        (lambda m: table_in(m, "vehicle").update(name="other"), "the entries its manifest names"),
        (lambda m: m["tables"].remove(table_in(m, "vehicle")), "the entries its manifest names"),
        (lambda m: table_in(m, "vehicle").update(n_bytes=10**15), "table pm.vehicle: expected at most 10000 times"),
        (lambda m: table_in(m, "vehicle").update(n_bytes=30), "table pm.vehicle: expected 30 bytes, but got more"),
        (lambda m: table_in(m, "vehicle").update(n_bytes=9000), "expected 9000 bytes, but got 774"),
        (lambda m: m["migrations"][0].update(name="../0001_x.sql"), "name: String should match pattern"),
    ],
)
def test_a_manifest_that_says_otherwise_is_refused(dump, change, said):
    assert said in refusal(changed(dump, change))


def test_a_manifest_that_is_no_json_or_is_missing_is_refused(dump):
    entries = entries_of(dump)
    bad = dump.with_name("bad.pmdump")
    assert "Invalid JSON" in refusal(written(bad, {**entries, "manifest.json": b"{"}))
    del entries["manifest.json"]
    assert "expected one manifest.json, but got 0" in refusal(written(bad, entries))


def test_entries_beside_those_of_the_manifest_are_refused_and_nothing_is_unpacked(dump):
    bad = written(dump.with_name("bad.pmdump"), {**entries_of(dump), "../../evil": b"x"})
    assert "../../evil" in refusal(bad)
    assert sorted(path.name for path in dump.parent.iterdir()) == ["bad.pmdump", "good.pmdump"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_stands_twice_is_refused(dump):
    bad = dump.with_name("bad.pmdump")
    with zipfile.ZipFile(bad, "w") as file:
        for name, content in [*entries_of(dump).items(), ("pm.vehicle.copy.zst", b"")]:
            file.writestr(name, content)
    assert "'pm.vehicle.copy.zst'" in refusal(bad)


def test_an_entry_that_zip_packed_is_refused(dump):
    bad = dump.with_name("bad.pmdump")
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries_of(dump).items():
            file.writestr(name, content)
    assert "expected a stored entry" in refusal(bad)


@pytest.mark.parametrize("content", [b"", b"no zstandard at all", packed(ROWS["vehicle"])[:-9]])
def test_an_entry_that_is_no_whole_zstandard_is_refused(dump, content):
    bad = written(dump.with_name("bad.pmdump"), {**entries_of(dump), "pm.vehicle.copy.zst": content})
    assert "table pm.vehicle" in refusal(bad)


def test_a_bomb_is_stopped_at_the_size_the_manifest_says(dump):
    bomb = packed(bytes(300_000_000))
    assert len(bomb) < 100_000
    bad = written(dump.with_name("bad.pmdump"), {**entries_of(dump), "pm.vehicle.copy.zst": bomb})
    del bomb
    tracemalloc.start()
    said = refusal(bad)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert "expected 774 bytes, but got more" in said
    assert peak < 20_000_000


def test_a_manifest_that_is_a_bomb_is_not_read_to_its_end(dump):
    bad = dump.with_name("bad.pmdump")
    with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("manifest.json", b" " * 65_000_000)
    assert "a manifest of at most 64000000 bytes" in refusal(bad)
