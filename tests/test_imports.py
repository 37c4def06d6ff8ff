"""Imports go one way, those inside functions too: the line that STYLE draws, read from the sources."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import routewright

PACKAGE = Path(routewright.__file__).parent
BASE = {
    "types",
    "account_names",
    "errors",
    "settings",
    "grants",
    "credentials",
    "dialect",
    "flow",
    "chunked",
    "deadlines",
    "writes",
    "passing",
    "tunnel",
    "signatures",
    "windows",
    "metered",
    "logs",
    "valkey",
}
STATIONS = {"admission", "catalog", "auth", "routing", "upstream", "record", "caching", "guardrails"}
LEAVES = BASE | {"wire", "providers", "endpoints", "storage", "store_process"}

# What each part may import beside itself and `routewright` itself, whose only content is the version.
ALLOWED: dict[str, set[str]] = {
    **dict.fromkeys(BASE, BASE),
    "wire": BASE,
    "providers": BASE,
    "server": BASE,
    "endpoints": BASE,
    "config": BASE | {"providers", "guardrails"},
    "store": BASE,
    "storage": BASE | {"store_process"},
    "store_process": BASE,
    "stored_keys": BASE,
    "spending": BASE | {"storage", "admission"},
    "reloading": BASE,
    "sdk": BASE,
    "guesses": BASE,
    "management": LEAVES | {"config", "store"},
    "leasing": BASE | {"admission"},
    "customers": BASE | {"storage", "admission"},
    "keeper": LEAVES | {"store", "management"},
    "admission": BASE,
    "auth": BASE | {"stored_keys"},
    "record": BASE,
    "eligibility": BASE,
    "fallbacks": BASE,
    "catalog": BASE | {"providers", "eligibility", "fallbacks"},
    "routing": BASE | {"wire"},
    "caching": BASE | {"wire", "valkey"},
    "guardrails": BASE | {"wire"},
    "around": LEAVES | STATIONS,
    "upstream": BASE | {"providers"},
    "learning": BASE | {"routing"},
    "health_checks": LEAVES | STATIONS,
    "hedges": LEAVES | STATIONS,
    "orchestration": LEAVES | STATIONS,
    "gateway": LEAVES | STATIONS | {"server", "orchestration", "around"},
    "keeping": LEAVES | STATIONS | {"server", "gateway"},
    "carriage": LEAVES | STATIONS | {"server", "gateway", "around"},
    "objects": LEAVES | STATIONS | {"server", "gateway", "carriage", "keeping", "around"},
    "admin": LEAVES | STATIONS | {"health_checks", "reloading", "server", "management"},
    "app": LEAVES
    | STATIONS
    | {
        "config",
        "health_checks",
        "hedges",
        "reloading",
        "server",
        "gateway",
        "admin",
        "stored_keys",
        "orchestration",
        "sdk",
        "spending",
        "customers",
        "carriage",
        "keeping",
        "objects",
        "guesses",
        "vitals",
        "around",
        "leasing",
    },
    "explain": LEAVES | STATIONS | {"config", "demo"},
    "demo": LEAVES | STATIONS | {"config", "server", "app"},
    "doctor": LEAVES | STATIONS | {"config", "store"},
    "vitals": LEAVES | STATIONS,
    "cli": LEAVES
    | STATIONS
    | {"accounts", "management", "config", "app", "demo", "explain", "learning", "server", "doctor"},
    "accounts": BASE | {"store"},
    "__main__": {"cli"},
    "__init__": set(),
}


def imported(source: str, module: str) -> set[str]:
    """Parts of the package that `source` imports anywhere, `TYPE_CHECKING` blocks and functions included."""
    parts = set()
    for node in ast.walk(ast.parse(source)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*module.split(".")[: -node.level], *([base] if base else [])])
            names = [base] if base != "routewright" else [f"routewright.{alias.name}" for alias in node.names]
        for name in names:
            top, _, rest = name.partition(".")
            if top == "routewright" and rest and not rest.startswith("__"):
                parts.add(rest.partition(".")[0])
    return parts


FILES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(PACKAGE)) for path in FILES])
def test_module_imports_only_what_stands_below_it(path: Path) -> None:
    relative = path.relative_to(PACKAGE)
    part = relative.parts[0].removesuffix(".py")
    module = ".".join(["routewright", *relative.with_suffix("").parts])
    assert imported(path.read_text("utf-8"), module) <= ALLOWED[part] | {part}


def test_stations_do_not_import_one_another() -> None:
    for name in STATIONS:
        assert ALLOWED[name].isdisjoint(STATIONS - {name})


def test_learning_knows_no_upstream_and_the_front_no_station() -> None:
    assert "upstream" not in ALLOWED["learning"]
    assert ALLOWED["server"] == BASE


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("import routewright.catalog", {"catalog"}),
        ("from routewright import catalog, __version__", {"catalog"}),
        ("from routewright.upstream.health import Balance", {"upstream"}),
        ("def f():\n    from routewright.app import serve", {"app"}),
        ("if TYPE_CHECKING:\n    from routewright import app", {"app"}),
        ("from .. import app", {"app"}),
        ("from ..upstream import health", {"upstream"}),
        ("from . import b", {"wire"}),
        ("import routewright_other, json", set()),
    ],
)
def test_reader_of_imports_sees_every_form(source: str, parts: set[str]) -> None:
    assert imported(source, "routewright.wire.a") == parts
