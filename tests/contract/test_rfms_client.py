"""The rFMS client against a server on this machine: paging, refusals, and what it will not put up with."""

import json
import logging
import sys
import types
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from rfms_server import (
    DAY,
    VIN_1,
    VIN_2,
    Answer,
    RfmsServer,
    ok,
    problem,
    serving,
    slowly,
    status,
    statuses_page,
    text,
)

from pm.errors import ConfigError, DataError, PmError, StoreError
from pm.pipelines.rfms.auth import Fixed, Post, Scheme, make_scheme
from pm.pipelines.rfms.client import RfmsClient, server_text
from pm.pipelines.rfms.http import Limits
from pm.pipelines.rfms.response import STATUSES, VEHICLES

SINCE = {"datetype": "received", "starttime": text(DAY)}
PASSWORD = "word"
Asked = Callable[..., list[Any]]


@pytest.fixture
def server() -> Iterator[RfmsServer]:
    records = [status(VIN_1, minute) for minute in range(5)]
    with serving(RfmsServer([{"vin": VIN_2}, {"vin": VIN_1}], records)) as running:
        yield running


@pytest.fixture
def slept() -> list[float]:
    return []


@pytest.fixture
def ask(server: RfmsServer, slept: list[float]) -> Asked:
    """Records of every page, one list."""

    def run(kind: str = STATUSES, params: dict[str, str] = SINCE, *, auth: Any = None, **limits: Any) -> list[Any]:
        bounded = Limits(**{"silence_s": 5.0, "response_s": 5.0, **limits})
        with RfmsClient(server.address, auth or Fixed(None), limits=bounded, sleep=slept.append) as client:
            return [record for page, _ in client.pages(kind, params) for record in page.records]

    return run


def bearer(token: str) -> Scheme:
    return make_scheme("bearer", address="https://rfms.example", secret=token)


def credentials(server: RfmsServer, secret: str) -> Scheme:
    return make_scheme(
        "client-credentials", address=server.address, user="client", secret=secret, token_address=server.address
    )


def test_pages_are_followed(server: RfmsServer, ask: Asked) -> None:
    assert [record["createdDateTime"] for record in ask()] == [text(DAY + timedelta(minutes=m)) for m in range(5)]
    assert [path for path, _, _ in server.asked] == ["/api/rfms/vehiclestatuses"] * 3
    assert [query.get("first") for _, query, _ in server.asked] == [None, "2", "4"]
    assert {query["starttime"] for _, query, _ in server.asked} == {"2026-03-02T00:00:00.000Z"}
    assert {query["datetype"] for _, query, _ in server.asked} == {"received"}
    assert {headers["accept"] for _, _, headers in server.asked} == {"application/json; rfms=vehiclestatuses.v4.0"}


def test_vehicles_are_followed_by_the_last_vin_where_there_is_no_link(server: RfmsServer, ask: Asked) -> None:
    server.with_links, server.page_size = False, 1
    assert [record["vin"] for record in ask(VEHICLES, {})] == [VIN_2, VIN_1]
    assert [query for _, query, _ in server.asked] == [{}, {"lastVin": VIN_2}]


def test_statuses_are_followed_by_time_where_there_is_no_link(server: RfmsServer, ask: Asked) -> None:
    server.with_links = False
    found = ask()
    # Inclusive: the last record of a page is the first of the next. The store takes it once.
    assert [server_text_of(record) for record in found] == [
        text(DAY + timedelta(minutes=m)) for m in (0, 1, 1, 2, 2, 3, 3, 4)
    ]


def server_text_of(record: dict[str, Any]) -> str:
    return str(record["createdDateTime"])


def test_paging_that_cannot_go_on_without_links_ends(server: RfmsServer, ask: Asked) -> None:
    server.with_links = False
    server.statuses = [status(f"VIN{number}", 0) for number in range(5)]  # all received at one instant
    with pytest.raises(DataError, match="but got a page once more"):
        ask()


def test_packed_answers(server: RfmsServer, ask: Asked) -> None:
    server.packed = True
    assert len(ask()) == 5


@pytest.mark.parametrize(
    "link",
    [
        "https://elsewhere.example/rfms/vehiclestatuses?first=2",
        "//elsewhere.example/api/rfms/vehiclestatuses?first=2",
        "http://127.0.0.1:1/api/rfms/vehiclestatuses?first=2",
        "/other/vehiclestatuses?first=2",
        "/api/rfms/vehicles?first=2",
        "/api/rfms/vehiclestatuses/../../secret?first=2",
        "http://user:word@127.0.0.1/api/rfms/vehiclestatuses",
        "file:///etc/passwd",
        "http://[x",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(server: RfmsServer, ask: Asked, link: str) -> None:
    server.queue = [ok(statuses_page([status()], moreDataAvailable=True, moreDataAvailableLink=link))]
    with pytest.raises(DataError, match="expected a link to more from here, but got one to elsewhere"):
        ask()
    assert len(server.asked) == 1


@pytest.mark.parametrize("link", ["/api/rfms/vehiclestatuses?first=2", "/rfms/vehiclestatuses?first=2", "?first=2"])
def test_a_link_to_the_same_place_is_followed(server: RfmsServer, ask: Asked, link: str) -> None:
    page = statuses_page([], moreDataAvailable=True, moreDataAvailableLink=link)
    server.queue = [ok(page), ok(statuses_page([status()]))]
    assert len(ask()) == 1
    assert server.asked[1][:2] == ("/api/rfms/vehiclestatuses", {"first": "2"})


def test_a_link_in_a_circle(server: RfmsServer, ask: Asked) -> None:
    page = statuses_page([], moreDataAvailable=True, moreDataAvailableLink="/rfms/vehiclestatuses?first=2")
    server.queue = [ok(page), ok(page), ok(page)]
    with pytest.raises(DataError, match="expected more data behind the link, but got a page once more"):
        ask()
    assert len(server.asked) == 2


def test_endless_pages(server: RfmsServer, ask: Asked) -> None:
    links = (f"/rfms/vehiclestatuses?first={number}" for number in range(10))
    server.queue = [ok(statuses_page([], moreDataAvailable=True, moreDataAvailableLink=link)) for link in links]
    with pytest.raises(DataError, match="expected at most 4 pages, but got more"):
        ask(largest_pages=4)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (problem(400, "bad_request", "starttime is missing"), ConfigError, "400: bad_request; starttime is missing"),
        (problem(401, "invalid_token", "expired"), ConfigError, "got 401: invalid_token; expired"),
        (problem(403, "forbidden", f"no rights on {VIN_1}"), ConfigError, "got 403: forbidden; no rights on VIN"),
        (problem(404, "not_found", "no such path"), ConfigError, "got 404: not_found; no such path"),
        (problem(406, "not_acceptable", "version"), ConfigError, "got 406: not_acceptable; version"),
        ((418, {}, b"a teapot"), ConfigError, "got 418"),
        ((302, {"Location": "http://127.0.0.1:1/"}, b""), ConfigError, "got 302: redirects are not followed"),
        ((204, {}, b""), ConfigError, "got 204"),
        ((200, {}, b"<html>"), DataError, "expected an rFMS response in JSON"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), DataError, "a readable answer, but got a damaged one"),
    ],
)  # fmt: skip
def test_refusals(server: RfmsServer, ask: Asked, answer: Answer, error: type[PmError], said: str) -> None:
    server.queue = [answer, answer]
    with pytest.raises(error) as raised:
        ask()
    assert said in str(raised.value)
    assert str(raised.value).startswith(f"{server.address}/vehiclestatuses: ")


def test_too_many_requests_waits_as_told(server: RfmsServer, ask: Asked, slept: list[float]) -> None:
    dated = {"Retry_After": "Mon, 02 Mar 2026 00:00:40 GMT", "Date": "Mon, 02 Mar 2026 00:00:10 GMT"}
    server.queue = [
        problem(429, "too_many", "slower", Retry_After="7"),
        problem(503, "down", "soon", **dated),
        problem(500, "oops", "x"),
    ]
    assert len(ask()) == 5
    assert slept == [7.0, 30.0, 4.0]


def test_too_many_requests_for_good(server: RfmsServer, ask: Asked, slept: list[float]) -> None:
    server.queue = [problem(429, "too_many", "slower", Retry_After="1")] * 9
    with pytest.raises(StoreError, match="got 429: too_many; slower"):
        ask()
    assert len(server.asked) == 5
    assert slept == [1.0] * 4


def test_a_pause_that_is_too_long_is_not_made(server: RfmsServer, ask: Asked, slept: list[float]) -> None:
    server.queue = [problem(429, "too_many", "tomorrow", Retry_After="86400")]
    with pytest.raises(StoreError, match="got 429: too_many; tomorrow"):
        ask()
    assert slept == []


def test_no_server(slept: list[float]) -> None:
    with serving(RfmsServer()) as gone:
        pass
    with (
        RfmsClient(gone.address, Fixed(None), sleep=slept.append) as client,
        pytest.raises(StoreError, match="expected an answer, but got: ConnectError"),
    ):
        list(client.pages(VEHICLES, {}))
    assert slept == [1.0, 2.0, 4.0, 8.0]


def test_a_huge_body_is_cut_off(server: RfmsServer, ask: Asked) -> None:
    server.queue = [(200, {}, slowly(b" " * 100_000, 0.0, 1000))]
    with pytest.raises(DataError, match="expected at most 1000000 bytes, but got more"):
        ask(largest_bytes=1_000_000)


def test_a_body_that_unpacks_to_too_much_is_cut_off(server: RfmsServer, ask: Asked) -> None:
    server.queue = [ok({"padding": " " * 5_000_000}, packed=True)]
    with pytest.raises(DataError, match="expected at most 1000000 bytes, but got more"):
        ask(largest_bytes=1_000_000)


def test_a_slow_body_is_cut_off(server: RfmsServer, ask: Asked) -> None:
    server.queue = [(200, {}, slowly(b" ", 0.05, 200))]
    with pytest.raises(StoreError, match="expected the answer in time"):
        ask(response_s=0.3)


def test_a_server_that_falls_silent(server: RfmsServer, ask: Asked) -> None:
    server.queue = [(200, {}, slowly(b" ", 0.6, 2))]
    with pytest.raises(StoreError, match="expected an answer, but got: ReadTimeout"):
        ask(silence_s=0.2, attempts=1)


def test_the_whole_poll_has_an_end(server: RfmsServer) -> None:
    passed_s = 0.0
    with RfmsClient(server.address, Fixed(None), limits=Limits(total_s=100.0), clock=lambda: passed_s) as client:
        pages = client.pages(STATUSES, SINCE)
        next(pages)
        passed_s = 101.0
        with pytest.raises(StoreError, match="expected to be done within 100 s"):
            next(pages)


@pytest.mark.parametrize(
    "address",
    ["http://rfms.example/rfms", "rfms.example", "", "ftp://127.0.0.1/", "https://u:p@rfms.example/", "https://x.example/?a=b",
     "https://x.example/#y", "https://"],
)  # fmt: skip
def test_addresses_that_are_not_asked(address: str) -> None:
    with pytest.raises(ConfigError, match="server: expected") as raised:
        RfmsClient(address, Fixed(None))
    assert "u:p" not in str(raised.value)


def test_bearer(server: RfmsServer, ask: Asked) -> None:
    server.token = "abc"
    assert len(ask(auth=bearer("abc"))) == 5


def test_a_token_that_the_server_repeats_is_not_told(server: RfmsServer, ask: Asked) -> None:
    server.token = "right"
    with pytest.raises(ConfigError, match=r"got 401: invalid_token; token \*\*\* has expired") as raised:
        ask(auth=bearer("wr0ng-s3cret"))
    assert "wr0ng" not in str(raised.value)
    assert len(server.asked) == 2  # asked once more, in case the scheme had a new one


def test_client_credentials_are_renewed_once(server: RfmsServer, ask: Asked) -> None:
    scheme = credentials(server, "s3cret")
    server.token = "none yet"
    assert len(ask(auth=scheme)) == 5
    assert server.tokens_given == 1
    server.token = "taken back"
    assert len(ask(auth=scheme)) == 5
    assert server.tokens_given == 2


def test_client_credentials_that_are_wrong(server: RfmsServer, ask: Asked) -> None:
    scheme = credentials(server, "wr0ng")
    with pytest.raises(ConfigError, match="got 401: invalid_client; who is that") as raised:
        ask(auth=scheme)
    assert "wr0ng" not in str(raised.value)


def test_basic(server: RfmsServer, ask: Asked) -> None:
    ask(auth=make_scheme("basic", address=server.address, user="user", secret=PASSWORD))
    assert server.asked[0][2]["authorization"] == "Basic dXNlcjp3b3Jk"


def test_a_scheme_of_ones_own(server: RfmsServer, ask: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    class Challenge:
        def __init__(self, address: str, secret: str | None) -> None:
            self.given = (address, secret)

        def authorization(self, post: Post, *, renew: bool) -> str | None:
            assert not renew
            token = post(server.address, {"grant_type": "client_credentials"}, "Basic Y2xpZW50OnMzY3JldA==")
            return f"Bearer {token['access_token']}"

    module = types.ModuleType("my_rfms")
    module.challenge = Challenge  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_rfms", module)
    scheme = make_scheme("my_rfms:challenge", address=server.address, secret=PASSWORD)
    assert isinstance(scheme, Challenge)
    assert scheme.given == (server.address, PASSWORD)
    assert len(ask(auth=scheme)) == 5


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("magic", {}, "expected one of"),
        ("bearer", {}, "expected a secret from a file or a variable"),
        ("bearer", {"secret": "a\nb"}, "expected a secret of printable ASCII"),
        ("basic", {"secret": "a"}, "expected a user or client id"),
        ("client-credentials", {"secret": "a", "user": "b"}, "expected the address of the token server"),
        ("no_such_module:function", {}, "expected a function of an importable module"),
        ("json:no_such_function", {}, "expected a function of an importable module"),
        ("builtins:max", {"secret": "b"}, r"expected an object with authorization\(\)"),
    ],
)
def test_schemes_that_cannot_be_had(kind: str, given: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        make_scheme(kind, address="https://rfms.example", **given)


def test_nothing_secret_is_shown(server: RfmsServer, ask: Asked, caplog: pytest.LogCaptureFixture) -> None:
    scheme = credentials(server, "s3cret")
    server.with_links, server.page_size = False, 1
    with caplog.at_level(logging.DEBUG):
        ask(VEHICLES, {}, auth=scheme)
    shown = caplog.text + repr(scheme) + repr(bearer("s3cret"))
    assert not [word for word in ("s3cret", "token-1", VIN_1, VIN_2) if word in shown]


def test_instants_in_queries() -> None:
    assert server_text(DAY + timedelta(microseconds=123_999)) == "2026-03-02T00:00:00.123Z"


def test_the_fixture_answers_as_the_reference_says(server: RfmsServer) -> None:
    code, _, body = server.answer(
        "/api/rfms/vehiclestatuses", {}, {"accept": "application/json; rfms=vehiclestatuses.v4.0"}
    )
    assert code == 400
    assert isinstance(body, bytes)
    assert set(json.loads(body)) == {"error", "error_description"}
