"""What every route shares: where reads come from, the policy, the texts of the actions.

What belongs here: the application's state and the dependencies that hand it to a route.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Request

from pm.api.reads import OpenReads, Reads
from pm.policy import Policy
from pm.scoring.actions import ActionTable


@dataclass(frozen=True)
class State:
    """Made once by `create_app`."""

    open_reads: OpenReads
    policy: Policy
    actions: ActionTable


def state_of(request: Request) -> State:
    """The state of the application that answers `request`."""
    return cast("State", request.app.state.pm)


def reads_of(request: Request) -> Iterator[Reads]:
    """The reads of one request, closed after it."""
    with state_of(request).open_reads() as reads:
        yield reads


CurrentState = Annotated[State, Depends(state_of)]
CurrentReads = Annotated[Reads, Depends(reads_of)]
