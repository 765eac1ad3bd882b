"""The dictionary of features, as JSON and as pages.

What belongs here: its routes. What is asked is `Reads.features`.
"""

from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Path, Query
from fastapi.responses import HTMLResponse
from markupsafe import Markup
from pydantic import BaseModel, ConfigDict, Field

from pm.api.errors import problem_responses
from pm.api.rendering import render
from pm.api.responses import DistributionOut, FeatureList, FeatureOut, FeatureSourceOut
from pm.api.state import CurrentReads
from pm.charts import bar_chart, number
from pm.features.dictionary import Distribution, FeatureDictionary, FeatureFacts

router = APIRouter()

_LONGEST_TEXT: Final = 200
SetId = Annotated[
    str | None,
    Query(
        alias="set", min_length=1, max_length=_LONGEST_TEXT,
        description="id of a stored feature set; without it the one in use", examples=["truck-2-0a1b2c3d"],
    ),
]  # fmt: skip


class FeatureQuery(BaseModel):
    """Filters of `GET /v1/features`; an unknown one is refused."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(
        "",
        max_length=_LONGEST_TEXT,
        description="words that must all stand somewhere in the name, the meaning or the sources; letter case does "
        "not matter",
        examples=["coolant peers"],
    )
    set: str | None = Field(
        None,
        min_length=1,
        max_length=_LONGEST_TEXT,
        description="id of a stored feature set; without it the one in use",
        examples=["truck-2-0a1b2c3d"],
    )


@router.get("/v1/features", responses=problem_responses(404, 422, 503), summary="Dictionary of features")
def get_features(query: Annotated[FeatureQuery, Query()], reads: CurrentReads) -> FeatureList:
    """Every feature of a set: what it means, what it is made from, how often it is null and how its values lie."""
    found = _dictionary(reads, query.set)
    chosen = _matching(found, query.text)
    return FeatureList(
        feature_set_id=found.feature_set_id,
        first_as_of=found.first_as_of,
        last_as_of=found.last_as_of,
        n_vectors=found.n_vectors,
        features=[_feature_out(feature) for feature in chosen],
    )


@router.get("/features", include_in_schema=False, response_class=HTMLResponse)
def get_features_page(
    reads: CurrentReads, text: Annotated[str, Query(max_length=_LONGEST_TEXT)] = "", wanted: SetId = None
) -> HTMLResponse:
    """One line a feature, with a search box."""
    found = _dictionary(reads, wanted)
    lines = _matching(found, text)
    return HTMLResponse(
        render("features.html", title="Features", text=text, found=found, lines=lines, wanted=wanted or "")
    )


@router.get("/features/{name}", include_in_schema=False, response_class=HTMLResponse)
def get_feature_page(
    name: Annotated[str, Path(max_length=_LONGEST_TEXT)], reads: CurrentReads, wanted: SetId = None
) -> HTMLResponse:
    """One feature: meaning, unit, sources, share of null and a histogram."""
    found = _dictionary(reads, wanted)
    feature = found.find(name)
    if feature is None:
        raise HTTPException(404, f"feature set {found.feature_set_id} has no feature of that name")
    chart = Markup(_histogram(feature)) if feature.distribution else None  # noqa: S704 - `pm.charts` escapes its texts
    page = render("feature.html", title=name, feature=feature, found=found, chart=chart, wanted=wanted or "")
    return HTMLResponse(page)


def _dictionary(reads: CurrentReads, wanted: str | None) -> FeatureDictionary:
    found = reads.features(wanted)
    if found is None:
        raise HTTPException(404, "there is no stored feature set of that id")
    return found


def _matching(found: FeatureDictionary, text: str) -> list[FeatureFacts]:
    words = text.lower().split()
    return [feature for feature in found.features if all(word in _searched(feature) for word in words)]


def _searched(feature: FeatureFacts) -> str:
    sources = [f"{one.message} {one.signal} spn {one.spn}" for one in feature.sources]
    return " ".join([feature.name, feature.meaning, *sources]).lower()


def _feature_out(feature: FeatureFacts) -> FeatureOut:
    values = feature.distribution
    return FeatureOut(
        name=feature.name, unit=feature.unit, meaning=feature.meaning, kind=feature.kind, over_d=feature.over_d,
        definition=feature.definition,
        sources=[FeatureSourceOut(message=s.message, signal=s.signal, spn=s.spn) for s in feature.sources],
        null_share=feature.null_share,
        distribution=None if values is None else _distribution_out(values),
    )  # fmt: skip


def _distribution_out(values: Distribution) -> DistributionOut:
    return DistributionOut(
        minimum=values.minimum, p05=values.p05, median=values.median, p95=values.p95, maximum=values.maximum,
        edges=list(values.edges), counts=list(values.counts),
    )  # fmt: skip


def _histogram(feature: FeatureFacts) -> str:
    values = feature.distribution
    if values is None:
        return ""
    bars = [
        (f"{_short(low)}–{_short(high)}", float(count))
        for low, high, count in zip(values.edges, values.edges[1:], values.counts, strict=False)
    ]
    return bar_chart(
        bars,
        title=f"Distribution of {feature.name}",
        description=f"{sum(values.counts)} values from {_short(values.minimum)} to {_short(values.maximum)}",
        x_label=feature.unit if feature.unit != "1" else "value",
        y_label="vectors",
        width=480,
    )


def _short(value: float) -> str:
    return number(float(f"{value:.3g}"))
