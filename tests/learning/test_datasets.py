from __future__ import annotations

import gzip

import numpy as np
import pytest
from made_up_sets import MODELS, write_set

from routewright.learning.datasets import DatasetError, list_sets, read_dataset, split_of, text_key


def test_a_set_is_read_whole(made_up):
    assert len(made_up) == 400
    assert made_up.models == MODELS
    assert made_up.quality.shape == made_up.cost_usd.shape == made_up.out_tokens.shape == (400, 4)
    assert sum(len(made_up.rows(split)) for split in ("train", "valid", "test")) == 400
    assert made_up.prices[0] == (10, 30)
    assert made_up.usual_output_tokens(made_up.rows("train")) == [100, 110, 120, 130]


def test_unpacked_files_without_costs_are_read_with_costs_from_prices(tmp_path):
    write_set(tmp_path, "plain", 30, with_costs=False, packed=False)
    plain = read_dataset(tmp_path, "plain")
    assert np.isnan(plain.out_tokens).all()
    assert plain.cost_usd[0] == pytest.approx([(20 * i + 300 * o) / 1e6 for i, o in plain.prices])
    assert list_sets(tmp_path) == ["plain"]


def test_without_prices_costs_are_not_known(tmp_path):
    write_set(tmp_path, "bare", 30, with_costs=False, with_prices=False)
    assert np.isnan(read_dataset(tmp_path, "bare").cost_usd).all()


def test_models_can_be_left_out(made_up):
    fewer = made_up.without(["coder", "nobody"])
    assert fewer.models == ("grand", "petit", "jurist")
    assert fewer.quality[:, 2].tolist() == made_up.quality[:, 3].tolist()


def test_equal_texts_fall_in_the_same_split():
    assert split_of("What is  it?") == split_of("what, is -- IT!") or text_key("a") != text_key("b")
    assert text_key("What is  it?") == text_key("what is IT!")
    counts = [split_of(f"prompt {i}") for i in range(2000)]
    assert counts.count("train") == pytest.approx(1400, abs=80)
    assert counts.count("valid") == pytest.approx(200, abs=50)


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("made.prompts.jsonl", b"not json\n", "line 1"),
        ("made.prompts.jsonl", b"[]\n", "no JSON object"),
        ("made.prompts.jsonl", b'{"id": "row-0"}\n', "prompt"),
        ("made.prompts.jsonl", b"", "no rows"),
        ("made.prompts.jsonl", b'{"id": "row-0", "prompt": "x", "split": "exam"}\n', "split"),
        ("made.scores.csv", b"id\nrow-0\n", "header"),
        ("made.scores.csv", b"id,a,a\nrow-0,1,1\n", "header"),
        ("made.scores.csv", b"id,a\nother,1\n", "row 1"),
        ("made.scores.csv", b"id,a\nrow-0,good\n", "row 1"),
        ("made.scores.csv", b"id,a\nrow-0,1\n", "has 1 rows"),
        ("made.scores.csv", b"id,a\nrow-0,2\nrow-1,0\n", "0..1"),
        ("made.scores.csv", b"\xff\xfe", "made.scores.csv"),
        ("made.cost_usd.csv", b"id,other\nrow-0,1\nrow-1,1\n", "lacks the model"),
        ("made.models.json", b"{", "made.models.json"),
        ("made.models.json", b'{"grand": {"input_price": -3}}', "price"),
    ],
)
def test_a_broken_set_is_refused_by_file_and_line(tmp_path, name, content, word):
    write_set(tmp_path, "made", 2, packed=False)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DatasetError, match=word):
        read_dataset(tmp_path, "made")


def test_a_truncated_archive_and_an_unknown_set_are_refused(tmp_path):
    write_set(tmp_path, "made", 50)
    path = tmp_path / "made.scores.csv.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DatasetError, match=r"made\.scores"):
        read_dataset(tmp_path, "made")
    path.write_bytes(gzip.compress(b"")[:5])
    with pytest.raises(DatasetError):
        read_dataset(tmp_path, "made")
    with pytest.raises(DatasetError, match=r'no set "other".*made'):
        read_dataset(tmp_path, "other")
