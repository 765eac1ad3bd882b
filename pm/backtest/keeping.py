"""Finished folds, so that a run that was killed goes on where it stood.

What belongs here: what names a fold before it has run, and a fold as bytes. Where they are kept is the
caller's: `FoldKeeper` is what a run asks of it.
"""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Protocol

import polars as pl

from pm.backtest.task import LABEL_COLUMNS, SCORE_SCHEMA, FoldRecord, FoldResult, FoldTask, Trained
from pm.backtest.vectors import frame_hash
from pm.errors import DataError

_FORMAT: Final = "pm-fold-1"
_LABELS: Final = "labels"
_ROOM: Final = Path(__file__).resolve().parents[1]
_SOURCES: Final = ("asof.py", "schema.py", "backtest/*.py", "labels/*.py", "models/*.py")
_APART: Final = ("audit", "report", "measure", "compare", "episodes", "figures", "metrics", "cost", "served")
"""Modules of the backtest that only look at finished folds."""
_PACKAGES: Final = ("lightgbm", "numpy", "polars", "scikit-learn", "sktime")


class FoldKeeper(Protocol):
    """Keeps finished folds by key."""

    def find(self, key: str) -> FoldResult | None:
        """The fold that was finished under `key`; None where there is none."""
        ...

    def keep(self, key: str, result: FoldResult) -> None:
        """Keep a finished fold."""
        ...


@cache
def code_version() -> str:
    """Hash of the sources that make a fold and of the versions of the packages they use, 16 hex digits."""
    digest = hashlib.sha256()
    for pattern in _SOURCES:
        for path in sorted(_ROOM.glob(pattern)):
            if not path.name.startswith(_APART):
                digest.update(f"{path.relative_to(_ROOM)}\n".encode())
                digest.update(path.read_bytes())
    for package in _PACKAGES:
        digest.update(f"{package} {version(package)}\n".encode())
    return digest.hexdigest()[:16]


def fold_keys(tasks: Sequence[FoldTask], vector_hashes: Sequence[str]) -> list[str]:
    """sha256, hex, of everything a fold's result depends on: inputs, parameters and code.

    `vector_hashes` are those of the vectors up to each fold's last test as-of. Failures and vehicles
    count with every version, which is more than a fold may see: a key is never too lenient.
    """
    if not tasks:
        return []
    one = tasks[0]
    shared = {
        "code": code_version(),
        "policy": one.policy.as_json(),
        "feature_set": one.feature_set.feature_set_id,
        "components": one.components,
        "kinds": one.kinds,
        "known_until": one.known_until.isoformat(),
        "observed_until": one.observed_until.isoformat(),
        "vehicles": frame_hash(one.vehicles),
        "failures": frame_hash(one.failures),
    }
    return [_key({**shared, "vectors": vectors, "fold": asdict(task.fold)}) for task, vectors in zip(
        tasks, vector_hashes, strict=True
    )]  # fmt: skip


def _key(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def fold_bytes(result: FoldResult) -> bytes:
    """A fold as one Parquet file: its scores, its labels below them, its record as metadata."""
    labels = result.labels.select(pl.lit(_LABELS).alias("kind"), *LABEL_COLUMNS)
    content = {"format": _FORMAT, "judged_lag_d": result.judged_lag_d, "record": asdict(result.record)}
    file = io.BytesIO()
    pl.concat([result.scores, labels], how="diagonal").select(SCORE_SCHEMA.names()).write_parquet(
        file, metadata={"fold": json.dumps(content, sort_keys=True, default=datetime.isoformat)}
    )
    return file.getvalue()


def read_fold(content: bytes) -> FoldResult:
    """Read what `fold_bytes` wrote.

    Raises:
        DataError: it is no such file.
    """
    try:
        document = json.loads(pl.read_parquet_metadata(io.BytesIO(content))["fold"])
        if document["format"] != _FORMAT:
            raise ValueError(f"format {document['format']}")
        rows = pl.read_parquet(io.BytesIO(content)).cast(SCORE_SCHEMA)
        record = _record(document["record"])
        is_label = pl.col("kind") == _LABELS
        scores, labels = rows.filter(~is_label), rows.filter(is_label)
        return FoldResult(record, scores, labels.select(LABEL_COLUMNS), float(document["judged_lag_d"]))
    except (pl.exceptions.PolarsError, KeyError, TypeError, ValueError) as reason:
        raise DataError(f"fold: expected a stored fold, but got one with: {reason}") from None


def _record(fields: Mapping[str, Any]) -> FoldRecord:
    instants = {name: datetime.fromisoformat(fields[name]) for name in ("cutoff", "test_from", "test_until")}
    trained = tuple(Trained(**one) for one in fields["trained"])
    return FoldRecord(**{**fields, **instants, "trained": trained})
