from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.graph import MESSAGES, GraphRouter, _Graph, alike, weigh

rng = np.random.default_rng(9)


def test_messages_of_a_small_graph_by_hand():
    """Two kinds of two prompts each, at right angles; models 0 and 1 alike, 2 their opposite. No kinds are alike.

    Kind 0 heard (1, 0.5, -0.5) twice: over 2 + 2 pseudo-prompts half of it. Models 0 and 1 hear of each other.
    """
    X = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)
    news = np.array([[1, 0.5, -0.5]] * 2 + [[-1, -0.5, 0.5]] * 2, dtype=np.float32)
    graph = _Graph(GraphRouter(n_clusters=2, nearest=2, neighbours=1, pseudo_count=2.0), X, news)
    heard = graph.messages(np.array([[3, 0]], dtype=np.float32))[0]
    assert heard[:, MESSAGES.index("kind")] == pytest.approx([0.5, 0.25, -0.25])
    assert heard[:2, MESSAGES.index("kind-model")] == pytest.approx([0.25, 0.5])
    assert heard[:, MESSAGES.index("kind-kind")] == pytest.approx([0, 0, 0])


def test_a_missing_score_is_no_news():
    X = np.array([[1, 0], [1, 0]], dtype=np.float32)
    news = np.array([[1, np.nan], [np.nan, np.nan]], dtype=np.float32)
    graph = _Graph(GraphRouter(n_clusters=1, pseudo_count=1.0), X, np.where([[1, 0], [0, 1]], news, -0.5))
    assert graph.tables[0, 0] == pytest.approx([(1 - 0.5) / 3, (-0.5) / 2])


def test_nodes_alike_are_joined_never_to_themselves_nor_to_opposites():
    joined = alike(np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]]), 1)
    assert joined.tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]]


def test_what_was_worth_nothing_is_not_believed():
    heard = rng.standard_normal((4000, 3))
    outcome = (rng.random(4000) < 1 / (1 + np.exp(-(2 * heard[:, 0] - heard[:, 2])))).astype(float)
    weights, shift = weigh(heard, outcome, np.zeros(4000))
    assert 1.3 < weights[0] < 2.0  # what is left out makes the rest look noisier
    assert weights[1] == pytest.approx(0, abs=0.1)
    assert weights[2] == 0.0
    assert shift == pytest.approx(0, abs=0.1)


def test_a_model_seldom_tried_learns_from_models_alike():
    """Models 0 and 1 are good at one half of the kinds, 2 and 3 at the other; model 0 was hardly tried."""
    directions = np.linalg.qr(rng.standard_normal((8, 8)))[0].astype(np.float32)
    kind = rng.integers(8, size=1600)
    X = directions[kind] + 0.05 * rng.standard_normal((1600, 8)).astype(np.float32)
    chance = np.where((kind < 4)[:, None], [0.9, 0.9, 0.2, 0.2], [0.2, 0.2, 0.9, 0.9])
    quality = (rng.random(chance.shape) < chance).astype(np.float32)
    quality[40:, 0] = np.nan
    router = GraphRouter(n_clusters=8, nearest=1, neighbours=1, penalty=1e4).fit(X, quality, np.ones_like(quality))
    rated = router.predict_quality(directions)
    assert (rated[:4, 0] > 0.7).all()
    assert (rated[4:, 0] < 0.5).all()
    assert router.belief_[MESSAGES.index("kind-model")] > 0.1
    told = router.describe(directions[0])
    assert sum(told["kinds"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    "arguments", [{"n_clusters": 0}, {"nearest": 0}, {"neighbours": 0}, {"pseudo_count": -1.0}, {"penalty": 0.0}]
)
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    one = np.ones((5, 2), np.float32)
    with pytest.raises(ValueError, match=next(iter(arguments))):
        GraphRouter(**arguments).fit(one, one, one)
