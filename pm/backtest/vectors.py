"""Feature vectors as one matrix with its keys: in memory, or in files that processes map.

What belongs here: the form in which folds read their vectors. A fold needs a prefix in time of what
the next one needs, so the matrix is written once, sorted by as-of, and mapped by whoever runs a fold:
the pages are shared, and no fold's rows are sent to anybody.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl

from pm.models.rows import feature_matrix
from pm.schema import UTC_INSTANT

_PARTS: Final = ("vehicle_id", "as_of", "matrix")


@dataclass(frozen=True)
class Vectors:
    """Vectors sorted by as-of and vehicle."""

    keys: pl.DataFrame
    """Columns vehicle_id and as_of, a line a row of `matrix`."""
    matrix: np.ndarray
    """Shape (n, f), float32, NaN for missing."""

    def until(self, as_of: datetime) -> "Vectors":
        """Those with as_of up to and with the given one; nothing is copied."""
        n_rows = int((self.keys["as_of"] <= as_of).sum())
        return Vectors(self.keys.head(n_rows), self.matrix[:n_rows])


@dataclass(frozen=True)
class VectorFiles:
    """Where `write_vectors` put them."""

    folder: Path


def make_vectors(frame: pl.DataFrame, n_features: int) -> Vectors:
    """A FEATURE_VECTOR frame as `Vectors`.

    Raises:
        ModelError: a row has another number of features.
    """
    ordered = frame.sort("as_of", "vehicle_id")
    return Vectors(ordered.select("vehicle_id", "as_of"), feature_matrix(ordered, n_features))


def write_vectors(vectors: Vectors, folder: Path) -> VectorFiles:
    """Write the three arrays into `folder`."""
    keys = vectors.keys
    arrays = (keys["vehicle_id"].to_numpy(), keys["as_of"].dt.epoch("us").to_numpy(), vectors.matrix)
    for name, array in zip(_PARTS, arrays, strict=True):
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
    return VectorFiles(folder)


def open_vectors(given: "pl.DataFrame | Vectors | VectorFiles", n_features: int) -> Vectors:
    """What a fold was given, as `Vectors`; files are mapped, not read."""
    if isinstance(given, Vectors):
        return given
    if isinstance(given, pl.DataFrame):
        return make_vectors(given, n_features)
    vehicle, as_of, matrix = (
        np.load(given.folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _PARTS
    )
    keys = pl.DataFrame({"vehicle_id": np.array(vehicle), "as_of": np.array(as_of)})
    return Vectors(keys.with_columns(pl.col("as_of").cast(UTC_INSTANT)), matrix)


def prefix_hashes(vectors: Vectors, ends: Sequence[datetime]) -> list[str]:
    """sha256, hex, of the vectors up to and with each of `ends` (rising), in one pass."""
    digest = hashlib.sha256(str(vectors.matrix.shape[1]).encode())
    made, done = [], 0
    for end in ends:
        n_rows = vectors.until(end).keys.height
        update_hash(digest, Vectors(vectors.keys[done:n_rows], vectors.matrix[done:n_rows]))
        done = n_rows
        made.append(digest.copy().hexdigest())
    return made


def update_hash(digest: "hashlib._Hash", vectors: Vectors) -> None:
    """Add keys and numbers to `digest`."""
    for column in (vectors.keys["vehicle_id"], vectors.keys["as_of"].dt.epoch("us")):
        digest.update(np.ascontiguousarray(column.to_numpy()).data)
    digest.update(np.ascontiguousarray(vectors.matrix).data)


def frame_hash(frame: pl.DataFrame) -> str:
    """sha256, hex, of a frame of plain columns: names, values and which are null, in row order."""
    digest = hashlib.sha256(f"{frame.columns}{frame.height}".encode())
    for column in frame.iter_columns():
        digest.update(np.packbits(column.is_null().to_numpy()).data)
        plain = _coded(digest, column) if column.dtype == pl.String else column.to_physical()
        digest.update(np.ascontiguousarray(plain.fill_null(0).to_numpy()).data)
    return digest.hexdigest()


def _coded(digest: "hashlib._Hash", column: pl.Series) -> pl.Series:
    """Words as numbers; the words themselves go into `digest`, each with its length."""
    words = column.unique().drop_nulls().sort()
    digest.update("".join(f"{len(word)}:{word}" for word in words).encode())
    codes = pl.int_range(words.len(), eager=True)
    return column.replace_strict(words, codes, return_dtype=pl.Int64) if words.len() else column.cast(pl.Int64)
