from __future__ import annotations

import numpy as np
import pytest

from routewright.routing.elo import EloRouter, bradley_terry, level_shift

rng = np.random.default_rng(6)
KINDS = np.eye(2, dtype=np.float32)


def test_two_players_by_hand():
    """Three points to one: odds 3."""
    ratings = bradley_terry(np.array([[[0.0, 3.0], [1.0, 0.0]]]))[0]
    assert ratings[0] - ratings[1] == pytest.approx(np.log(3))
    assert ratings.sum() == pytest.approx(0)


def test_ratings_are_the_likeliest():
    """At the maximum each player's points are those expected."""
    wins = rng.integers(1, 9, (5, 4, 4)) * (1.0 - np.eye(4))
    ratings = bradley_terry(wins)
    games = wins + wins.transpose(0, 2, 1)
    expected = games / (1 + np.exp(ratings[:, None, :] - ratings[:, :, None]))
    assert expected.sum(axis=2) == pytest.approx(wins.sum(axis=2), abs=1e-4)


def test_a_400_point_lead_is_ten_to_one():
    """Of 88 games for two points each, the first wins 80: by the two games of the prior 81 to 9, or odds 9."""
    outcome = np.repeat([1.0, 0.0], (80, 8)).astype(np.float32)
    first, second = np.zeros(88, np.int64), np.ones(88, np.int64)
    X = np.ones((88, 1), np.float32)
    router = EloRouter(n_clusters=1).fit_preferences(X, first, second, outcome, np.ones(2))
    lead = router.elo()[0] - router.elo()[1]
    assert lead == pytest.approx(400 * np.log10(81 / 9))
    assert router.elo().mean() == pytest.approx(1000)
    # in the one kind thirty games more are played at 9 to 1, so 107 to 11; a score is the chance to beat a model of
    # mean rating, half the lead in log-odds
    half = np.log(107 / 11) / 2
    assert router.rate_one(X[0]) == pytest.approx(1 / (1 + np.exp([-half, half])), abs=1e-4)


def test_every_kind_of_prompt_has_ratings_of_its_own():
    X = np.repeat(KINDS, 200, axis=0)
    good = (np.arange(400) < 200)[:, None]
    chance = np.where(good, [0.9, 0.3, 0.6], [0.2, 0.8, 0.5])
    quality = (rng.random((400, 3)) < chance).astype(np.float32)
    router = EloRouter(n_clusters=2, nearest=1).fit(X, quality, np.ones_like(quality))
    assert router.rate_one(KINDS[0]) == pytest.approx(chance[0], abs=0.1)
    assert router.rate_one(KINDS[1]) == pytest.approx(chance[-1], abs=0.1)
    overall = EloRouter(n_clusters=1).fit(X, quality, np.ones_like(quality))
    assert overall.rate_one(KINDS[0]).tolist() == overall.rate_one(KINDS[1]).tolist()


def test_a_model_tried_on_hard_prompts_only_is_not_held_for_bad():
    """Models 0 and 1 are equally good; 1 saw only the hard half, where 2 shows how hard it was."""
    hard = np.arange(800) < 400
    chance = np.where(hard, 0.3, 0.9)[:, None] * np.array([1, 1, 0.8])
    quality = (rng.random((800, 3)) < chance).astype(np.float32)
    quality[~hard, 1] = np.nan
    assert np.nanmean(quality[:, 1]) < np.nanmean(quality[:, 2])
    X = rng.standard_normal((800, 2)).astype(np.float32)
    router = EloRouter(n_clusters=1).fit(X, quality, np.ones_like(quality))
    assert router.rating_[1] > router.rating_[2] + 0.1


def test_the_level_of_a_kind_is_kept():
    ratings = np.array([[0.5, -0.5, 0.0], [1.0, 0.0, -1.0]])
    shift = level_shift(ratings, np.array([0.8, 0.3]), np.ones((2, 3)))
    assert (1 / (1 + np.exp(-(ratings + shift[:, None])))).mean(axis=1) == pytest.approx([0.8, 0.3], abs=1e-6)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"first": [0, 0, 1]}, "itself"),
        ({"first": [0, 0, 5]}, "0..1"),
        ({"outcome": [1, 0, 2]}, "0..1"),
        ({"outcome": [1, 0, np.nan]}, "missing"),
        ({"outcome": [1, 0]}, "shape"),
        ({"cost_usd": [-1, 1]}, "cost_usd"),
    ],
)
def test_comparisons_that_are_none_are_refused(change, word):
    data = {"first": [0, 0, 0], "second": [1, 1, 1], "outcome": [1, 0, 1], "cost_usd": [1, 1], **change}
    with pytest.raises(ValueError, match=word):
        EloRouter().fit_preferences(np.ones((3, 2), np.float32), **{name: np.array(a) for name, a in data.items()})


@pytest.mark.parametrize("arguments", [{"n_clusters": 0}, {"nearest": 0}, {"pseudo_count": 0.0}])
def test_arguments_out_of_range_are_refused_in_fit(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        EloRouter(**arguments).fit(KINDS, KINDS, KINDS)
