"""The queue of slow vectors: bounded, newest first, and nobody waits longer than the limit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from routewright.routing import vectors
from routewright.routing.features.contract import Features, NoVector
from routewright.routing.vectors import FAILED, MAX_WAITING, TOO_LATE, TOO_MANY, Vectors
from routewright.types import Prompt


class Slow(Features):
    """Counts words, when it is let."""

    name = "slow"
    arguments = ()
    arrays = ()
    is_quick = False

    def __init__(self, batch_size: int = 1) -> None:
        self.batch_size = batch_size
        self.is_let = threading.Event()
        self.is_let.set()
        self.turns: list[list[str]] = []

    n_features = 1  # type: ignore[assignment]

    def vector(self, prompt: Prompt) -> Any:
        return self.transform([prompt])[0]

    def transform(self, prompts: Any) -> Any:
        self.turns.append([prompt.text for prompt in prompts])
        assert self.is_let.wait(30)
        if any(prompt.text == "no" for prompt in prompts):
            raise NoVector("it said no")
        return np.array([[len(prompt.text.split())] for prompt in prompts], dtype=np.float32)

    def fit_transform(self, prompts: Any, quality: Any = None) -> Any:
        raise NotImplementedError

    def check_state(self) -> None:
        """Nothing to check."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "LIMIT_S", 30.0)


async def until(is_true: Callable[[], Any]) -> None:
    for _ in range(4000):
        if is_true():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("not so within 8 s")


def run(story: Any) -> None:
    asyncio.run(story())


def test_vectors_are_made_in_another_thread_and_handed_to_the_loop(patient):
    async def story():
        made = await Vectors().ask(Slow(), Prompt(text="one two three"), lambda x: None)
        assert made.tolist() == [3.0]

    run(story)


def test_the_newest_is_made_first_and_several_at_once(patient):
    async def story():
        queue, features = Vectors(), Slow(batch_size=2)
        features.is_let.clear()
        first = queue.ask(features, Prompt(text="first"), lambda x: None)
        await until(lambda: features.turns)
        others = [queue.ask(features, Prompt(text=f"later {i}"), lambda x: None) for i in range(4)]
        features.is_let.set()
        await asyncio.gather(first, *others)
        assert features.turns == [["first"], ["later 3", "later 2"], ["later 1", "later 0"]]

    run(story)


def test_two_makers_in_one_queue_get_their_own_prompts(patient):
    async def story():
        queue, features, other = Vectors(), Slow(batch_size=8), Slow(batch_size=8)
        features.is_let.clear()
        first = queue.ask(features, Prompt(text="first"), lambda x: None)
        await until(lambda: features.turns)
        asked = [queue.ask((features, other)[i % 2], Prompt(text=f"{i}"), lambda x: None) for i in range(6)]
        features.is_let.set()
        await asyncio.gather(first, *asked)
        assert sorted(text for turn in features.turns for text in turn) == ["0", "2", "4", "first"]
        assert sorted(text for turn in other.turns for text in turn) == ["1", "3", "5"]

    run(story)


def test_nobody_waits_longer_than_the_limit_and_a_late_vector_is_not_lost():
    async def story():
        queue, features = Vectors(), Slow()
        features.is_let.clear()
        late: list[float] = []
        made = await queue.ask(features, Prompt(text="one two"), lambda x: late.append(float(x[0])))
        assert made == TOO_LATE
        features.is_let.set()
        await until(lambda: late == [2.0])

    run(story)


def test_a_prompt_that_nobody_waits_for_any_more_is_not_made():
    async def story():
        queue, features = Vectors(), Slow()
        features.is_let.clear()
        first = queue.ask(features, Prompt(text="0"), lambda x: None)
        await until(lambda: features.turns)
        asked = [queue.ask(features, Prompt(text=f"{i}"), lambda x: None) for i in range(1, 9)]
        assert await asyncio.gather(first, *asked) == [TOO_LATE] * 9
        features.is_let.set()
        late: list[Any] = []
        last = await queue.ask(features, Prompt(text="last"), late.append)
        await until(lambda: late or not isinstance(last, str))
        assert features.turns == [["0"], ["last"]]

    run(story)


def test_the_queue_is_bounded(patient):
    async def story():
        queue, features = Vectors(), Slow(batch_size=64)
        features.is_let.clear()
        first = queue.ask(features, Prompt(text="first"), lambda x: None)
        await until(lambda: features.turns)
        asked = [queue.ask(features, Prompt(text=f"{i}"), lambda x: None) for i in range(MAX_WAITING + 3)]
        assert [future.result() for future in asked if future.done()] == [TOO_MANY] * 3
        features.is_let.set()
        made = await asyncio.gather(first, *asked)
        assert sum(not isinstance(x, str) for x in made) == MAX_WAITING + 1

    run(story)


def test_a_prompt_seen_lately_has_its_vector_at_once(patient):
    async def story():
        queue, features = Vectors(), Slow()
        prompt = Prompt(text="one two", system="Be brief.")
        await queue.ask(features, prompt, lambda x: None)
        again = queue.ask(features, prompt, lambda x: None)
        assert again.done()
        assert again.result().tolist() == [2.0]
        for other in (replace(prompt, system=""), replace(prompt, has_tools=True), replace(prompt, text="one  two")):
            assert not queue.ask(features, other, lambda x: None).done()
        assert not queue.ask(Slow(), prompt, lambda x: None).done()

    run(story)


def test_the_prompt_used_longest_ago_is_forgotten_first(patient, monkeypatch):
    monkeypatch.setattr(vectors, "_REMEMBERED", 3)

    async def story():
        queue, features = Vectors(), Slow()
        for text in ("a", "b", "c", "a", "d"):
            await queue.ask(features, Prompt(text=text), lambda x: None)
        known = [text for text in "abcd" if queue.ask(features, Prompt(text=text), lambda x: None).done()]
        assert known == ["a", "c", "d"]

    run(story)


def test_failures_are_told_and_after_some_in_a_row_the_maker_rests(patient, caplog):
    async def story():
        queue, features = Vectors(), Slow()
        for _ in range(3):
            assert await queue.ask(features, Prompt(text="no"), lambda x: None) == FAILED
        turns = len(features.turns)
        assert await queue.ask(features, Prompt(text="yes"), lambda x: None) == FAILED
        assert len(features.turns) == turns
        assert "it said no, several times in a row" in caplog.text

    run(story)


def test_a_success_between_failures_forgets_them(patient):
    async def story():
        queue, features = Vectors(), Slow()
        for text in ("no", "no", "yes", "no", "no", "yes"):
            made = await queue.ask(features, Prompt(text=text), lambda x: None)
            assert (made == FAILED) if text == "no" else (made.tolist() == [1.0])

    run(story)


def test_a_maker_that_hangs_rests_too(monkeypatch):
    monkeypatch.setattr(vectors, "LIMIT_S", 0.005)

    async def story():
        queue, features = Vectors(), Slow()
        features.is_let.clear()
        answers = [await queue.ask(features, Prompt(text=f"{i}"), lambda x: None) for i in range(21)]
        assert answers == [TOO_LATE] * 20 + [FAILED]
        features.is_let.set()

    run(story)


def test_closing_ends_the_threads_and_what_waits(patient):
    async def story():
        queue, features = Vectors(), Slow()
        features.is_let.clear()
        for text in "ab":
            queue.ask(features, Prompt(text=text), lambda x: None)
        await until(lambda: features.turns)
        features.is_let.set()
        queue.close()
        assert not [thread for lane in queue._lanes.values() for thread in lane._threads if thread.is_alive()]
        assert len(features.turns) == 1

    run(story)


def test_a_bug_in_a_maker_is_logged_and_costs_a_vector(patient, caplog):
    class Broken(Slow):
        def transform(self, prompts):
            raise ZeroDivisionError("a bug")

    async def story():
        assert await Vectors().ask(Broken(), Prompt(text="x"), lambda x: None) == FAILED
        assert "features slow failed" in caplog.text

    run(story)
