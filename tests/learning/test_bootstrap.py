from __future__ import annotations

import numpy as np
import pytest

from routewright.learning.bootstrap import Resamples, bootstrap_interval, interval


def test_each_round_draws_as_many_rows_as_there_are():
    counts = Resamples(50, seed=1, rounds=20).counts
    assert counts.shape == (20, 50)
    assert (counts.sum(axis=1, dtype=int) == 50).all()
    assert len({row.tobytes() for row in counts}) == 20


def test_means_of_columns_are_paired():
    resamples = Resamples(200, seed=2)
    values = np.random.default_rng(0).random((200, 2))
    apart = np.stack([resamples.means(values[:, 0]), resamples.means(values[:, 1])], axis=1)
    assert resamples.means(values) == pytest.approx(apart)
    assert resamples.means(values[:, 0] - values[:, 1]) == pytest.approx(apart[:, 0] - apart[:, 1])


def test_about_95_of_100_intervals_hold_the_true_mean():
    rng = np.random.default_rng(5)
    held = 0
    for seed in range(200):
        low, high = bootstrap_interval(rng.normal(1.0, 1.0, size=100), seed=seed)
        held += low <= 1.0 <= high
    assert 180 <= held <= 198


def test_never_reached_in_some_rounds_leaves_the_upper_end_open():
    assert interval([*np.linspace(0, 1, 90), *[np.inf] * 10])[1] == np.inf
    assert interval([*np.linspace(0, 1, 995), *[np.inf] * 5])[1] <= 1.0


def test_nothing_can_not_be_resampled():
    with pytest.raises(ValueError, match="nothing"):
        Resamples(0, seed=0)
