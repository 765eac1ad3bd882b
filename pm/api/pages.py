"""The pages of the fleet manager: plain HTML that works without a script.

What belongs here: routes that answer with a page. What they show is shaped in `views` and `proof`.
"""

from datetime import datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from pm.api.proof import proof_line
from pm.api.reads import Reads
from pm.api.rendering import render
from pm.api.routes import VehicleId, named_predictions, read_vehicle
from pm.api.security import REPORT_POLICY
from pm.api.state import CurrentReads, CurrentState, State
from pm.api.views import component_titles
from pm.scoring.alerts import WEEK_D, WeekBudget, week_budget

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)

MAXIMUM_LINES = 500


@router.get("/")
def get_fleet(
    reads: CurrentReads, state: CurrentState, component: Annotated[str, Query(max_length=64)] = ""
) -> HTMLResponse:
    """One line a truck: its most likely failing component, or the chosen one."""
    backtest = reads.latest_backtest()
    proof = {"title": "Fleet ranking", "proof_line": proof_line(backtest), "has_report": not backtest.is_empty()}
    as_of = reads.latest_as_of()
    if as_of is None:
        return HTMLResponse(render("fleet.html", **proof, as_of=None))
    batch = reads.batch_state(as_of)
    found = reads.one_a_vehicle(as_of, component=component or None, limit=MAXIMUM_LINES + 1)
    titles = component_titles(batch.components, state.actions)
    page = render(
        "fleet.html",
        **proof,
        as_of=as_of,
        horizon_d=found["horizon_d"].max() if found.height else state.policy.horizon.days,
        state=batch,
        budget=_budget(as_of, batch.n_vehicles, reads, state),
        components=titles,
        component=component,
        caption=_caption(titles.get(component)),
        lines=named_predictions(found.head(MAXIMUM_LINES), reads, state),
        more=found.height > MAXIMUM_LINES,
        maximum=MAXIMUM_LINES,
    )
    return HTMLResponse(page)


@router.get("/vehicles/{vehicle_id}")
def get_vehicle_page(vehicle_id: VehicleId, reads: CurrentReads, state: CurrentState) -> HTMLResponse:
    """One truck: every component with its reasons, and the work orders."""
    vehicle = read_vehicle(vehicle_id, reads, state)
    return HTMLResponse(render("vehicle.html", title=f"Truck {vehicle.vehicle_ref}", vehicle=vehicle))


@router.get("/backtest")
def get_backtest(reads: CurrentReads) -> HTMLResponse:
    """The report of the latest backtest, as it was written."""
    backtest = reads.latest_backtest()
    if backtest.is_empty():
        raise HTTPException(404, "there is no backtest yet: run `pm backtest` first")
    report = reads.artifact(backtest["report_sha256"][0])
    return HTMLResponse(report, headers={"Content-Security-Policy": REPORT_POLICY})


@router.get("/audit")
def get_audit(reads: CurrentReads) -> HTMLResponse:
    """The leak audit of the latest backtest, as it was written."""
    backtest = reads.latest_backtest()
    audit = None if backtest.is_empty() else reads.latest_audit(backtest["backtest_id"][0])
    if audit is None:
        raise HTTPException(404, "the latest backtest was not audited yet: run `pm audit` first")
    return HTMLResponse(reads.artifact(audit["report_sha256"]), headers={"Content-Security-Policy": REPORT_POLICY})


def _budget(as_of: datetime, n_vehicles: int, reads: Reads, state: State) -> WeekBudget:
    # One day more than the week, so that an episode running into it is not counted as begun in it.
    history = reads.alert_history(as_of - timedelta(days=WEEK_D + 1), as_of)
    return week_budget(history, as_of, alerts=state.policy.alerts, n_vehicles=n_vehicles)


def _caption(title: str | None) -> str:
    what = "its most likely failing component" if title is None else title.lower()
    return f"One line a truck: {what}, most likely failure first"
