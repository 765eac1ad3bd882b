"""`pm import rfms https://…`: an rFMS server's new records, a transaction a page.

The cursor in `pm.poll` is moved when every page is committed, to the server's clock at the first request:
what a crash cut off, or what arrived meanwhile, the next poll asks for again, and what is stored already
changes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from pm.errors import DataError
from pm.pipelines.rfms.client import RfmsClient, server_text
from pm.pipelines.rfms.response import STATUSES, VEHICLES
from pm.pipelines.rfms.store import RfmsImport, RfmsReport, Tally, store_response
from pm.store import polls
from pm.store.connection import Connection, transaction

CONTENTS: Final = ("ACCUMULATED", "SNAPSHOT", "UPTIME")
LARGEST_SKEW: Final = timedelta(days=1)
"""A server whose clock is further ahead of ours would make the next poll skip what it has not sent."""


@dataclass(frozen=True)
class Poll:
    """What is asked of a server."""

    since: datetime
    """Where the first poll begins, by receivedDateTime; later ones begin where the last ended."""
    overlap: timedelta = timedelta(minutes=10)
    """So much before its cursor a poll begins: a server may store records late."""
    contents: tuple[str, ...] = CONTENTS
    latest_only: bool = False
    """The last record of each vehicle and nothing else; the cursor stays where it is."""
    again: bool = False
    """Begin at `since` whatever the cursor says."""


def poll_rfms(
    conn: Connection,
    client: RfmsClient,
    poll: Poll,
    using: RfmsImport,
    *,
    now: Callable[[], datetime],
    say: Callable[[str], None] = lambda _: None,
) -> RfmsReport:
    """Read vehicles, then statuses since the last poll, and store what is new.

    Raises:
        ConfigError, DataError, StoreError: see `RfmsClient.pages`; pages before stay stored.
    """
    tally = Tally()
    for response, content in client.pages(VEHICLES, {}):
        store_response(conn, response, content, using, tally, file_name=VEHICLES, in_hand_at=now())
    source = source_name(client.address, using.fleet.name, poll.contents)
    cursor = polls.next_start(conn, source)
    start = poll.since if cursor is None or poll.again else cursor - poll.overlap
    reached: datetime | None = None
    for number, (response, content) in enumerate(client.pages(STATUSES, _params(poll, start)), 1):
        in_hand_at = now()
        if number == 1:
            reached = _reached(response.server_at, in_hand_at, client.address)
        store_response(conn, response, content, using, tally, file_name=STATUSES, in_hand_at=in_hand_at)
        say(f"page {number}: {tally.n_records} records so far, {tally.n_new} new")
    if reached is not None and not poll.latest_only:
        with transaction(conn):
            polls.move(conn, source, next_start=reached, polled_at=now())
        cursor = reached
    return tally.report(using.fleet, next_start=cursor)


def source_name(address: str, fleet: str, contents: Sequence[str]) -> str:
    """What a cursor belongs to: the server, the fleet (two accounts may share a server) and the contents."""
    return f"{address}/{STATUSES} {','.join(sorted(contents))} fleet {fleet}"


def _params(poll: Poll, start: datetime) -> dict[str, str]:
    params = {"latestOnly": "true"} if poll.latest_only else {"datetype": "received", "starttime": server_text(start)}
    if set(poll.contents) != set(CONTENTS):
        params["contentFilter"] = ",".join(poll.contents)
    return params


def _reached(server_at: datetime | None, in_hand_at: datetime, address: str) -> datetime | None:
    if server_at is not None and server_at > in_hand_at + LARGEST_SKEW:
        raise DataError(
            f"{address}/{STATUSES}: requestServerDateTime: expected about {in_hand_at.isoformat(timespec='seconds')}, "
            f"but got {server_at.isoformat(timespec='seconds')}"
        )
    return server_at
