"""The main job in one call: a folder of logs and records in, a ranked fleet out.

The same steps that Dagster takes a day at a time, taken here over a whole history. Every step is
idempotent, so a second call reuses what is there and a call after a crash completes it.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pm.asof import daily_as_ofs
from pm.features.featureset import FeatureSet
from pm.labels.failures import FailureRules
from pm.pipelines.assumptions import AssumptionsReport, check_daily
from pm.pipelines.audit import AuditReport, audit_backtest
from pm.pipelines.backtest import BacktestReport, backtest_models
from pm.pipelines.dailies import DailiesReport, refresh_dailies
from pm.pipelines.feature_sets import set_in_use
from pm.pipelines.features import build_features
from pm.pipelines.imports.vehicles import import_vehicles
from pm.pipelines.imports.work_orders import import_work_orders
from pm.pipelines.ingest import IngestReport, Keeping, ingest_logs, jobs_for
from pm.pipelines.labels import LabelsReport, classify_work_orders, update_labels
from pm.pipelines.score import ScoreReport, score_fleet
from pm.pipelines.train import TrainReport, train_models
from pm.pipelines.uploads import list_uploads
from pm.policy import Policy
from pm.progress import Track, silent
from pm.store import feature_vectors
from pm.store.connection import Connection


@dataclass(frozen=True)
class Places:
    """Where the whole path reads and writes."""

    url: str
    inbox: Path
    artifacts: Path
    dbc: Sequence[Path]
    keeping: Keeping


@dataclass(frozen=True)
class WholePathReport:
    """The report of each step."""

    files: tuple[IngestReport, ...]
    dailies: DailiesReport
    assumptions: AssumptionsReport
    n_vectors: int
    labels: LabelsReport
    backtest: BacktestReport
    audit: AuditReport
    train: TrainReport
    score: ScoreReport


def run_whole_path(
    conn: Connection,
    places: Places,
    rules: FailureRules,
    policy: Policy,
    *,
    first_as_of: datetime,
    last_as_of: datetime,
    now: datetime,
    executor: Executor,
    configured: FeatureSet | None = None,
    track: Track = silent,
    say: Callable[[str], None] = lambda _: None,
) -> WholePathReport:
    """Ingest the inbox, then features, labels, backtest, its audit, training and a score at `last_as_of`.

    `configured` is the feature set where none was chosen; None: the shipped truck set. Files and work
    orders that became known after `last_as_of` are left in the inbox.

    Raises:
        DataError: nothing in the inbox can be read, or too little history for a backtest.
    """
    say("vehicles and work orders")
    import_vehicles(conn, places.inbox / "vehicles.csv", known_at=first_as_of)
    import_work_orders(conn, places.inbox / "work_orders.csv", imported_at=now)
    classify_work_orders(conn, rules)
    say("CAN logs into the database")
    uploads = [upload for upload in list_uploads(places.inbox, seen_at=now) if upload.uploaded_at <= last_as_of]
    jobs = jobs_for(conn, ((upload.path, upload.vehicle_ref, upload.uploaded_at) for upload in uploads))
    files = ingest_logs(
        places.url, jobs, dbc=places.dbc, policy=policy, keeping=places.keeping, executor=executor, track=track
    )
    say("daily aggregates and features")
    ranges = None if configured is None else configured.ranges_by_source
    dailies = refresh_dailies(places.url, ranges=ranges, executor=executor, track=track)
    as_ofs = daily_as_ofs(first_as_of, last_as_of)
    (assumptions,) = check_daily(conn, [last_as_of], policy, checked_at=now, configured=configured)
    n_vectors = _build_missing(conn, as_ofs, policy, configured, everything=dailies.n_vehicle_days > 0, track=track)
    say("labels")
    labels = update_labels(conn, as_ofs, rules, policy, known_at=last_as_of)
    say("backtest: history replayed with only what was known then")
    backtest = backtest_models(
        conn, rules, policy, known_until=last_as_of, artifact_folder=places.artifacts, created_at=now,
        configured=configured, executor=executor, track=track,
    )  # fmt: skip
    say("leak audit of the backtest")
    audit = audit_backtest(
        conn, rules, policy, artifact_folder=places.artifacts, created_at=now, backtest_id=backtest.backtest_id,
        configured=configured, executor=executor, track=track, quick=True,
    )  # fmt: skip
    say("training on matured labels")
    train = train_models(
        conn, rules, policy, cutoff=last_as_of, artifact_folder=places.artifacts, created_at=now,
        configured=configured, track=track,
    )  # fmt: skip
    say("scoring the fleet")
    score = score_fleet(
        conn, last_as_of, policy, artifact_folder=places.artifacts, scored_at=now, configured=configured
    )
    return WholePathReport(files, dailies, assumptions, n_vectors, labels, backtest, audit, train, score)


def _build_missing(
    conn: Connection,
    as_ofs: Sequence[datetime],
    policy: Policy,
    configured: FeatureSet | None,
    *,
    everything: bool,
    track: Track,
) -> int:
    """Vectors of every as-of, or of those not there yet where no daily aggregate changed."""
    there = (
        set()
        if everything
        else set(feature_vectors.fetch_as_ofs(conn, set_in_use(conn, policy, configured).feature_set_id))
    )
    wanted = [as_of for as_of in as_ofs if as_of not in there]
    return build_features(conn, wanted, policy, configured=configured, track=track).n_vectors if wanted else 0
