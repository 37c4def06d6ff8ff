from __future__ import annotations

import numpy as np
import pytest

from routewright.learning import everyday
from routewright.learning.datasets import read_dataset
from routewright.learning.default_router import PATH, SETS, canonical, join
from routewright.routing.artefact import read_artefact
from routewright.routing.features.hashed import UNFAMILIAR
from routewright.types import Prompt


def test_the_packaged_router_is_small_and_passes_its_own_gate():
    assert PATH.stat().st_size < 1_000_000
    artefact = read_artefact(PATH)
    assert artefact.gate["passed"]
    assert artefact.training["assumed_rows"] > 0
    assert {label.role for label in artefact.labels} == {"model", "rung", "code", "math"}
    rungs = [label.quality for label in artefact.labels if label.role == "rung"]
    assert rungs == sorted(rungs, reverse=True)


def test_the_packaged_router_holds_no_text_but_names():
    artefact = read_artefact(PATH)
    assert artefact.training_ids == ()
    content = PATH.read_bytes()
    for text in (*everyday.easy(), *everyday.hard()):
        if len(text) > 8:
            assert text.encode() not in content


def test_everyday_prompts_differ_and_their_assumed_scores_ascend_with_level():
    easy, hard = list(everyday.easy()), list(everyday.hard())
    assert len(set(easy + hard)) == len(easy) + len(hard) > 150
    levels = np.array([0.3, 0.45, 0.6, 0.75], np.float32)
    for is_hard in (True, False):
        scores = everyday.assumed_scores(levels, is_hard=is_hard)
        assert (np.diff(scores) > 0).all()
    assert np.ptp(everyday.assumed_scores(levels, is_hard=True)) > 3 * np.ptp(
        everyday.assumed_scores(levels, is_hard=False)
    )


def test_models_of_several_sets_get_one_name():
    assert canonical("mistralai/Mixtral-8x7B-Instruct-v0.1") == canonical("mistralai/mixtral-8x7b-chat")
    assert canonical("gpt-4-1106-preview") == "gpt-4-1106-preview"


def test_joined_sets_share_rows_and_columns(made_up):
    joined = join([made_up, made_up.without(["coder"])])
    assert len(joined) == len(made_up)
    assert joined.models == made_up.models
    assert joined.quality == pytest.approx(made_up.quality)


@pytest.mark.shared_data
def test_no_prompt_of_the_data_is_in_the_packaged_router(shared_data):
    content = PATH.read_bytes()
    for name in SETS:
        for prompt in read_dataset(shared_data, name).prompts[::10]:
            start = prompt.text[:40].encode()
            assert len(start) < 12 or start not in content


def test_the_packaged_router_knows_gibberish_from_language():
    features = read_artefact(PATH).features
    for unlike in (
        "xkq zvw jqpt wqzx kjvq pzxw qjkz vwxq zkpj qvxw jzkq pwvx zqjk",
        "aGVsbG8gd29ybGQgYW5kIG1vcmUgYW5kIG1vcmUgdGV4dA" * 3,
    ):
        assert features.why_unlike(Prompt(text=unlike)) == UNFAMILIAR
    for like in (
        "Please summarise the attached contract in three sentences and list the deadlines for the tenant.",
        "Bitte fasse den folgenden Vertrag in drei Sätzen zusammen und nenne die wichtigsten Fristen.",
        "def total(items):\n    return sum(item.price * item.quantity for item in items)\n\nWhy is this slow?",
        "SELECT id, count(*) FROM orders WHERE created_at > now() - interval '7 days' GROUP BY id ORDER BY 2 DESC;",
    ):
        assert features.why_unlike(Prompt(text=like)) == ""
