"""LLMRouter's files, written here by hand in the shape that its pipeline gives them."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from made_up_sets import write_set

from routewright.cli import main
from routewright.learning.datasets import DatasetError, read_dataset
from routewright.learning.llmrouter import Found, read_config, read_llmrouter
from routewright.learning.llmrouter import write_set as write_imported
from routewright.learning.llmrouter_export import export_llmrouter

CONFIG = """\
data_path:
  query_data_train: 'data/queries_train.jsonl'
  query_embedding_data: 'data/embeddings.pt'
  routing_data_train: 'data/routing_train.jsonl'
  routing_data_test: 'data/routing_test.jsonl'
  llm_data: 'data/llm.json'
model_path:
  ini_model_path: ''
  save_model_path: 'saved_models/mlprouter/mlprouter.pkl'
hparam: {hidden_layer_sizes: [128, 64]}
"""
CANDIDATES = {
    "small-7b": {"size": "7B", "feature": "small", "input_price": 0.2, "output_price": 0.4, "model": "x/small-7b"},
    "large-70b": {"size": "70B", "feature": "large", "input_price": 1.0, "output_price": 2.0, "model": "x/large-70b"},
    "unused-1b": {"size": "1B", "feature": "never asked", "input_price": 0.1, "output_price": 0.1},
}


def record(query: str, model: str, performance: object, **more: object) -> dict:
    return {
        "task_name": "sums", "query": query, "ground_truth": "4", "metric": "em", "choices": None, "task_id": None,
        "model_name": model, "response": "4", "token_num": 110, "input_tokens": 100, "output_tokens": 10,
        "response_time": 1.5, "api_key_used": "", "performance": performance, "embedding_id": 0, "user_id": None,
        "fig_id": None,
    } | more  # fmt: skip


class Project:
    """A folder as a checkout of LLMRouter has it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "configs" / "model_config_train" / "mlprouter.yaml"
        self.config.parent.mkdir(parents=True)
        (root / "data").mkdir()
        self.config.write_text(CONFIG)
        self.write("llm.json", CANDIDATES)
        train = [
            r
            for i in range(30)
            for r in (record(f"Add {i} and 2", "small-7b", i % 2), record(f"Add {i} and 2", "large-70b", 1))
        ]
        self.rows("routing_train.jsonl", train)
        self.rows(
            "routing_test.jsonl", [record("Add 99 and 2", "small-7b", 0.25), record("Add 99 and 2", "large-70b", 1.0)]
        )
        self.rows("queries_train.jsonl", [{"task_name": "sums", "query": "Nobody was asked this"}])

    def write(self, name: str, value: object) -> None:
        (self.root / "data" / name).write_text(json.dumps(value))

    def rows(self, name: str, rows: list) -> None:
        (self.root / "data" / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def read(self):
        return read_llmrouter(read_config(self.config))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "LLMRouter")


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(argument) for argument in arguments])
    return ended.value.code


def test_a_configuration_becomes_a_set_that_a_router_is_fitted_on(project, tmp_path, capsys):
    out = tmp_path / "sets"
    assert run("import-llmrouter", project.config, "--out", out, "--set", "sums") == 0
    said = capsys.readouterr().out
    for word in (
        "31 prompts",
        "1 test",
        "2 models",
        "not opened",
        "mlprouter.pkl",
        "embeddings.pt",
        "1 queries without",
    ):
        assert word in said
    assert "--router mlp " in said
    data = read_dataset(out, "sums")
    assert data.models == ("small-7b", "large-70b")
    assert data.prices == ((0.2, 0.4), (1.0, 2.0))
    assert data.quality[data.rows("test")].tolist() == [[0.25, 1.0]]
    assert data.out_tokens[0].tolist() == [10, 10]
    assert data.cost_usd[0] == pytest.approx([(100 * 0.2 + 10 * 0.4) / 1e6, (100 * 1.0 + 10 * 2.0) / 1e6])
    assert data.prompt_tokens[0] == 100
    assert run("fit", "--data", out, "--set", "sums", "--router", "best", "--out", tmp_path / "r.safetensors") == 0


def test_files_can_be_named_without_a_configuration(project, tmp_path, capsys):
    out = tmp_path / "sets"
    arguments = ("--routing-train", project.root / "data/routing_train.jsonl", "--out", out, "--set", "bare")
    assert run("import-llmrouter", *arguments) == 0
    assert "2 models without a price" in capsys.readouterr().out
    data = read_dataset(out, "bare")
    assert {"train", "test"} <= set(data.splits)  # there is no test file, so its own texts are divided


def test_importing_again_gives_the_same_bytes(project, tmp_path):
    first, second = (write_imported(project.read(), tmp_path / name, "s") for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_choices_are_put_under_the_question(project):
    choices = {"text": ["Paris", "Rome"], "labels": ["A", "B"]}
    for number, text in enumerate((json.dumps(choices), repr(choices), "['nonsense'", "{'text': 3}", "9" * 100_000)):
        project.rows("routing_train.jsonl", [record(f"Where? {number}", "small-7b", 1, choices=text)])
        prompt = project.read().records[-1].prompt
        assert prompt == (f"Where? {number}\nA) Paris\nB) Rome" if number < 2 else f"Where? {number}")


def test_what_says_nothing_of_a_model_is_left_out_and_counted(project):
    project.rows(
        "routing_train.jsonl",
        [
            record("one", "small-7b", 0.0, response="ERROR: timeout", output_tokens=0),
            record("one", "large-70b", 1.0),
            record("two", "small-7b", 0.0),
            record("two", "small-7b", 1.0),
            record("ADD 99, and 2", "small-7b", 1.0),
        ],
    )
    imported = project.read()
    assert (imported.n_failed, imported.n_repeated, imported.n_moved) == (1, 1, 1)
    by_query = {each.query: each.scores for each in imported.records}
    assert by_query["one"] == {"large-70b": [1.0]}
    assert by_query["two"] == {"small-7b": [0.0, 1.0]}
    assert by_query["Add 99 and 2"] == {"small-7b": [0.25], "large-70b": [1.0]}
    assert "ADD 99, and 2" not in by_query


class Explosive:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return os.mkdir, (str(self.trace),)


def test_files_that_can_run_code_are_never_opened(project, tmp_path, capsys):
    trace = tmp_path / "it-was-executed"
    bomb = pickle.dumps(Explosive(trace))
    for name in ("embeddings.pt", "routing_train.pkl", "routing_train.jsonl"):
        (project.root / "data" / name).write_bytes(bomb)
    project.config.write_text(CONFIG.replace("routing_train.jsonl", "routing_train.pkl"))
    assert run("import-llmrouter", project.config, "--out", tmp_path, "--set", "x") == 2
    assert "routing_train.pkl, which could run code" in capsys.readouterr().err
    project.config.write_text(CONFIG)
    assert run("import-llmrouter", project.config, "--out", tmp_path, "--set", "x") == 2
    path = project.root / "data" / "routing_train.pkl"
    assert run("import-llmrouter", "--routing-train", path, "--out", tmp_path, "--set", "x") == 2
    project.config.write_text("data_path: !!python/object/apply:os.mkdir [" + str(trace) + "]")
    assert run("import-llmrouter", project.config, "--out", tmp_path, "--set", "x") == 2
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("routing_train.jsonl", "{}\n", 'routing_train.jsonl, line 1: "query" and "model_name"'),
        ("routing_train.jsonl", json.dumps(record("q", "m", 1.5)) + "\n", 'line 1: "performance"'),
        ("routing_train.jsonl", json.dumps(record("q", "m", None)) + "\n", '"performance" must be a number'),
        ("routing_train.jsonl", json.dumps(record("q", "m", 1)) + "\nnot json\n", "after line 1"),
        ("routing_train.jsonl", "3\n", "no JSON object"),
        ("routing_train.jsonl", "[" * 100_000, "routing_train.jsonl"),
        ("llm.json", "[]", "expected an object"),
        ("llm.json", '{"small-7b": {"input_price": -1}}', "input_price"),
        ("llm.json", "{", "llm.json"),
    ],
)
def test_a_broken_file_is_named_with_its_line(project, name, text, word):
    (project.root / "data" / name).write_text(text)
    with pytest.raises(DatasetError) as caught:
        project.read()
    assert word in str(caught.value)


def test_a_configuration_of_something_else_and_missing_files_are_named(project, tmp_path):
    (project.root / "data" / "llm.json").unlink()
    with pytest.raises(DatasetError, match=r"data/llm\.json, which is not there"):
        read_config(project.config)
    project.config.write_text("model_list: []")
    with pytest.raises(DatasetError, match="data_path"):
        read_config(project.config)
    with pytest.raises(DatasetError, match="no routing data"):
        read_llmrouter(Found())


def test_a_set_goes_out_and_comes_back_as_it_was(tmp_path):
    write_set(tmp_path, "ours", 120, missing=0.1)
    ours = read_dataset(tmp_path, "ours")
    export_llmrouter(ours, tmp_path / "out")
    imported = read_llmrouter(read_config(tmp_path / "out" / "config.yaml"))
    write_imported(imported, tmp_path / "back", "ours")
    back = read_dataset(tmp_path / "back", "ours")
    assert sorted(back.models) == sorted(ours.models)
    columns = [back.models.index(model) for model in ours.models]
    rows = [[prompt.text for prompt in back.prompts].index(prompt.text) for prompt in ours.prompts]
    assert np.allclose(back.quality[rows][:, columns], ours.quality, equal_nan=True, atol=1e-5)
    known = ~np.isnan(ours.quality)
    assert np.allclose(back.out_tokens[rows][:, columns][known], ours.out_tokens[known])
    assert back.prompt_tokens[rows].tolist() == ours.prompt_tokens.tolist()
    assert [back.prices[column] for column in columns] == list(ours.prices)
    assert [back.tasks[row] for row in rows] == list(ours.tasks)
    assert [back.splits[row] == "test" for row in rows] == [split == "test" for split in ours.splits]


def test_the_command_exports_and_names_an_absent_set(tmp_path, capsys):
    write_set(tmp_path, "ours", 30)
    assert run("export-llmrouter", "--data", tmp_path, "--set", "ours", "--out", tmp_path / "out") == 0
    assert len(capsys.readouterr().out.splitlines()) == 6
    assert run("export-llmrouter", "--data", tmp_path, "--set", "absent", "--out", tmp_path / "out") == 2
    assert 'no set "absent"' in capsys.readouterr().err
