"""Stored keys in memory: asked for once, let go of when they change, and never guessed."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable

import pytest

from routewright.errors import AuthenticationError, ExpiredKey, StorageUnavailable
from routewright.grants import Change, Grant
from routewright.stored_keys import REFUSED_S, StoredKeys
from routewright.types import Allowance

ONE, TWO = (hashlib.sha256(name).digest() for name in (b"one", b"two"))


class Store:
    """What the store would say, how often it was asked, and whether it answers at all."""

    def __init__(self) -> None:
        self.grants: dict[str, Grant] = {}
        self.asked = 0
        self.is_down = False
        self.before_answering: Callable[[], None] = lambda: None
        self.now_s = 1000.0
        self.stale = 0

    def holds(self, digest: bytes, **fields: object) -> None:
        name = digest.hex()
        self.grants[name] = Grant(key_hash=name, depends_on=(f"key:{name}", "team:t"), **fields)  # type: ignore[arg-type]

    async def ask(self, hashes: list[str]) -> dict[str, Grant | None]:
        self.asked += 1
        answer = {name: self.grants.get(name) for name in hashes}
        await asyncio.sleep(0)
        self.before_answering()
        if self.is_down:
            raise StorageUnavailable("down")
        return answer

    def _count(self) -> None:
        self.stale += 1

    def keys(self) -> StoredKeys:
        return StoredKeys(
            self.ask, lambda grant: len(grant.allowances), self._count,
            monotonic=lambda: self.now_s, wall=lambda: self.now_s,
        )  # fmt: skip


def run(test: Callable[[Store], object]) -> None:
    asyncio.run(test(Store()))  # type: ignore[arg-type]


def test_many_who_wait_for_one_key_ask_once() -> None:
    async def test(store: Store) -> None:
        store.holds(ONE, models=("a",), allowances=(Allowance(scope="key", owner="x"),))
        keys = store.keys()
        assert keys.find(ONE) is None
        assert await asyncio.gather(*(keys.look_up(ONE) for _ in range(50))) == [None] * 50
        assert store.asked == 1
        caller = keys.find(ONE)
        assert caller is not None
        assert (caller.models, caller.limits) == (frozenset({"a"}), 1)

    run(test)


def test_key_that_there_is_not_costs_one_question_for_a_while() -> None:
    async def test(store: Store) -> None:
        keys = store.keys()
        for _ in range(3):
            if keys_wants(keys, ONE):
                await keys.look_up(ONE)
        assert store.asked == 1
        store.now_s += REFUSED_S + 1
        assert keys_wants(keys, ONE)

    run(test)


def keys_wants(keys: StoredKeys, digest: bytes) -> bool:
    try:
        return keys.find(digest) is None
    except AuthenticationError:
        return False


def test_key_made_after_it_was_asked_for_is_known_as_soon_as_the_store_tells() -> None:
    async def test(store: Store) -> None:
        keys = store.keys()
        await keys.look_up(ONE)
        store.holds(ONE)
        await keys.changed([Change("key", ONE.hex())])
        assert keys_wants(keys, ONE)
        await keys.look_up(ONE)
        assert keys.find(ONE) is not None

    run(test)


@pytest.mark.parametrize("change", [Change("key", ONE.hex()), Change("team", "t"), Change("all", "")])
def test_change_of_what_a_key_depends_on_is_looked_at_again(change: Change) -> None:
    async def test(store: Store) -> None:
        store.holds(ONE)
        keys = store.keys()
        await keys.look_up(ONE)
        store.holds(ONE, refusal="This key is blocked")
        await keys.changed([change])
        with pytest.raises(AuthenticationError, match="blocked"):
            keys.find(ONE)
        assert store.stale >= 1

    run(test)


def test_change_of_something_else_asks_nothing() -> None:
    async def test(store: Store) -> None:
        store.holds(ONE)
        keys = store.keys()
        await keys.look_up(ONE)
        await keys.changed([Change("key", TWO.hex()), Change("user", "t")])
        assert store.asked == 1
        assert keys.find(ONE) is not None

    run(test)


def test_answer_that_a_change_overtook_is_not_believed() -> None:
    """A key deleted while it is being looked up must not come back by the older answer."""

    async def test(store: Store) -> None:
        store.holds(ONE)
        keys = store.keys()
        changed: list[asyncio.Task[None]] = []

        def delete_meanwhile() -> None:
            store.before_answering = lambda: None
            store.grants.clear()
            changed.append(asyncio.get_running_loop().create_task(keys.changed([Change("key", ONE.hex())])))

        store.before_answering = delete_meanwhile

        async def slow(hashes: list[str]) -> dict[str, Grant | None]:
            answer = await store.ask(hashes)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            return answer

        keys._ask = slow
        await keys.look_up(ONE)
        await asyncio.gather(*changed)
        assert not keys_wants(keys, ONE) or keys.find(ONE) is None
        with pytest.raises(AuthenticationError):
            keys.find(ONE)

    run(test)


def test_store_that_is_down_is_told_apart_from_a_key_that_there_is_not() -> None:
    """F24, F25."""

    async def test(store: Store) -> None:
        store.holds(ONE)
        keys = store.keys()
        await keys.look_up(ONE)
        store.is_down = True
        assert isinstance(await keys.look_up(TWO), StorageUnavailable)
        assert keys_wants(keys, TWO), "it is asked for again next time"
        assert keys.find(ONE) is not None, "what is known goes on"
        await keys.changed([Change("key", ONE.hex())])
        assert keys_wants(keys, ONE), "but what has changed, nobody knows how, does not"

    run(test)


def test_key_that_expires_is_asked_for_again_and_then_refused() -> None:
    async def test(store: Store) -> None:
        store.holds(ONE, expires_at_ms=1_010_000)
        keys = store.keys()
        await keys.look_up(ONE)
        store.now_s = 1009.9
        keys.on_tick()
        assert keys.find(ONE) is not None
        store.now_s = 1010.1
        keys.on_tick()
        assert keys_wants(keys, ONE)
        await keys.look_up(ONE)
        with pytest.raises(ExpiredKey):
            keys.find(ONE)

    run(test)


def test_store_that_was_silent_for_too_long_leaves_nothing_in_memory() -> None:
    async def test(store: Store) -> None:
        store.holds(ONE)
        keys = store.keys()
        await keys.look_up(ONE)
        keys.forget_all()
        assert keys_wants(keys, ONE)

    run(test)
