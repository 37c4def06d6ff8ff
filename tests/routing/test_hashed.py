from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up import make_prompts, make_scores

from routewright.routing.features import hashed
from routewright.routing.features.cheap import CHEAP_NAMES, cut
from routewright.routing.features.hashed import UNFAMILIAR, Folded, HashedFeatures
from routewright.routing.router import NotFitted
from routewright.types import Prompt


@pytest.fixture(scope="module")
def features() -> HashedFeatures:
    prompts, subject = make_prompts(200)
    return HashedFeatures(buckets=1024, n_topics=8, n_targets=3, rank=24).fit(prompts, make_scores(subject)[0])


HOSTILE = [
    "",
    " ",
    "\x00",
    "a",
    "ab",
    "é",
    "\ud800 lone surrogate",
    "a" * 5_000_000,
    "e" + "\u0301" * 200_000,
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢" * 2000,
    "\u202e" * 5000,
    " \n" * 40_000,
    "a b " * 40_000,
    "_" * 9000,
    "```" * 9000,
    "\xff\xfe" * 4000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_gives_a_finite_vector_of_the_usual_size(features, text):
    x = features.vector(Prompt(text=text, system=text, task=text[:500]))
    assert x.shape == (features.n_features,)
    assert x.dtype == np.float32
    assert np.isfinite(x).all()
    # a text of one gram alone is the worst: as many of its steps as the square root of its grams
    assert np.abs(x).max() <= 10 + 127 * features.scale_.max() * np.sqrt(4 * 16_000)


@given(st.text(max_size=300), st.text(max_size=20), st.booleans(), st.text(max_size=10))
def test_any_prompt_gives_a_finite_vector(features, text, system, flag, task):
    prompt = Prompt(text=text, system=system, has_tools=flag, has_images=flag, wants_json=flag, task=task)
    assert np.isfinite(features.vector(prompt)).all()


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_grams_are_bounded_by_the_bytes_read(features, text):
    raw = cut(text).encode("utf-8", "replace")
    assert len(raw) <= 4 * 4000
    grams = features.grams(raw)
    # three kinds of byte grams, at most a word and a pair for every two bytes
    assert 3 * len(raw) <= grams.size <= 4 * (len(raw) + 1)
    assert not raw or 0 <= grams.min() <= grams.max() < features.buckets


def test_head_and_tail_of_a_long_text_are_read_and_nothing_between(features):
    head, tail = "h" * 3000, "t" * 1000
    assert cut("x" * 4000) == "x" * 4000
    assert cut(head + "in between" + tail) == head + tail
    first = features.vector(Prompt(text=head + "abc " * 300 + tail))
    second = features.vector(Prompt(text=head + "xyz " * 900 + tail))
    assert first.tobytes() == second.tobytes()


def test_runs_words_and_pairs_are_the_grams():
    """From each of the 5 bytes of `ab cd` a run of 3, 4 and 5, the first with the space before it; 2 words, 2 pairs."""
    features = HashedFeatures(buckets=65_536)
    grams = features.grams(b"ab cd").tolist()
    assert len(grams) == 3 * 5 + 2 + 2
    runs = [int.from_bytes(b" ab cd "[at : at + 3], "little") for at in range(5)]
    assert grams[:5] == [(run * hashed._ODD % 2**24) >> 8 for run in runs]
    other = features.grams(b"cd xx ab").tolist()
    assert {grams[15], grams[16]} == {other[24], other[26]}  # words hash alike wherever they stand
    assert features.grams(b"x (ab) cd")[-2:].tolist() == grams[-2:]  # and pairs, the last word's with nothing
    assert features.grams(b"unquestionably so")[-4] == features.grams(b"unquestionable so")[-4]  # their first 8 bytes


def test_letter_case_digits_and_control_characters_are_folded(features):
    first, second = (features.vector(Prompt(text=text)) for text in ("Add 17 and\t4", "add 93 and 8"))
    assert first.tobytes() == second.tobytes()


def test_the_same_bytes_give_the_same_vector_on_every_machine():
    """Hashes and sums are whole numbers: this digest must never change, on any machine, but with the format."""
    features = HashedFeatures(buckets=4096)
    text = "Prove that x^2 + 1 has no real root.\n```python\nprint('ok')\n``` Größe 数学 " * 3
    grams = features.grams(text.encode())
    assert hashlib.sha256(grams.astype("<i8").tobytes()).hexdigest()[:16] == "e104dbe7b805219d"


def test_short_way_and_long_way_give_the_same_bits(features, monkeypatch):
    prompts = make_prompts(20, seed=3)[0]
    gathered = features.transform(prompts)
    monkeypatch.setattr(hashed, "_COUNT_FROM_GRAMS", 1)
    assert features.transform(prompts).tobytes() == gathered.tobytes()


def test_a_row_equals_itself_in_a_batch_and_after_saving(features):
    prompts = [*make_prompts(20, seed=4)[0], *(Prompt(text=text[:5000]) for text in HOSTILE)]
    batch = features.transform(prompts)
    loaded = HashedFeatures.from_state(features.params(), features.state())
    assert loaded.transform(prompts).tobytes() == batch.tobytes()
    for row, prompt in enumerate(prompts):
        assert features.vector(prompt).tobytes() == batch[row].tobytes()


def test_equal_seeds_learn_equal_tables():
    prompts, subject = make_prompts(60)
    quality = make_scores(subject)[0]
    first, second = (HashedFeatures(buckets=512, n_topics=4, rank=8).fit(prompts, quality) for _ in range(2))
    for name, array in first.state().items():
        assert array.tobytes() == second.state()[name].tobytes(), name


def test_prompts_of_one_subject_lie_closer_than_those_of_two(features):
    prompts, subject = make_prompts(80, seed=7)
    topics = features.transform(prompts)[:, : features.n_topics]
    likeness = topics @ topics.T
    same = subject[:, None] == subject[None, :]
    assert likeness[same].mean() > likeness[~same].mean() + 0.2


def test_training_rows_get_their_targets_out_of_fold():
    prompts, _ = make_prompts(200)
    quality = np.random.default_rng(0).random((200, 1)).astype(np.float32)  # nothing to learn
    features = HashedFeatures(buckets=512, n_topics=4, n_targets=1, rank=100, ridge=1e-3)
    inside = features.fit_transform(prompts, quality)[:, 4]
    memorised = features.transform(prompts)[:, 4]
    level = quality[:, 0]
    assert abs(np.corrcoef(memorised, level)[0, 1]) > 0.4
    assert abs(np.corrcoef(inside, level)[0, 1]) < 0.25


def test_system_prompt_and_task_tag_are_told_apart_once_learned():
    prompts, subject = make_prompts(60)
    tagged = [replace(p, system=f"agent {s}", task=f"task {s}") for p, s in zip(prompts, subject, strict=True)]
    features = HashedFeatures(buckets=512, n_topics=4, rank=8).fit(tagged, make_scores(subject)[0])
    vectors = [features.vector(Prompt(text="the same", system=f"agent {s}", task=f"task {s}")) for s in range(3)]
    assert not np.array_equal(vectors[0], vectors[1])
    assert not np.array_equal(vectors[1], vectors[2])


def test_a_fact_that_never_varied_in_training_has_no_weight(features):
    plain = features.vector(Prompt(text="loop over a stack"))
    with_tools = features.vector(Prompt(text="loop over a stack", has_tools=True, has_images=True, wants_json=True))
    assert plain.tobytes() == with_tools.tobytes()
    assert features.n_features == 8 + 3 + len(CHEAP_NAMES)


def test_what_was_not_learned_from_is_named(features):
    assert features.why_unlike(Prompt(text="")) == "empty prompt"
    assert features.why_unlike(Prompt(text=" \n\t")) == "empty prompt"
    assert "script" in features.why_unlike(Prompt(text="数学の問題を解いてください"))
    assert features.why_unlike(Prompt(text="Größe der Fläche")) == ""


def test_texts_of_grams_that_training_hardly_held_are_called_unlike():
    prompts = [Prompt(text=f"{p.text} {p.text} and tell me why") for p in make_prompts(300)[0]]
    features = HashedFeatures(n_topics=4, n_targets=0, rank=8).fit(prompts)
    noise = base64.b64encode(np.random.default_rng(0).bytes(200)).decode()
    for unlike in (noise, "zq" * 60):
        assert features.why_unlike(Prompt(text=unlike)) == UNFAMILIAR
        assert features.look(Prompt(text=unlike))[1] == UNFAMILIAR
    assert features.why_unlike(Prompt(text=noise, system="a system prompt", task="a task")) == UNFAMILIAR
    assert features.why_unlike(Prompt(text="zq")) == ""  # too short to say
    unlike = [prompt for prompt in prompts if features.why_unlike(prompt)]
    assert len(unlike) <= 1


def test_features_saved_before_familiarity_was_learned_call_no_text_unlike(features):
    state = {name: array for name, array in features.state().items() if not name.startswith("familiarity")}
    old = HashedFeatures.from_state(features.params(), state)
    prompt = Prompt(text="zq" * 60)
    assert old.why_unlike(prompt) == ""
    assert old.vector(prompt).tobytes() == features.vector(prompt).tobytes()


def test_asking_before_fit_is_refused():
    for ask in (lambda f: f.vector(Prompt(text="x")), lambda f: f.transform([]), lambda f: f.state()):
        with pytest.raises(NotFitted):
            ask(HashedFeatures())


@pytest.mark.parametrize("arguments", [{"buckets": 100}, {"buckets": 1 << 20}, {"n_topics": 0}, {"n_targets": -1}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        HashedFeatures(**arguments).fit(make_prompts(5)[0])


def test_one_prompt_is_enough_and_none_is_refused():
    features = HashedFeatures(buckets=256, n_topics=4, rank=4)
    assert np.isfinite(features.fit_transform([Prompt(text="hello")], np.ones((1, 2), np.float32))).all()
    with pytest.raises(ValueError, match="no prompts"):
        features.fit([])


def test_folded_weights_give_what_the_vector_gives(features):
    rng = np.random.default_rng(0)
    weights, offset = rng.standard_normal((features.n_features, 5)).astype(np.float32), rng.standard_normal(5)
    folded = Folded(features, weights, offset)
    prompts = [*make_prompts(30, seed=5)[0], *(Prompt(text=text[:5000]) for text in HOSTILE)]
    prompts += [replace(p, system="Be brief.", task="law", has_tools=True, wants_json=True) for p in prompts[:5]]
    prompts += [Prompt(text="```\ndef f(x): return x^2\n``` (B) __ 数学 $x=1$?", has_images=True)]
    for prompt in prompts:
        x = features.vector(prompt).astype(np.float64)
        tolerance = 1e-5 * (1 + np.abs(x).max())
        values, unlike = folded(prompt)
        assert values == pytest.approx(x @ weights + offset, abs=tolerance, rel=1e-5), prompt.text[:40]
        assert unlike == features.why_unlike(prompt)


def test_folded_weights_of_one_output_and_of_many(features):
    for n in (1, 2, 3, 9):
        values, _ = Folded(features, np.ones((features.n_features, n), np.float32), np.zeros(n))(Prompt(text="a"))
        assert len(values) == n
