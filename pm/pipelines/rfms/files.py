"""`pm import rfms FILE|FOLDER`: saved rFMS responses, each committed whole or refused with its reason."""

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

from pm.errors import DataError
from pm.pipelines.rfms.response import LARGEST_BYTES, STATUSES, RfmsResponse, hide_vins, read_response, read_vin
from pm.pipelines.rfms.statuses import look_up
from pm.pipelines.rfms.store import RefusedFile, RfmsImport, RfmsReport, Tally, store_response
from pm.progress import Track, silent
from pm.store.connection import Connection


def import_rfms_files(
    conn: Connection, source: Path, using: RfmsImport, *, now: Callable[[], datetime], track: Track = silent
) -> RfmsReport:
    """Import one saved response, or every *.json of a folder, by name; vehicles before statuses.

    A file of a folder that cannot be used is refused and the others go on. The same file again changes
    nothing, and neither do its records in another file.

    Raises:
        DataError: there is no such file, or the only one cannot be used.
        StoreError: the database could not do it.
    """
    paths = sorted(source.glob("*.json")) if source.is_dir() else [source]
    if not paths:
        raise DataError(f"{source}: expected files *.json in the folder, but got none")
    tally, refused, kinds = Tally(), [], {}
    for path in paths:
        try:
            kinds[path] = _read(path)[0].kind
        except DataError as error:
            if len(paths) == 1:
                raise
            refused.append(RefusedFile(hide_vins(path.name), hide_vins(str(error)), error.exit_code))
    ordered = sorted(kinds, key=lambda path: (kinds[path] == STATUSES, path))
    for path in track(ordered, "responses", len(ordered)):
        response, content = _read(path)
        store_response(conn, response, content, using, tally, file_name=_file_name(path, response), in_hand_at=now())
    return tally.report(using.fleet, tuple(refused))


def _read(path: Path) -> tuple[RfmsResponse, bytes]:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as reason:
        raise DataError(f"{path}: expected a readable file, but got: {reason.strerror}") from None
    return read_response(content, str(path)), content


def _file_name(path: Path, response: RfmsResponse) -> str:
    """The file's name without the VINs of its records."""
    vins: Sequence[str] = sorted({read_vin(look_up(record, "vin")) or "" for record in response.records})
    return hide_vins(path.name, vins)
