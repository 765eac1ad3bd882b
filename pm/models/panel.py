"""sktime's time series forest over each row's own short history, kept as JSON.

What belongs here: how a feature vector becomes a panel, the fit by
`sktime.classification.interval_based.TimeSeriesForestClassifier`, and asking the trained forest.

A feature set holds the same quantity over windows of 28, 14, 7, 3 and 1 days. Read from the
longest to the shortest window these are a series that runs towards the as-of, so one vector is a
panel of (variables, time) and the forest's intervals see level, spread and slope of the change.
That keeps the promise of every model here: one row in, one score out, no history to fetch.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from pm.errors import ModelError
from pm.models.calibration import logit

N_TREES: Final = 50
N_VARIABLES: Final = 8
MINIMUM_WINDOWS: Final = 3
PADDING: Final = 2
MINIMUM_KNOWN: Final = 0.5
"""A variable needs at least this share of values that are not missing."""
MAXIMUM_ROWS: Final = 1000
"""Training rows are thinned to about this many: a fit takes around a second."""
SCORE_EDGE: Final = 0.5 / N_TREES
"""A forest of N trees cannot tell apart what lies closer to 0 or 1 than half a vote."""
MAXIMUM_NODES: Final = 20_000

_WINDOWED = re.compile(r"^(?P<stem>.+)_(?P<days>\d+)d$")


@dataclass(frozen=True)
class PanelVariable:
    """One variable: its columns from the longest window to the shortest."""

    stem: str
    columns: tuple[int, ...]
    divisors: tuple[float, ...]
    """Counts over a window become counts a day; 1 for everything else."""
    fill: float
    """Training median, where every window is missing."""


@dataclass(frozen=True)
class Tree:
    """A decision tree over (mean, standard deviation, slope) of each interval; leaves have left == -1."""

    intervals: tuple[tuple[int, int], ...]
    feature: tuple[int, ...]
    threshold: tuple[float, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    p_positive: tuple[float, ...]


@dataclass(frozen=True)
class PanelModel:
    """A trained time series forest."""

    variables: tuple[PanelVariable, ...]
    trees: tuple[Tree, ...]

    def p_forest(self, features: np.ndarray) -> np.ndarray:
        """Mean vote of the trees, shape (n,), float64."""
        return forest_votes(self.trees, panel(self.variables, features))

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Log odds of the vote before calibration, shape (n,), float64."""
        return logit(self.p_forest(features), SCORE_EDGE)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """Change in log odds when a variable is put to its training median, shape (n, f).

        It stands in the column of the variable's shortest window.
        """
        made = np.zeros(features.shape, dtype=np.float64)
        full = self.raw(features)
        for variable in self.variables:
            without = features.copy()
            without[:, list(variable.columns)] = np.nan
            made[:, variable.columns[-1]] = full - self.raw(without)
        return made

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "variables": [
                {"stem": v.stem, "columns": list(v.columns), "divisors": list(v.divisors), "fill": v.fill}
                for v in self.variables
            ],
            "trees": [
                {
                    "intervals": [list(pair) for pair in tree.intervals],
                    "feature": list(tree.feature),
                    "threshold": list(tree.threshold),
                    "left": list(tree.left),
                    "right": list(tree.right),
                    "p_positive": list(tree.p_positive),
                }
                for tree in self.trees
            ],
        }


def panel(variables: Sequence[PanelVariable], features: np.ndarray) -> np.ndarray:
    """Series of each row, variables one after the other; float64, shape (n, variables * (windows + PADDING)).

    A missing window takes the next longer one. The newest value is repeated, because the forest's
    intervals never reach the last point of a series and rarely the one before.
    """
    return np.concatenate([_series(variable, features) for variable in variables], axis=1)


def _series(variable: PanelVariable, features: np.ndarray) -> np.ndarray:
    series = features[:, list(variable.columns)].astype(np.float64) / np.array(variable.divisors)
    for step in range(1, series.shape[1]):
        series[:, step] = np.where(np.isnan(series[:, step]), series[:, step - 1], series[:, step])
    for step in range(series.shape[1] - 2, -1, -1):
        series[:, step] = np.where(np.isnan(series[:, step]), series[:, step + 1], series[:, step])
    series = np.where(np.isnan(series), variable.fill, series)
    return np.concatenate([series, np.repeat(series[:, -1:], PADDING, axis=1)], axis=1)


def forest_votes(trees: Sequence[Tree], series: np.ndarray) -> np.ndarray:
    """Mean probability of the positive class over `trees`, shape (n,)."""
    total = np.zeros(series.shape[0])
    for tree in trees:
        total += _tree_votes(tree, _summaries(series, tree.intervals))
    return total / max(len(trees), 1)


def _summaries(series: np.ndarray, intervals: Sequence[tuple[int, int]]) -> np.ndarray:
    """Mean, standard deviation and slope an interval, in the arithmetic the forest was trained with."""
    made = np.empty((series.shape[0], 3 * len(intervals)), dtype=np.float32)
    for index, (start, end) in enumerate(intervals):
        part = series[:, start:end]
        steps = np.arange(end - start) + 1
        spread = (steps * steps).mean() - steps.mean() ** 2
        made[:, 3 * index] = part.mean(axis=1)
        made[:, 3 * index + 1] = part.std(axis=1)
        made[:, 3 * index + 2] = ((part * steps).mean(axis=1) - steps.mean() * part.mean(axis=1)) / spread
    return made


def _tree_votes(tree: Tree, summaries: np.ndarray) -> np.ndarray:
    feature, threshold = np.array(tree.feature), np.array(tree.threshold)
    left, right = np.array(tree.left), np.array(tree.right)
    node = np.zeros(summaries.shape[0], dtype=np.intp)
    rows = np.arange(summaries.shape[0])
    while (inside := left[node] >= 0).any():
        below = summaries[rows, np.maximum(feature[node], 0)] <= threshold[node]
        node = np.where(inside, np.where(below, left[node], right[node]), node)
    return np.asarray(np.array(tree.p_positive)[node])


def fit_panel(names: Sequence[str], features: np.ndarray, positive: np.ndarray, seed: int) -> PanelModel:
    """Train on `features` (n, f) with NaN for missing and `positive` (bool, n).

    Of the quantities that stand in several windows, the N_VARIABLES that separate the classes best
    one by one are taken. Method: H. Deng, G. Runger, E. Tuv, M. Vladimir, "A time series forest for
    classification and feature extraction", Information Sciences 239, 2013.

    Raises:
        ModelError: no feature stands in at least MINIMUM_WINDOWS windows.
    """
    # imported here: scoring with a stored forest must not cost the import of sktime
    from sktime.classification.interval_based import TimeSeriesForestClassifier

    kept = _thin(positive)
    features, positive = features[kept], positive[kept]
    variables = _choose_variables(names, features, positive)
    series = panel(variables, features)
    forest = TimeSeriesForestClassifier(
        min_interval=2,
        n_estimators=N_TREES,
        inner_series_length=series.shape[1] // len(variables),
        random_state=seed % 2**31,
    )
    forest.fit(series[:, np.newaxis, :], positive.astype(np.int64))
    trees = [_read_tree(*pair) for pair in zip(forest.estimators_, forest.intervals_, strict=True)]
    return PanelModel(variables, tuple(trees))


def _thin(positive: np.ndarray) -> np.ndarray:
    """Every k-th row of each class, so that rare positives are not thinned away by chance."""
    step = max(1, -(-positive.size // MAXIMUM_ROWS))
    rows = np.concatenate([np.flatnonzero(positive)[::step], np.flatnonzero(~positive)[::step]])
    return np.sort(rows)


def _read_tree(estimator: Any, intervals: np.ndarray) -> Tree:
    tree = estimator.tree_
    value = tree.value[:, 0, :]
    return Tree(
        tuple((int(start), int(end)) for start, end in intervals),
        tuple(int(item) for item in tree.feature),
        tuple(float(item) for item in tree.threshold),
        tuple(int(item) for item in tree.children_left),
        tuple(int(item) for item in tree.children_right),
        tuple(float(item) for item in value[:, 1] / value.sum(axis=1)),
    )


def _choose_variables(names: Sequence[str], features: np.ndarray, positive: np.ndarray) -> tuple[PanelVariable, ...]:
    series = {stem: days for stem, days in _windowed(names).items() if len(days) >= MINIMUM_WINDOWS}
    longest = max((len(days) for days in series.values()), default=0)
    worth = {
        stem: max(_separation(features[:, column], positive) for column in days.values())
        for stem, days in series.items()
        if len(days) == longest
    }
    best = sorted((stem for stem in worth if worth[stem] > 0), key=lambda stem: (-worth[stem], stem))[:N_VARIABLES]
    if not best:
        raise ModelError(
            f"panel: expected features over at least {MINIMUM_WINDOWS} windows, but got {len(names)} others"
        )
    return tuple(_variable(stem, series[stem], features) for stem in best)


def _windowed(names: Sequence[str]) -> dict[str, dict[int, int]]:
    """For each stem, the column of each window in days."""
    found: dict[str, dict[int, int]] = {}
    for column, name in enumerate(names):
        if match := _WINDOWED.match(name):
            found.setdefault(match["stem"], {})[int(match["days"])] = column
    return found


def _variable(stem: str, days: Mapping[int, int], features: np.ndarray) -> PanelVariable:
    order = sorted(days, reverse=True)
    columns = tuple(days[window] for window in order)
    divisors = tuple(float(window) if stem.startswith("n_") else 1.0 for window in order)
    newest = features[:, columns[-1]].astype(np.float64) / divisors[-1]
    fill = float(np.nanmedian(newest)) if not np.isnan(newest).all() else 0.0
    return PanelVariable(stem, columns, divisors, fill)


def _separation(value: np.ndarray, positive: np.ndarray) -> float:
    """|ROC-AUC - 0.5| of one column over the rows where it is known; 0 where too few are."""
    known = ~np.isnan(value)
    yes, no = value[known & positive], np.sort(value[known & ~positive])
    if known.mean() < MINIMUM_KNOWN or not yes.size or not no.size:
        return 0.0
    below = np.searchsorted(no, yes, "left") + np.searchsorted(no, yes, "right")
    return abs(float(below.mean()) / (2 * no.size) - 0.5)


def read_panel(document: Mapping[str, Any], n_features: int) -> PanelModel:
    """A forest from its JSON content.

    Raises:
        ModelError: it is no such content, or a column, interval or tree does not fit.
    """
    try:
        variables = tuple(_read_variable(item, n_features) for item in document["variables"])
        length = sum(len(variable.columns) + PADDING for variable in variables)
        trees = tuple(_read_stored_tree(item, length) for item in document["trees"])
    except (KeyError, TypeError, ValueError) as reason:
        raise ModelError(f"panel: expected a forest document, but got one with: {reason}") from None
    if not variables or not trees:
        raise ModelError(f"panel: expected variables and trees, but got {len(variables)} and {len(trees)}")
    return PanelModel(variables, trees)


def _read_variable(item: Mapping[str, Any], n_features: int) -> PanelVariable:
    columns = tuple(int(column) for column in item["columns"])
    divisors = tuple(float(value) for value in item["divisors"])
    fits = columns and len(columns) == len(divisors) and all(0 <= column < n_features for column in columns)
    if not fits or min(divisors) <= 0 or not np.isfinite([*divisors, item["fill"]]).all():
        raise ValueError(f"variable {item['stem']!r} outside the features")
    return PanelVariable(str(item["stem"]), columns, divisors, float(item["fill"]))


def _read_stored_tree(item: Mapping[str, Any], length: int) -> Tree:
    tree = Tree(
        tuple((int(start), int(end)) for start, end in item["intervals"]),
        tuple(int(value) for value in item["feature"]),
        tuple(float(value) for value in item["threshold"]),
        tuple(int(value) for value in item["left"]),
        tuple(int(value) for value in item["right"]),
        tuple(float(value) for value in item["p_positive"]),
    )
    if not all(0 <= start < end - 1 < length for start, end in tree.intervals):
        raise ValueError("an interval outside the series")
    _check_nodes(tree)
    return tree


def _check_nodes(tree: Tree) -> None:
    """Children stand behind their parent: no walk can go in a circle."""
    n_nodes = len(tree.feature)
    lengths = {len(part) for part in (tree.threshold, tree.left, tree.right, tree.p_positive)}
    if lengths != {n_nodes} or not 1 <= n_nodes <= MAXIMUM_NODES:
        raise ValueError("node lists of different length")
    for node, (left, right) in enumerate(zip(tree.left, tree.right, strict=True)):
        inner = node < left < n_nodes and node < right < n_nodes and 0 <= tree.feature[node] < 3 * len(tree.intervals)
        if not inner and (left, right) != (-1, -1):
            raise ValueError("nodes that do not form a tree")
    if not np.isfinite(tree.threshold).all() or not all(0 <= p <= 1 for p in tree.p_positive):
        raise ValueError("a threshold or probability that is no such number")
