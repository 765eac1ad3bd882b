"""Stages of a model and the moves between them.

What belongs here: which moves exist, and where each model stands after the moves on record.
Whether a model has earned a move is decided in `gates`; `pm.store.registry` writes the move.
"""

from typing import Final

import polars as pl

from pm.errors import LifecycleError
from pm.tables import STAGE_TRANSITION, STAGES

MOVES: Final[dict[str | None, tuple[str, ...]]] = {
    None: ("candidate",),
    "candidate": ("shadow", "canary", "champion", "retired"),
    "shadow": ("canary", "champion", "retired"),
    "canary": ("champion", "shadow", "retired"),
    "champion": ("shadow", "retired"),
    "retired": ("champion",),
}
"""Allowed moves, from each stage; None is a model not yet on record. Only a rollback leaves retired."""


def require_move(component: str, model_id: str, from_stage: str | None, to_stage: str) -> None:
    """Return quietly where the move exists.

    Raises:
        LifecycleError: the stage is unknown or the move does not exist.
    """
    what = f"{component}, model {model_id}"
    if to_stage not in STAGES:
        raise LifecycleError(f"{what}: expected a stage of {', '.join(STAGES)}, but got {to_stage}")
    allowed = MOVES.get(from_stage, ())
    if to_stage not in allowed:
        here = from_stage or "not registered"
        raise LifecycleError(
            f"{what} is {here}: expected a move to {' or '.join(allowed) or 'no stage'}, but got {to_stage}"
        )


def current_stages(moves: pl.DataFrame) -> pl.DataFrame:
    """Where each model stands: columns component, model_id, stage, moved_at, reason.

    Args:
        moves: STAGE_TRANSITION rows, in any order.
    """
    last = STAGE_TRANSITION.check(moves).sort("component", "move_no")
    stands = last.unique(["component", "model_id"], keep="last", maintain_order=True)
    return stands.select("component", "model_id", pl.col("to_stage").alias("stage"), "moved_at", "reason")


def champions(moves: pl.DataFrame) -> dict[str, str]:
    """The champion's model id by component; a component without one is absent.

    Raises:
        LifecycleError: the record holds two champions of one component.
    """
    serving = current_stages(moves).filter(pl.col("stage") == "champion")
    twice = serving.filter(serving["component"].is_duplicated())
    if twice.height:
        raise LifecycleError(f"{twice['component'][0]}: expected one champion, but got {twice['model_id'].to_list()}")
    return dict(zip(serving["component"].to_list(), serving["model_id"].to_list(), strict=True))


def promotion(
    component: str, model_id: str, to_stage: str, moves: pl.DataFrame
) -> tuple[tuple[str, str | None, str], ...]:
    """The moves that bring a model to a stage: (model_id, from_stage, to_stage) in order.

    A model that is not on record is first registered as candidate; a champion gives way before the
    next one comes, so no instant has two. A model already there needs no move.

    Raises:
        LifecycleError: a move on the way does not exist.
    """
    stands = current_stages(moves).filter(pl.col("component") == component)
    stages = dict(zip(stands["model_id"].to_list(), stands["stage"].to_list(), strict=True))
    here = stages.get(model_id)
    if here == to_stage:
        return ()
    planned: list[tuple[str, str | None, str]] = []
    if here is None:
        planned.append((model_id, None, "candidate"))
        here = "candidate"
    if to_stage == "champion":
        planned += [(other, "champion", "retired") for other, stage in stages.items() if stage == "champion"]
    if to_stage != here:
        planned.append((model_id, here, to_stage))
    for mover, from_stage, to in planned:
        require_move(component, mover, from_stage, to)
    return tuple(planned)
