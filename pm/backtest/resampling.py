"""Sums over resamples of vehicles, compiled: the same bits on every run and no row repeated in memory.

What belongs here: kernels over weights a resample and vehicle. What is summed is `pm.backtest.metrics`
and `pm.backtest.episodes`. A matrix product would do, but its library adds up in an order that depends
on where an array lies in memory, and a report could not be made again bit for bit.
"""

import numpy as np

from pm.canbus.jit import kernel


def weighted(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sum of `counts` (n_vehicles) in each resample of `weights` (samples, n_vehicles), shape (samples,)."""
    out = np.zeros(weights.shape[0])
    _weighted(np.ascontiguousarray(weights, dtype=np.float64), np.ascontiguousarray(counts, dtype=np.float64), out)
    return out


@kernel
def _weighted(weights: np.ndarray, counts: np.ndarray, out: np.ndarray) -> None:
    for sample in range(weights.shape[0]):
        total = 0.0
        for vehicle in range(counts.size):
            total += weights[sample, vehicle] * counts[vehicle]
        out[sample] = total


def ranking(
    positive: np.ndarray, p: np.ndarray, vehicle: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and ROC-AUC of rows ranked by `p`, each of shape (samples,); NaN where undefined.

    `vehicle` is each row's column of `weights`. Equal scores stand together: precision counts them at
    once, and a pair of them is half in order.
    """
    order = np.argsort(-p, kind="stable")
    last = np.append(np.diff(p[order]) != 0, True) if p.size else np.zeros(0, dtype=np.bool_)
    precision, auc = np.full(weights.shape[0], np.nan), np.full(weights.shape[0], np.nan)
    _ranking(
        np.asarray(positive, dtype=np.float64)[order],
        last,
        np.asarray(vehicle, dtype=np.int64)[order],
        np.ascontiguousarray(weights, dtype=np.float64),
        precision,
        auc,
    )
    return precision, auc


@kernel
def _ranking(  # noqa: PLR0917 - a kernel takes its arrays by place
    positive: np.ndarray,
    last: np.ndarray,
    vehicle: np.ndarray,
    weights: np.ndarray,
    precision: np.ndarray,
    auc: np.ndarray,
) -> None:
    for sample in range(weights.shape[0]):
        hits, rows, seen_hits, seen_rows = 0.0, 0.0, 0.0, 0.0
        area, beaten = 0.0, 0.0
        for row in range(positive.size):
            weight = weights[sample, vehicle[row]]
            rows += weight
            hits += weight * positive[row]
            if last[row]:
                gained, passed = hits - seen_hits, (rows - hits) - (seen_rows - seen_hits)
                if gained > 0:
                    area += gained * (hits / rows)
                beaten += gained * ((seen_rows - seen_hits) + 0.5 * passed)
                seen_hits, seen_rows = hits, rows
        if hits > 0:
            precision[sample] = area / hits
        if hits > 0 and rows > hits:
            auc[sample] = 1.0 - beaten / (hits * (rows - hits))
