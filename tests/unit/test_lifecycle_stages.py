"""Stages of a model: which moves exist, and where each model stands."""

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pm.errors import LifecycleError
from pm.lifecycle.stages import MOVES, champions, current_stages, promotion, require_move
from pm.tables import STAGE_TRANSITION, STAGES

AT = datetime(2026, 3, 2, tzinfo=UTC)


def moves(*rows: tuple[str, int, str, str | None, str]) -> pl.DataFrame:
    return STAGE_TRANSITION.frame(
        [
            {
                "component": component,
                "move_no": move_no,
                "model_id": model_id,
                "from_stage": from_stage,
                "to_stage": to_stage,
                "moved_at": AT + timedelta(days=move_no),
                "reason": f"{to_stage} because",
            }
            for component, move_no, model_id, from_stage, to_stage in rows
        ]
    )


RECORD = moves(
    ("cooling", 1, "a", None, "candidate"),
    ("cooling", 2, "a", "candidate", "champion"),
    ("cooling", 3, "b", None, "candidate"),
    ("brakes_air", 1, "c", None, "candidate"),
    ("brakes_air", 2, "c", "candidate", "shadow"),
)


def test_every_stage_of_the_tables_has_its_moves() -> None:
    assert set(MOVES) == {None, *STAGES}
    assert {to for allowed in MOVES.values() for to in allowed} == set(STAGES)


@pytest.mark.parametrize(
    ("from_stage", "to_stage"),
    [(None, "champion"), ("retired", "canary"), ("champion", "candidate"), ("shadow", "shadow"), ("lost", "shadow")],
)
def test_a_move_that_does_not_exist_is_refused_and_named(from_stage: str | None, to_stage: str) -> None:
    with pytest.raises(LifecycleError, match=rf"cooling, model a is .*but got {to_stage}"):
        require_move("cooling", "a", from_stage, to_stage)


def test_an_unknown_stage_is_refused() -> None:
    with pytest.raises(LifecycleError, match="but got emperor"):
        require_move("cooling", "a", "canary", "emperor")


def test_the_last_move_says_where_a_model_stands_whatever_the_order_of_the_rows() -> None:
    found = current_stages(RECORD.reverse()).select("component", "model_id", "stage").sort("model_id").rows()
    assert found == [("cooling", "a", "champion"), ("cooling", "b", "candidate"), ("brakes_air", "c", "shadow")]


def test_champions_by_component() -> None:
    assert champions(RECORD) == {"cooling": "a"}


def test_two_champions_on_record_are_an_error() -> None:
    two = pl.concat([RECORD, moves(("cooling", 4, "b", "candidate", "champion"))])
    with pytest.raises(LifecycleError, match=r"cooling: expected one champion, but got \['a', 'b'\]"):
        champions(two)


def test_a_new_champion_is_registered_and_the_old_one_gives_way_first() -> None:
    assert promotion("cooling", "n", "champion", RECORD) == (
        ("n", None, "candidate"),
        ("a", "champion", "retired"),
        ("n", "candidate", "champion"),
    )


def test_planned_moves_leave_one_champion_on_record() -> None:
    planned = promotion("cooling", "b", "champion", RECORD)
    made = moves(*(("cooling", 4 + at, *move) for at, move in enumerate(planned)))
    assert champions(pl.concat([RECORD, made])) == {"cooling": "b"}


def test_a_model_already_there_needs_no_move() -> None:
    assert promotion("cooling", "a", "champion", RECORD) == ()


def test_a_new_candidate_is_only_registered() -> None:
    assert promotion("cooling", "n", "candidate", STAGE_TRANSITION.empty()) == (("n", None, "candidate"),)


def test_another_component_champion_stays() -> None:
    assert promotion("brakes_air", "c", "champion", RECORD) == (("c", "shadow", "champion"),)


def test_a_way_that_does_not_exist_is_refused() -> None:
    with pytest.raises(LifecycleError, match="cooling, model a is champion"):
        promotion("cooling", "a", "candidate", RECORD)
