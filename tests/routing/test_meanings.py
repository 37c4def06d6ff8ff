"""Vectors by which questions are compared: of length one, in time or not at all, and made once for route and cache."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest

from routewright.routing.features.contract import NoVector
from routewright.routing.features.encoder import REMEMBERED, Codes, Encoder, Remembering
from routewright.routing.meanings import Meanings
from routewright.types import Prompt


class Counting(Encoder):
    """Letters, counted."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Codes:
        self.asked += texts
        return np.array([[text.count(char) for char in "abc"] for text in texts], dtype=np.int8)


def test_text_that_comes_again_is_not_made_again_whoever_asks() -> None:
    inner = Counting()
    encoder = Remembering(inner)
    for _ in range(3):
        assert encoder.encode(["abb"]).tolist() == [[1, 2, 0]]
    assert inner.asked == ["abb"]
    assert encoder.encode(["abb", "c"]).tolist() == [[1, 2, 0], [0, 0, 1]]  # what is learned from goes by
    for number in range(REMEMBERED + 5):
        encoder.encode([f"a{number}"])
    inner.asked.clear()
    encoder.encode(["abb"])
    encoder.encode([f"a{REMEMBERED + 4}"])
    assert inner.asked == ["abb"]


@pytest.mark.parametrize("is_quick", [True, False], ids=["on the loop", "in a thread"])
def test_vector_has_length_one_and_what_can_not_be_made_is_none(is_quick: bool) -> None:
    class Failing(Counting):
        def encode(self, texts: Sequence[str]) -> Codes:
            if texts == ["down"]:
                raise NoVector("down")
            return super().encode(texts)

    meanings = Meanings("wordllama")
    meanings._is_quick, meanings._encoder = is_quick, Failing()
    try:
        vector = asyncio.run(meanings.of("aab"))
        assert vector is not None
        assert vector.tolist() == pytest.approx([2 / 5**0.5, 1 / 5**0.5, 0])
        for text in ("zzz", "down"):
            assert asyncio.run(meanings.of(text)) is None
    finally:
        meanings.close()


def test_maker_without_an_encoder_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="hashed"):
        Meanings("hashed")
    with pytest.raises(ValueError, match="nonsense"):
        Meanings("nonsense")


def test_paraphrase_is_nearer_than_another_question() -> None:
    first, same, other = Meanings("wordllama").transform(
        [Prompt("What is the capital of France?"), Prompt("what's the capital of France"), Prompt("Bake a cake!")]
    )
    assert first @ same > 0.9 > first @ other
