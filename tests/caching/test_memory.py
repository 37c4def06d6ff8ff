"""Answers in memory: the bound holds whatever comes, and time is a clock."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from routewright.caching.entry import Entry
from routewright.caching.keys import scope_of
from routewright.caching.memory import Memory
from routewright.types import Caller, Usage


def entry(size: int = 10, expires_at_s: float = 100.0) -> Entry:
    return Entry(b"x" * size, False, False, 0.0, expires_at_s, "id", b"", Usage(1, 1), 5)


def test_entry_is_there_until_its_time() -> None:
    now = [0.0]
    memory = Memory(10_000, lambda: now[0])
    memory.put("a", entry(expires_at_s=50))
    assert memory.get("a") is not None
    now[0] = 50.0
    assert memory.get("a") is None
    assert (len(memory), memory.bytes) == (0, 0)


def test_what_was_used_longest_ago_makes_room() -> None:
    memory = Memory(3 * entry().size, lambda: 0.0)
    for key in "abc":
        memory.put(key, entry())
    memory.get("a")
    memory.put("d", entry())
    assert [key for key in "abcd" if memory.get(key) is not None] == ["a", "c", "d"]


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 5000), st.booleans()), max_size=60))
def test_bytes_are_those_of_what_is_there_and_never_above_the_bound(steps: list[tuple[str, int, bool]]) -> None:
    memory = Memory(8000, lambda: 0.0)
    for key, size, is_deleted in steps:
        if is_deleted:
            memory.delete([key])
        else:
            memory.put(key, entry(size))
        found = [held for name in "abcdef" if (held := memory.get(name)) is not None]
        assert memory.bytes == sum(held.size for held in found) <= 8000


def test_scope_is_the_team_the_key_or_everyone() -> None:
    alone = Caller(key_hash="k1", alias=None, is_master=False, models=None)
    one = Caller(key_hash="k2", alias=None, is_master=False, models=None, team_id="t")
    other = Caller(key_hash="k3", alias=None, is_master=False, models=None, team_id="t")
    assert scope_of(one, "team") == scope_of(other, "team") != scope_of(alone, "team")
    assert len({scope_of(each, "key") for each in (alone, one, other)}) == 3
    assert len({scope_of(each, "everyone") for each in (alone, one, other)}) == 1
    # A team that is called as a key's hash is no way to that key's answers.
    sly = Caller(key_hash="k4", alias=None, is_master=False, models=None, team_id="k1")
    assert scope_of(sly, "team") != scope_of(alone, "team")
