"""The workhorse: a LightGBM binary classifier a component, kept as LightGBM's own text.

What belongs here: its parameters, its fit and the check of a text before LightGBM reads it (its
parser trusts what it is given). Calibration and files are elsewhere in this room.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

import lightgbm
import numpy as np

from pm.errors import ModelError
from pm.models.start import Start, read_start
from pm.policy import Booster

_USUAL: Final = Booster()
N_TREES: Final = _USUAL.n_trees
MAXIMUM_TREES: Final = 5000


def _sizes(booster: Booster) -> dict[str, Any]:
    """The policy's keys that LightGBM knows by the same name."""
    return {key: value for key, value in asdict(booster).items() if key != "n_trees"}


PARAMETERS: Final[Mapping[str, Any]] = {
    "objective": "binary",
    **_sizes(_USUAL),
    "bagging_freq": 1,
    "deterministic": True,
    "force_row_wise": True,
    "num_threads": 1,
    "verbosity": -1,
}
"""Same bytes for the same rows and seed; classes keep their natural weight so that calibration holds.
How many trees, and how large, the policy says in [booster]. One thread: folds run side
by side, and on matrices of this size a second thread gains little."""


@dataclass(frozen=True)
class GbmModel:
    """A trained booster as text, the features it sees and where its score starts."""

    text: str
    columns: tuple[int, ...] | None = None
    """Positions of the features it sees, ascending; None: all."""
    start: Start | None = None
    """Added to what the trees say; None: the trees say all."""

    @cached_property
    def booster(self) -> lightgbm.Booster:
        return lightgbm.Booster(model_str=self.text)

    def raw(self, features: np.ndarray) -> np.ndarray:
        """Log odds before calibration, shape (n,), float64."""
        if not features.shape[0]:
            return np.zeros(0)
        trees = np.asarray(self.booster.predict(_seen(features, self.columns), raw_score=True), dtype=np.float64)
        return trees if self.start is None else trees + self.start.raw(features)

    def contributions(self, features: np.ndarray) -> np.ndarray:
        """SHAP values in log odds without the bias, shape (n, f) (Lundberg et al., 2018, TreeSHAP).

        The start is linear in one feature, so its part is that feature's. A feature that is not seen has none.
        """
        if not features.shape[0]:
            return np.zeros(features.shape, dtype=np.float64)
        made = np.zeros(features.shape, dtype=np.float64) if self.start is None else self.start.contributions(features)
        trees = np.asarray(self.booster.predict(_seen(features, self.columns), pred_contrib=True), dtype=np.float64)
        made[:, slice(None) if self.columns is None else list(self.columns)] += trees[:, :-1]
        return made

    def as_document(self) -> dict[str, Any]:
        """JSON-able content."""
        return {
            "text": self.text,
            "columns": None if self.columns is None else list(self.columns),
            "start": None if self.start is None else self.start.as_document(),
        }


def _seen(features: np.ndarray, columns: Sequence[int] | None) -> np.ndarray:
    return features if columns is None else np.ascontiguousarray(features[:, list(columns)])


def fit_gbm(
    features: np.ndarray,
    positive: np.ndarray,
    seed: int,
    booster: Booster = _USUAL,
    *,
    columns: Sequence[int] | None = None,
    start: Start | None = None,
) -> GbmModel:
    """Train on `features` (n, f) float32 with NaN for missing and `positive` (bool, n).

    The trees see `columns` (None: all) and correct the log odds of `start` (None: those of the base rate).
    """
    leaf = int(min(40, max(5, positive.size // 40)))
    parameters = {**PARAMETERS, **_sizes(booster), "seed": seed % 2**31, "min_data_in_leaf": leaf}
    seen = _seen(features, columns)
    names = [f"f{index}" for index in range(seen.shape[1])]
    first = None if start is None else start.raw(features)
    data = lightgbm.Dataset(seen, positive.astype(np.float64), feature_name=names, init_score=first, params=parameters)
    text = lightgbm.train(parameters, data, num_boost_round=booster.n_trees).model_to_string()
    return GbmModel(text, None if columns is None else tuple(columns), start)


def read_gbm(document: Mapping[str, Any], n_features: int) -> GbmModel:
    """A booster from its JSON content, checked before LightGBM sees it.

    Raises:
        ModelError: the text is no whole binary booster over the features it sees, these are none of the
            `n_features`, or its start cannot be read.
    """
    text = document.get("text")
    if not isinstance(text, str):
        raise ModelError(f"gbm: expected a model text, but got {type(text).__name__}")
    columns = _read_columns(document.get("columns"), n_features)
    start = None if document.get("start") is None else read_start(document["start"], n_features)
    wanted = n_features if columns is None else len(columns)
    try:
        _check_text(text, wanted)
        model = GbmModel(text, columns, start)
        width = model.booster.num_feature()
    except (KeyError, ValueError, IndexError, lightgbm.basic.LightGBMError) as reason:
        raise ModelError(f"gbm: expected a whole LightGBM model text, but got one with: {reason}") from None
    if width != wanted:
        raise ModelError(f"gbm: expected {wanted} features, but got {width}")
    return model


def _read_columns(given: Any, n_features: int) -> tuple[int, ...] | None:
    if given is None:
        return None
    fits = isinstance(given, list) and given and all(type(one) is int and 0 <= one < n_features for one in given)
    if not fits or sorted(set(given)) != given:
        raise ModelError(f"gbm: expected rising positions below {n_features} as columns, but got others")
    return tuple(given)


def _check_text(text: str, n_features: int) -> None:
    head, _, rest = text.partition("\nTree=0\n")
    header = _fields(head)
    if not head.startswith("tree\n") or header["num_class"] != "1" or not header["objective"].startswith("binary"):
        raise ValueError("another kind of header")
    if int(header["max_feature_idx"]) != n_features - 1 or len(header["feature_names"].split()) != n_features:
        raise ValueError(f"max_feature_idx {header['max_feature_idx']} where {n_features - 1} was expected")
    sizes = [int(size) for size in header["tree_sizes"].split()] if header.get("tree_sizes") else []
    body, end, _ = ("Tree=0\n" + rest).partition("end of trees\n") if rest else ("", "end of trees\n", "")
    if not end or len(sizes) > MAXIMUM_TREES or sum(sizes) != len(body.encode()):
        raise ValueError("tree sizes that do not add up")
    start = 0
    for number, size in enumerate(sizes):
        block = body[start : start + size]
        if not block.startswith(f"Tree={number}\n"):
            raise ValueError(f"no tree {number} where it should begin")
        _check_tree(_fields(block), n_features)
        start += size


def _check_tree(tree: Mapping[str, str], n_features: int) -> None:
    n_leaves = int(tree["num_leaves"])
    if int(tree["num_cat"]) != 0 or not 1 <= n_leaves <= 4096:
        raise ValueError(f"{n_leaves} leaves, {tree['num_cat']} categories")
    if len(tree["leaf_value"].split()) != n_leaves or not np.isfinite(_numbers(tree["leaf_value"])).all():
        raise ValueError("leaf values that do not fit")
    if n_leaves == 1:
        return
    decisions = _numbers(tree["decision_type"])
    if decisions.size != n_leaves - 1 or (decisions % 2 != 0).any() or tree.get("is_linear", "0") != "0":
        raise ValueError("a categorical or linear tree")
    if _numbers(tree["threshold"]).size != n_leaves - 1:
        raise ValueError("thresholds of another length")
    split = _numbers(tree["split_feature"])
    if split.size != n_leaves - 1 or split.min() < 0 or split.max() >= n_features:
        raise ValueError("a split on a feature that does not exist")
    for name in ("left_child", "right_child"):
        _check_children(_numbers(tree[name]), n_leaves)


def _check_children(children: np.ndarray, n_leaves: int) -> None:
    """Children point to leaves (negative) or to later nodes: no walk can go in a circle."""
    later = (children > np.arange(children.size)) & (children < n_leaves - 1)
    leaf = (children < 0) & (children >= -n_leaves)
    if children.size != n_leaves - 1 or not (later | leaf).all():
        raise ValueError("children that do not form a tree")


def _numbers(text: str) -> np.ndarray:
    return np.array([float(part) for part in text.split()])


def _fields(block: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in block.split("\n") if "=" in line)
