"""Routes that ask more than once, and LLMRouter's names for them."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from routewright.config import ConfigError, check_config, load_text
from routewright.settings import CascadeSettings, RoundsSettings, RouteSettings, Settings

MODELS = """\
model_list:
  - {model_name: small, litellm_params: {model: openai/gpt-4o-mini, api_key: k}}
  - {model_name: large, litellm_params: {model: openai/gpt-4o, api_key: k}}
general_settings: {master_key: mk}
"""


def load(text: str) -> Settings:
    return load_text(MODELS + text, environ={})


def route(text: str, name: str = "auto") -> RouteSettings:
    return next(route for route in load(text).routes if route.name == name)


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text)
    return [str(problem) for problem in caught.value.problems]


def test_cascade_has_sane_defaults() -> None:
    made = route("routes: {auto: {router: cascade}}")
    assert made.orchestration == CascadeSettings()
    assert made.router is None  # the packaged router rates the candidates


def test_cascade_takes_its_arguments() -> None:
    text = """\
routes:
  careful:
    router: llmrouter-automix
    router_args:
      router: knn
      verify: [truncated, logprob]
      min_logprob: {small: -0.3, large: -1}
      min_score: {large: 0.4}
      max_stages: 2
"""
    made = route(text, "careful")
    assert made.router == "knn"
    assert made.orchestration == CascadeSettings(
        checks=frozenset({"truncated", "logprob"}),
        min_logprob_of={"small": -0.3, "large": -1.0},
        min_score_of={"large": 0.4},
        max_stages=2,
    )
    with_one = route(
        "routes: {auto: {router: cascade, router_args: {verify: [logprob], min_logprob: -0.2, min_score: 0.3}}}"
    )
    assert with_one.orchestration == CascadeSettings(checks=frozenset({"logprob"}), min_logprob=-0.2, min_score=0.3)


@pytest.mark.parametrize(
    ("name", "kind", "rating"),
    [
        ("multiround", "multiround", None),
        ("knn-multiround", "multiround", "knn"),
        ("llmrouter-knn-multiround", "multiround", "knn"),
        ("llmrouter-llm-multiround", "llm-multiround", None),
        ("r1", "r1", None),
        ("llmrouter-r1", "r1", None),
    ],
)
def test_rounds_are_known_by_our_names_and_llmrouters(name: str, kind: str, rating: str | None) -> None:
    made = route(f"routes: {{auto: {{router: {name}, router_args: {{planner: large, max_parts: 3}}}}}}")
    assert made.orchestration == RoundsSettings(kind=kind, planner="large", max_parts=3)
    assert made.router == rating


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("llmrouter-automix", CascadeSettings(max_stages=2)),
        ("llmrouter-r1", RoundsSettings(kind="r1")),
        ("llmrouter-knn-multiround", RoundsSettings(kind="multiround")),
        ("llmrouter-llm-multiround", RoundsSettings(kind="llm-multiround")),
        ("llmrouter-gmt", None),
        ("llmrouter-knn", None),
    ],
)
def test_strategy_of_router_settings_is_autos(strategy: str, expected: object) -> None:
    args = ", routing_strategy_args: {max_stages: 2}" if strategy == "llmrouter-automix" else ""
    text = f"router_settings: {{routing_strategy: {strategy}{args}}}\n"
    settings = load(text)
    assert settings.router.strategy_name == strategy
    found = [made.orchestration for made in settings.routes if made.name == "auto"]
    assert found == ([] if expected is None else [expected])
    assert route(text + "routes: {auto: {router: cascade}}").orchestration == CascadeSettings()


def test_strategy_keeps_what_the_file_says_of_auto() -> None:
    text = "router_settings: {routing_strategy: llmrouter-automix}\nroutes: {auto: {candidates: [small], quality: 0.3}}"
    made = route(text)
    assert (made.candidates, made.quality, made.orchestration) == (("small",), 0.3, CascadeSettings())


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ("{max_stagez: 2}", 'router_args.max_stagez: unknown key; did you mean "max_stages"?'),
        ("{max_stages: 1}", "router_args.max_stages: expected 2 or more, found 1"),
        ("{verify: [trunkated]}", 'no check is called "trunkated"; known: truncated, refused, schema, logprob'),
        ("{verify: [logprob], min_logprob: 0.5}", "router_args.min_logprob: expected -100..0, found 0.5"),
        ("{min_score: 2}", "router_args.min_score: expected 0..1, found 2"),
        ("{router: r1}", '"r1" asks more than once itself'),
    ],
)
def test_fault_in_the_arguments_of_a_cascade_is_told(args: str, expected: str) -> None:
    (fault,) = faults(f"routes: {{auto: {{router: cascade, router_args: {args}}}}}")
    assert expected in fault


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{router: r1, router_args: {planner: lage}}", 'no model named "lage" in model_list; did you mean "large"?'),
        ("{router: r1, router_args: {verify: [refused]}}", "router_args.verify: unknown key"),
        ("{router: r1, router_args: {max_cost_usd: 0}}", "router_args.max_cost_usd: expected above 0, found 0"),
        ("{router: knn, router_args: {k: 3}}", 'routes.auto.router_args: router "knn" takes none'),
        ("{router_args: {max_stages: 3}}", "routes.auto.router_args: a route without a router takes none"),
    ],
)
def test_fault_in_other_arguments_is_told(text: str, expected: str) -> None:
    (fault,) = faults(f"routes: {{auto: {text}}}")
    assert expected in fault


def test_threshold_without_its_check_is_a_warning() -> None:
    text = "routes: {auto: {router: cascade, router_args: {min_logprob: -1}}}"
    assert any("min_logprob: without effect" in warning for warning in load(text).warnings)


def test_check_config_tells_how_a_route_asks(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(
        MODELS + "routes:\n"
        "  a: {router: cascade, router_args: {verify: [logprob, refused], max_stages: 2, min_logprob: {small: -0.3}}}\n"
        "  b: {router: r1, router_args: {planner: large, max_cost_usd: 0.02}}\n"
    )
    out = io.StringIO()
    assert check_config(path, environ={}, out=out) == 0
    lines = [line.strip() for line in out.getvalue().splitlines()]
    assert (
        "cascade: at most 2 stages, cheapest first; verifies logprob, refused; "
        "least mean log-probability -0.6, small -0.3"
    ) in lines
    assert "r1: planned by large; at most 4 parts of 1024 tokens, 8192 tokens and $0.02 a request" in lines
