"""A made-up set on disk, in the layout that `learning` reads. No line of it is from any real set."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np

CODE = "write a function class method python loop return bug compile stack heap queue"
LAW = "court statute plaintiff contract tort appeal jury liable evidence claim landlord"
MATHS = "prove integral matrix theorem group prime sum limit series vector angle"
WORDS = {"code": CODE.split(), "law": LAW.split(), "maths": MATHS.split()}
CHANCES = {"code": (0.9, 0.5, 0.9, 0.2), "law": (0.9, 0.4, 0.2, 0.9), "maths": (0.8, 0.3, 0.4, 0.3)}
MODELS = ("grand", "petit", "coder", "jurist")
PRICES = {"grand": (10, 30), "petit": (0.2, 0.4), "coder": (1, 2), "jurist": (1, 2)}


def write_set(
    folder: Path,
    name: str = "made_up",
    n: int = 400,
    *,
    models: tuple[str, ...] = MODELS,
    with_costs: bool = True,
    with_prices: bool = True,
    packed: bool = True,
    missing: float = 0.0,
) -> None:
    rng = np.random.default_rng(11)
    opener = gzip.open if packed else open
    end = ".gz" if packed else ""
    tasks = rng.choice(list(WORDS), size=n)
    texts = [" ".join(rng.choice(WORDS[task], size=rng.integers(6, 16))) + f" {i}x" for i, task in enumerate(tasks)]
    splits = rng.choice(["train", "valid", "test"], size=n, p=[0.6, 0.2, 0.2])

    def table(kind: str, cell) -> None:
        with opener(folder / f"{name}.{kind}.csv{end}", "wt", newline="") as file:
            out = csv.writer(file)
            out.writerow(["id", *models])
            for i, task in enumerate(tasks):
                out.writerow([f"row-{i}", *(cell(i, task, MODELS.index(model)) for model in models)])

    with opener(folder / f"{name}.prompts.jsonl{end}", "wt") as file:
        for i, text in enumerate(texts):
            row = {"id": f"row-{i}", "task": str(tasks[i]), "split": str(splits[i]), "prompt": text, "in_tokens": 20}
            file.write(json.dumps(row) + "\n")
    scores = [[int(rng.random() < chance) for chance in CHANCES[task]] for task in tasks]
    table("scores", lambda i, task, m: "" if rng.random() < missing else scores[i][m])
    if with_costs:
        table("out_tokens", lambda i, task, m: 100 + 10 * m)
        table("cost_usd", lambda i, task, m: round((20 * PRICES[MODELS[m]][0] + 100 * PRICES[MODELS[m]][1]) / 1e6, 9))
    if with_prices:
        prices = {m: {"input_price": PRICES[m][0], "output_price": PRICES[m][1]} for m in models}
        (folder / f"{name}.models.json").write_text(json.dumps(prices))
