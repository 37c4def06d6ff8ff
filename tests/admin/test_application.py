"""The control plane and the table of endpoints agree; its document and its page are sound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from routewright import endpoints
from routewright.admin.application import make_application
from routewright.admin.control import Control
from routewright.admin.document import described
from routewright.admin.exposition import MetricsPage
from routewright.admin.probes import Probes
from routewright.admin.reference import reference_page
from routewright.auth import Keys
from routewright.catalog import Catalog
from routewright.management.about import ABOUT
from routewright.management.answer import OPERATIONS
from routewright.management.rights import MAY
from routewright.record.metrics import Metrics
from routewright.record.snapshots import Snapshots
from routewright.reloading import Difference
from routewright.routing.feedback import Feedback
from routewright.routing.live import LiveRouters
from routewright.settings import RouterSettings, Settings
from routewright.types import Access
from values import deployment_settings


async def nothing() -> Difference:
    return Difference((), ())


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> FastAPI:
    settings = Settings(deployments=(deployment_settings("gpt-4o"), deployment_settings("gpt-4o-mini")))
    catalog = Catalog(settings, lambda group: True)
    folder: Path = tmp_path_factory.mktemp("routers")
    routing = LiveRouters(RouterSettings(), catalog.routes, catalog.route_candidates, folder)
    return make_application(
        Control(
            catalog=catalog,
            routing=routing,
            feedback=Feedback(folder, 0),
            metrics_page=MetricsPage(Snapshots(folder, 0, range(1), 1, Metrics()), lambda: 1),
            keys=Keys(settings, lambda digest, entry: None),
            probes=Probes(lambda: False, routing),
            spread_reload=lambda: None,
            cache=lambda: None,
            rails=lambda: None,
            spread_flush=lambda: None,
            reload_config=nothing,
            spent=nothing,
            health_checks=None,
            config=None,
        )
    )


@pytest.fixture(scope="module")
def document(app: FastAPI) -> dict[str, Any]:
    """As a client gets it: through JSON."""
    found: dict[str, Any] = json.loads(json.dumps(described(app)))
    return found


MODEL_PATHS = {
    (prefix + path, method)
    for prefix in ("", "/v1")
    for path, method in (("/models/{model:path}", "GET"), ("/fallback/{model:path}", "GET"),
                         ("/fallback/{model:path}", "DELETE"))
}  # fmt: skip


def of_table() -> set[tuple[str, str]]:
    """Path and method of everything in the table that the control plane answers."""
    fixed = {
        (path, method)
        for path, endpoint in endpoints.paths()
        if not (endpoint.is_proxied or endpoint.is_stored or endpoint.is_carried or endpoint.is_kept)
        and not endpoint.is_owned
        for method in endpoint.methods
        if method != "HEAD"  # the bridge asks for GET and leaves the body out
    }
    return fixed | MODEL_PATHS


def of_app(app: FastAPI) -> set[tuple[str, str]]:
    return {(route.path, method) for route in app.routes if isinstance(route, APIRoute) for method in route.methods}


def test_every_path_of_the_table_has_a_route_and_every_route_is_in_the_table(app: FastAPI) -> None:
    assert of_app(app) == of_table()


def test_every_endpoint_of_the_store_has_an_operation_and_is_described() -> None:
    of_the_store = {endpoint.name for _, endpoint in endpoints.every() if endpoint.is_stored}
    assert of_the_store == set(OPERATIONS) == set(ABOUT) == set(MAY)


def test_nothing_else_is_mounted(app: FastAPI) -> None:
    assert all(isinstance(route, APIRoute) for route in app.routes)


@pytest.mark.parametrize("path", sorted({path for path, _ in endpoints.paths()}))
def test_fixed_path_is_found_with_its_methods_only(path: str) -> None:
    """G3."""
    endpoint = dict(endpoints.paths())[path]
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
        if method in endpoint.methods:
            assert endpoints.find(path, method) == (endpoint, None)
        else:
            with pytest.raises(endpoints.FrontError) as caught:
                endpoints.find(path, method)
            assert (caught.value.status, caught.value.allow) == (405, endpoint.methods)


@pytest.mark.parametrize(
    "path",
    ["", "/v2/models", "/models/", "/v1", "/v1/v1/models", "//models", "/models%2F", "/MODELS", "/health/", "/v1/docs",
     "/engines//chat/completions", "/engines/x/chat/completions/", "/chat/completions/x",
     "/health/../router/info", "/openai/deployments/x/models", "/router/info%00", "/router%2finfo"],
)  # fmt: skip
def test_other_paths_are_not_served(path: str) -> None:
    """G2: exact bytes, nothing decoded or resolved."""
    with pytest.raises(endpoints.FrontError) as caught:
        endpoints.find(path, "GET")
    assert caught.value.status == 404


@pytest.mark.parametrize("prefix", ["", "/v1"])
def test_model_in_a_path_may_hold_slashes(prefix: str) -> None:
    assert endpoints.find(f"{prefix}/models/openai/gpt-4o", "GET") == (endpoints.MODEL, "openai/gpt-4o")
    for start in ("/engines", "/openai/deployments"):
        for end, endpoint in (("chat/completions", endpoints.CHAT), ("completions", endpoints.COMPLETIONS)):
            assert endpoints.find(f"{prefix}{start}/a/b/{end}", "POST") == (endpoint, "a/b")


def test_only_health_metrics_routes_and_pages_are_open() -> None:
    """COMPAT, section 2: all else is denied by default; the router's calls are the master's."""
    by_access: dict[Access, set[str]] = {access: set() for access in Access}
    for path, endpoint in endpoints.paths():
        by_access[endpoint.access].add(path.removeprefix("/v1") or "/")
    assert by_access[Access.OPEN] == {
        "/", "/docs", "/openapi.json", "/health", "/health/liveliness", "/health/liveness", "/health/readiness",
        "/metrics", "/routes",
    }  # fmt: skip
    assert by_access[Access.MASTER] == {
        "/router/info", "/router/reload", "/router/route", "/config/reload", "/provider/budgets",
        "/cache/ping", "/cache/redis/info", "/cache/delete", "/cache/flushall",
        "/health/latest", "/health/history",
    }  # fmt: skip


# --- the OpenAPI document ------------------------------------------------------------------------------------------


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(path, verb, each) for path, verbs in document["paths"].items() for verb, each in verbs.items()]


def test_document_is_openapi(document: dict[str, Any]) -> None:
    """The rules of OpenAPI 3.1 that a generator of clients falls over."""
    assert re.fullmatch(r"3\.1\.\d+", document["openapi"])
    assert {"title", "version"} <= set(document["info"])
    for reference in references(document):
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    ids = [each["operationId"] for _, _, each in operations(document) if "operationId" in each]
    assert len(ids) == len(set(ids))
    for path, verb, operation in operations(document):
        assert path.startswith("/")
        assert verb in ("get", "post", "patch", "delete")
        assert operation["responses"]
        for status, response in operation["responses"].items():
            assert re.fullmatch(r"[1-5](\d\d|XX)|default", status)
            assert response["description"]
        named = set(re.findall(r"{(\w+)}", path))
        given = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path" and each["required"]}
        assert named == given


def test_document_describes_each_endpoint_once_with_its_methods_and_rights(document: dict[str, Any]) -> None:
    for path, verb, operation in operations(document):
        endpoint, _ = endpoints.find(path.replace("{model}", "m").replace("{name}", "n"), verb.upper())
        assert bool(operation.get("security")) == (endpoint.access != Access.OPEN), path
    without_prefix = [re.sub("^/v1(?=/)", "", path) for path in document["paths"]]
    named = {"/models/{model}", "/fallback/{model}"}
    named |= {
        path.replace("{}", "{name}")
        for path, endpoint in endpoints.every()
        if "{}" in path and (endpoint.is_stored or endpoint.is_kept or endpoint.is_owned)
    }
    named |= {
        f"/v1beta/models/{{model}}:{verb}" for verb in ("generateContent", "streamGenerateContent", "countTokens")
    }
    assert sorted(without_prefix) == sorted({*endpoints.EXACT, *named})


def test_document_is_the_same_each_time(app: FastAPI, document: dict[str, Any]) -> None:
    assert json.loads(json.dumps(described(app))) == document


# --- the page ------------------------------------------------------------------------------------------------------


def test_page_has_no_script_and_nothing_from_elsewhere(document: dict[str, Any]) -> None:
    """T18: what a page does not hold can't be turned against its reader."""
    page, _ = reference_page(document)
    assert not re.search(r"<(script|iframe|object|embed|form|link|img|base)\b", page, re.IGNORECASE)
    assert not re.search(r"\son\w+\s*=|javascript:|style=|@import|url\(", page, re.IGNORECASE)
    addresses = re.findall(r"(?:https?:)?//[\w.-]+", page)
    assert set(addresses) <= {"http://localhost"}
    assert set(re.findall(r'href="([^"]*)"', page)) == {"/openapi.json"}


def test_page_shows_every_path(document: dict[str, Any]) -> None:
    page, digest = reference_page(document)
    for path in document["paths"]:
        assert f"<code>{path}</code>" in page
    assert re.fullmatch(r"[A-Za-z0-9+/]{43}=", digest)


def test_page_escapes_what_it_is_told(document: dict[str, Any]) -> None:
    """T18."""
    evil = '<script>alert("x")</script>'
    operation = {
        "tags": [evil], "summary": evil, "description": evil,
        "requestBody": {"content": {"application/json": {"schema": {"properties": {evil: {"type": evil}}}}}},
        "responses": {evil: {"description": evil}},
    }  # fmt: skip
    hostile = {"info": {"title": evil, "version": evil, "summary": evil}, "paths": {f"/{evil}": {"get": operation}}}
    page, _ = reference_page(hostile)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 9
