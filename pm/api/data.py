"""What of the assumptions about the daily data holds, as JSON and as a page.

What belongs here: its two routes. What is asked is `Reads.assumptions`; what is checked, and what follows,
is `pm.features.assumptions`.
"""

from datetime import datetime
from typing import Annotated, Final, Literal

import polars as pl
from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from pm.api.errors import problem_responses
from pm.api.reads import Reads
from pm.api.rendering import render
from pm.api.state import CurrentReads
from pm.features.assumptions import FLEET
from pm.policy import CHECKS

router = APIRouter()

MAXIMUM_LINES: Final = 500
CheckStatus = Literal["pass", "mark", "block", "not_checked"]
STATUS_WORDS: Final = {
    "pass": "Holds",
    "mark": "Marked",
    "block": "Blocked",
    "not_checked": "Not checked",
}
CHECK_WORDS: Final = {
    "schema": "As declared",
    "units": "Units",
    "range": "Range",
    "counters": "Odometer and engine hours",
    "sampling": "Rows an engine hour",
    "stuck": "Stuck signals",
    "silent": "Silent signals",
    "nulls": "Share of null",
}


class AssumptionOut(BaseModel):
    """A check of the whole fleet, or one vehicle and signal of which an assumption does not hold."""

    check: str = Field(description="schema, units, range, counters, sampling, stuck, silent or nulls")
    vehicle_id: int | None = Field(description="vehicle number; null: the whole fleet")
    vehicle_ref: str | None = Field(description="unit number in the fleet; null: the whole fleet")
    message: str = Field(description="message name in the DBC; empty: all of them")
    signal: str = Field(description="signal name in the DBC; empty: all of the message")
    source_address: int = Field(description="J1939 source address; -1 on an 11-bit id, or all of them")
    status: CheckStatus = Field(
        description="pass; mark: told only; block: the vehicle is not scored, or the fleet is not; not_checked"
    )
    value: float | None = Field(description="what was found; for the fleet, how many subjects do not hold")
    expected_low: float | None = Field(description="lower end of what was expected")
    expected_high: float | None = Field(description="upper end of what was expected")
    unit: str = Field(description="unit of the value and of what was expected; empty: none")
    conversion: str | None = Field(description="the mistaken unit that explains the values best")
    n_rows: int = Field(description="daily values looked at")
    reason: str = Field(description="what was expected and what was found, in a sentence")
    known_at: datetime = Field(description="when the last of the rows looked at became known (UTC)")


class AssumptionList(BaseModel):
    """The newest check of the daily data."""

    as_of: datetime | None = Field(description="decision that was checked (UTC); null before the first one")
    n_matching: int = Field(ge=0, description="findings of vehicles that match the filters")
    limit: int = Field(ge=1, le=2000, description="at most so many findings are returned")
    fleet: list[AssumptionOut] = Field(description="one a check")
    findings: list[AssumptionOut] = Field(description="blocking ones first, then by vehicle, check and signal")


class AssumptionQuery(BaseModel):
    """Filters of `GET /v1/assumptions`; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")

    vehicle_id: int | None = Field(None, ge=1, description="only this vehicle")
    status: Literal["mark", "block"] | None = Field(None, description="only findings with this status")
    limit: int = Field(500, ge=1, le=2000, description="at most so many findings")


@router.get("/v1/assumptions", responses=problem_responses(422, 503), summary="What holds of the daily data")
def get_assumptions(query: Annotated[AssumptionQuery, Query()], reads: CurrentReads) -> AssumptionList:
    """The newest check: each check of the fleet, and each vehicle and signal of which it does not hold."""
    return _found(reads, query)


@router.get("/data", include_in_schema=False, response_class=HTMLResponse)
def get_data_page(reads: CurrentReads) -> HTMLResponse:
    """One line a check, and one a vehicle and signal of which it does not hold."""
    found = _found(reads, AssumptionQuery(vehicle_id=None, status=None, limit=MAXIMUM_LINES))
    page = render("data.html", title="Data", found=found, assumption_status_words=STATUS_WORDS, check_words=CHECK_WORDS)
    return HTMLResponse(page)


def _found(reads: Reads, query: AssumptionQuery) -> AssumptionList:
    rows = reads.assumptions()
    is_fleet = pl.col("vehicle_id") == FLEET
    matching = [~is_fleet]
    matching += [] if query.vehicle_id is None else [pl.col("vehicle_id") == query.vehicle_id]
    matching += [] if query.status is None else [pl.col("status") == query.status]
    findings = rows.filter(matching).sort(
        pl.col("status") != "block", "vehicle_id", "check_name", "message", "signal", "source_address"
    )
    shown = findings.head(query.limit)
    refs = reads.vehicle_refs(shown["vehicle_id"].unique().to_list())
    order = pl.col("check_name").replace_strict(list(CHECKS), range(len(CHECKS)), default=len(CHECKS))
    return AssumptionList(
        as_of=rows["as_of"][0] if rows.height else None,
        n_matching=findings.height,
        limit=query.limit,
        fleet=_out(rows.filter(is_fleet).sort(order), {}),
        findings=_out(shown, refs),
    )


def _out(rows: pl.DataFrame, refs: dict[int, str]) -> list[AssumptionOut]:
    """Shaped rows in the frame's order; a vehicle without a row keeps its number as name."""
    made = []
    for row in rows.iter_rows(named=True):
        number = None if row["vehicle_id"] == FLEET else row["vehicle_id"]
        fields = {name: row[name] for name in AssumptionOut.model_fields if name in row}
        ref = None if number is None else refs.get(number, str(number))
        made.append(AssumptionOut(**fields | {"check": row["check_name"], "vehicle_id": number, "vehicle_ref": ref}))
    return made
