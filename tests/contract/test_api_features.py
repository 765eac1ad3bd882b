"""The dictionary of features as JSON and as pages, over features that stand in memory."""

import pytest
from api_fleet import ask, assert_problem, described, page

from pm.errors import StoreError


class TestJson:
    def test_a_feature_says_everything(self) -> None:
        body = ask("/v1/features").json()
        assert body["feature_set_id"] == described().feature_set_id
        assert body["n_vectors"] == 4
        assert [feature["name"] for feature in body["features"]] == ["coolant_c_mean_7d", "n_failures", "odd"]
        first, second, odd = body["features"]
        assert first["sources"] == [{"message": "ET1", "signal": "EngCoolantTemp", "spn": 110}]
        assert (first["null_share"], second["null_share"], odd["null_share"]) == (0.0, 0.25, 1.0)
        lies = first["distribution"]
        assert (lies["minimum"], lies["median"], lies["maximum"]) == (81.0, 82.5, 84.0)
        assert sum(lies["counts"]) == 4
        assert len(lies["edges"]) == len(lies["counts"]) + 1
        assert second["sources"] == [{"message": "", "signal": "failure", "spn": None}]
        assert odd["distribution"] is None

    @pytest.mark.parametrize(
        ("query", "names"),
        [("text=coolant", ["coolant_c_mean_7d"]), ("text=SPN 110", ["coolant_c_mean_7d"]), ("text=nothing", [])],
    )
    def test_filter(self, query: str, names: list[str]) -> None:
        assert [feature["name"] for feature in ask(f"/v1/features?{query}").json()["features"]] == names

    def test_a_set_without_vectors_has_no_figures(self) -> None:
        body = ask("/v1/features?set=empty").json()
        assert (body["n_vectors"], body["first_as_of"]) == (0, None)
        assert {feature["null_share"] for feature in body["features"]} == {None}

    def test_refusals(self) -> None:
        assert_problem(ask("/v1/features?set=nothing"), 404)
        assert_problem(ask("/v1/features?q=x"), 422)
        assert_problem(ask(f"/v1/features?text={'x' * 201}"), 422)
        assert_problem(ask("/v1/features", StoreError("gone")), 503)


class TestPages:
    def test_one_line_a_feature_with_a_link(self) -> None:
        text = page("/features")
        assert 'href="/features/coolant_c_mean_7d"' in text
        assert "3 features" in text
        assert "&lt;b&gt;bold&lt;/b&gt; &amp; more" in text
        assert "<b>bold</b>" not in text

    def test_a_search_and_a_set_stay_with_the_links(self) -> None:
        text = page("/features?text=coolant&set=empty")
        assert 'href="/features/coolant_c_mean_7d?set=empty"' in text
        assert "no vector is stored yet" in text
        assert "No feature has “zzz”" in page("/features?text=zzz")

    def test_a_feature_has_its_sources_and_a_histogram(self) -> None:
        text = page("/features/coolant_c_mean_7d")
        assert "ET1.EngCoolantTemp" in text
        assert "SPN&nbsp;110" in text
        assert '<svg class="chart"' in text
        assert "Null in all of the 4 latest vectors" in page("/features/odd")
        assert "run <code>pm features</code>" in page("/features/n_failures?set=empty")

    def test_a_feature_that_is_not_there_is_404(self) -> None:
        assert ask("/features/nothing", accept="text/html").status_code == 404
        assert ask("/features?set=nothing", accept="text/html").status_code == 404
