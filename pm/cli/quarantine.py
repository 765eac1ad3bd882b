"""`pm quarantine`: log files that were refused, and what to do with them."""

import os
import re
import sys
from datetime import datetime
from pathlib import Path
from typing import Final

import click
import polars as pl

from pm.cli.output import bars, json_option, print_json, print_table
from pm.errors import DataError
from pm.pipelines.executor import open_executor
from pm.pipelines.ingest import IngestReport, keeping_of
from pm.pipelines.quarantine_drop import drop_quarantined
from pm.pipelines.quarantine_retry import retry_quarantined
from pm.policy import load_policy
from pm.settings import read_settings
from pm.store import quarantine as quarantined
from pm.store import vehicles
from pm.store.connection import Connection, database_url, open_database

_SHORT: Final = 12
"""Hex digits that are shown of a sha256, and at least `_LEAST` are asked for."""
_LEAST: Final = 4

_sha256 = click.argument("sha256", nargs=-1)
_all = click.option("--all", "every", is_flag=True, help="Every file in quarantine.")


@click.group()
def quarantine() -> None:
    """List, retry and drop log files that were refused.

    A log that cannot be read is kept in the archive with the reason. Once a newer version or another DBC
    file can read it, `retry` ingests it as if it had been taken then: with the known-at it came with.

    \b
    Exit codes: 0 done · 2 configuration or usage · 3 a file was refused again, or none has that sha256
    · 4 database or archive
    """


@quarantine.command("list")
@click.option("--rows", is_flag=True, help="Also rows that imports refused, with their reasons.")
@json_option
def list_files(rows: bool, as_json: bool) -> None:
    """List the files in quarantine; with --rows also what imports refused."""
    with open_database(read_settings()) as conn:
        files = _with_refs(conn, quarantined.fetch_quarantine(conn))
        imports = quarantined.fetch_refusing_imports(conn)
        rejected = quarantined.fetch_rejected_rows(conn) if rows else None
    if as_json:
        document = {"files": files.to_dicts()}
        if rejected is not None:
            document |= {"imports": imports.to_dicts(), "rows": rejected.to_dicts()}
        print_json(document)
        return
    print_table("In quarantine", _HEADER, (_row(file) for file in files.to_dicts()))
    if rejected is not None:
        shown = ("file_name", "kind", "n_rows", "n_stored", "n_rejected", "imported_at")
        print_table("Imports that refused rows", shown, imports.select(shown).iter_rows())
        named = rejected.join(imports, on=("sha256", "kind", "mapping_sha256"))
        columns = ("file_name", "kind", "row_no", "reason")
        print_table("Refused rows", columns, named.select(columns).iter_rows())


@quarantine.command()
@_sha256
@_all
@click.option(
    "--dbc", multiple=True, type=click.Path(path_type=Path), help="DBC file; repeatable.  [default: dbc/*.dbc]"
)
@click.option(
    "--workers", type=click.IntRange(1, 64), default=os.cpu_count() or 1, show_default=True, help="Processes."
)
@json_option
def retry(sha256: tuple[str, ...], every: bool, dbc: tuple[Path, ...], workers: int, as_json: bool) -> None:
    """Ingest files again that are named by the first digits of their SHA256, or all of them.

    A file that is taken leaves quarantine. One that is refused again stays, with its new reason; the
    others go on, and the exit code is that of the first refusal.
    """
    settings = read_settings()
    policy = load_policy(settings.policy_file)
    with open_database(settings) as conn:
        files = _selected(conn, sha256, every)
    with open_executor(workers) as executor:
        reports = retry_quarantined(
            database_url(settings),
            files,
            dbc=dbc or settings.dbc_files,
            policy=policy,
            keeping=keeping_of(settings, policy),
            executor=executor if workers > 1 else None,
            track=bars,
        )
    if as_json:
        print_json(reports)
    else:
        print_table("Tried again", ("file", "result", "frames", "rows", "faults"), (_result(each) for each in reports))
    for report in reports:
        if report.refused:
            click.echo(f"error: {report.refused}", err=True)
    sys.exit(next((report.exit_code for report in reports if report.refused), 0))


@quarantine.command()
@_sha256
@_all
@json_option
def drop(sha256: tuple[str, ...], every: bool, as_json: bool) -> None:
    """Give up files that are named by the first digits of their SHA256, or all of them.

    Their bytes leave the archive too, unless a stored file has the same ones.
    """
    settings = read_settings()
    with open_database(settings) as conn:
        files = _selected(conn, sha256, every)
    reports = drop_quarantined(database_url(settings), files, archive_address=settings.archive, track=bars)
    if as_json:
        print_json(reports)
        return
    rows = ((each.file_name, each.sha256[:_SHORT], "removed" if each.bytes_removed else "kept") for each in reports)
    print_table("Dropped", ("file", "sha256", "bytes"), rows)


def _selected(conn: Connection, prefixes: tuple[str, ...], every: bool) -> pl.DataFrame:
    """Files in quarantine by the first digits of their sha256.

    Raises:
        DataError: a prefix is of none, or of files with different bytes.
    """
    if every == bool(prefixes):
        raise click.UsageError("expected the first digits of a SHA256, or --all")
    if every:
        return quarantined.fetch_quarantine(conn)
    found = [_with_prefix(conn, prefix.lower()) for prefix in prefixes]
    return pl.concat(found).unique(("vehicle_id", "sha256"), maintain_order=True)


def _with_prefix(conn: Connection, prefix: str) -> pl.DataFrame:
    if not re.fullmatch(rf"[0-9a-f]{{{_LEAST},64}}", prefix):
        raise click.UsageError(f"expected at least {_LEAST} hex digits of a SHA256, but got {prefix!r}")
    files = quarantined.fetch_quarantine(conn, prefix=prefix)
    if files["sha256"].n_unique() != 1:
        names = files["sha256"].unique().sort().to_list() or "none"
        raise DataError(f"quarantine: expected one file whose sha256 begins with {prefix}, but got {names}")
    return files


_HEADER: Final = ("sha256", "vehicle", "file", "bytes", "known_at", "tries", "last refused", "reason")


def _row(file: dict[str, object]) -> tuple[object, ...]:
    return (
        str(file["sha256"])[:_SHORT],
        file["vehicle_ref"],
        file["file_name"],
        file["size_bytes"],
        _minute(file["known_at"]),
        file["n_attempts"],
        _minute(file["last_refused_at"]),
        file["reason"],
    )


def _minute(instant: object) -> str:
    return instant.strftime("%Y-%m-%d %H:%M") if isinstance(instant, datetime) else ""


def _with_refs(conn: Connection, files: pl.DataFrame) -> pl.DataFrame:
    known = vehicles.fetch_vehicles(conn).select("vehicle_id", "fleet", "vehicle_ref")
    return files.join(known, on="vehicle_id", maintain_order="left")


def _result(report: IngestReport) -> tuple[object, ...]:
    result = "refused" if report.refused else "already there" if report.log_file_id is None else "committed"
    return (report.path.name, result, report.n_frames, report.n_rows, report.n_faults)
