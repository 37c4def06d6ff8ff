"""The graph made of a BERT's weights says what the paper's formulas say, to the 7 bits that its weights are held in."""

from __future__ import annotations

from math import erf, sqrt

import numpy as np
import onnxruntime
import pytest

from routewright.routing.features.bert_onnx import bert_graph

WIDTH, HIDDEN, N_HEADS, N_LAYERS, EPSILON = 32, 64, 4, 2, 1e-12


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    made: dict[str, np.ndarray] = {
        "embeddings.word_embeddings.weight": rng.standard_normal((50, WIDTH)),
        "embeddings.position_embeddings.weight": rng.standard_normal((16, WIDTH)),
        "embeddings.token_type_embeddings.weight": rng.standard_normal((2, WIDTH)),
    }

    def linear(name, width_in, width_out):
        made[f"{name}.weight"] = rng.standard_normal((width_out, width_in)) / sqrt(width_in)
        made[f"{name}.bias"] = rng.standard_normal(width_out) / 4

    def norm(name):
        made[f"{name}.weight"] = rng.uniform(0.5, 1.5, WIDTH)
        made[f"{name}.bias"] = rng.standard_normal(WIDTH) / 4

    norm("embeddings.LayerNorm")
    for layer in range(N_LAYERS):
        name = f"encoder.layer.{layer}"
        for part in ("query", "key", "value"):
            linear(f"{name}.attention.self.{part}", WIDTH, WIDTH)
        linear(f"{name}.attention.output.dense", WIDTH, WIDTH)
        norm(f"{name}.attention.output.LayerNorm")
        linear(f"{name}.intermediate.dense", WIDTH, HIDDEN)
        linear(f"{name}.output.dense", HIDDEN, WIDTH)
        norm(f"{name}.output.LayerNorm")
    return {name: array.astype(np.float32) for name, array in made.items()}


def by_the_formulas(weights, ids) -> np.ndarray:
    """Vaswani et al., 2017; Devlin et al., 2018: post-norm layers, GELU, softmax of scaled products."""

    def linear(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def norm(x, name):
        centred = x - x.mean(axis=1, keepdims=True)
        unit = centred / np.sqrt((centred**2).mean(axis=1, keepdims=True) + EPSILON)
        return unit * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    x = weights["embeddings.word_embeddings.weight"][ids] + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for layer in range(N_LAYERS):
        name = f"encoder.layer.{layer}"
        size = WIDTH // N_HEADS
        q, k, v = (linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(N_HEADS):
            columns = slice(head * size, (head + 1) * size)
            weight = np.exp(q[:, columns] @ k[:, columns].T / sqrt(size))
            heads.append(weight / weight.sum(axis=1, keepdims=True) @ v[:, columns])
        attended = linear(np.hstack(heads), f"{name}.attention.output.dense")
        x = norm(x + attended, f"{name}.attention.output.LayerNorm")
        hidden = linear(x, f"{name}.intermediate.dense")
        hidden = hidden * 0.5 * (1 + np.vectorize(erf)(hidden / sqrt(2)))
        x = norm(x + linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")
    return x.mean(axis=0)


@pytest.mark.parametrize("ids", [[7], [1, 2, 3], [49, 0, 13, 13, 2, 30, 5, 8, 9, 10, 11, 12, 4, 6, 7, 21]])
def test_the_graph_follows_the_formulas(weights, ids):
    graph = bert_graph(weights.__getitem__, n_layers=N_LAYERS, n_heads=N_HEADS, epsilon=EPSILON)
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"ids": np.array(ids), "places": np.arange(len(ids))})
    wanted = by_the_formulas(weights, ids)
    assert found.shape == (WIDTH,)
    assert found @ wanted / np.linalg.norm(found) / np.linalg.norm(wanted) > 0.995
    np.testing.assert_allclose(found, wanted, atol=0.2)


def test_a_weight_that_is_missing_is_named(weights):
    rest = {name: array for name, array in weights.items() if name != "encoder.layer.1.output.dense.bias"}
    with pytest.raises(KeyError, match=r"encoder\.layer\.1\.output\.dense\.bias"):
        bert_graph(rest.__getitem__, n_layers=N_LAYERS, n_heads=N_HEADS, epsilon=EPSILON)
