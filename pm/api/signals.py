"""The dictionary of decoded signals, as JSON and as a page.

What belongs here: its two routes. What is asked is `Reads.signals`.
"""

from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import HTMLResponse
from pydantic import BaseModel, ConfigDict, Field

from pm.api.errors import problem_responses
from pm.api.reads import Reads
from pm.api.rendering import render
from pm.api.responses import SignalList
from pm.api.state import CurrentReads
from pm.api.views import signal_list

router = APIRouter()

MAXIMUM_LINES: Final = 500
_LONGEST_TEXT: Final = 200


class SignalQuery(BaseModel):
    """Filters of `GET /v1/signals`; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(
        "",
        max_length=_LONGEST_TEXT,
        description="words that must all stand somewhere in the names, unit or description, or be PGN or SPN "
        "with its number; letter case does not matter",
        examples=["coolant temp", "SPN 110"],
    )
    message: str | None = Field(
        None, min_length=1, max_length=_LONGEST_TEXT, description="only this message of the DBC", examples=["ET1"]
    )
    limit: int = Field(500, ge=1, le=2000, description="at most so many signals")


@router.get("/v1/signals", responses=problem_responses(422, 503), summary="Dictionary of decoded signals")
def get_signals(query: Annotated[SignalQuery, Query()], reads: CurrentReads) -> SignalList:
    """Every signal that a table of decoded telemetry has a column for: what it is, where it stands, what was seen."""
    return _found(reads, query)


@router.get("/signals", include_in_schema=False, response_class=HTMLResponse)
def get_signals_page(reads: CurrentReads, text: Annotated[str, Query(max_length=_LONGEST_TEXT)] = "") -> HTMLResponse:
    """One line a signal, with a search box."""
    found = _found(reads, SignalQuery(text=text, message=None, limit=MAXIMUM_LINES))
    return HTMLResponse(render("signals.html", title="Signals", text=text, found=found))


def _found(reads: Reads, query: SignalQuery) -> SignalList:
    rows = reads.signals(text=query.text, message=query.message, limit=query.limit)
    n_matching = rows.height
    if n_matching == query.limit:
        n_matching = reads.count_signals(text=query.text, message=query.message)
    return SignalList(n_matching=n_matching, limit=query.limit, signals=signal_list(rows))
