"""The newest check of the daily data as JSON and as a page, over rows that stand in memory."""

import re
from datetime import timedelta

import pytest
from api_fleet import AS_OF, Fleet, ask, assert_problem, page

from pm.errors import StoreError
from pm.policy import CHECKS


def line(check: str, vehicle_id: int, status: str, **other: object) -> dict[str, object]:
    return {
        "as_of": AS_OF, "check_name": check, "vehicle_id": vehicle_id, "message": "", "signal": "",
        "source_address": -1, "status": status, "unit": "", "n_rows": 3, "reason": f"why {check}",
        "known_at": AS_OF - timedelta(hours=2), "checked_at": AS_OF, "policy_id": "p",
    } | other  # fmt: skip


FOUND = [
    *(line(check, 0, "pass") for check in CHECKS if check not in ("units", "nulls")),
    line("units", 0, "mark", reason="90 checked, 0 marked, 1 blocked"),
    line("nulls", 0, "not_checked", reason="there is no training profile yet"),
    line("stuck", 1, "mark", message="AIR1", signal="<b>Air</b>", source_address=11, value=7.5),
    line(
        "units", 4, "block", message="ET1", signal="EngCoolantTemp", source_address=0, value=180.0, unit="degC",
        expected_low=60.0, expected_high=95.0, conversion="degrees Fahrenheit in place of degrees Celsius",
    ),
]  # fmt: skip
CHECKED = Fleet(checked=FOUND)


class TestJson:
    def test_the_fleet_and_its_findings(self) -> None:
        body = ask("/v1/assumptions", CHECKED).json()
        assert (body["as_of"], body["n_matching"], body["limit"]) == ("2026-06-20T00:00:00Z", 2, 500)
        assert [one["check"] for one in body["fleet"]] == list(CHECKS)
        assert {one["vehicle_id"] for one in body["fleet"]} == {None}
        assert [(one["vehicle_ref"], one["status"]) for one in body["findings"]] == [
            ("<script>alert(1)</script>", "block"),
            ("T-001", "mark"),
        ]
        assert body["findings"][0]["conversion"] == "degrees Fahrenheit in place of degrees Celsius"

    @pytest.mark.parametrize(
        ("query", "vehicles", "n"),
        [("vehicle_id=1", [1], 1), ("status=block", [4], 1), ("limit=1", [4], 2), ("vehicle_id=7", [], 0)],
    )
    def test_filters(self, query: str, vehicles: list[int], n: int) -> None:
        body = ask(f"/v1/assumptions?{query}", CHECKED).json()
        assert [one["vehicle_id"] for one in body["findings"]] == vehicles
        assert body["n_matching"] == n

    @pytest.mark.parametrize("query", ["limit=0", "status=pass", "vehicle_id=0", "q=1"])
    def test_what_is_no_filter_is_refused(self, query: str) -> None:
        assert_problem(ask(f"/v1/assumptions?{query}", CHECKED), 422)

    def test_before_the_first_check(self) -> None:
        assert ask("/v1/assumptions").json() == {
            "as_of": None, "n_matching": 0, "limit": 500, "fleet": [], "findings": [],
        }  # fmt: skip

    def test_a_database_that_does_not_answer_is_503(self) -> None:
        assert_problem(ask("/v1/assumptions", StoreError("gone")), 503)


class TestPage:
    def test_one_line_a_check_and_one_a_finding(self) -> None:
        text = page("/data", CHECKED)
        assert len(re.findall(r'<th scope="row"', text)) == len(CHECKS) + 2
        for said in ("2 findings", "Not checked", "there is no training profile yet", "ET1.Eng<wbr>Coolant<wbr>Temp"):
            assert said in text, said
        assert text.index("Blocked") < text.index("AIR1")
        assert '<a href="/vehicles/4">' in text

    def test_what_came_from_data_is_escaped(self) -> None:
        text = page("/data", CHECKED)
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert "&lt;b&gt;Air&lt;/b&gt;" in text
        assert "<script" not in text
        assert "<b>Air" not in text

    def test_every_page_links_it_and_it_knows_where_it_is(self) -> None:
        assert '<a href="/data">Data</a>' in page("/")
        assert '<a href="/data" aria-current="page">Data</a>' in page("/data")

    def test_nothing_found_and_nothing_checked(self) -> None:
        assert "Nothing is marked or blocked." in page("/data", Fleet(checked=FOUND[:6]))
        assert "Nothing has been checked yet" in page("/data")

    def test_a_long_list_is_cut_and_says_so(self) -> None:
        many = [line("stuck", 1, "mark", message="M", signal=f"S{number:03}") for number in range(501)]
        text = page("/data", Fleet(checked=many))
        assert len(re.findall(r'<th scope="row"', text)) == 500
        assert "501 findings, the first 500 shown" in text
