"""Which feature set is in use: the chosen one, else the configured one."""

from dataclasses import dataclass
from datetime import datetime

from pm.errors import ConfigError
from pm.features.featureset import SHIPPED, FeatureSet, default_feature_set
from pm.policy import Policy
from pm.store import feature_sets, feature_vectors
from pm.store.connection import Connection


@dataclass(frozen=True)
class ChoiceReport:
    """What was chosen, and what was in use before."""

    choice_no: int
    feature_set_id: str
    before: str


def set_in_use(conn: Connection, policy: Policy, configured: FeatureSet | None = None) -> FeatureSet:
    """The set that was chosen last; where none was, `configured`, or without one the shipped truck set.

    Raises:
        ConfigError: the chosen set is of another release, which computed otherwise.
    """
    chosen = feature_sets.chosen(conn)
    if chosen is not None:
        return feature_sets.load_feature_set(conn, chosen)
    return default_feature_set(policy) if configured is None else configured


def choose_set(
    conn: Connection, wanted: str, policy: Policy, *, configured: FeatureSet, chosen_at: datetime, reason: str
) -> ChoiceReport:
    """Use the set `wanted` from now on: an id, the name of a shipped set, or "configured".

    Vectors of the set in use before stay as they are: choosing it again is rolling back.

    Raises:
        ConfigError: no set of that id or name is there, or it is of another release.
    """
    before = set_in_use(conn, policy, configured).feature_set_id
    if wanted == "configured":
        number = feature_sets.choose(conn, None, chosen_at=chosen_at, reason=reason)
        return ChoiceReport(number, configured.feature_set_id, before)
    found = find_set(conn, wanted, policy, configured=configured)
    feature_vectors.put_feature_set(conn, found)
    number = feature_sets.choose(conn, found.feature_set_id, chosen_at=chosen_at, reason=reason)
    return ChoiceReport(number, found.feature_set_id, before)


def find_set(conn: Connection, wanted: str, policy: Policy, *, configured: FeatureSet) -> FeatureSet:
    """The set of this id, or of this name as it is shipped or configured now.

    Raises:
        ConfigError: there is none, or a stored one is of another release.
    """
    here = [configured, *(make(policy) for make in SHIPPED.values())]
    for one in here:
        if wanted in (one.feature_set_id, one.name):
            return one
    stored = feature_sets.fetch_summaries(conn)["feature_set_id"].to_list()
    if wanted in stored:
        return feature_sets.load_feature_set(conn, wanted)
    names = sorted({one.name for one in here} | {"configured"} | set(stored))
    raise ConfigError(f"feature set: expected one of {names}, but got {wanted!r}")
