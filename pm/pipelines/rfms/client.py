"""An rFMS 4.0 server: its endpoints and its paging.

What belongs here: which addresses are asked. How a request is made is `pm.pipelines.rfms.http`.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Final, Self

import httpx

from pm.errors import DataError
from pm.pipelines.rfms.auth import Scheme
from pm.pipelines.rfms.http import BoundedHttp, Limits, secure_url
from pm.pipelines.rfms.response import RfmsResponse, read_response, read_text, read_vin
from pm.pipelines.rfms.statuses import look_up

VERSION: Final = "v4.0"


class RfmsClient:
    """Reads one server; use it as a context manager, which closes its connections."""

    def __init__(
        self,
        address: str,
        scheme: Scheme,
        *,
        limits: Limits | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`address` ends before /vehicles and /vehiclestatuses, for instance https://api.example.com/rfms.

        Raises:
            ConfigError: no https address (http: this machine only), or one with a user, query or fragment.
        """
        self.address = str(secure_url(address)).rstrip("/")
        self._limits = limits or Limits()
        self._http = BoundedHttp(scheme, self._limits, sleep, clock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def pages(self, kind: str, params: Mapping[str, str]) -> Iterator[tuple[RfmsResponse, bytes]]:
        """The responses of /vehicles or /vehiclestatuses to `params`, and of every link to more of the same.

        Raises:
            ConfigError: the server refuses who asks or what is asked.
            DataError: no rFMS response, one that is too large, a link that leads elsewhere or in a circle.
            StoreError: the server cannot be reached, keeps refusing for now, or takes too long.
        """
        url = httpx.URL(f"{self.address}/{kind}", params=dict(params))
        asked: set[httpx.URL] = set()
        while len(asked) < self._limits.largest_pages:
            asked.add(url)
            content = self._http.get(url, accept=f"application/json; rfms={kind}.{VERSION}")
            page = read_response(content, f"{self.address}/{kind}", kind)
            yield page, content
            if not page.more:
                return
            url = self._following(kind, url, page)
            if url in asked:
                raise DataError(f"{self.address}/{kind}: expected more data behind the link, but got a page once more")
        raise DataError(f"{self.address}/{kind}: expected at most {self._limits.largest_pages} pages, but got more")

    def _following(self, kind: str, url: httpx.URL, page: RfmsResponse) -> httpx.URL:
        """Where the rest is: our own endpoint with the link's query, or with what version 3 servers need."""
        if page.more_link is not None:
            return url.copy_with(query=self._query_of(kind, url, page.more_link))
        last = page.records[-1] if page.records else None
        if kind == "vehicles" or "latestOnly" in url.params:
            name, value = "lastVin", read_vin(look_up(last, "vin"))
        else:
            received = (read_text(look_up(record, "receivedDateTime")) for record in page.records)
            name, value = "starttime", max((text for text in received if text is not None), default=None)
        if value is None:
            raise DataError(f"{self.address}/{kind}: expected a moreDataAvailableLink, but got none")
        return url.copy_set_param(name, value)

    def _query_of(self, kind: str, url: httpx.URL, link: str) -> bytes:
        """The link's query, if the link leads to this very endpoint.

        A server that is mounted below a path gives links without it (/rfms/vehiclestatuses?…), so the
        path may be the end of ours.
        """
        try:
            there = url.join(link)
        except (httpx.InvalidURL, ValueError):
            there = httpx.URL("")
        same = (there.scheme, there.host, there.port, there.userinfo) == (url.scheme, url.host, url.port, b"")
        ends = there.path.endswith(f"/{kind}") and url.path.endswith(there.path)
        if not same or not ends:
            raise DataError(f"{self.address}/{kind}: expected a link to more from here, but got one to elsewhere")
        return there.query


def server_text(instant: datetime) -> str:
    """An instant as rFMS queries have it, milliseconds cut off."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
