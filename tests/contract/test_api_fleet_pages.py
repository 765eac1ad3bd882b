"""The pages over a fleet that stands in memory."""

import re
from datetime import timedelta

import pytest
from api_fleet import AS_OF, PREDICTIONS, REASONS, REPORT, Fleet, ask, assert_problem, page, prediction


class TestPages:
    def test_one_line_a_truck_in_order(self) -> None:
        lines = re.findall(r'<a href="/vehicles/(\d+)">', page("/"))
        assert lines == ["1", "2", "3", "4"]

    def test_a_line_says_why_and_what_to_do(self) -> None:
        text = page("/")
        assert REASONS[0]["sentence"] in text
        assert "pressure-test the system" in text
        assert "62 %" in text

    def test_what_stands_above_the_threshold_without_alert_says_that_the_budget_is_used_up(self) -> None:
        assert page("/").count("Next in line: the alert budget of these 7 days is used up") == 1

    def test_a_threshold_nobody_can_reach_is_no_percentage(self) -> None:
        text = page("/vehicles/1", Fleet(rows=[prediction(1, "cooling", 1, 0.62, threshold=1.2)]))
        assert "No threshold here keeps the alert budget" in text
        assert "120 %" not in text

    def test_the_filter_is_a_plain_form_that_keeps_its_choice(self) -> None:
        text = page("/?component=brakes_air")
        assert re.findall(r'<a href="/vehicles/(\d+)">', text) == ["2", "1"]
        assert '<option value="brakes_air" selected>' in text
        assert '<form method="get" action="/"' in text

    def test_a_component_nobody_knows_gives_an_empty_table(self) -> None:
        assert "No truck has a prediction for this component" in page("/?component=unheard_of")

    def test_the_proof_stands_above_the_table(self) -> None:
        assert (
            "In the backtest, of 100 alerts by the trained model 55 (95 % interval 40 to 70) were right, by the best "
            "simple rule (fault count) 21 (95 % interval 10 to 30)."
        ) in page("/")

    def test_the_budget_of_the_week(self) -> None:
        day_before = [row | {"as_of": AS_OF - timedelta(days=1), "alert": False} for row in PREDICTIONS]
        text = re.sub(r"<[^>]+>|\s+", " ", page("/", Fleet(rows=PREDICTIONS + day_before)))
        assert re.search(r"New alerts in 7 days\s+1\s+of 1 in the budget", text)

    def test_before_the_first_batch(self) -> None:
        assert "There are no predictions yet" in page("/", Fleet(rows=[], with_backtest=False))

    def test_truck_page_shows_reasons_and_orders(self) -> None:
        text = page("/vehicles/1")
        assert "Highest coolant temperature over the last 7 days" in text
        assert "84.2 to 101" in text
        assert "water pump renewed" in text
        assert "WO-3" not in text

    def test_truck_page_without_score_says_so(self) -> None:
        assert "No score:" in page("/vehicles/4")

    def test_what_users_wrote_is_escaped(self) -> None:
        for path in ("/", "/vehicles/4"):
            text = page(path)
            assert "<script>alert" not in text
            assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text

    @pytest.mark.parametrize("path", ["/backtest", "/audit"])
    def test_a_report_is_served_as_written_under_its_own_policy(self, path: str) -> None:
        answer = ask(path)
        assert answer.content == REPORT
        policy = answer.headers["content-security-policy"]
        assert "style-src 'unsafe-inline'" in policy
        assert "script" not in policy

    def test_without_a_backtest_the_report_is_404(self) -> None:
        assert_problem(ask("/backtest", Fleet(with_backtest=False)), 404)

    @pytest.mark.parametrize("fleet", [Fleet(with_backtest=False), Fleet(with_audit=False)])
    def test_without_an_audit_its_report_is_404(self, fleet: Fleet) -> None:
        assert_problem(ask("/audit", fleet), 404)

    @pytest.mark.parametrize("path", ["/", "/vehicles/1", "/vehicles/4", "/signals", "/signals?text=lamp"])
    def test_pages_keep_to_the_policy_and_can_be_used_without_sight_or_mouse(self, path: str) -> None:
        text = page(path)
        assert not re.search(r"<script|\sstyle=|<style|\son\w+=|https?://", text)
        assert '<html lang="en">' in text
        assert 'class="skip" href="#main"' in text
        assert text.count("<h1>") == 1
        assert text.count("<table") == text.count("<caption>")
        for cell in re.findall(r"<th [^>]*>", text):
            assert "scope=" in cell
        assert len(re.findall(r'id="([^"]+)"', text)) == len(set(re.findall(r'id="([^"]+)"', text)))

    @pytest.mark.parametrize(
        "path", ["/", "/vehicles/1", "/signals", "/livez", "/v1/predictions", "/static/style.css", "/no-such"]
    )
    def test_every_answer_carries_the_headers(self, path: str) -> None:
        headers = ask(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; style-src 'self'; img-src 'self' data:;"
        )
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["x-frame-options"] == "DENY"

    def test_static_files_are_found_under_their_hash_and_kept(self) -> None:
        (address,) = re.findall(r'<link rel="stylesheet" href="([^"]+)">', page("/"))
        answer = ask(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/css; charset=utf-8"
        assert "immutable" in answer.headers["cache-control"]
        assert ask("/static/../app.py").status_code == 404

    def test_no_page_of_foreign_scripts(self) -> None:
        assert ask("/docs").status_code == 404
        assert ask("/redoc").status_code == 404
