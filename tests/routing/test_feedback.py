"""Ratings of answers: kept once, in one order for all workers, and learned from alike."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import routewright.routing.feedback as feedback_module
from routewright.errors import Conflict, NotFound
from routewright.routing.bandit import BanditRouter
from routewright.routing.choices import ENTRIES, Choice, Choices, digest_of
from routewright.routing.feedback import Feedback, Learner, Reader, log_path

KEY, OTHER = "a" * 64, "b" * 64
WIDTH = 6


def choice(request_id: str, *, key_hash: str = KEY, model: int = 1, at_s: float = 1.0, width: int = WIDTH) -> Choice:
    x = np.linspace(-1, 1, width, dtype=np.float32)
    return Choice(
        digest_of(f"call-{request_id}"), digest_of(request_id), key_hash, "auto", "0123456789ab", model, 0.25, at_s, x
    )


def fitted(seed: int = 0) -> Any:
    """An artefact as far as a learner looks at it."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(200, WIDTH)).astype(np.float32)
    quality = (rng.random((200, 3)) < 0.5).astype(np.float32)
    router = BanditRouter(rank=3, prior_weight=5.0).fit(X, quality, np.full((200, 3), 1e-4, np.float32))
    return SimpleNamespace(sha256="0123456789ab" + "0" * 52, router=router)


def rate(feedback: Feedback, request_id: str, score: float, key_hash: str = KEY) -> bool:
    return feedback.rate(key_hash, is_master=False, request_id=request_id, score=score)


# --- what is kept -------------------------------------------------------------------------------------------------


def test_choice_is_found_by_either_id_in_any_workers_file(tmp_path: Path) -> None:
    Choices(tmp_path, 0).keep(choice("one"))
    Choices(tmp_path, 1).keep(choice("two", model=2, width=9))
    seen = Choices(tmp_path, 2)
    for request_id in ("two", "call-two"):
        found = seen.find(request_id)
        assert found is not None
        assert (found.model, found.key_hash, found.route, len(found.x)) == (2, KEY, "auto", 9)
        np.testing.assert_array_equal(found.x, choice("two", width=9).x)
    assert seen.find("three") is None


def test_latest_of_two_with_one_id_is_meant(tmp_path: Path) -> None:
    """A caller may choose `x-request-id`, and twice the same."""
    for worker, at_s in ((0, 5.0), (1, 3.0)):
        Choices(tmp_path, worker).keep(choice("same", model=worker, at_s=at_s))
    found = Choices(tmp_path, 0).find("same")
    assert found is not None
    assert found.model == 0


def test_oldest_choice_gives_way_and_a_restart_goes_on_behind_the_latest(tmp_path: Path) -> None:
    choices = Choices(tmp_path, 0)
    for number in range(ENTRIES):
        choices.keep(choice(f"r-{number}", at_s=number + 1.0))
    Choices(tmp_path, 0).keep(choice("newest", at_s=ENTRIES + 1.0))
    assert choices.find("r-0") is None
    assert choices.find("r-1") is not None
    assert choices.find("newest") is not None


def test_file_of_another_size_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / f"choices-1-0-{WIDTH}.bin").write_bytes(b"rubbish")
    choices = Choices(tmp_path, 0)
    assert choices.find("one") is None
    choices.keep(choice("one"))
    assert choices.find("one") is not None


# --- rating -------------------------------------------------------------------------------------------------------


def test_rating_is_kept_once_and_stands(tmp_path: Path) -> None:
    feedback, other_worker = Feedback(tmp_path, 0), Feedback(tmp_path, 1)
    feedback.choices.keep(choice("one"))
    assert rate(feedback, "one", 0.5)
    assert not rate(other_worker, "call-one", 0.5)
    with pytest.raises(Conflict):
        rate(other_worker, "one", 0.6)
    (line,) = Reader(tmp_path).lines()
    assert (line.model, line.score, line.propensity, line.key_hash) == (1, 0.5, 0.25, KEY)
    np.testing.assert_array_equal(line.vector(), choice("one").x)


def test_nobody_rates_what_another_asked(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    with pytest.raises(NotFound):
        rate(feedback, "one", 0.5)
    feedback.choices.keep(choice("one"))
    with pytest.raises(NotFound):
        rate(feedback, "one", 0.5, key_hash=OTHER)
    assert Reader(tmp_path).lines() == []
    assert feedback.rate(OTHER, is_master=True, request_id="one", score=0.5)


def test_many_at_once_over_workers_keep_each_rating_once(tmp_path: Path) -> None:
    workers = [Feedback(tmp_path, worker) for worker in range(4)]
    for number in range(40):
        workers[number % 4].choices.keep(choice(f"r-{number}"))
    tries = [(workers[number % 4], f"r-{number // 4}") for number in range(160)]
    with ThreadPoolExecutor(16) as pool:
        new = list(pool.map(lambda pair: rate(pair[0], pair[1], 1.0), tries))
    assert sum(new) == 40
    assert len({line.call for line in Reader(tmp_path).lines()}) == 40


def test_log_goes_on_in_a_new_file_and_is_read_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feedback_module, "ROTATE_BYTES", 1000)
    feedback = Feedback(tmp_path, 0)
    reader, read = Reader(tmp_path), []
    for number in range(20):
        feedback.choices.keep(choice(f"r-{number}"))
        rate(feedback, f"r-{number}", number / 20)
        if number % 7 == 0:
            read += reader.lines(4096)
    while more := reader.lines(4096):
        read += more
    assert len(list(tmp_path.glob("feedback-*.jsonl"))) > 3
    assert [line.score for line in read] == [number / 20 for number in range(20)]


def test_line_that_a_crash_cut_short_hides_none_behind_it(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    for name in ("one", "two"):
        feedback.choices.keep(choice(name))
    rate(feedback, "one", 0.25)
    with log_path(tmp_path, 1).open("ab") as file:
        file.write(b'{"call":"00')
    rate(feedback, "two", 0.75)
    assert [line.score for line in Reader(tmp_path).lines()] == [0.25, 0.75]


# --- learning -----------------------------------------------------------------------------------------------------


def test_every_worker_and_a_later_start_know_the_same(tmp_path: Path) -> None:
    first, second = Feedback(tmp_path, 0), Feedback(tmp_path, 1)
    routers = [worker.learned(fitted()) for worker in (first, second)]
    x = choice("x").x
    before = routers[0].rate_one(x).copy()
    for number in range(30):
        first.choices.keep(choice(f"r-{number}"))
        rate((first, second)[number % 2], f"r-{number}", 1.0)
        (first, second)[number % 2].poll(time.monotonic())
    for worker in (first, second):
        worker.poll(time.monotonic())
    after = routers[0].rate_one(x)
    assert after[1] > before[1] + 0.05
    np.testing.assert_array_equal(after, routers[1].rate_one(x))

    np.testing.assert_array_equal(after, Feedback(tmp_path, 0).learned(fitted()).rate_one(x))  # from the log
    first.save()
    assert list(tmp_path.glob("state-*.safetensors"))
    log_path(tmp_path, 1).write_bytes(b" " * log_path(tmp_path, 1).stat().st_size)
    np.testing.assert_array_equal(after, Feedback(tmp_path, 0).learned(fitted()).rate_one(x))  # from the state


@pytest.mark.parametrize("rubbish", [b"", b"\x80\x04K\x01.", b"\x02\0\0\0\0\0\0\0{}", b"\xff" * 64])
def test_state_that_cant_be_read_is_learned_again(rubbish: bytes, tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    feedback.choices.keep(choice("one"))
    rate(feedback, "one", 1.0)
    learned = feedback.learned(fitted()).rate_one(choice("x").x)
    (tmp_path / "state-0123456789ab.safetensors").write_bytes(rubbish)
    np.testing.assert_array_equal(Feedback(tmp_path, 0).learned(fitted()).rate_one(choice("x").x), learned)


def test_router_whose_file_is_gone_is_saved_and_learns_no_more(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    router = feedback.learned(fitted())
    feedback.choices.keep(choice("one"))
    rate(feedback, "one", 1.0)
    feedback.poll(time.monotonic())
    feedback.forget_others([])
    learned = router.rate_one(choice("x").x)
    assert list(tmp_path.glob("state-*.safetensors"))
    feedback.choices.keep(choice("two"))
    rate(feedback, "two", 1.0)
    feedback.poll(time.monotonic())
    np.testing.assert_array_equal(router.rate_one(choice("x").x), learned)
    assert (feedback.learned(fitted()).rate_one(choice("x").x) != learned).any()


def test_ratings_of_another_router_file_teach_nothing(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    feedback.choices.keep(choice("one"))
    rate(feedback, "one", 1.0)
    other = SimpleNamespace(sha256="f" * 64, router=fitted().router)
    np.testing.assert_array_equal(
        feedback.learned(other).rate_one(choice("x").x), fitted().router.rate_one(choice("x").x)
    )


def test_rating_that_fits_no_model_is_passed_over(tmp_path: Path) -> None:
    feedback = Feedback(tmp_path, 0)
    for name, model in (("wrong", 9), ("right", 1)):
        feedback.choices.keep(choice(name, model=model))
        rate(feedback, name, 1.0)
    lines = log_path(tmp_path, 1).read_text().splitlines()
    broken = json.loads(lines[1]) | {"x": "AAA"}
    log_path(tmp_path, 1).write_text("\n".join([lines[0], json.dumps(broken), lines[1]]) + "\n")
    learner = Learner(fitted(), tmp_path)
    assert learner.poll()
    assert learner.router.evidence_[1].any()
    assert not learner.router.evidence_[[0, 2]].any()


def test_disk_that_takes_no_rating_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F22: nothing half written is left, and nothing counts as rated."""
    feedback = Feedback(tmp_path, 0)
    feedback.choices.keep(choice("one"))
    real_write = feedback_module.os.write
    monkeypatch.setattr(feedback_module.os, "write", lambda fd, data: real_write(fd, data[:10]))
    with pytest.raises(OSError, match="No space"):
        rate(feedback, "one", 0.5)
    monkeypatch.setattr(feedback_module.os, "write", real_write)
    assert rate(feedback, "one", 0.75)
    assert [line.score for line in Reader(tmp_path).lines()] == [0.75]
