"""`pm decode`: logs to Parquet without a database."""

from datetime import datetime
from pathlib import Path

import click

from pm.canbus.faults import DEFAULT_OLD_CONVERSION
from pm.cli.output import INSTANT, bars, json_option, print_json, print_table
from pm.pipelines.decode import decode_to_parquet


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--dbc", multiple=True, required=True, type=click.Path(path_type=Path), help="DBC file; repeatable.")
@click.option(
    "--out", required=True, type=click.Path(path_type=Path), help="Folder to write; an earlier output is replaced."
)
@click.option("--start", type=INSTANT, help="Instant of time zero, for logs without absolute times.")
@click.option(
    "--conversion-method",
    type=click.IntRange(1, 3),
    default=DEFAULT_OLD_CONVERSION,
    show_default=True,
    help="How SPNs of trouble codes with the old conversion bit are laid out (SAE J1939-73, 5.7.1).",
)
@json_option
def decode(
    files: tuple[Path, ...],
    dbc: tuple[Path, ...],
    out: Path,
    start: datetime | None,
    conversion_method: int,
    as_json: bool,
) -> None:
    """Decode FILES with DBC files into OUT.

    \b
    OUT/signals/<MESSAGE>.parquet   one row a frame, one column a signal; null where not
                                    available, error or reserved
    OUT/faults.parquet              trouble codes from DM1 and DM2
    OUT/messages.parquet            reassembled multi-packet messages
    OUT/report.json                 counts, rejects by reason, seconds

    Formats, found by content: candump -L and screen text, ASC, BLF, TRC, MF4, CSV of python-can, Vector
    and Vehicle Spy; plain or packed with gzip, zstd or zip.
    """
    summary = decode_to_parquet(files, dbc, out, start=start, old_conversion_method=conversion_method, track=bars)
    for clash in summary.clashes:
        click.echo(f"note: {clash}", err=True)
    if as_json:
        print_json(summary)
        return
    print_table(
        f"Decoded into {out}",
        ("frames", "decoded", "seconds"),
        [(summary.n_frames, summary.n_decoded, round(summary.seconds, 2))],
    )
    if summary.rejected:
        print_table("Not decoded, by reason", ("reason", "count"), sorted(summary.rejected.items()))
