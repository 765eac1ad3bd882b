"""The committed OpenAPI document is the one the service serves."""

import json
from pathlib import Path
from typing import Any

import pytest

from pm.api.app import create_app
from pm.settings import Settings

PROJECT = Path(__file__).resolve().parents[2]
COMMITTED = PROJECT / "docs" / "openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings(project=PROJECT, home=PROJECT / "no-such-home", database_url=None)).openapi()


def test_the_committed_document_is_the_served_one(document: dict[str, Any]) -> None:
    # To accept a change: PYTHONPATH=. python tests/contract/test_api_openapi.py
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == document


def test_it_is_openapi_3_1_with_every_route(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    assert set(document["paths"]) == {
        "/v1/predictions", "/v1/vehicles/{vehicle_id}", "/v1/models", "/v1/signals", "/v1/features",
        "/v1/assumptions", "/livez", "/readyz",
    }  # fmt: skip


def test_every_field_and_parameter_says_what_it_means(document: dict[str, Any]) -> None:
    silent = [
        f"{name}.{field}"
        for name, schema in document["components"]["schemas"].items()
        for field, content in schema["properties"].items()
        if not content.get("description") and field not in ("predictions", "models", "signals")
    ]
    silent += [
        f"{path} {parameter['name']}"
        for path, operations in document["paths"].items()
        for parameter in operations["get"].get("parameters", ())
        if not (parameter.get("description") or parameter["schema"].get("description"))
    ]
    assert silent == []


def test_every_reference_leads_somewhere_and_errors_are_problems(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    for name in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert name in document["components"]["schemas"]
    assert "HTTPValidationError" not in text
    responses = document["paths"]["/v1/vehicles/{vehicle_id}"]["get"]["responses"]
    assert set(responses) == {"200", "404", "422", "503"}
    assert set(responses["404"]["content"]) == {"application/problem+json"}


if __name__ == "__main__":
    app = create_app(Settings(project=PROJECT, home=PROJECT / "no-such-home", database_url=None))
    COMMITTED.write_text(json.dumps(app.openapi(), indent=2, sort_keys=True) + "\n", encoding="utf-8")
