from __future__ import annotations

import json
import sys
from html.parser import HTMLParser

import pytest
from made_up_sets import MODELS, write_set

from routewright.learning.datasets import read_dataset
from routewright.learning.evaluate import evaluate_command, run
from routewright.learning.page import evaluation_page
from routewright.learning.plots import PlotsUnavailable, write_plots
from routewright.learning.trial import Example

HOSTILE = "</td><script>alert('1')</script><img src=x onerror=alert(2)> \" ' & \x00"
VOID = {"meta", "br", "path", "circle", "rect"}


class Outline(HTMLParser):
    """Fails where tags do not nest; keeps tags, attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def evaluated(made_up):
    return run(made_up, ["cluster", "linear"], "hashed", 0)


def test_the_page_holds_every_part_and_needs_nothing_else(evaluated):
    report, shown = evaluated
    page = evaluation_page(report, shown)
    outline = Outline(page)
    for word in (
        *("cluster", "linear", "task-mean", "oracle", "zero", *MODELS),
        *("Cost against quality", "Calibration", "By task", "Choices", "Examples", "none right", "law"),
    ):
        assert word in outline.text
    assert outline.tags.count("svg") == 4
    assert "script" not in outline.tags
    names = {name for name, _ in outline.attributes}
    assert not names & {"src", "href", "onload", "onerror", "onclick"}
    assert "http" not in page.replace("http-equiv", "")
    assert page == evaluation_page(report, shown)


def test_curves_mark_all_positions_of_the_dial(evaluated):
    report, _ = evaluated
    page = evaluation_page(report)
    for quality in ("0", "0.25", "0.5", "0.75", "1"):
        assert page.count(f"cluster, dial {quality}:") == 2  # once for each width
    dial = report["details"]["cluster"]["dial"]
    assert [spot["cost_usd"] for spot in dial] == sorted(spot["cost_usd"] for spot in dial)
    assert dial[0]["score"] < dial[-1]["score"]


def test_choices_count_every_test_prompt_once(evaluated):
    report, _ = evaluated
    table = report["details"]["cluster"]["choices"]
    assert sum(map(sum, table)) == report["rows"]["test"]
    assert sum(each["n"] for each in report["details"]["cluster"]["tasks"]) == report["rows"]["test"]
    assert sum(each["n"] for each in report["details"]["cluster"]["calibration"]) == report["rows"]["test"]


def test_names_and_prompts_are_escaped_and_cut(evaluated):
    text = json.dumps(evaluated[0])
    for name in ('"jurist"', '"law"'):
        assert name in text
        text = text.replace(name, json.dumps(HOSTILE))
    report = json.loads(text)
    example = Example("saved", HOSTILE, HOSTILE, HOSTILE + "x" * 5000, HOSTILE, 1.0, 1.0, 1e-6, 1e-3, 0.9)
    page = evaluation_page(report, [example])
    outline = Outline(page)
    assert "script" not in outline.tags
    assert "img" not in outline.tags
    assert not {"onerror", "src"} & {name for name, _ in outline.attributes}
    assert "x" * 300 not in page


def test_a_set_without_costs_has_a_page_without_a_curve(tmp_path):
    write_set(tmp_path, "bare", 200, with_costs=False, with_prices=False)
    report, shown = run(read_dataset(tmp_path, "bare"), ["cluster"], "hashed", 0)
    page = evaluation_page(report, shown)
    Outline(page)
    assert "no curve to draw" in page


def test_the_command_writes_page_plots_and_the_same_json_again(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    write_set(tmp_path)
    texts = []
    for name in ("a", "b"):
        out = tmp_path / name
        status = evaluate_command(
            tmp_path, "made_up", ["cluster"], "hashed", out / "report.json", 3,
            html_out=out / "report.html", plots_folder=out, with_prompts=name == "a",
        )  # fmt: skip
        assert status == 0
        lines = (out / "report.json").read_text().splitlines()
        texts.append([line for line in lines if "decision_us" not in line])
        for kind in ("cost-quality", "calibration"):
            assert (out / f"made_up-{kind}.png").read_bytes().startswith(b"\x89PNG")
    assert texts[0] == texts[1]
    assert "<blockquote>" in (tmp_path / "a/report.html").read_text()
    assert "<blockquote>" not in (tmp_path / "b/report.html").read_text()
    said = capsys.readouterr().err.splitlines()  # no terminal: a line a step
    assert said[0] == "evaluating on made_up: reading"
    assert "evaluating on made_up: router cluster" in said


def test_plots_without_matplotlib_are_refused_by_the_extras_name(evaluated, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(PlotsUnavailable, match=r"routewright\[train\]"):
        write_plots(evaluated[0], tmp_path)
