"""`check-config`: what a terminal sees."""

from __future__ import annotations

import io
from pathlib import Path

from routewright.config import check_config

GOOD = """\
model_list:
  - model_name: gpt-4o
    litellm_params: {model: openai/gpt-4o, api_key: k, input_cost_per_token: 2.5e-6, output_cost_per_token: 1.0e-5}
    model_info: {id: first}
  - model_name: local
    litellm_params: {model: ollama/llama3}
general_settings: {master_key: mk}
keys: [{key: k1}, {key: k2}]
routes:
  smart: {candidates: [gpt-4o, local], router: knn, quality: 0.5}
"""


def check(path: Path, text: str, *, lenient: bool = False) -> tuple[int, list[str]]:
    path.write_text(text)
    out = io.StringIO()
    code = check_config(path, lenient=lenient, environ={}, out=out)
    return code, out.getvalue().splitlines()


def test_a_good_file_shows_what_would_be_served(tmp_path: Path) -> None:
    code, lines = check(tmp_path / "config.yaml", GOOD)
    assert code == 0
    assert lines[:2] == ["config.yaml: good", "models: 2, deployments: 2"]
    assert [line.split() for line in lines[2:4]] == [
        ["gpt-4o", "openai/gpt-4o", "https://api.openai.com/v1", "chat", "$2.5", "/", "$10", "per", "Mtok", "first"],
        ["local", "ollama/llama3", "http://localhost:11434", "chat", "no", "price", lines[3].split()[-1]],
    ]
    assert lines[4:] == [
        "routes: 2",
        "  auto: all chat models, the packaged router",
        "  smart: gpt-4o, local; router knn, quality 0.5",
        "load balancing: simple-shuffle, 2 retries",
        "keys: 2, master key: set",
        "warnings: 1",
        "  no price is known for local: their requests count as free; "
        "set input_cost_per_token and output_cost_per_token",
    ]


def test_a_bad_file_shows_every_problem_and_ends_with_1(tmp_path: Path) -> None:
    text = GOOD.replace("{model: ollama/llama3}", "{modle: ollama/llama3}").replace("0.5", "5")
    code, lines = check(tmp_path / "config.yaml", text)
    assert code == 1
    assert lines == [
        "config.yaml:6: litellm_params.model: missing",
        'config.yaml:6: litellm_params.modle: unknown key; did you mean "model"?',
        "config.yaml:10: routes.smart.quality: expected 0..1, found 5",
        "3 problems; nothing would be served",
    ]


def test_lenient_lets_unknown_keys_pass(tmp_path: Path) -> None:
    assert check(tmp_path / "config.yaml", GOOD + "extra: 1")[0] == 1
    code, lines = check(tmp_path / "config.yaml", GOOD + "extra: 1", lenient=True)
    assert code == 0
    assert "  config.yaml:11: extra: unknown key" in lines


def test_an_empty_list_of_models_is_shown_as_such(tmp_path: Path) -> None:
    code, lines = check(tmp_path / "config.yaml", "model_list: []")
    assert code == 0
    assert "models: 0, deployments: 0" in lines


def test_a_missing_file_ends_with_1(tmp_path: Path) -> None:
    out = io.StringIO()
    assert check_config(tmp_path / "none.yaml", environ={}, out=out) == 1
    assert out.getvalue().startswith("none.yaml: no such file\n")
