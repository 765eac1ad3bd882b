"""Dump files taken apart and put together again, for tests of damaged and foreign ones."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa


def entries_of(path: Path) -> dict[str, bytes]:
    """The entries as they are stored."""
    with zipfile.ZipFile(path) as good:
        return {name: good.read(name) for name in good.namelist()}


def written(path: Path, entries: dict[str, bytes]) -> Path:
    """A zip of these entries at `path`."""
    with zipfile.ZipFile(path, "w") as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return path


def changed(dump: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """bad.pmdump beside `dump`: the same with another manifest."""
    entries = entries_of(dump)
    manifest = json.loads(entries["manifest.json"])
    change(manifest)
    entries["manifest.json"] = json.dumps(manifest).encode()
    return written(dump.with_name("bad.pmdump"), entries)


def table_in(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    """What the manifest says of a table."""
    return next(table for table in manifest["tables"] if table["name"] == name)


def packed(content: bytes) -> bytes:
    """Zstandard of `content`."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(content)
    return bytes(sink.getvalue())
