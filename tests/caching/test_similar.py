"""The index of questions: what is nearest, what goes when there are too many, what rubbish does to it."""

from __future__ import annotations

import numpy as np
import pytest

from routewright.caching.rows import Rows
from routewright.caching.similar import CANDIDATES, Question, Similar

rng = np.random.default_rng(5)


def unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def question(vector: np.ndarray, family: bytes = b"f", words: tuple[int, ...] = (1, 2)) -> Question:
    return Question(family, unit(vector), words)


def near(vector: np.ndarray, cosine: float) -> np.ndarray:
    other = rng.standard_normal(len(vector))
    other -= (other @ vector) * vector / (vector @ vector)
    return cosine * unit(vector) + np.sqrt(1 - cosine**2) * unit(other)


def test_nearest_above_the_threshold_comes_first_within_its_family_alone() -> None:
    similar = Similar(0.9, 100)
    base = rng.standard_normal(32)
    for name, cosine in (("far", 0.85), ("near", 0.93), ("nearest", 0.99)):
        similar.add(name, question(near(base, cosine)))
    similar.add("other", question(base, family=b"g"))
    assert [key for _, key in similar.nearest(question(base))] == ["nearest", "near"]
    assert [round(cosine, 3) for cosine, _ in similar.nearest(question(base))] == [0.99, 0.93]
    assert similar.nearest(question(base, family=b"h")) == []
    assert similar.nearest(question(base, words=(2, 1))) == []


def test_oldest_goes_first_and_work_and_memory_stay_bounded() -> None:
    similar = Similar(0.5, 50)
    base = rng.standard_normal(8)
    for number in range(500):
        similar.add(str(number), question(near(base, 0.95), family=b"%d" % (number % 3)))
        assert len(similar) <= 50
    found = [key for family in range(3) for _, key in similar.nearest(question(base, family=b"%d" % family))]
    assert all(int(key) >= 450 for key in found)
    assert len(found) == 3 * CANDIDATES
    for number in range(500):
        similar.forget(str(number))
    assert len(similar) == 0
    assert similar.nearest(question(base, family=b"0")) == []


@pytest.mark.parametrize("seed", range(5))
def test_index_agrees_with_a_plain_search_whatever_comes_and_goes(seed: int) -> None:
    random = np.random.default_rng(seed)
    similar, plain = Similar(0.6, 1000), {}
    for _ in range(400):
        key = str(random.integers(60))
        if random.random() < 0.4:
            similar.forget(key)
            plain.pop(key, None)
        else:
            plain[key] = question(random.standard_normal(6))
            similar.add(key, plain[key])
        asked = question(random.standard_normal(6))
        expected = sorted(
            [
                (float(row.vector @ asked.vector), name)
                for name, row in plain.items()
                if row.vector @ asked.vector >= 0.6
            ],
            reverse=True,
        )[:CANDIDATES]
        assert [name for _, name in similar.nearest(asked)] == [name for _, name in expected]


def test_vectors_of_another_length_are_passed_over() -> None:
    similar = Similar(0.9, 10)
    similar.add("a", question(np.ones(4)))
    similar.add("b", question(np.ones(5)))
    assert similar.nearest(question(np.ones(5))) == []
    assert [key for _, key in similar.nearest(question(np.ones(4)))] == ["a"]


def test_rows_of_another_replica_are_read_and_rubbish_among_them_is_not() -> None:
    writer, reader = Rows(Similar(0.9, 10), "s", 10), Rows(Similar(0.9, 10), "s", 10)
    base = rng.standard_normal(16)
    (add, expire) = writer.added("key", question(base), 1000)
    assert expire[0] == "PEXPIRE"
    good = add[-1]
    entries = [
        [b"%d-0" % at, [b"r", row]] for at, row in enumerate((b"", b"\xff", good[:20], b"\x94\x01\x02\x03\x04", good))
    ]
    entries.insert(2, [b"2-1", []])
    assert reader.take([[b"s", entries]]) == 6
    assert [key for _, key in reader.similar.nearest(question(base))] == ["key"]
    assert reader.command()[-1] == b"4-0"
    for nothing in (None, [], [None], b"x", Exception("WRONGTYPE")):
        assert reader.take(nothing) == 0
