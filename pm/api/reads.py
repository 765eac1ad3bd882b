"""What the API reads, in its own words, and the store behind it.

What belongs here: `Reads`, the few questions asked of stored data, and their answer from `pm.store`.
One `Reads` lives for one request.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import polars as pl

from pm.errors import StoreError
from pm.features.dictionary import FeatureDictionary
from pm.features.featurefile import feature_set_of
from pm.features.featureset import FeatureSet
from pm.pipelines.feature_dictionary import describe_features
from pm.pipelines.feature_sets import set_in_use
from pm.policy import load_policy
from pm.settings import Settings
from pm.store import artifacts, assumptions, audits, dictionary, feature_sets, predictions, registry, serving
from pm.store.connection import Connection, connect, database_url
from pm.store.migrate import applied_migrations, pending, read_migrations
from pm.store.serving import BatchState
from pm.tables import ASSUMPTION


class Reads(Protocol):
    """Questions of one request. Frames are those of `pm.tables`; only answering roles are seen."""

    def missing(self) -> list[str]:
        """What keeps the service from being ready, in plain words; empty where nothing does."""
        ...

    def latest_as_of(self) -> datetime | None:
        """The newest batch; None before the first one."""
        ...

    def predictions(
        self,
        as_of: datetime,
        *,
        component: str | None = None,
        vehicle_id: int | None = None,
        alert: bool | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        """Matching PREDICTION rows of one batch, most likely failure first, rows without score last."""
        ...

    def count_predictions(
        self, as_of: datetime, *, component: str | None = None, vehicle_id: int | None = None, alert: bool | None = None
    ) -> int:
        """How many rows `predictions` has without its limit."""
        ...

    def one_a_vehicle(self, as_of: datetime, *, component: str | None = None, limit: int | None = None) -> pl.DataFrame:
        """Each vehicle's likeliest failure in one batch: PREDICTION, in the order of `predictions`."""
        ...

    def batch_state(self, as_of: datetime) -> BatchState:
        """Counts of one batch."""
        ...

    def alert_history(self, since: datetime, until: datetime) -> pl.DataFrame:
        """Alerts with since < as_of <= until, as `pm.scoring.alerts` takes them."""
        ...

    def vehicle(self, vehicle_id: int) -> pl.DataFrame:
        """VEHICLE, one row or none."""
        ...

    def vehicle_refs(self, vehicle_ids: list[int]) -> dict[int, str]:
        """Unit numbers of these vehicles."""
        ...

    def work_orders(self, vehicle_id: int, *, limit: int) -> pl.DataFrame:
        """WORK_ORDER versions of one vehicle, newest order first."""
        ...

    def models(self) -> pl.DataFrame:
        """MODEL_VERSION."""
        ...

    def moves(self) -> pl.DataFrame:
        """STAGE_TRANSITION."""
        ...

    def latest_backtest(self) -> pl.DataFrame:
        """BACKTEST, one row or none."""
        ...

    def latest_audit(self, backtest_id: str) -> dict[str, Any] | None:
        """The backtest's audit stored last, a row of AUDIT by column."""
        ...

    def artifact(self, sha256: str) -> bytes:
        """The bytes of an artifact."""
        ...

    def assumptions(self) -> pl.DataFrame:
        """ASSUMPTION of the newest as-of that was checked; empty before the first."""
        ...

    def signals(self, *, text: str = "", message: str | None = None, limit: int | None = None) -> pl.DataFrame:
        """DICTIONARY rows that match, by message and signal; see `pm.store.dictionary`."""
        ...

    def count_signals(self, *, text: str = "", message: str | None = None) -> int:
        """How many rows `signals` has without its limit."""
        ...

    def features(self, feature_set_id: str | None = None) -> FeatureDictionary | None:
        """The dictionary of a stored set, or of the one in use; None: there is no such set."""
        ...


OpenReads = Callable[[], AbstractContextManager[Reads]]
"""Opens the reads of one request and closes what they hold."""


class StoreReads:
    """`Reads` over one connection."""

    def __init__(
        self,
        conn: Connection,
        *,
        artifact_folder: Path,
        migrations: Path,
        features_in_use: Callable[[Connection], FeatureSet],
    ) -> None:
        self._conn = conn
        self._artifacts = artifact_folder
        self._migrations = migrations
        self._features_in_use = features_in_use

    def missing(self) -> list[str]:
        left = pending(read_migrations(self._migrations), applied_migrations(self._conn), self._migrations)
        if left:
            return [f"{len(left)} migrations are not applied to the database, the first is {left[0].name}"]
        return [] if self.latest_as_of() else ["there are no predictions yet: run `pm score` first"]

    def latest_as_of(self) -> datetime | None:
        return predictions.latest_as_of(self._conn)

    def predictions(
        self,
        as_of: datetime,
        *,
        component: str | None = None,
        vehicle_id: int | None = None,
        alert: bool | None = None,
        limit: int | None = None,
    ) -> pl.DataFrame:
        return serving.fetch_matching(
            self._conn, as_of, component=component, vehicle_id=vehicle_id, alert=alert, limit=limit
        )

    def count_predictions(
        self, as_of: datetime, *, component: str | None = None, vehicle_id: int | None = None, alert: bool | None = None
    ) -> int:
        return serving.count_matching(self._conn, as_of, component=component, vehicle_id=vehicle_id, alert=alert)

    def one_a_vehicle(self, as_of: datetime, *, component: str | None = None, limit: int | None = None) -> pl.DataFrame:
        return serving.fetch_one_a_vehicle(self._conn, as_of, component=component, limit=limit)

    def batch_state(self, as_of: datetime) -> BatchState:
        return serving.batch_state(self._conn, as_of)

    def alert_history(self, since: datetime, until: datetime) -> pl.DataFrame:
        return serving.fetch_alert_history(self._conn, since, until)

    def vehicle(self, vehicle_id: int) -> pl.DataFrame:
        return serving.fetch_vehicle(self._conn, vehicle_id)

    def vehicle_refs(self, vehicle_ids: list[int]) -> dict[int, str]:
        return serving.vehicle_refs(self._conn, vehicle_ids)

    def work_orders(self, vehicle_id: int, *, limit: int) -> pl.DataFrame:
        return serving.fetch_work_orders_of(self._conn, vehicle_id, limit=limit)

    def models(self) -> pl.DataFrame:
        return registry.fetch_models(self._conn)

    def moves(self) -> pl.DataFrame:
        return registry.fetch_moves(self._conn)

    def latest_backtest(self) -> pl.DataFrame:
        return registry.fetch_latest_backtest(self._conn)

    def latest_audit(self, backtest_id: str) -> dict[str, Any] | None:
        return audits.latest_audit(self._conn, backtest_id)

    def artifact(self, sha256: str) -> bytes:
        return artifacts.get(self._artifacts, sha256)

    def assumptions(self) -> pl.DataFrame:
        as_of = assumptions.latest_checked(self._conn)
        return ASSUMPTION.empty() if as_of is None else assumptions.fetch_assumptions(self._conn, as_of)

    def signals(self, *, text: str = "", message: str | None = None, limit: int | None = None) -> pl.DataFrame:
        return dictionary.fetch_dictionary(self._conn, text=text, message=message, limit=limit)

    def count_signals(self, *, text: str = "", message: str | None = None) -> int:
        return dictionary.count_dictionary(self._conn, text=text, message=message)

    def features(self, feature_set_id: str | None = None) -> FeatureDictionary | None:
        if feature_set_id is None:
            return describe_features(self._conn, self._features_in_use(self._conn))
        if feature_set_id not in feature_sets.fetch_summaries(self._conn)["feature_set_id"]:
            return None
        return describe_features(self._conn, feature_sets.load_feature_set(self._conn, feature_set_id))


def open_store(settings: Settings) -> OpenReads:
    """Reads of the database of `settings`, one connection a request.

    The address is asked for once, at the first request (a private server is then started if it
    does not run), and again after a connection that failed.
    """
    lock, known = Lock(), list[str]()

    def address() -> str:
        with lock:
            if not known:
                known.append(database_url(settings))
            return known[0]

    def in_use(conn: Connection) -> FeatureSet:
        policy = load_policy(settings.policy_file)
        return set_in_use(conn, policy, feature_set_of(settings, policy))

    def forget() -> None:
        with lock:
            known.clear()

    @contextmanager
    def open_reads() -> Iterator[Reads]:
        try:
            conn = connect(address())
        except StoreError:
            forget()
            raise
        with conn:
            yield StoreReads(
                conn,
                artifact_folder=settings.artifacts,
                migrations=settings.project / "sql" / "migrations",
                features_in_use=in_use,
            )

    return open_reads
