"""What a dump file says of itself: its manifest, written last and read first.

What belongs here: the manifest's form and what of a foreign one is refused. The file around it is
`pm.store.dump_file`.

A dump may come from anywhere, so each text has a pattern and a length, each number a range, and
nothing in the manifest ever becomes a path.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from pm.errors import DataError

FORMAT: Final = "pm database dump"
VERSION: Final = 1

Name = Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_]{0,62}$")]
Count = Annotated[int, Field(ge=0, lt=2**62)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Label = Annotated[str, Field(max_length=200)]
Comment = Annotated[str, Field(max_length=100_000)]


@dataclass(frozen=True)
class DumpedColumn:
    """A column, its type in PostgreSQL's words, and its comment."""

    name: Name
    type: Annotated[str, Field(pattern=r"^[a-z][a-z ]{0,40}(\[\])?$")]
    comment: Comment | None


@dataclass(frozen=True)
class DumpedTable:
    """A table and what its entry holds: `n_bytes` of a binary COPY of `columns`, in that order."""

    schema: Literal["pm", "telemetry"]
    name: Name
    comment: Comment | None
    columns: Annotated[tuple[DumpedColumn, ...], Field(min_length=1, max_length=1600)]
    n_rows: Count
    n_bytes: Count
    checksum: Checksum
    """The exact checksum (`pm.store.checksums`)."""

    @property
    def entry(self) -> str:
        """Name of the table's entry in the dump file."""
        return f"{self.schema}.{self.name}.copy.zst"

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class DumpedSequence:
    """The last number that the sequence behind a column gave out; None: none yet."""

    schema: Literal["pm", "telemetry"]
    table: Name
    column: Name
    last_value: Count | None


@dataclass(frozen=True)
class DumpedMigration:
    """A migration that the dumped database had applied."""

    version: Annotated[int, Field(ge=0, le=9999)]
    name: Annotated[str, Field(pattern=r"^\d{4}(_[a-z0-9]+)+\.sql$", max_length=200)]
    sha256: Sha256


@dataclass(frozen=True)
class Manifest:
    """The whole of it."""

    format: Literal["pm database dump"]
    version: Literal[1]
    created_at: datetime
    pm_version: Label
    server_version: Label
    timescaledb_version: Label | None
    policy_id: Label
    """The policy in force where it was dumped."""
    migrations: Annotated[tuple[DumpedMigration, ...], Field(max_length=9999)]
    tables: Annotated[tuple[DumpedTable, ...], Field(max_length=20_000)]
    """Each behind those that its foreign keys refer to."""
    sequences: Annotated[tuple[DumpedSequence, ...], Field(max_length=20_000)]

    @property
    def n_bytes(self) -> int:
        return sum(table.n_bytes for table in self.tables)

    @property
    def n_rows(self) -> int:
        return sum(table.n_rows for table in self.tables)


_ADAPTER: Final = TypeAdapter(Manifest)


def write_manifest(manifest: Manifest) -> bytes:
    """The manifest as JSON.

    Raises:
        DataError: it could not be read back, for instance because of a table name of another form.
    """
    text = _ADAPTER.dump_json(manifest, indent=1)
    read_manifest(text, "the dump's own")
    return text


def read_manifest(text: bytes, where: str) -> Manifest:
    """The manifest, every value of its form.

    Raises:
        DataError: it is no manifest of this format version, or names a table or column twice.
    """
    try:
        manifest = _ADAPTER.validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise DataError(
            f"{where}: expected a manifest of format version {VERSION}, but got {place}: {first['msg']}"
        ) from None
    for what, names in (
        ("table", [str(table) for table in manifest.tables]),
        *((f"column of {table}", [column.name for column in table.columns]) for table in manifest.tables),
    ):
        twice = sorted(name for name, times in Counter(names).items() if times > 1)
        if twice:
            raise DataError(f"{where}: expected each {what} once, but got {twice[:5]} twice")
    return manifest
