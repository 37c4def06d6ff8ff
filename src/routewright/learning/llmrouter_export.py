"""A set of ours written as LLMRouter's files: configuration, candidates, queries and routing records."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import yaml

from routewright.learning.datasets import Dataset

_SIZE: Final = re.compile(r"(?<![\w.])(\d{1,4}(?:\.\d)?)b(?![a-z])", re.IGNORECASE)
_FILES: Final = {
    "query_data_train": "query_data/default_query_train.jsonl",
    "query_data_test": "query_data/default_query_test.jsonl",
    "routing_data_train": "routing_data/default_routing_train_data.jsonl",
    "routing_data_test": "routing_data/default_routing_test_data.jsonl",
    "llm_data": "llm_candidates/default_llm.json",
}


def export_llmrouter(dataset: Dataset, folder: Path) -> list[Path]:
    """Write the five files and `config.yaml`; returns them. Raises OSError.

    Its train file has our train and valid rows. What our layout has not stands empty: answers, ground truth, times. A
    score that was not recorded has no record.
    """
    written = []
    for key, name in _FILES.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if key == "llm_data":
            path.write_text(json.dumps(_candidates(dataset), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        else:
            splits = ("test",) if key.endswith("test") else ("train", "valid")
            rows = [row for row, split in enumerate(dataset.splits) if split in splits]
            records = _queries(dataset, rows) if key.startswith("query") else _routing(dataset, rows)
            with path.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        written.append(path)
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump({"data_path": dict(_FILES)}, sort_keys=False), encoding="utf-8")
    return [*written, config]


def _candidates(dataset: Dataset) -> dict[str, dict[str, Any]]:
    out = {}
    for model, (usd_in, usd_out) in zip(dataset.models, dataset.prices, strict=True):
        size = _SIZE.search(model)
        entry: dict[str, Any] = {
            "size": f"{size.group(1)}B" if size else "unknown",
            "feature": model,
            "model": model,
            "service": "",
        }
        if usd_in is not None:
            entry["input_price"], entry["output_price"] = usd_in, usd_in if usd_out is None else usd_out
        out[model] = entry
    return out


def _query(dataset: Dataset, row: int) -> dict[str, Any]:
    return {
        "task_name": dataset.tasks[row],
        "query": dataset.prompts[row].text,
        "ground_truth": "",
        "metric": "",
        "choices": None,
        "task_id": None,
    }


def _queries(dataset: Dataset, rows: list[int]) -> Iterator[dict[str, Any]]:
    for row in rows:
        yield _query(dataset, row)


def _routing(dataset: Dataset, rows: list[int]) -> Iterator[dict[str, Any]]:
    for row in rows:
        query, tokens_in = _query(dataset, row), int(dataset.prompt_tokens[row])
        for column, model in enumerate(dataset.models):
            score, length = float(dataset.quality[row, column]), float(dataset.out_tokens[row, column])
            if np.isnan(score):
                continue
            tokens_out = 0 if np.isnan(length) else round(length)
            yield query | {
                "model_name": model,
                "response": "",
                "token_num": tokens_in + tokens_out,
                "input_tokens": tokens_in,
                "output_tokens": tokens_out,
                "response_time": 0.0,
                "api_key_used": "",
                "performance": round(score, 6),
                "embedding_id": row,
                "user_id": None,
                "fig_id": None,
            }
