"""What `check-config` says of models' places in the routers, through the command line's own door."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from routewright.cli import main
from routewright.routing.live import PACKAGED

CONFIG = """\
model_list:
  - model_name: smart
    litellm_params: {model: openai/claude-sonnet-4-5, api_key: k, api_base: "http://127.0.0.1:1",
                     input_cost_per_token: 3.0e-6, output_cost_per_token: 1.5e-5}
  - model_name: mine
    litellm_params: {model: openai/my-own, api_key: k, api_base: "http://127.0.0.1:1"}
    model_info: {quality: 0.7}
general_settings: {master_key: mk}
"""


def check(tmp_path: Path, capsys, more: str = "") -> list[str]:
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG + dedent(more))
    with pytest.raises(SystemExit) as ended:
        main(["check-config", str(path), "--data-dir", str(tmp_path)])
    assert ended.value.code == 0
    said = capsys.readouterr()
    assert said.err == ""
    lines = said.out.splitlines()
    return lines[next(i for i, line in enumerate(lines) if line.startswith("placement of")) :]


def test_each_model_is_shown_with_its_profile_level_price_and_how_it_was_placed(tmp_path, capsys):
    lines = check(tmp_path, capsys)
    smart = next(line for line in lines if line.strip().startswith("smart"))
    for word in ("frontier", "0.85", "$3 / $15", 'by its family "claude sonnet 4"'):
        assert word in smart
    mine = next(line for line in lines if line.strip().startswith("mine"))
    assert "by its stated quality 0.7" in mine
    assert "price not known" in mine
    assert lines[1].startswith("  auto: router ")


def test_every_route_is_shown_and_those_alike_but_once(tmp_path, capsys):
    lines = check(tmp_path, capsys, "routes: {other: {quality: 0.2}, few: {candidates: [mine]}}\n")
    heads = [line for line in lines if ": router " in line]
    assert len(heads) == 2
    assert sorted(name for head in heads for name in head.split(":")[0].replace(",", " ").split()) == [
        "auto",
        "few",
        "other",
    ]


def test_a_router_file_that_would_be_refused_is_said(tmp_path, capsys):
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(PACKAGED.read_bytes()[:-1])
    lines = check(tmp_path, capsys, f"routes: {{auto: {{router: {broken}}}}}\n")
    assert any("broken.safetensors" in line and "truncated" in line for line in lines[1:2])
