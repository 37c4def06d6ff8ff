"""RELIABILITY F20: whatever a file holds, reading it gives settings or a ConfigError, and nothing else."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from routewright.config import ConfigError, load_settings, load_text
from routewright.config.source import plain_value
from routewright.settings import Settings

SEED = """\
environment_variables: {A: x}
credential_list: [{credential_name: c, credential_values: {api_key: k}}]
model_list:
  - model_name: gpt-4o
    litellm_params: &p
      model: openai/gpt-4o
      api_key: os.environ/A
      api_base: http://h:1/v1
      rpm: 5
      timeout: 1.5
      temperature: 0
      extra_headers: {X-A: b}
      input_cost_per_token: 1e-6
      output_cost_per_token: 0.000002
    model_info: {id: one, mode: chat, quality: 0.5, supports_vision: true}
  - model_name: "openai/*"
    litellm_params: {<<: *p, model: "openai/*", litellm_credential_name: c}
litellm_settings: {num_retries: 2, fallbacks: [{gpt-4o: [auto]}], ssl_verify: true, cache_params: {type: redis}}
router_settings:
  routing_strategy: llmrouter-knn
  routing_strategy_args: {model_path: x, reload_interval: 3}
  model_group_alias: {other: gpt-4o, more: {model: gpt-4o}}
  default_litellm_params: {max_tokens: 5}
general_settings: {master_key: m, max_request_size_mb: 1}
keys: [{key: k1, alias: t, models: [auto], rpm_limit: 5}]
routes: {auto: {candidates: [gpt-4o], router: knn, quality: 0.8, default_model: gpt-4o}}
"""
TREE = yaml.safe_load(SEED)
PIECES = ["{", "}", "[", "]", ":", "- ", "\n", "  ", "*p", "&q ", "<<: ", "!!int ", "'", '"', "#", "|", ">", "%", "?",
          "~", "os.environ/", "os.environ/A", ".nan", "1e999", "-1", "\t", "\0",
          "\ufeff", "\ud7ff", "---\n", "null", "true"]  # fmt: skip
FEW = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(text: str, *, lenient: bool = False) -> Settings | None:
    try:
        return load_text(text, environ={"A": "x"}, lenient=lenient)
    except ConfigError as error:
        caught = error
    assert caught.problems
    assert "\n".join(map(str, caught.problems)) == str(caught)
    return None


def test_the_seed_itself_is_good() -> None:
    loaded = read(SEED)
    assert loaded is not None
    assert len(loaded.deployments) == 2


@FEW
@given(st.data())
def test_a_mutated_text_gives_settings_or_a_config_error(data: st.DataObject) -> None:
    text = SEED
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(len(text), start + 30)))
        piece = data.draw(st.one_of(st.sampled_from(PIECES), st.text(max_size=4)))
        text = text[:start] + piece + text[end:]
    read(text, lenient=data.draw(st.booleans()))


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
    st.sampled_from(["os.environ/A", "os.environ/NO", "os.environ/", "*", "a*", "auto", "http://[::1]:x/", "//"]),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [here] if here else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found.extend(places(inner, (*here, key)))
    return found


PLACES = places(TREE)


@FEW
@given(st.lists(st.tuples(st.sampled_from(PLACES), VALUES), min_size=1, max_size=3), st.booleans())
def test_a_value_of_any_kind_in_any_place_gives_settings_or_a_config_error(
    changes: list[tuple[tuple[Any, ...], Any]], lenient: bool
) -> None:
    tree = yaml.safe_load(SEED)
    for place, value in changes:
        holder = tree
        try:
            for key in place[:-1]:
                holder = holder[key]
            holder[place[-1]] = value
        except (KeyError, TypeError, IndexError):
            continue  # an earlier change took the place away
    read(yaml.safe_dump(tree, allow_unicode=True), lenient=lenient)


@FEW
@given(st.text(max_size=60))
def test_any_text_gives_settings_or_a_config_error(text: str) -> None:
    read(text)


@FEW
@given(st.one_of(st.text(max_size=20), st.floats().map(repr), st.integers().map(str)))
def test_a_plain_value_is_always_found(text: str) -> None:
    assert isinstance(plain_value(text), bool | int | float | str | None)


@FEW
@given(st.binary(max_size=60))
def test_any_bytes_give_settings_or_a_config_error(tmp_path_factory: Any, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_bytes(data)
    with suppress(ConfigError):
        load_settings(path, environ={})
