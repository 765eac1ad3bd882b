"""The registry: models, their moves between stages, backtests, policies.

What belongs here: recording and compare-and-set. Whether a model may move is `pm.lifecycle`; the
bytes of a model are `pm.store.artifacts`.

The state of a component is its list of moves, numbered without gaps. Whoever moves a model says
which move it saw last; if another came in between, nothing is written.
"""

from datetime import datetime
from typing import Any

import polars as pl
import psycopg

from pm.asof import require_instant
from pm.errors import LifecycleError, ModelError
from pm.policy import Policy
from pm.store import frames
from pm.store.queries import run
from pm.tables import BACKTEST, MODEL_VERSION, POLICY, STAGE_TRANSITION


def put_model(conn: psycopg.Connection, model: pl.DataFrame) -> int:
    """Register models (MODEL_VERSION); returns how many were new. One that is there stays as it is."""
    return frames.insert(conn, MODEL_VERSION, model, on_conflict="ignore")


def fetch_models(conn: psycopg.Connection, *, component: str | None = None) -> pl.DataFrame:
    """Registered models: MODEL_VERSION, newest first."""
    return frames.fetch(conn, MODEL_VERSION, "all", component=component)


def fetch_model(conn: psycopg.Connection, model_id: str) -> pl.DataFrame:
    """One model: MODEL_VERSION, one row.

    Raises:
        ModelError: there is no such model.
    """
    found = frames.fetch(conn, MODEL_VERSION, "by_id", model_id=model_id)
    if found.height == 0:
        raise ModelError(f"model {model_id}: expected a registered model, but got none of that id")
    return found


def bundle_sha256(conn: psycopg.Connection, model_id: str) -> str:
    """Name of the artifact that holds the model.

    Raises:
        ModelError: there is no such model.
    """
    return str(fetch_model(conn, model_id)["bundle_sha256"][0])


def last_move_no(conn: psycopg.Connection, component: str) -> int:
    """Number of the component's last move; 0 before the first."""
    row = run(conn, "stage_transition", "last_move_no", component=component).fetchone()
    return 0 if row is None else int(row[0])


def stage_of(conn: psycopg.Connection, model_id: str) -> str | None:
    """The stage the model is in; None before its first move."""
    row = run(conn, "stage_transition", "stage_of", model_id=model_id).fetchone()
    return None if row is None else str(row[0])


def serving(conn: psycopg.Connection) -> dict[str, str]:
    """The champion's model_id of each component that has one."""
    return {str(row[0]): str(row[1]) for row in run(conn, "stage_transition", "serving").fetchall()}


def fetch_moves(conn: psycopg.Connection, *, component: str | None = None) -> pl.DataFrame:
    """Every move: STAGE_TRANSITION, by component and number."""
    return frames.fetch(conn, STAGE_TRANSITION, "all", component=component)


def move(
    conn: psycopg.Connection,
    component: str,
    model_id: str,
    *,
    from_stage: str | None,
    to_stage: str,
    reason: str,
    moved_at: datetime,
    expected_move_no: int,
) -> int:
    """Record one move; returns its number, `expected_move_no` + 1.

    Args:
        from_stage: the stage the model is in; None for its first move.
        expected_move_no: number of the component's last move as the caller saw it (`last_move_no`).

    Raises:
        LifecycleError: another move came first, the model is in another stage, another model is
            the champion that this one is to become, or the component has no such model.
        DataError: no such stage, or `moved_at` is not UTC.
    """
    require_instant(moved_at, "moved_at")
    with frames.atomic(conn):
        run(conn, "stage_transition", "lock")
        _require_last(conn, component, expected_move_no)
        _require_stages(conn, component, model_id, from_stage=from_stage, to_stage=to_stage)
        row = {
            "component": component,
            "move_no": expected_move_no + 1,
            "model_id": model_id,
            "from_stage": from_stage,
            "to_stage": to_stage,
            "moved_at": moved_at,
            "reason": reason,
        }
        frames.insert(conn, STAGE_TRANSITION, STAGE_TRANSITION.frame([row]))
    return expected_move_no + 1


def _require_last(conn: psycopg.Connection, component: str, expected: int) -> None:
    last = last_move_no(conn, component)
    if last != expected:
        raise LifecycleError(
            f"component {component}: expected move {expected} to be the last, but got {last}: another move came first"
        )


def _require_stages(
    conn: psycopg.Connection, component: str, model_id: str, *, from_stage: str | None, to_stage: str
) -> None:
    what = f"component {component}, model {model_id}"
    models = fetch_models(conn, component=component)["model_id"]
    if model_id not in models:
        raise LifecycleError(f"{what}: expected a registered model of this component, but got none of that id")
    stage = stage_of(conn, model_id)
    if stage != from_stage:
        raise LifecycleError(f"{what}: expected stage {from_stage}, but got {stage}")
    champion = serving(conn).get(component)
    if to_stage == "champion" and champion is not None:
        raise LifecycleError(f"{what}: expected no champion beside it, but got {champion}")


def put_backtest(conn: psycopg.Connection, backtest: pl.DataFrame) -> int:
    """Record backtests (BACKTEST); one of the same id is written over. Returns rows written."""
    return frames.insert(conn, BACKTEST, backtest, on_conflict="replace")


def fetch_latest_backtest(conn: psycopg.Connection) -> pl.DataFrame:
    """The backtest stored last: BACKTEST, one row or none."""
    return frames.fetch(conn, BACKTEST, "latest")


def latest_backtest(conn: psycopg.Connection) -> dict[str, Any] | None:
    """The backtest stored last as a row by column name; None where there is none."""
    found = fetch_latest_backtest(conn)
    return found.row(0, named=True) if found.height else None


def put_policy(conn: psycopg.Connection, policy: Policy) -> None:
    """Record a policy; the same again changes nothing, as its id is the hash of its content."""
    row: dict[str, object] = {"policy_id": policy.policy_id, "content_json": policy.as_json()}
    frames.insert(conn, POLICY, POLICY.frame([row]), on_conflict="ignore")


def fetch_policies(conn: psycopg.Connection) -> pl.DataFrame:
    """Every policy recorded: POLICY, by id."""
    return frames.fetch(conn, POLICY, "all")
