"""The dictionary of signals as JSON and as a page, over signals that stand in memory."""

import re

import pytest
from api_fleet import SIGNALS, Fleet, ask, assert_problem, known_signal, page

from pm.errors import StoreError

MANY = Fleet(known_signals=[known_signal("ET1", f"Signal{number:04}") for number in range(501)])


class TestJson:
    def test_a_signal_says_everything(self) -> None:
        body = ask("/v1/signals").json()
        assert (body["n_matching"], body["limit"], len(body["signals"])) == (3, 500, 3)
        assert body["signals"][0] == {
            **SIGNALS[0],
            "first_seen_at": "2026-05-21T00:00:00Z",
            "last_seen_at": "2026-06-20T00:00:00Z",
        }
        assert body["signals"][1]["n_files"] is None

    @pytest.mark.parametrize(
        ("query", "signals"),
        [
            ("text=coolant", ["EngCoolantTemp"]),
            ("message=VI", ["VehicleIdentNumber"]),
            ("text=coolant&message=VI", []),
            ("limit=1", ["EngCoolantTemp"]),
            ("text=", ["EngCoolantTemp", "<b>Lamp</b>", "VehicleIdentNumber"]),
        ],
    )
    def test_filters(self, query: str, signals: list[str]) -> None:
        assert [row["signal"] for row in ask(f"/v1/signals?{query}").json()["signals"]] == signals

    def test_a_list_that_was_cut_says_how_many_there_are(self) -> None:
        body = ask("/v1/signals?limit=5", MANY).json()
        assert (body["n_matching"], body["limit"], len(body["signals"])) == (501, 5, 5)

    @pytest.mark.parametrize(
        ("query", "name"),
        [
            ("limit=0", "limit"),
            ("limit=2001", "limit"),
            (f"text={'x' * 201}", "text"),
            ("message=", "message"),
            ("q=x", "q"),
        ],
    )
    def test_every_violation_is_named(self, query: str, name: str) -> None:
        body = assert_problem(ask(f"/v1/signals?{query}"), 422)
        assert [error["name"] for error in body["errors"]] == [name]

    def test_a_database_that_does_not_answer_is_503(self) -> None:
        assert_problem(ask("/v1/signals", StoreError("gone")), 503)


class TestPage:
    def test_one_line_a_signal(self) -> None:
        text = page("/signals")
        assert "3 signals</caption>" in text
        assert "<code>et1.<wbr>eng_<wbr>coolant_<wbr>temp_<wbr>c</code>" in text
        for said in (
            "SPN&nbsp;110",
            "PGN&nbsp;65262",
            "-40 to 210&nbsp;degC",
            "30,000",
            "25 %",
            "21 May 2026",
            "never",
        ):
            assert said in text, said
        assert "not shown: a VIN" in text

    def test_the_search_is_a_plain_form_that_keeps_its_text(self) -> None:
        text = page("/signals?text=coolant")
        assert '<form method="get" action="/signals"' in text
        assert 'name="text" value="coolant"' in text
        assert "1 signal with “coolant”" in text
        assert len(re.findall(r'<th scope="row"', text)) == 1
        assert '<a href="/signals">All signals</a>' in text

    def test_every_page_links_it_and_it_knows_where_it_is(self) -> None:
        assert '<a href="/signals">Signals</a>' in page("/")
        assert '<a href="/signals" aria-current="page">Signals</a>' in page("/signals")

    def test_what_users_wrote_is_escaped(self) -> None:
        assert "&lt;b&gt;Lamp&lt;/b&gt;" in page("/signals")
        text = page("/signals?text=%22%3E%3Cscript%3E")
        assert 'value="&#34;&gt;&lt;script&gt;"' in text
        assert "<script" not in text

    def test_nothing_found_and_nothing_known(self) -> None:
        assert "No signal has “unheard of” in its names, unit or description." in page("/signals?text=unheard+of")
        assert "There are no signals yet." in page("/signals", Fleet(known_signals=[]))

    def test_a_long_list_is_cut_and_says_so(self) -> None:
        text = page("/signals", MANY)
        assert len(re.findall(r'<th scope="row"', text)) == 500
        assert "501 signals, the first 500 shown" in text

    def test_a_text_too_long_is_a_page_that_says_so(self) -> None:
        answer = ask(f"/signals?text={'x' * 201}", accept="text/html")
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
