"""Encoders trained with their heads, on tiny models with random weights, made here; skipped where PyTorch is absent."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import WORDS, make_artefact, make_prompts, make_scores

from routewright.routing.artefact import read_artefact, write_artefact
from routewright.routing.features import load_features, make_features
from routewright.routing.features.contract import Supplies
from routewright.routing.registry import find_router
from routewright.routing.router import NotFitted
from routewright.types import Prompt

torch = pytest.importorskip("torch", reason="needs the extra research")
transformers = pytest.importorskip("transformers", reason="needs the extra research")

MODELS = {
    "routerdc": lambda n: transformers.BertModel(
        transformers.BertConfig(
            vocab_size=n, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64,
        )
    ),
    "causallm": lambda n: transformers.LlamaModel(
        transformers.LlamaConfig(
            vocab_size=n, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
            intermediate_size=32, max_position_embeddings=64,
        )
    ),
}  # fmt: skip
FAST = {"epochs": 6, "learning_rate": 3e-3, "max_tokens": 32}
NAMES = list(MODELS)


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """A base model of each kind, as `save_pretrained` leaves it."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    words = ["[UNK]", *sorted({word for text in WORDS.values() for word in text})]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    found = {}
    for name, make in MODELS.items():
        torch.manual_seed(0)
        found[name] = tmp_path_factory.mktemp(name)
        make(len(words)).save_pretrained(found[name])
        tokenizer.save(str(found[name] / "tokenizer.json"))
    return found


@pytest.fixture(scope="module", params=NAMES)
def fitted(request, folders):
    prompts, subject = make_prompts(160)
    quality, cost = make_scores(subject)
    quality[::9, 1] = np.nan
    features = make_features(request.param, arguments=FAST, supplies=Supplies(base_model=folders[request.param]))
    X = features.fit_transform(prompts, quality)
    return features, X, find_router(request.param)().fit(X, quality, cost)


def test_a_trained_encoder_tells_subjects_apart_by_who_answers_them(fitted):
    features, X, router = fitted
    assert X.shape == (160, 4)
    prompts, subject = make_prompts(60, seed=5)
    rated = router.predict_quality(features.transform(prompts))
    coder, jurist = rated[:, 2], rated[:, 3]
    assert coder[subject == 0].mean() > coder[subject == 1].mean() + 0.2
    assert jurist[subject == 1].mean() > jurist[subject == 0].mean() + 0.2


def test_a_row_alone_equals_itself_in_a_batch_and_after_saving(fitted):
    features, _, _ = fitted
    prompts = [*make_prompts(6, seed=4)[0], *(Prompt(text=t) for t in ("", "\ud800", "a" * 100_000, "数学 " * 500))]
    batch = features.transform(prompts)
    assert np.isfinite(batch).all()
    loaded = load_features(features.name, features.params(), features.state())
    assert loaded.transform(prompts[::-1]).tobytes() == batch[::-1].tobytes()
    for row, prompt in enumerate(prompts):
        assert features.vector(prompt).tobytes() == batch[row].tobytes()


def test_a_router_file_holds_the_encoder_whole(fitted, tmp_path):
    features, _, router = fitted
    write_artefact(replace(make_artefact(), router=router, features=features, training_ids=()), tmp_path / "r")
    loaded = read_artefact(tmp_path / "r")
    prompts = make_prompts(10, seed=6)[0]
    assert loaded.router.predict_quality(loaded.features.transform(prompts)).tobytes() == (
        router.predict_quality(features.transform(prompts)).tobytes()
    )
    assert not loaded.features.is_quick


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_train_equal_encoders(name, folders):
    prompts, subject = make_prompts(40)
    quality = make_scores(subject)[0]
    supplies = Supplies(base_model=folders[name])
    first, second = (make_features(name, seed=3, arguments=FAST, supplies=supplies) for _ in range(2))
    first.fit(prompts, quality)
    torch.rand(7)  # the process's own generator has no say
    second.fit(prompts, quality)
    for key, array in first.state().items():
        assert array.tobytes() == second.state()[key].tobytes(), key


def test_what_training_needs_is_asked_for_by_name(folders, tmp_path):
    prompts, subject = make_prompts(10)
    quality = make_scores(subject)[0]
    with pytest.raises(ValueError, match="--base-model"):
        make_features("routerdc").fit(prompts, quality)
    with pytest.raises(ValueError, match="learn from scores"):
        make_features("routerdc", supplies=Supplies(base_model=folders["routerdc"])).fit(prompts)
    with pytest.raises(ValueError, match="has no model that can be read"):
        make_features("causallm", supplies=Supplies(base_model=tmp_path)).fit(prompts, quality)
    with pytest.raises(NotFitted):
        make_features("causallm").vector(prompts[0])


def test_a_folder_with_a_pickle_in_place_of_safetensors_is_refused(folders, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_bytes((folders["routerdc"] / name).read_bytes())
    torch.save({"x": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    prompts, subject = make_prompts(10)
    with pytest.raises(ValueError, match="has no model that can be read"):
        make_features("routerdc", supplies=Supplies(base_model=tmp_path)).fit(prompts, make_scores(subject)[0])


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"vocab_size": 10**9}, '"vocab_size" is 1000000000'),
        ({"num_hidden_layers": 10**6}, '"num_hidden_layers" is 1000000'),
        ({"num_hidden_layers": 3}, "its configuration asks for"),
        ({"model_type": "no_such_model"}, "no model type"),
        ({"model_type": None}, "is no configuration"),
    ],
)
def test_a_configuration_that_does_not_fit_its_weights_is_refused(fitted, change, fault):
    features = fitted[0]
    state = features.state()
    config = json.loads(state["config"].tobytes()) | change
    bad = state | {"config": np.frombuffer(json.dumps(config).encode(), dtype=np.uint8)}
    with pytest.raises(ValueError, match=fault):
        load_features(features.name, features.params(), bad)


def test_weights_that_are_cut_are_refused(fitted):
    features = fitted[0]
    state = features.state()
    with pytest.raises(ValueError, match="its configuration asks for"):
        load_features(features.name, features.params(), state | {"weights": state["weights"][:-1]})


def test_a_configuration_that_names_code_has_it_left_out(fitted):
    features = fitted[0]
    state = features.state()
    config = json.loads(state["config"].tobytes())
    config |= {"auto_map": {"AutoModel": "evil.Model"}, "_attn_implementation": "someone/kernel", "torch_dtype": "int8"}
    named = state | {"config": np.frombuffer(json.dumps(config).encode(), dtype=np.uint8)}
    loaded = load_features(features.name, features.params(), named)
    prompt = make_prompts(1)[0][0]
    assert loaded.vector(prompt).tobytes() == features.vector(prompt).tobytes()


def test_a_router_without_its_columns_is_refused_by_name():
    _, subject = make_prompts(20)
    quality, cost = make_scores(subject)
    with pytest.raises(ValueError, match='needs features with a column for each of 4 models, such as "routerdc"'):
        find_router("routerdc")().fit(np.zeros((20, 3), np.float32), quality, cost)


# --- the two losses, by hand ----------------------------------------------------------------------------------------


def test_the_contrast_of_models_is_the_papers():
    """Cosines 0.5, 0.1, -0.2; the first model is best, the others fail: -log(e^.5 / (e^.5 + e^.1 + e^-.2))."""
    features = make_features("routerdc", arguments={"n_best": 1, "n_worst": 2, "temperature": 1.0})
    cosines = torch.tensor([[0.5, 0.1, -0.2]])
    found = features.model_loss(cosines, torch.tensor([[1.0, 0.0, 0.2]]))
    wanted = -np.log(np.exp(0.5) / (np.exp(0.5) + np.exp(0.1) + np.exp(-0.2)))
    assert float(found) == pytest.approx(wanted, abs=1e-6)
    # where nobody failed, or nobody is better, nothing is to be learned; what was not recorded takes no part
    assert float(features.model_loss(cosines, torch.tensor([[1.0, 0.6, 0.7]]))) == 0.0
    assert float(features.model_loss(cosines, torch.tensor([[0.0, 0.0, 0.0]]))) == 0.0
    nan = float("nan")
    found = features.model_loss(cosines, torch.tensor([[1.0, nan, 0.2]]))
    assert float(found) == pytest.approx(-np.log(np.exp(0.5) / (np.exp(0.5) + np.exp(-0.2))), abs=1e-6)


def test_the_contrast_of_prompts_is_the_papers():
    """Unit rows at 0, 60 and 180 degrees, the first two of a group: their cosine .5 against -1 and -.5."""
    features = make_features("routerdc", arguments={"temperature": 1.0})
    rows = torch.tensor([[1.0, 0.0], [0.5, 0.75**0.5], [-1.0, 0.0]])
    found = features.group_loss(rows, torch.tensor([0, 0, 1]))
    each = [-np.log(np.exp(0.5) / (np.exp(0.5) + np.exp(other))) for other in (-1.0, -0.5)]
    assert float(found) == pytest.approx(np.mean(each), abs=1e-6)
    assert float(features.group_loss(rows, torch.tensor([0, 0, 0]))) == 0.0


def test_the_causal_head_learns_from_what_was_recorded():
    features = make_features("causallm")
    rows, head = torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [9.0, 9.0]])
    found = features.loss(rows, head, torch.tensor([[0.75, float("nan")]]), None)
    p = 1 / (1 + np.exp(-2.0))
    assert float(found) == pytest.approx(-(0.75 * np.log(p) + 0.25 * np.log(1 - p)), abs=1e-6)


def test_the_causal_row_is_the_last_tokens():
    features = make_features("causallm")
    states = torch.arange(12.0).reshape(2, 3, 2)
    rows = features.pool(states, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    assert rows.tolist() == [[2.0, 3.0], [10.0, 11.0]]
