"""The router that is packaged: one artefact made of all sets, for models that nobody has measured yet.

    python -m routewright.learning.default_router DATA_FOLDER

writes `src/routewright/routing/default_router.safetensors`. The same data gives the same file on the same machine.
It holds weights, names and figures; no prompt, no answer, no row of the data. The everyday prompts of `everyday` count
beside the sets with ASSUMED scores, since no set with recorded scores holds any. It does not predict lengths: those
that are recorded are of exam answers, given briefly after worked examples.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from routewright.learning import everyday
from routewright.learning.datasets import Dataset, read_dataset, text_key
from routewright.learning.fit import CALIBRATED_AT, SAMPLE_ROWS, judge
from routewright.routing.artefact import Artefact, Label, write_artefact
from routewright.routing.calibrate import brier, calibrate_chosen, ece
from routewright.routing.features.hashed import HashedFeatures
from routewright.routing.logistic import LogisticRouter, sigmoid
from routewright.routing.objective import USUAL_OUTPUT_TOKENS, Dial, logit
from routewright.routing.profiles import find_family, plain_name
from routewright.routing.router import Float32
from routewright.types import Prompt

PATH: Final = Path(__file__).resolve().parents[1] / "routing" / "default_router.safetensors"
SETS: Final = ("mmlu_pro", "routerbench_subset", "routellm_mmlu", "llmrouter_mix")
CREATED: Final = "2026-01-01T00:00:00+00:00"
"""Fixed, so that the same data gives the same bytes."""
SCALE_SET: Final = "mmlu_pro"

ASSUMED_WEIGHT: Final = 10
"""Times that an everyday prompt counts: about two thousand rows beside 22,000 measured ones."""

ALIASES: Final[Mapping[str, str]] = {
    "mixtral-8x7b-chat": "mixtral-8x7b-instruct",
    "mixtral-8x7b-instruct-v0.1": "mixtral-8x7b-instruct",
    "mistral-7b-chat": "mistral-7b-instruct",
    "mistral-7b-instruct-v0.2": "mistral-7b-instruct",
    "mistral-7b-instruct-v0.3": "mistral-7b-instruct",
    "gpt-4-1106": "gpt-4-1106-preview",
}
"""Models of several sets that are the same, or near enough to join the sets' scales."""
POOLS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "frontier": ("rung", ("gemini-1.5-pro-002", "gpt-4-1106-preview")),
    "strong": ("rung", ("gemini-1.5-flash-002", "llama-3.1-70b-instruct", "llama-3.1-nemotron-51b-instruct")),
    "middle": ("rung", ("llama-3-70b-base", "jamba-1.5-large", "qwen1.5-110b", "qwen1.5-72b-chat")),
    "small": (
        "rung",
        ("llama-3.1-8b-instruct", "mixtral-8x7b-instruct", "phi-3-mini-4k-instruct", "gemma-2-9b-it", "yi-34b-chat"),
    ),
    "tiny": ("rung", ("mistral-7b-instruct", "llama-3-8b-base", "gemma-7b-base", "qwen1.5-7b-chat")),
    "code": ("code", ("deepseek-coder-v2",)),
    "math": ("math", ("mathstral-7b",)),
}
"""Label -> role and the measured models whose mean, in log-odds, it is."""
KEPT: Final = (
    "gemini-1.5-pro-002",
    "gemini-1.5-flash-002",
    "llama-3.1-70b-instruct",
    "llama-3.1-8b-instruct",
    "mixtral-8x7b-instruct",
    "mistral-7b-instruct",
    "qwen1.5-72b-chat",
    "phi-3-mini-4k-instruct",
    "deepseek-coder-v2",
    "mathstral-7b",
    "jamba-1.5-large",
    "command-r-v01",
)
"""Chat models of the scale's set, which keep a label of their own; all others only help to fit these and the pools."""


def canonical(model: str) -> str:
    """A model's one name over all sets."""
    plain = model.lower().rsplit("/", 1)[-1]
    return ALIASES.get(plain, ALIASES.get(plain_name(model), plain))


def join(sets: Sequence[Dataset]) -> Dataset:
    """All sets as one: a prompt in several becomes one row; a model in several becomes one column."""
    models: list[str] = []
    for dataset in sets:
        models += [name for model in dataset.models if (name := canonical(model)) not in models]
    place: dict[str, int] = {}
    rows: list[tuple[str, str, str, Prompt, int]] = []
    sums: list[np.ndarray[Any, Any]] = []
    for dataset in sets:
        columns = [models.index(canonical(model)) for model in dataset.models]
        for row, prompt in enumerate(dataset.prompts):
            key = text_key(prompt.text)
            if key not in place:
                place[key] = len(rows)
                rows.append(
                    (dataset.ids[row], dataset.name, dataset.splits[row], prompt, int(dataset.prompt_tokens[row]))
                )
                sums.append(np.zeros((4, len(models)), dtype=np.float64))
            cell = sums[place[key]]
            for values, at in ((dataset.quality[row], 0), (dataset.out_tokens[row], 2)):
                for column, value in zip(columns, values.tolist(), strict=True):
                    if value == value:
                        cell[at, column] += value
                        cell[at + 1, column] += 1
    stack = np.stack(sums)
    with np.errstate(invalid="ignore", divide="ignore"):
        quality = (stack[:, 0] / stack[:, 1]).astype(np.float32)
        out_tokens = (stack[:, 2] / stack[:, 3]).astype(np.float32)
    prices: dict[str, tuple[float | None, float | None]] = {}
    for dataset in sets:
        for model, price in zip(dataset.models, dataset.prices, strict=True):
            if price[0] is not None:
                prices.setdefault(canonical(model), price)
    tokens = np.array([row[4] for row in rows], dtype=np.int32)
    listed = tuple(prices.get(model, (None, None)) for model in models)
    length = _column_means(out_tokens)
    usd = np.array([[(p or 0.0) / 1e6 for p in pair] for pair in listed])
    cost = tokens[:, None] * usd[:, 0] + np.where(np.isnan(out_tokens), length, out_tokens) * usd[:, 1]
    return Dataset(
        name="+".join(dataset.name for dataset in sets),
        ids=tuple(row[0] for row in rows),
        tasks=tuple(row[1] for row in rows),
        splits=tuple(row[2] for row in rows),
        prompts=tuple(row[3] for row in rows),
        prompt_tokens=tokens,
        models=tuple(models),
        quality=quality,
        out_tokens=out_tokens,
        cost_usd=cost.astype(np.float32),
        prices=listed,
        sha256=text_key("".join(dataset.sha256 for dataset in sets)),
    )


def _column_means(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    means = np.where(known, values, 0).sum(axis=0) / np.maximum(counts, 1)
    return np.where(counts, means, means[counts > 0].mean() if (counts > 0).any() else 300.0)


def build(data: Path) -> Artefact:
    """Fit on the train rows of all sets and the everyday prompts; calibrate and judge on the sets' valid rows."""
    joined = join([read_dataset(data, name) for name in SETS])
    train, valid = joined.rows("train"), joined.rows("valid")
    is_scale = np.array([task == SCALE_SET for task in joined.tasks])
    on_scale = train[is_scale[train]]
    measured_level = _column_means(joined.quality[on_scale])
    measured = [i for i in range(len(joined.models)) if (~np.isnan(joined.quality[on_scale, i])).mean() > 0.5]

    levels = {i: float(measured_level[i]) for i in measured}
    for i, model in enumerate(joined.models):
        family = find_family(model)
        if i not in levels and family is not None:
            levels[i] = family.level
    assumed, assumed_scores = _assumed(joined.models, levels)
    prompts = [*joined.prompts_of(train), *(prompt for prompt in assumed for _ in range(ASSUMED_WEIGHT))]
    quality = np.concatenate((joined.quality[train], np.repeat(assumed_scores, ASSUMED_WEIGHT, axis=0)))
    cost = np.concatenate((joined.cost_usd[train], np.zeros((len(quality) - len(train), len(joined.models)))))
    features = HashedFeatures()
    X = features.fit_transform(prompts, quality)
    fitted = LogisticRouter().fit(X, quality, cost.astype(np.float32))

    columns: list[tuple[str, str, list[int]]] = [(name, "model", [joined.models.index(name)]) for name in KEPT]
    for name, (role, members) in POOLS.items():
        columns.append((name, role, [joined.models.index(member) for member in members]))
    router = LogisticRouter(**fitted.params())
    router.weights_ = np.stack([fitted.weights_[:, m].mean(axis=1) for _, _, m in columns], axis=1).astype(np.float32)
    router.intercept_ = np.array([fitted.intercept_[m].mean() for _, _, m in columns], dtype=np.float32)
    router.cost_usd_ = np.array([fitted.cost_usd_[m].mean() for _, _, m in columns], dtype=np.float32)
    router.n_features_ = fitted.n_features_

    # a pool's height is that of its members which the scale's set measured; the others lend it their pattern only
    Z = features.transform(joined.prompts_of(valid[is_scale[valid]]))
    for i, (_, role, places) in enumerate(columns):
        own = [m for m in places if m in measured]
        if role == "rung":
            goal = np.mean([sigmoid(Z @ fitted.weights_[:, m] + fitted.intercept_[m]).mean() for m in own])
            for _ in range(20):
                now = float(sigmoid(Z @ router.weights_[:, i] + router.intercept_[i]).mean())
                router.intercept_[i] += logit(float(goal)) - logit(now)
    level = sigmoid(Z @ router.weights_ + router.intercept_).mean(axis=0)

    X_valid = features.transform(joined.prompts_of(valid))
    everyone = fitted.predict_quality(X_valid)
    # the gate's question needs every candidate's score on the same rows: the scale's set has them
    inside = is_scale[valid]
    expected, recorded = everyone[inside][:, measured], joined.quality[valid][inside][:, measured]
    usual_cost = np.tile(fitted.cost_usd_[measured], (int(inside.sum()), 1)).astype(np.float64)
    dial = Dial(expected, usual_cost)
    choices = [(expected - dial.weight(at) * usual_cost).argmax(axis=1) for at in CALIBRATED_AT]
    calibration = calibrate_chosen(expected, recorded, choices)
    best_of = np.arange(len(expected)), expected.argmax(axis=1)
    chances, outcomes = calibration.many(expected[best_of]), recorded[best_of]
    known = ~np.isnan(outcomes)
    costs = joined.cost_usd[valid][inside][:, measured]
    gate = judge(expected, usual_cost, recorded, costs, measured_level[measured].astype(np.float32), seed=0)

    # the dial's sample: half exam questions, the sets alike, half everyday prompts, as a gateway might see them
    rng = np.random.default_rng(0)
    half = SAMPLE_ROWS // 2
    rows: list[int] = []
    for name in SETS:
        of_set = [i for i, row in enumerate(valid) if joined.tasks[row] == name]
        rows += [of_set[i] for i in rng.permutation(len(of_set))[: half // len(SETS)]]
    picked = [assumed[i] for i in rng.permutation(len(assumed))[: SAMPLE_ROWS - len(rows)]]
    sample = np.concatenate((router.predict_quality(X_valid[rows]), router.predict_quality(features.transform(picked))))
    sample_tokens = [int(joined.prompt_tokens[valid[i]]) for i in rows] + [len(p.text) // 4 + 1 for p in picked]
    labels = []
    for i, (name, role, places) in enumerate(columns):
        price = joined.prices[places[0]] if role == "model" else (None, None)
        labels.append(
            Label(
                name=name,
                quality=round(float(level[i]), 4),
                output_tokens=USUAL_OUTPUT_TOKENS,
                input_usd_per_token=None if price[0] is None else price[0] / 1e6,
                output_usd_per_token=None if price[1] is None else price[1] / 1e6,
                role=role,
            )
        )
    return Artefact(
        router=router,
        features=features,
        labels=tuple(labels),
        sample_scores=sample.astype(np.float16),
        sample_prompt_tokens=np.array(sample_tokens, dtype=np.int32),
        calibration=calibration,
        scale="mmlu_pro",
        training={
            "name": joined.name,
            "rows": len(train),
            "assumed_rows": len(assumed),
            "sha256": joined.sha256,
            "seed": 0,
        },
        metrics={
            "valid_rows": len(valid),
            "ece": round(ece(chances[known], outcomes[known]), 4),
            "brier": round(brier(chances[known], outcomes[known]), 4),
        },
        gate=gate,
        created=CREATED,
    )


def _assumed(models: Sequence[str], levels: Mapping[int, float]) -> tuple[list[Prompt], Float32]:
    """Everyday prompts and the scores assumed of each model whose level is known, NaN for the others."""
    prompts: list[Prompt] = []
    rows = []
    for texts, is_hard in ((everyday.easy(), False), (everyday.hard(), True)):
        row = np.full(len(models), np.nan, dtype=np.float32)
        row[list(levels)] = everyday.assumed_scores(np.array(list(levels.values()), dtype=np.float32), is_hard=is_hard)
        for text in texts:
            prompts.append(Prompt(text=text))
            rows.append(row)
    return prompts, np.stack(rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Build the packaged router; returns the exit status."""
    parser = argparse.ArgumentParser(description="Build the packaged default router from the routing data.")
    parser.add_argument("data", type=Path, help="folder with the four sets")
    parser.add_argument("--out", type=Path, default=PATH)
    options = parser.parse_args(arguments)
    artefact = build(options.data)
    digest = write_artefact(artefact, options.out)
    print(f"{options.out}: {options.out.stat().st_size} bytes, sha256 {digest}")
    for label in artefact.labels:
        print(f"  {label.name:34s} {label.role:6s} level {label.quality:.3f}  {label.output_tokens:5.0f} output tokens")
    print(f"  gate {dict(artefact.gate)}\n  metrics {dict(artefact.metrics)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
