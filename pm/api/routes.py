"""The JSON API, version 1.

What belongs here: routes that parse, ask `Reads`, shape with `views`, and answer. They are plain
functions: the server runs them in its thread pool, where a blocking read is no harm.
"""

from datetime import UTC, datetime
from typing import Annotated

import polars as pl
from fastapi import APIRouter, HTTPException, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from pm.api.errors import problem_responses
from pm.api.proof import model_list
from pm.api.reads import Reads
from pm.api.responses import ModelList, PredictionList, PredictionOut, VehicleOut
from pm.api.state import CurrentReads, CurrentState, State
from pm.api.views import known_orders, prediction_list, vehicle_out
from pm.tables import PREDICTION

router = APIRouter(prefix="/v1")

MAXIMUM_ID = 2**31 - 1
MAXIMUM_ORDERS = 200
MAXIMUM_ORDER_VERSIONS = 1000

VehicleId = Annotated[int, Path(ge=1, le=MAXIMUM_ID, description="vehicle number", examples=[1])]
_EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)


class PredictionQuery(BaseModel):
    """Filters of `GET /v1/predictions`; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")

    component: str | None = Field(
        None, pattern="^[a-z][a-z0-9_]*$", max_length=64, description="only this component class", examples=["cooling"]
    )
    vehicle_id: int | None = Field(None, ge=1, le=MAXIMUM_ID, description="only this vehicle")
    alert: bool | None = Field(None, description="only alerts, or only what is no alert")
    as_of: AwareDatetime | None = Field(
        None, ge=_EARLIEST, le=_LATEST, description="batch of this instant, with offset; the latest batch where absent"
    )
    limit: int = Field(100, ge=1, le=500, description="at most so many predictions")

    @field_validator("as_of", mode="after")
    @classmethod
    def _in_utc(cls, given: datetime | None) -> datetime | None:
        return None if given is None else given.astimezone(UTC)


@router.get("/predictions", responses=problem_responses(422, 503), summary="Predictions, most likely failure first")
def get_predictions(
    query: Annotated[PredictionQuery, Query()], reads: CurrentReads, state: CurrentState
) -> PredictionList:
    """The ranked predictions of the latest batch, or of the batch at `as_of`."""
    as_of = query.as_of or reads.latest_as_of()
    if as_of is None:
        return PredictionList(as_of=None, n_matching=0, limit=query.limit, predictions=[])
    found = reads.predictions(
        as_of, component=query.component, vehicle_id=query.vehicle_id, alert=query.alert, limit=query.limit
    )
    n_matching = found.height
    if n_matching == query.limit:
        n_matching = reads.count_predictions(
            as_of, component=query.component, vehicle_id=query.vehicle_id, alert=query.alert
        )
    shown = named_predictions(found, reads, state)
    return PredictionList(as_of=as_of, n_matching=n_matching, limit=query.limit, predictions=shown)


@router.get("/vehicles/{vehicle_id}", responses=problem_responses(404, 422, 503), summary="One vehicle")
def get_vehicle(vehicle_id: VehicleId, reads: CurrentReads, state: CurrentState) -> VehicleOut:
    """Facts of a vehicle (never its VIN), its latest predictions with reasons, its work orders."""
    return read_vehicle(vehicle_id, reads, state)


@router.get("/models", responses=problem_responses(422, 503), summary="Models in use and their proof")
def get_models(reads: CurrentReads) -> ModelList:
    """Every model that is not retired, why it stands where it does, and its backtest beside the simple rules."""
    return model_list(reads.models(), reads.moves(), reads.latest_backtest())


def read_vehicle(vehicle_id: int, reads: Reads, state: State) -> VehicleOut:
    """The vehicle's document.

    Raises:
        HTTPException: 404 where there is no such vehicle.
    """
    vehicle = reads.vehicle(vehicle_id)
    if vehicle.is_empty():
        raise HTTPException(404, f"expected a known vehicle, but got {vehicle_id}")
    as_of = reads.latest_as_of()
    found = PREDICTION.empty() if as_of is None else reads.predictions(as_of, vehicle_id=vehicle_id)
    facts = vehicle.row(0, named=True)
    predictions = prediction_list(found, {vehicle_id: facts["vehicle_ref"]}, state.actions)
    orders = known_orders(reads.work_orders(vehicle_id, limit=MAXIMUM_ORDER_VERSIONS), MAXIMUM_ORDERS)
    return vehicle_out(facts, predictions, orders)


def named_predictions(found: pl.DataFrame, reads: Reads, state: State) -> list[PredictionOut]:
    """Answered predictions with the unit numbers of their vehicles."""
    refs = reads.vehicle_refs(found["vehicle_id"].unique().to_list())
    return prediction_list(found, refs, state.actions)
