"""Requests to a server that is not ours, within bounds.

What belongs here: one request with its retries, its size and its time, and what a refusal says. Nothing of a
request or an answer but counts and the server's error sentence leaves this module in words; tokens, query
strings (they may hold VINs) and bodies never do. Paging is `pm.pipelines.rfms.client`.
"""

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from ipaddress import ip_address
from typing import Any, Final

import httpx

from pm.errors import ConfigError, DataError, PmError, StoreError
from pm.pipelines.rfms.auth import Scheme
from pm.pipelines.rfms.response import LARGEST_BYTES, hide_vins, read_text
from pm.pipelines.rfms.statuses import look_up

_ERROR_BYTES: Final = 64 * 1024
_TOO_MANY: Final = 429
_UNAUTHORIZED: Final = 401
_WORST: Final = 500
_ERRORS: Final = ("error", "error_description", "error_uri")


@dataclass(frozen=True)
class Limits:
    """What a server may cost."""

    largest_bytes: int = LARGEST_BYTES
    """Of one response, unpacked."""
    largest_pages: int = 10_000
    """Of one endpoint."""
    total_s: float = 3600.0
    """All requests and waits together."""
    silence_s: float = 60.0
    """Longest wait for a connection or the next bytes."""
    response_s: float = 300.0
    """Longest time one response may take."""
    attempts: int = 5
    """Of one request that meets 429, a server error or no connection."""
    longest_wait_s: float = 300.0
    """Longest pause before the next attempt."""


class BoundedHttp:
    """Requests that share one scheme, one deadline and their connections."""

    def __init__(
        self, scheme: Scheme, limits: Limits, sleep: Callable[[float], None], clock: Callable[[], float]
    ) -> None:
        self._scheme, self._limits, self._sleep, self._clock = scheme, limits, sleep, clock
        self._deadline = clock() + limits.total_s
        # httpx logs whole addresses, and a lastVin in one is a VIN.
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # No proxies, certificates or passwords from the environment: an address means that server.
        self._http = httpx.Client(follow_redirects=False, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def get(self, url: httpx.URL, *, accept: str) -> bytes:
        """The body of a 200; a 401 is answered once with what the scheme renews.

        Raises:
            ConfigError: the server refuses who asks or what is asked.
            DataError: the answer is too large or damaged.
            StoreError: the server cannot be reached, keeps refusing for now, or takes too long.
        """
        renew = False
        while True:
            value = self._scheme.authorization(self._post, renew=renew)
            headers = {"Accept": accept} | ({} if value is None else {"Authorization": value})
            status, content = self._patiently("GET", url, headers, None)
            if status == httpx.codes.OK:
                return content
            if status != _UNAUTHORIZED or renew:
                raise _refusal(_place(url), status, content, value)
            renew = True

    def _post(self, address: str, form: Mapping[str, str], authorization: str | None) -> Mapping[str, Any]:
        """For schemes: a form to a token server; its JSON object."""
        url = secure_url(address)
        headers = {"Accept": "application/json"} | ({} if authorization is None else {"Authorization": authorization})
        status, content = self._patiently("POST", url, headers, form)
        if status != httpx.codes.OK:
            raise _refusal(address, status, content, authorization, *form.values())
        try:
            document = json.loads(content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise DataError(f"{address}: expected a JSON object, but got none")
        return document

    def _patiently(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], form: Mapping[str, str] | None
    ) -> tuple[int, bytes]:
        """Status and body; tries again after 429, server errors and lost connections."""
        where = _place(url)
        for attempt in range(1, self._limits.attempts + 1):
            wait_s = float(2 ** (attempt - 1))
            try:
                status, content, asked_s = self._once(method, url, headers, form, where)
            except httpx.TransportError as reason:
                problem: PmError = StoreError(f"{where}: expected an answer, but got: {_short(reason)}")
            else:
                if status != _TOO_MANY and status < _WORST:
                    return status, content
                problem = _refusal(where, status, content, headers.get("Authorization"))
                wait_s = wait_s if asked_s is None else asked_s
            if attempt == self._limits.attempts or wait_s > min(self._limits.longest_wait_s, self._left(where)):
                raise problem
            self._sleep(wait_s)
        raise problem

    def _once(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], form: Mapping[str, str] | None, where: str
    ) -> tuple[int, bytes, float | None]:
        limits = self._limits
        until = self._clock() + min(limits.response_s, self._left(where))
        request = self._http.build_request(
            method, url, headers=dict(headers), data=form, timeout=min(limits.silence_s, limits.response_s)
        )
        try:
            response = self._http.send(request, stream=True)
        except httpx.DecodingError:
            raise DataError(f"{where}: expected a readable answer, but got a damaged one") from None
        try:
            most = limits.largest_bytes if response.status_code == httpx.codes.OK else _ERROR_BYTES
            return response.status_code, self._body(response, most, until, where), _retry_after(response)
        finally:
            response.close()

    def _body(self, response: httpx.Response, most: int, until: float, where: str) -> bytes:
        """The unpacked body, within bytes and time; what comes after the first bytes of an error is cut off."""
        parts, size = [], 0
        try:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if size > most:
                    if response.status_code != httpx.codes.OK:
                        break
                    raise DataError(f"{where}: expected at most {most} bytes, but got more")
                if self._clock() > until:
                    raise StoreError(f"{where}: expected the answer in time, but got {size} bytes by then")
        except httpx.DecodingError:
            raise DataError(f"{where}: expected a readable answer, but got a damaged one") from None
        return b"".join(parts)[:most]

    def _left(self, where: str) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise StoreError(f"{where}: expected to be done within {self._limits.total_s:g} s, but got no further")
        return left


def secure_url(address: str) -> httpx.URL:
    """The address taken apart.

    Raises:
        ConfigError: it is not https (http on this machine is let through), or carries more than a path.
    """
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        raise ConfigError("server: expected an address such as https://api.example.com/rfms, but got none") from None
    if url.userinfo or url.query or url.fragment:
        raise ConfigError("server: expected no user, password, query or fragment in the address, but got one")
    if not url.host or not (url.scheme == "https" or (url.scheme == "http" and _is_here(url.host))):
        raise ConfigError(f"server: expected https://…, but got {url.scheme or 'no scheme'}://{url.host}")
    return url


def _place(url: httpx.URL) -> str:
    return str(url.copy_with(query=None, fragment=None))


def _short(reason: Exception) -> str:
    return hide_vins(" ".join(f"{type(reason).__name__} {reason}".split()))[:200]


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds of the Retry-After header (RFC 9110, 10.2.3), a number or a date."""
    given = response.headers.get("Retry-After", "").strip()
    if re.fullmatch(r"\d{1,9}", given):
        return float(given)
    try:
        then, now = (parsedate_to_datetime(text) for text in (given, response.headers.get("Date", "")))
        return max(0.0, (then - now).total_seconds())
    except (TypeError, ValueError):
        return None


def _refusal(where: str, status: int, content: bytes, *secrets: str | None) -> PmError:
    """The error for a status, with what the server says in `error`, `error_description` and `error_uri`."""
    said = _said(content, [part for secret in secrets if secret for part in (secret, secret.rpartition(" ")[2])])
    told = f"{where}: expected an answer, but got {status}{f': {said}' if said else ''}"
    if status == _TOO_MANY or status >= _WORST:
        return StoreError(told)
    if 300 <= status < 400:
        return ConfigError(f"{told}: redirects are not followed, give the address that it leads to")
    return ConfigError(told)


def _said(content: bytes, secrets: list[str]) -> str:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return ""
    texts = [read_text(look_up(document, name)) for name in _ERRORS]
    said = "; ".join(text for text in texts if text)
    for secret in sorted(secrets, key=len, reverse=True):
        said = said.replace(secret, "***")
    return hide_vins(said)
