"""What the API answers: one model a document, every field with its meaning and unit.

What belongs here: shapes only. Rows become these shapes in `views`.
"""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field

Status = Literal["ok", "insufficient_data", "stale", "fallback"]
Role = Literal["champion", "canary", "shadow", "fallback"]
Stage = Literal["candidate", "shadow", "canary", "champion", "retired"]


class ReasonOut(BaseModel):
    """One feature's part in a score."""

    feature: str = Field(description="name in the feature set")
    meaning: str = Field(description="what the feature measures")
    unit: str = Field(description="unit of value and usual range; empty where there is none")
    value: float | None = Field(description="this vehicle's value; null where it could not be computed")
    usual_low: float | None = Field(description="lower end of the usual range (5 % of training rows)")
    usual_high: float | None = Field(description="upper end of the usual range (95 % of training rows)")
    contribution: float = Field(
        description="part in the score, on the model's own scale (log-odds for a booster); above 0 raises it"
    )
    sentence: str = Field(description="the same in plain words")


class ActionOut(BaseModel):
    """What the workshop should do, from the table the user edits."""

    component: str = Field(description="component in the user's words")
    action: str = Field(description="recommended action")


class PredictionOut(BaseModel):
    """What a model said about one component of one vehicle. No score comes without a status."""

    vehicle_id: int = Field(description="vehicle number")
    vehicle_ref: str = Field(description="unit number in the fleet")
    component: str = Field(description="component class")
    status: Status = Field(
        description="ok; insufficient_data: no score; stale: the last data is old; fallback: a simple rule answered"
    )
    p_failure: float | None = Field(
        ge=0, le=1, description="calibrated probability of failure within the horizon; null without a score"
    )
    horizon_d: int = Field(description="horizon after as_of, in days")
    as_of: datetime = Field(description="the decision's instant (UTC); only what was known then was used")
    data_until: datetime | None = Field(description="last telemetry seen (UTC); null where there was none")
    scored_at: datetime = Field(description="when it was computed (UTC)")
    position: int | None = Field(ge=1, description="1 = most likely to fail, over the fleet and all components")
    threshold: float | None = Field(description="alert threshold of the batch, a probability")
    alert: bool = Field(description="at or above the threshold and within the week's alert budget")
    reasons: list[ReasonOut] = Field(description="what moved the score, strongest first")
    recommended_action: ActionOut = Field(description="what to do if it is taken seriously")
    model_id: str = Field(description="model that answered")
    role: Role = Field(description="role in which it answered")


class PredictionList(BaseModel):
    """Predictions of one batch, most likely failure first."""

    as_of: datetime | None = Field(description="the batch (UTC); null before the first one")
    n_matching: int = Field(ge=0, description="predictions of the batch that match the filters")
    limit: int = Field(ge=1, le=500, description="at most so many are returned")
    predictions: list[PredictionOut]


class WorkOrderOut(BaseModel):
    """The newest known version of a work order line."""

    source_system: str = Field(description="shop system")
    work_order_id: str = Field(description="order number there")
    line_no: int = Field(description="line of the order")
    opened_at: datetime = Field(description="order opened (UTC)")
    completed_at: datetime | None = Field(description="work completed (UTC)")
    known_at: datetime = Field(description="when this version became known here (UTC)")
    planned: bool | None = Field(description="scheduled beforehand")
    roadside: bool | None = Field(description="breakdown on the road")
    odometer_km: float | None = Field(description="odometer at the visit, km")
    description: str = Field(description="what was done, in the shop's words")


class VehicleOut(BaseModel):
    """A vehicle: facts (never the VIN), latest predictions, work orders known."""

    vehicle_id: int = Field(description="vehicle number")
    vehicle_ref: str = Field(description="unit number in the fleet")
    fleet: str = Field(description="owner")
    model: str | None = Field(description="truck model")
    model_year: int | None = Field(description="year of the model")
    duty: str | None = Field(description="long_haul, regional or urban")
    in_service_at: datetime | None = Field(description="first day in the fleet (UTC)")
    left_at: datetime | None = Field(description="when it left the fleet (UTC)")
    as_of: datetime | None = Field(description="batch of the predictions (UTC); null before the first one")
    data_until: datetime | None = Field(description="last telemetry seen at that batch (UTC)")
    predictions: list[PredictionOut] = Field(description="one a component, most likely failure first")
    work_orders: list[WorkOrderOut] = Field(description="newest first, at most 200")


class MeasureOut(BaseModel):
    """One measure of a kind of model in the backtest; null comes with a reason."""

    name: str = Field(description="measure, for instance pr_auc")
    value: float | None = Field(description="the model's figure")
    low: float | None = Field(description="lower end of its interval (vehicle bootstrap)")
    high: float | None = Field(description="upper end of its interval")
    baseline: str | None = Field(description="the best simple rule on the same rows")
    baseline_value: float | None = Field(description="that rule's figure")
    reason: str | None = Field(description="why a figure is missing")


class ProofOut(BaseModel):
    """The backtest a model stands on."""

    backtest_id: str = Field(description="backtest")
    known_until: datetime = Field(description="judged by labels known then (UTC)")
    measures: list[MeasureOut] = Field(description="the model beside the best simple rule")


class ModelOut(BaseModel):
    """A model on record, where it stands and what proves it."""

    component: str = Field(description="component class")
    model_id: str = Field(description="model")
    kind: str = Field(description="gbm, panel or the name of a simple rule")
    stage: Stage = Field(description="candidate, shadow, canary, champion or retired")
    since: datetime = Field(description="in this stage since (UTC)")
    reason: str = Field(description="why it stands there")
    cutoff: datetime = Field(description="trained on labels matured by then (UTC)")
    feature_set_id: str = Field(description="inputs")
    policy_id: str = Field(description="policy in force")
    bundle_sha256: str = Field(description="artifact that holds the model")
    proof: ProofOut | None = Field(description="null before the first backtest")


class ModelList(BaseModel):
    """Models that are not retired."""

    models: list[ModelOut]


class SignalOut(BaseModel):
    """One decoded signal: its declaration, its places, and what was seen of it."""

    message: str = Field(description="message name in the DBC")
    signal: str = Field(description="signal name in the DBC")
    pgn: int | None = Field(description="parameter group number; null where the message is no J1939 one")
    spn: int | None = Field(description="suspect parameter number")
    unit: str = Field(description="physical unit as in the DBC; empty where there is none")
    minimum: float | None = Field(description="lower end of the DBC's range, in the unit")
    maximum: float | None = Field(description="upper end of the DBC's range, in the unit")
    description: str = Field(description="comment in the DBC")
    table_name: str = Field(description="table in schema telemetry")
    column_name: str = Field(description="column in that table")
    readable_view: str | None = Field(description="view in schema readable; null for a VIN, which no view shows")
    readable_column: str | None = Field(description="column in that view, with its unit")
    dbc_sha256: str = Field(description="the DBC file that last declared it")
    first_seen_at: datetime | None = Field(description="time of the first value (UTC); null: never seen")
    last_seen_at: datetime | None = Field(description="time of the last value (UTC); null: never seen")
    n_files: int | None = Field(description="files that hold its message; null: never seen")
    n_rows: int | None = Field(description="rows of its message in those files, also those that overlap")
    n_values: int | None = Field(description="values among them that are not null")
    null_share: float | None = Field(ge=0, le=1, description="share of those rows without a value; null: never seen")


class SignalList(BaseModel):
    """The dictionary of decoded signals, by message and signal."""

    n_matching: int = Field(ge=0, description="signals that match the filters")
    limit: int = Field(ge=1, le=2000, description="at most so many are returned")
    signals: list[SignalOut]


class FeatureSourceOut(BaseModel):
    """A signal or table that a feature is made from."""

    message: str = Field(description="message name in the DBC; empty for a table")
    signal: str = Field(description="signal name in the DBC, or the name of a table")
    spn: int | None = Field(description="suspect parameter number; null where there is none or it was never decoded")


class DistributionOut(BaseModel):
    """How the values of a feature lie, nulls left out."""

    minimum: float = Field(description="least value, in the feature's unit")
    p05: float = Field(description="5 % of the values are below")
    median: float = Field(description="half of the values are below")
    p95: float = Field(description="95 % of the values are below")
    maximum: float = Field(description="greatest value")
    edges: list[float] = Field(description="edges of the histogram's bins, one more than counts")
    counts: list[int] = Field(description="values in each bin")


class FeatureOut(BaseModel):
    """One model input: what it means, what it is made from, and its values lately."""

    name: str = Field(description="name of the feature, unique in its set")
    unit: str = Field(description="unit; 1 for counts and shares")
    meaning: str = Field(description="what it says of the vehicle, in words")
    kind: str = Field(description="statistic, for instance mean or peers")
    over_d: int = Field(ge=0, description="days it looks back over; 0: all, or none")
    definition: str = Field(description="hash of what decides its values; equal in two sets: the same numbers")
    sources: list[FeatureSourceOut] = Field(description="what it is made from")
    null_share: float | None = Field(ge=0, le=1, description="share of vectors without a value; null: no vectors yet")
    distribution: DistributionOut | None = Field(description="null: no value yet")


class FeatureList(BaseModel):
    """The dictionary of a feature set, in the order of its vectors."""

    feature_set_id: str = Field(description="name, version and hash of the set")
    first_as_of: datetime | None = Field(description="first as-of that shares and distributions are taken over (UTC)")
    last_as_of: datetime | None = Field(description="last such as-of (UTC)")
    n_vectors: int = Field(ge=0, description="vectors that shares and distributions are taken over")
    features: list[FeatureOut] = Field(description="features that match the filter")


class Health(BaseModel):
    """Whether the service lives, or is ready; the reasons say what is missing."""

    status: Literal["ok", "unavailable"] = Field(description="ok or unavailable")
    reasons: list[str] = Field(default=[], description="what is missing, in plain words")
