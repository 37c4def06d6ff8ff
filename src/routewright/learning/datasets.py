"""Sets of prompts with the recorded scores of several models, read from a folder with the standard library.

For a set NAME the folder holds `NAME.prompts.jsonl` (an object a line: `id`, `prompt`, and where known `task`, `split`,
`in_tokens`, `system`), `NAME.scores.csv` (header `id,<model>...`, the same row order, 0..1, empty = not recorded), and
where known `NAME.out_tokens.csv`, `NAME.cost_usd.csv` of the same shape and `NAME.models.json` (model -> `input_price`,
`output_price` in USD per million tokens). Any of them may be packed, `.gz`.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import re
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from sys import intern
from typing import Any, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from routewright.learning.prompts import PromptRows, StoredPrompts
from routewright.routing.objective import USUAL_OUTPUT_TOKENS
from routewright.routing.router import Float32
from routewright.types import Prompt


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class DatasetError(ValueError):
    """A set can't be read; the message names file and line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Prompts and what several models made of them; rows and models run alike in all parts."""

    name: str
    ids: tuple[str, ...]
    tasks: tuple[str, ...]
    splits: tuple[str, ...]
    """`train`, `valid` or `test`."""
    prompts: Sequence[Prompt]
    """Read from disk as they are asked for."""
    prompt_tokens: NDArray[np.int32]
    models: tuple[str, ...]
    quality: Float32
    """(n, n_models), NaN = not recorded."""
    out_tokens: Float32
    """(n, n_models), NaN = not recorded."""
    cost_usd: Float32
    """(n, n_models): as recorded, else made of prices and tokens."""
    prices: tuple[tuple[float | None, float | None], ...]
    """USD per million tokens of input and output, for each model."""
    sha256: str
    """Of the files read, for a router's provenance."""

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split."""
        return np.flatnonzero(np.array(self.splits) == split)

    def prompts_of(self, rows: NDArray[np.int64]) -> Sequence[Prompt]:
        """The prompts of these rows, read as they are asked for."""
        return PromptRows(self.prompts, rows)

    def usual_output_tokens(self, rows: NDArray[np.int64]) -> list[float]:
        """Mean answer length of each model over these rows."""
        known = ~np.isnan(self.out_tokens[rows])
        sums = np.where(known, self.out_tokens[rows], 0).sum(axis=0, dtype=np.float64)
        counts = known.sum(axis=0)
        return [float(s / c) if c else USUAL_OUTPUT_TOKENS for s, c in zip(sums, counts, strict=True)]

    def without(self, models: Sequence[str]) -> Dataset:
        """The same set without some models' columns; names it does not have are passed over."""
        keep = [i for i, model in enumerate(self.models) if model not in set(models)]
        return replace(
            self,
            models=tuple(self.models[i] for i in keep),
            quality=self.quality[:, keep],
            out_tokens=self.out_tokens[:, keep],
            cost_usd=self.cost_usd[:, keep],
            prices=tuple(self.prices[i] for i in keep),
        )


def list_sets(folder: Path) -> list[str]:
    """Names of the sets in a folder."""
    found = {path.name.split(".prompts.jsonl")[0] for path in Path(folder).glob("*.prompts.jsonl*")}
    return sorted(found)


def text_key(text: str) -> str:
    """SHA-256, hex, of the text in lower case with every run of non-word characters as one space."""
    return hashlib.sha256(re.sub(r"\W+", " ", text.lower()).encode("utf-8", "replace")).hexdigest()


def split_of(text: str) -> str:
    """The split of a prompt whose file names none: equal texts fall in the same one."""
    bucket = int(text_key(text)[:8], 16) % 10
    return "train" if bucket < 7 else "valid" if bucket < 8 else "test"


def read_dataset(folder: Path, name: str) -> Dataset:
    """Read one set. Raises DatasetError."""
    folder = Path(folder)
    digest = hashlib.sha256()
    prompts_path = _find(folder, f"{name}.prompts.jsonl")
    scores_path = _find(folder, f"{name}.scores.csv")
    if prompts_path is None or scores_path is None:
        known = ", ".join(list_sets(folder)) or "none"
        raise DatasetError(f'no set "{name}" in {folder}: prompts and scores are needed; sets there: {known}')
    ids, tasks, splits, tokens = [], [], [], array("i")
    prompts = StoredPrompts()
    for number, row in _json_lines(prompts_path):
        text = row.get("prompt")
        if not isinstance(text, str) or "id" not in row:
            raise DatasetError(f'{prompts_path.name}, line {number}: "id" and a text "prompt" are needed')
        split = str(row.get("split") or split_of(text))
        if split not in ("train", "valid", "test"):
            raise DatasetError(f'{prompts_path.name}, line {number}: split "{split}" is not train, valid or test')
        ids.append(str(row["id"]))
        tasks.append(intern(str(row.get("task", ""))))
        splits.append(intern(split))
        prompts.append(text, str(row.get("system", "")))
        tokens.append(max(0, int(row.get("in_tokens") or len(text) / 4)))
    if not ids:
        raise DatasetError(f"{prompts_path.name} has no rows")
    models, quality = _table(scores_path, ids)
    with np.errstate(invalid="ignore"):
        if (quality < 0).any() or (quality > 1).any():
            raise DatasetError(f"{scores_path.name}: a score lies outside 0..1")
    for path in (prompts_path, scores_path):
        _add_file(digest, path)

    def other(kind: str) -> Float32 | None:
        path = _find(folder, f"{name}.{kind}.csv")
        if path is None:
            return None
        columns, values = _table(path, ids)
        missing = [model for model in models if model not in columns]
        if missing:
            raise DatasetError(f'{path.name} lacks the model "{missing[0]}"')
        _add_file(digest, path)
        return values[:, [columns.index(model) for model in models]]

    nothing = np.full(quality.shape, np.nan, dtype=np.float32)
    out_tokens = other("out_tokens")
    cost_usd = other("cost_usd")
    prices = _prices(_find(folder, f"{name}.models.json"), models)
    n_tokens = np.array(tokens, dtype=np.int32)
    if out_tokens is None:
        out_tokens = nothing
    if cost_usd is None:
        cost_usd = _estimated_cost(prices, n_tokens, out_tokens)
    return Dataset(
        name=name,
        ids=tuple(ids),
        tasks=tuple(tasks),
        splits=tuple(splits),
        prompts=prompts.seal(),
        prompt_tokens=n_tokens,
        models=tuple(models),
        quality=quality,
        out_tokens=out_tokens,
        cost_usd=cost_usd,
        prices=prices,
        sha256=digest.hexdigest(),
    )


def read_table(folder: Path, name: str, kind: str, dataset: Dataset) -> NDArray[np.float64] | None:
    """One more table of a set, `NAME.kind.csv`, its columns as the set's models, NaN where it has none; None: no file.

    Raises DatasetError.
    """
    path = _find(Path(folder), f"{name}.{kind}.csv")
    if path is None:
        return None
    columns, values = _table(path, dataset.ids)
    out = np.full((len(dataset), len(dataset.models)), np.nan)
    for place, model in enumerate(dataset.models):
        if model in columns:
            out[:, place] = values[:, columns.index(model)]
    return out


def _add_file(digest: _Digest, path: Path) -> None:
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)


def _estimated_cost(
    prices: Sequence[tuple[float | None, float | None]], prompt_tokens: NDArray[np.int32], out_tokens: Float32
) -> Float32:
    """USD by price list, the usual output length where none is recorded; NaN for a model without a price."""
    cost = np.full(out_tokens.shape, np.nan, dtype=np.float32)
    for column, (price_in, price_out) in enumerate(prices):
        if price_in is not None:
            length = np.nan_to_num(out_tokens[:, column], nan=USUAL_OUTPUT_TOKENS)
            cost[:, column] = (prompt_tokens * price_in + length * (price_in if price_out is None else price_out)) / 1e6
    return cost


def _find(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    return None


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with _open(path) as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise DatasetError(f"{path.name}, line {number}: no JSON object")
                    yield number, row
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path.name}: {error}") from None
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path.name}, line {number}: {error}") from None


def _table(path: Path, ids: Sequence[str]) -> tuple[list[str], Float32]:
    """Model names and values float32 (n, n_models) of a table whose rows must be those of `ids`."""
    try:
        with _open(path) as file:
            rows = csv.reader(file)
            header = next(rows, [])
            if len(header) < 2 or len(set(header)) != len(header):
                raise DatasetError(f"{path.name}: the header must be id and then each model once")
            values = np.full((len(ids), len(header) - 1), np.nan, dtype=np.float32)
            count = 0
            for count, row in enumerate(rows, start=1):
                if count > len(ids) or len(row) != len(header) or row[0] != ids[count - 1]:
                    raise DatasetError(
                        f"{path.name}, row {count}: not the row of the prompts file, or of another width"
                    )
                values[count - 1] = [float(cell) if cell else np.nan for cell in row[1:]]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path.name}: {error}") from None
    except DatasetError:
        raise
    except ValueError as error:
        raise DatasetError(f"{path.name}, row {count}: {error}") from None
    if count != len(ids):
        raise DatasetError(f"{path.name} has {count} rows, the prompts file {len(ids)}")
    return header[1:], values


def _prices(path: Path | None, models: Sequence[str]) -> tuple[tuple[float | None, float | None], ...]:
    table: dict[str, Any] = {}
    if path is not None:
        try:
            table = json.loads(path.read_bytes() if path.suffix != ".gz" else gzip.decompress(path.read_bytes()))
        except (OSError, ValueError, EOFError) as error:
            raise DatasetError(f"{path.name}: {error}") from None
    prices = []
    for model in models:
        entry = table.get(model, {})
        pair = [entry.get(key) for key in ("input_price", "output_price")]
        if any(p is not None and not (isinstance(p, (int, float)) and 0 <= p < 1e6) for p in pair):
            raise DatasetError(f'the price of "{model}" must be a number of US dollars per million tokens')
        prices.append((pair[0], pair[1]))
    return tuple(prices)
