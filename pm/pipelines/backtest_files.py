"""A stored backtest as files in a folder: the page, the measures as JSON and as tables, the judged scores."""

import json
from dataclasses import dataclass
from pathlib import Path

from pm.backtest.report_tables import measure_tables
from pm.errors import StoreError
from pm.pipelines.backtest import judged_scores
from pm.store import artifacts, backtests
from pm.store.connection import Connection


@dataclass(frozen=True)
class BacktestFiles:
    """What was written."""

    folder: Path
    names: tuple[str, ...]


def write_backtest(conn: Connection, backtest_id: str, folder: Path, *, artifact_folder: Path) -> BacktestFiles:
    """Write report.html, measures.json, a CSV a table of `pm.backtest.report_tables`, and scores.parquet.

    A file that is there is written over; each appears whole or not at all.

    Raises:
        DataError: there is no backtest of that id.
        StoreError: an artifact is missing, or the folder cannot be written.
    """
    stored = backtests.fetch_backtest(conn, backtest_id)
    measures = json.loads(stored["measures_json"])
    scores = judged_scores(conn, backtest_id, artifact_folder=artifact_folder)
    content = {
        "report.html": artifacts.get(artifact_folder, stored["report_sha256"]),
        "measures.json": json.dumps(measures, sort_keys=True, indent=2).encode(),
        **{f"{name}.csv": table.write_csv().encode() for name, table in measure_tables(measures).items()},
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in content.items():
            part = folder / f".{name}.part"
            part.write_bytes(data)
            part.replace(folder / name)
        part = folder / ".scores.parquet.part"
        scores.write_parquet(part)
        part.replace(folder / "scores.parquet")
    except OSError as reason:
        raise StoreError(f"{folder}: expected a folder to write to, but got: {reason.strerror}") from None
    return BacktestFiles(folder, (*content, "scores.parquet"))
