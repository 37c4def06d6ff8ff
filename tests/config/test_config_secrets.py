"""No credential leaves by a message, a repr or the terminal."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routewright.config import ConfigError, check_config, load_text
from routewright.config.problems import shown
from routewright.settings import Settings

CANARY = "c4n4ry"

TEXT = """\
environment_variables: {INNER: c4n4ry-inner}
credential_list:
  - {credential_name: cred, credential_values: {api_key: c4n4ry-credential}}
model_list:
  - model_name: a
    litellm_params:
      model: openai/gpt-4o
      api_key: c4n4ry-upstream
      extra_headers: {Authorization: Bearer c4n4ry-header, X-Trace: os.environ/OUTER}
      input_cost_per_token: 0.000001
      output_cost_per_token: 0.000002
  - model_name: b
    litellm_params: {model: azure/x, api_base: "https://x.example", api_key: os.environ/OUTER}
  - model_name: c
    litellm_params: {model: openai/gpt-4o, litellm_credential_name: cred}
  - model_name: d
    litellm_params: {model: openai/gpt-4o, api_key: os.environ/INNER}
  - model_name: e
    litellm_params: {model: openai/gpt-4o}
litellm_settings: {cache_params: {type: redis, password: c4n4ry-redis}}
router_settings: {redis_password: c4n4ry-redis, redis_url: "redis://:c4n4ry-redis@h"}
general_settings: {master_key: c4n4ry-master, database_url: "postgres://u:c4n4ry-database@h/d"}
keys:
  - {key: c4n4ry-team, alias: team}
  - {key: os.environ/OUTER2}
"""
ENVIRON = {"OUTER": "c4n4ry-outer", "OUTER2": "c4n4ry-outer2", "OPENAI_API_KEY": "c4n4ry-default"}


def test_settings_print_without_a_credential() -> None:
    loaded = load_text(TEXT, environ=ENVIRON)
    assert len(loaded.deployments) == 5
    for text in (repr(loaded), str(loaded), f"{loaded.deployments}", f"{loaded.keys}", "\n".join(loaded.warnings)):
        assert CANARY not in text


def test_the_terminal_sees_no_credential_in_a_good_or_a_bad_file(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    for text, code in ((TEXT, 0), (TEXT + "nonsense: c4n4ry-value\n", 1)):
        path.write_text(text)
        out = io.StringIO()
        assert check_config(path, environ=ENVIRON, out=out) == code
        assert CANARY not in out.getvalue()


# Every credential in turn is made wrong, in each of these ways.
SPOILED = ["{}\\n", "[{}]", "{{{}: 1}}", "'{} x'", "!x {}", "{}: {}", "'{}", "*{}", "&x {}\n  y: 1", "{{x: {}}}"]
CREDENTIALS = re.findall(r"c4n4ry-[a-z]+", TEXT)


@pytest.mark.parametrize("way", SPOILED)
@pytest.mark.parametrize("place", range(len(CREDENTIALS)))
def test_a_credential_of_the_wrong_form_is_not_quoted(place: int, way: str) -> None:
    starts = [found.start() for found in re.finditer(r"c4n4ry-[a-z]+", TEXT)]
    credential = CREDENTIALS[place]
    spoiled = TEXT[: starts[place]] + way.format(credential, credential) + TEXT[starts[place] + len(credential) :]
    try:
        loaded: Settings | None = load_text(spoiled, environ=ENVIRON)
    except ConfigError as error:
        loaded = None
        for text in (str(error), repr(error), repr(error.problems)):
            assert CANARY not in text.replace("sk-c4n4ry", "")
    if loaded is not None:
        assert CANARY not in "\n".join(loaded.warnings)


@pytest.mark.parametrize(
    "name", ["sk-abcdef123456", "Bearer abcdefgh", "gsk_abcdef123", "AIzaSyAbcdef123", "a" * 40, "https://h/x?key=1"]
)
def test_a_name_that_looks_like_a_credential_is_not_shown(name: str) -> None:
    assert name not in shown(name)
    with pytest.raises(ConfigError) as caught:
        load_text(f'"{name}": 1\nroutes: {{r: {{candidates: ["{name}"]}}}}', environ={})
    assert name not in str(caught.value)


@pytest.mark.parametrize(
    "name", ["key_management_system", "XAI_API_KEY", "accounts/me/models/x", "gpt-4o-mini-2024-07-18"]
)
def test_an_ordinary_name_is_shown_as_it_is(name: str) -> None:
    assert shown(name) == name


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_a_shown_name_fits_into_one_line(name: str) -> None:
    text = shown(name)
    assert len(text) <= 80
    assert text.isprintable()
