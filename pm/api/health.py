"""Is the process alive, and can it answer?

What belongs here: probes for the machinery that runs the service.
"""

from fastapi import APIRouter, Response

from pm.api.responses import Health
from pm.api.state import CurrentState, State
from pm.errors import PmError

router = APIRouter()


@router.get("/livez", summary="The process answers")
def get_livez() -> Health:
    """Answers as long as the process does; looks at nothing else."""
    return Health(status="ok")


@router.get(
    "/readyz",
    responses={503: {"model": Health, "description": "Something is missing; the reasons say what"}},
    summary="The service can answer",
)
def get_readyz(response: Response, state: CurrentState) -> Health:
    """Ready: the database answers, every migration is applied, and there are predictions."""
    reasons = _missing(state)
    if reasons:
        response.status_code = 503
    return Health(status="unavailable" if reasons else "ok", reasons=reasons)


def _missing(state: State) -> list[str]:
    try:
        with state.open_reads() as reads:
            return reads.missing()
    except PmError as reason:
        # The kind of trouble, not its text: that may name hosts.
        return [f"the database does not answer ({type(reason).__name__}); the log of the server says why"]
