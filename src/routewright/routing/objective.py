"""Quality against cost: the rule of choice, what a call is expected to cost, and the dial between them."""

from __future__ import annotations

from bisect import bisect_left
from math import inf, log
from typing import Final

import numpy as np
from numpy.typing import NDArray

from routewright.types import Price

USUAL_OUTPUT_TOKENS: Final = 300.0
"""Of a model whose usual answer nobody has measured: a few paragraphs."""
_STEPS: Final = 200
_AS_GOOD_AS_FREE: Final = 0.05
"""Share of the least cost that is spent before the dial begins to count."""


class Dial:
    """Turns a wish for quality, 0..1, into the weight of a US dollar against a unit of score.

    The dial's meaning is exact. Choosing argmax(score - weight * cost) over a fitted sample traces a curve: mean
    expected score against mean cost, from the best choice (weight 0) to the cheapest candidate's (weight without
    bound). At 1 the dial is the best choice, at 0 the cheapest candidate. Between them q is the fraction of the way to
    the best's expected score from that of the curve at 1.05 times the least cost: so q = 0.8 gives up a fifth of what
    there is to win, where that saves most. What a twentieth of the least cost buys is not on the dial: where several
    candidates cost nearly the same, the very cheapest of each prompt may be much worse than another, for nothing.

    scores: expected scores of a sample of prompts, (n, n_candidates).
    costs_usd: expected cost of each, (n, n_candidates).
    """

    __slots__ = ("_fractions", "_weights", "best_score", "cheapest_score")

    def __init__(self, scores: NDArray[np.floating], costs_usd: NDArray[np.floating]) -> None:
        s = np.asarray(scores, dtype=np.float64)
        c = np.asarray(costs_usd, dtype=np.float64)
        rows = np.arange(len(s))
        cheapest = c.argmin(axis=1)
        gain = s - s[rows, cheapest][:, None]
        extra = c - c[rows, cheapest][:, None]
        self.cheapest_score = float(s[rows, cheapest].mean())
        self.best_score = float(s.max(axis=1).mean())
        # the weights at which somebody's choice changes lie between these
        worth = gain[(gain > 0) & (extra > 0)] / extra[(gain > 0) & (extra > 0)]
        if not worth.size or self.best_score - self.cheapest_score < 1e-9:
            self._fractions, self._weights = [0.0, 1.0], [0.0, 0.0]
            return
        low, high = max(float(worth.min()) * 1e-2, 1e-12), float(worth.max()) * 1.01
        weights = np.geomspace(high, min(low, high), _STEPS)
        choices = [(s - weight * c).argmax(axis=1) for weight in weights]
        means = np.array([s[rows, choice].mean() for choice in choices])
        spent = np.array([c[rows, choice].mean() for choice in choices])
        first = int(np.flatnonzero(spent <= (1 + _AS_GOOD_AS_FREE) * c[rows, cheapest].mean())[-1])
        base = float(means[first])
        span = max(self.best_score - base, 1e-9)
        fractions = np.maximum.accumulate((means[first:] - base) / span)
        self._fractions = [*fractions.tolist(), 1.0]
        self._weights = [*weights[first:].tolist(), 0.0]

    def weight(self, quality: float) -> float:
        """Score given up per US dollar saved; 0 at quality 1, infinity at quality 0."""
        if quality >= 1.0:
            return 0.0
        if quality <= 0.0:
            return inf
        fractions, weights = self._fractions, self._weights
        at = bisect_left(fractions, quality)
        if at == 0:
            return weights[0]
        f0, f1 = fractions[at - 1], fractions[at]
        w0, w1 = weights[at - 1], weights[at]
        if w1 <= 0.0 or f1 <= f0:
            return w1
        share = (quality - f0) / (f1 - f0)
        return float(w0 * (w1 / w0) ** share)


def blended_usd_per_million(price: Price) -> float | None:
    """USD per million tokens at three input tokens for one of output; None where the price is unknown."""
    if price.input_usd_per_token is None:
        return None
    output = price.output_usd_per_token
    return 1e6 * (3 * price.input_usd_per_token + (price.input_usd_per_token if output is None else output)) / 4


def logit(p: float) -> float:
    """log(p / (1 - p)), p held within 0.01..0.99."""
    p = min(max(p, 0.01), 0.99)
    return log(p / (1 - p))
