"""Measures the cache of similar questions: a look-up's time, and how often prompts that differ are taken for the same.

python bench/similar.py [--data DIR --prompts 12000 --embedder minilm]
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in a gateway

import numpy as np

from routewright.caching.similar import Question, Similar
from routewright.caching.telling import MAX_CHARS, are_alike, content, is_english, telling
from routewright.routing.meanings import Meanings
from routewright.types import Prompt

ROWS = 10_000
LEVELS = (0.85, 0.9, 0.93, 0.95, 0.97)


def look_ups() -> None:
    rng = np.random.default_rng(0)
    for width in (256, 384):
        rows = rng.standard_normal((ROWS, width)).astype(np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        for families in (1, 100):
            similar = Similar(0.9, ROWS)
            questions = [Question(b"%d" % (place % families), row, ("a",)) for place, row in enumerate(rows)]
            for place, question in enumerate(questions):
                similar.add(str(place), question)
            took = []
            for question in questions[:1000]:
                begun_s = time.perf_counter()
                found = similar.nearest(question)
                took.append(time.perf_counter() - begun_s)
                assert found[0][0] > 0.99
            begun_s = time.perf_counter()
            for place, question in enumerate(questions[:2000]):
                similar.add(f"new {place}", question)
            add_us = (time.perf_counter() - begun_s) / 2000 * 1e6
            p50, p99 = np.percentile(took, (50, 99)) * 1e6
            print(f"{ROWS} rows of {width}, {families} families: nearest p50 {p50:.0f} us, p99 {p99:.0f} us; "
                  f"add, the oldest going: {add_us:.1f} us")  # fmt: skip


def pairs(folder: Path, count: int, embedder: str) -> None:
    """All pairs of recorded prompts: every one asks another thing, or nearly every one."""
    texts = []
    for path in sorted(folder.glob("*.prompts.jsonl.gz")):
        with gzip.open(path) as lines:
            texts += [prompt for line in lines if len(prompt := json.loads(line)["prompt"]) <= MAX_CHARS]
    texts = list(dict.fromkeys(texts))
    texts = [text for text in texts if is_english(text)]
    random.Random(1).shuffle(texts)
    texts = texts[:count]
    meanings = Meanings(embedder)
    rows = np.concatenate([meanings.transform([Prompt(text)]) for text in texts])
    told, words = [telling(text) for text in texts], [content(text) for text in texts]
    above, taken = dict.fromkeys(LEVELS, 0), dict.fromkeys(LEVELS, 0)
    for low in range(0, len(texts), 500):
        cosines = rows[low : low + 500] @ rows.T
        for place, second in zip(*(cosines >= LEVELS[0]).nonzero(), strict=True):
            first = low + place
            if first >= second:
                continue
            is_taken = told[first] == told[second] and are_alike(words[first], words[second])
            for level in LEVELS:
                above[level] += cosines[place, second] >= level
                taken[level] += is_taken and cosines[place, second] >= level
            if is_taken:
                print(f"  {cosines[place, second]:.3f} {texts[first][-100:]!r} | {texts[second][-100:]!r}")
    print(f"{len(texts)} prompts, {embedder}: pairs at or above a cosine, and taken for the same:")
    for level in LEVELS:
        print(f"  {level}: {above[level]}, {taken[level]}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--prompts", type=int, default=12_000)
    parser.add_argument("--embedder", default="minilm")
    asked = parser.parse_args()
    look_ups()
    if asked.data is not None:
        pairs(asked.data, asked.prompts, asked.embedder)
