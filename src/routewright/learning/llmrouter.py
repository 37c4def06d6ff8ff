"""LLMRouter's data read into our layout: its configuration, candidates, queries and routing records.

Its files, as the pipeline of ulab-uiuc/LLMRouter writes them:

configuration   YAML; `data_path` names the others, from the project's root: `llm_data`, `routing_data_train`,
                `routing_data_test`, `query_data_train`, `query_data_test`
llm_data        JSON, model to `input_price`, `output_price` (USD per million tokens), `model`, `size`, ...
routing data    JSON lines, one for each query and model: `task_name`, `query`, `choices`, `ground_truth`, `metric`,
                `model_name`, `performance` 0..1, `input_tokens`, `output_tokens`, `response`, `embedding_id`, ...
query data      JSON lines, the same without what a model did

Its other files (`.pt`, `.pkl`: embeddings and fitted routers) can run code when they are opened, so they never are: fit
again, which takes seconds. Its class for a query is winner-only; from the records here a router learns every score.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from routewright.learning.datasets import DatasetError, split_of, text_key

UNSAFE: Final = (".pt", ".pth", ".pkl", ".pickle", ".joblib", ".bin", ".ckpt")
"""Endings of files that may run code when opened."""
ROUTERS: Final = {
    "knnrouter": "knn", "svmrouter": "svm", "mlprouter": "mlp", "mfrouter": "mf", "elorouter": "elo",
    "hybrid_llm": "hybrid", "graphrouter": "graph", "causallm_router": "causallm", "routerdc": "routerdc",
    "dcrouter": "routerdc", "automix": "automix", "gmtrouter": "personalized", "smallest_llm": "cheapest",
    "largest_llm": "best",
}  # fmt: skip
"""Its routers' names, by which its configurations are called, to ours."""
_MOST_CHOICES: Final = 20_000
_FAILED: Final = ("ERROR", "API Error")
"""How a response begins that is the error of a call, not an answer."""


@dataclass(slots=True)
class Found:
    """The files that a configuration names."""

    llm_data: Path | None = None
    routing: dict[str, Path] = field(default_factory=dict)
    """`train`, `test` to a file."""
    queries: dict[str, Path] = field(default_factory=dict)
    never_opened: list[str] = field(default_factory=list)
    """Names of files that could run code."""
    router: str = ""
    """Our name of the router that the configuration is of; empty where its name does not say."""


@dataclass(slots=True)
class Record:
    """One query with what each model scored on it."""

    task: str
    query: str
    prompt: str
    split: str
    scores: dict[str, list[float]] = field(default_factory=dict)
    input_tokens: list[int] = field(default_factory=list)
    output_tokens: dict[str, list[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Imported:
    """Everything read, and what had to be left out."""

    models: dict[str, dict[str, Any]]
    """In the candidates' order, those that only the records name after them."""
    records: list[Record]
    n_failed: int = 0
    """Calls that failed: no statement of the model's quality."""
    n_repeated: int = 0
    """Records of a query and model that had one already; the mean counts."""
    n_moved: int = 0
    """Queries in both files, left out of train: nothing is learned from what is judged on."""
    n_unscored: int = 0
    """Queries that no record scores."""


# --- reading ------------------------------------------------------------------------------------------------------


def read_config(path: Path, root: Path | None = None) -> Found:
    """The files that a configuration names, sought from `root`, or from the nearest folder above it that has them.

    Raises DatasetError.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{path.name}: {error}") from None
    named = config.get("data_path") if isinstance(config, dict) else None
    if not isinstance(named, dict):
        raise DatasetError(f'{path.name} has no section "data_path": no configuration of LLMRouter')
    found = Found(router=next((ours for theirs, ours in ROUTERS.items() if theirs in path.stem.lower()), ""))
    roots = [root] if root is not None else [path.resolve().parent, *path.resolve().parents[1:]]
    for key in ("llm_data", "routing_data_train", "routing_data_test", "query_data_train", "query_data_test"):
        value = named.get(key)
        if not value:
            continue
        if not isinstance(value, str):
            raise DatasetError(f'{path.name}: "data_path.{key}" must be a path')
        if value.lower().endswith(UNSAFE):
            raise DatasetError(f'{path.name}: "data_path.{key}" names {value}, which could run code and is not opened')
        place = next((base / value for base in roots if (base / value).is_file()), None)
        if place is None:
            if key.startswith("query"):
                continue
            raise DatasetError(f'{path.name}: "data_path.{key}" names {value}, which is not there; try --root')
        if key == "llm_data":
            found.llm_data = place
        elif key.startswith("routing"):
            found.routing[key.rpartition("_")[2]] = place
        else:
            found.queries[key.rpartition("_")[2]] = place
    found.never_opened = sorted({text for text in _texts(config) if text.lower().endswith(UNSAFE)})
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from _texts(part)


def read_llmrouter(found: Found) -> Imported:
    """All records of the named files. Raises DatasetError by file and line."""
    if not found.routing:
        raise DatasetError("no routing data is named: without recorded scores there is nothing to learn from")
    imported = Imported(models=_candidates(found.llm_data), records=[])
    known: dict[tuple[str, str], Record] = {}
    judged_on: set[str] = set()
    for split in ("test", "train"):  # what is in both is a test query
        path = found.routing.get(split)
        if path is None:
            continue
        moved: set[str] = set()
        for where, row in _rows(path):
            query, model = row.get("query"), row.get("model_name")
            if not isinstance(query, str) or not query or not isinstance(model, str) or not model:
                raise DatasetError(f'{where}: "query" and "model_name" are needed')
            task, prompt = str(row.get("task_name") or ""), _with_choices(query, row.get("choices"))
            text = text_key(prompt)
            if split == "test":
                judged_on.add(text)
            elif text in judged_on:
                moved.add(text)
                continue
            record = known.get((task, prompt))
            if record is None:
                record = known[task, prompt] = Record(task, query, prompt, split)
                imported.records.append(record)
            imported.models.setdefault(model, {})
            _add(record, model, row, where, imported)
        imported.n_moved += len(moved)
    if "test" not in found.routing or "train" not in found.routing:
        for record in imported.records:
            record.split = split_of(record.prompt)
    else:
        for record in imported.records:
            if record.split == "train" and split_of(record.prompt) == "valid":
                record.split = "valid"
    scored = {text_key(record.query) for record in imported.records}
    for path in found.queries.values():
        unscored = {text_key(row["query"]) for _, row in _rows(path) if isinstance(row.get("query"), str)} - scored
        imported.n_unscored += len(unscored)
    imported.models = {
        model: entry
        for model, entry in imported.models.items()
        if any(model in record.scores for record in imported.records)
    }
    if not imported.models:
        raise DatasetError("the routing data has no score")
    return imported


def _add(
    record: Record,
    model: str,
    row: Mapping[str, Any],
    where: str,
    imported: Imported,
) -> None:
    response = row.get("response")
    if isinstance(response, str) and response.startswith(_FAILED) and not row.get("output_tokens"):
        imported.n_failed += 1
        return
    score = row.get("performance")
    if isinstance(score, list) and len(score) == 1:
        score = score[0]
    if isinstance(score, bool) or not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise DatasetError(f'{where}: "performance" must be a number in 0..1, is {str(score)[:40]}')
    if model in record.scores:
        imported.n_repeated += 1
    record.scores.setdefault(model, []).append(float(score))
    for key, kept in (
        ("input_tokens", record.input_tokens),
        ("output_tokens", record.output_tokens.setdefault(model, [])),
    ):
        count = row.get(key)
        if isinstance(count, (int, float)) and not isinstance(count, bool) and 0 < count < 1e9:
            kept.append(int(count))


def _candidates(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None:
        return {}
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path.name}: {error}") from None
    if not isinstance(table, dict) or not all(isinstance(entry, dict) for entry in table.values()):
        raise DatasetError(f"{path.name}: expected an object of models")
    for model, entry in table.items():
        for key in ("input_price", "output_price"):
            price = entry.get(key)
            is_price = isinstance(price, (int, float)) and not isinstance(price, bool) and 0 <= price < 1e6
            if price is not None and not is_price:
                raise DatasetError(f'{path.name}: "{key}" of "{model}" must be US dollars per million tokens')
    return table


def _rows(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Objects of a JSON lines file, or of a JSON list, with where each stands."""
    number = 0
    try:
        with path.open(encoding="utf-8") as file:
            first = file.read(1)
            file.seek(0)
            if first == "[":
                rows = json.load(file)
                numbered: Iterator[tuple[int, Any]] = enumerate(rows, start=1)
                unit = "entry"
            else:
                numbered = ((n, json.loads(line)) for n, line in enumerate(file, start=1) if line.strip())
                unit = "line"
            for number, row in numbered:
                if not isinstance(row, dict):
                    raise DatasetError(f"{path.name}, {unit} {number}: no JSON object")
                yield f"{path.name}, {unit} {number}", row
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path.name}: {error}") from None
    except (json.JSONDecodeError, RecursionError) as error:
        raise DatasetError(f"{path.name}, after line {number}: {error}") from None


def _with_choices(query: str, choices: Any) -> str:
    """A query with its choices, as a caller would write them; they stand as JSON, or as Python's literal, in a text."""
    if isinstance(choices, str) and choices and len(choices) <= _MOST_CHOICES:
        for read in (json.loads, ast.literal_eval):
            try:
                choices = read(choices)
                break
            except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
                continue
    if not isinstance(choices, dict):
        return query
    texts, labels = choices.get("text"), choices.get("labels")
    if not isinstance(texts, list) or not isinstance(labels, list) or len(texts) != len(labels) or not texts:
        return query
    return query + "\n" + "\n".join(f"{label}) {text}" for label, text in zip(labels, texts, strict=True))


# --- writing ------------------------------------------------------------------------------------------------------


def write_set(imported: Imported, folder: Path, name: str) -> list[Path]:
    """Write the set in our layout; returns the files. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    models = list(imported.models)
    ids = [f"{number}" for number in range(len(imported.records))]
    lines = []
    for identity, record in zip(ids, imported.records, strict=True):
        row: dict[str, Any] = {
            "id": identity, "task": record.task, "split": record.split, "prompt": record.prompt,
        }  # fmt: skip
        if record.input_tokens:
            row["in_tokens"] = sorted(record.input_tokens)[len(record.input_tokens) // 2]
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    written = [_packed(folder / f"{name}.prompts.jsonl.gz", "".join(lines))]

    def table(kind: str, cell: Any) -> None:
        text = io.StringIO()
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["id", *models])
        for identity, record in zip(ids, imported.records, strict=True):
            out.writerow([identity, *(cell(record, model) for model in models)])
        written.append(_packed(folder / f"{name}.{kind}.csv.gz", text.getvalue()))

    table("scores", lambda record, model: _mean(record.scores.get(model), 6))
    if any(any(lengths) for record in imported.records for lengths in record.output_tokens.values()):
        table("out_tokens", lambda record, model: _mean(record.output_tokens.get(model), 1))
        table("cost_usd", lambda record, model: _cost(record, model, imported.models[model]))
    path = folder / f"{name}.models.json"
    path.write_text(json.dumps(imported.models, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return [*written, path]


def _packed(path: Path, text: str) -> Path:
    path.write_bytes(gzip.compress(text.encode("utf-8", "replace"), mtime=0))
    return path


def _mean(values: Sequence[float] | None, digits: int) -> str:
    return f"{round(sum(values) / len(values), digits):g}" if values else ""


def _cost(record: Record, model: str, entry: Mapping[str, Any]) -> str:
    """USD by the candidates' prices; empty where a price or a length is not known."""
    price_in, lengths = entry.get("input_price"), record.output_tokens.get(model)
    if price_in is None or not lengths or not record.input_tokens:
        return ""
    price_out = entry.get("output_price")
    tokens_in = sorted(record.input_tokens)[len(record.input_tokens) // 2]
    tokens_out = sum(lengths) / len(lengths)
    return f"{(tokens_in * price_in + tokens_out * (price_in if price_out is None else price_out)) / 1e6:.9g}"
