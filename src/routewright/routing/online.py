"""Deciding with a router that learns while it serves: rated anew each time, drawn by chance where it explores."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from routewright.routing.artefact import Artefact
from routewright.routing.bandit import BanditRouter
from routewright.routing.choices import Choice, digest_of
from routewright.routing.decide import Look, RoutePlan
from routewright.routing.router import Float32, Router
from routewright.types import Caps, Outcome, Prompt, Rating, RouteCandidate

log = logging.getLogger("routewright")
BY_CHANCE: Final = "drawn by its chance of being best"


class OnlineRating(Rating, eq=False):
    """A rating with what is needed to learn from its outcome."""

    x: Float32
    propensity: float

    @classmethod
    def of(cls, rating: Rating, x: Float32, propensity: float) -> OnlineRating:
        return cls(
            rating.order,
            rating.scores,
            rating.costs_usd,
            rating.confidence,
            rating.margin,
            rating.reason,
            x,
            propensity,
        )


class _LookWithVector(tuple[list[float], list[float], str]):
    """What is known of a prompt now, and the vector that an update will need."""

    x: Float32


class OnlinePlan(RoutePlan):
    """A plan whose router changes between two requests, so that nothing of it may be remembered.

    learned: the router as it is now; `feedback` updates it. It is asked for its own draw where it explores and every
    candidate has scores of its own in it; else for its expectation. What is rated is learned for such candidates only.
    """

    learns = True

    def __init__(
        self,
        artefact: Artefact,
        candidates: Sequence[RouteCandidate],
        *,
        learned: Router,
        keep: Callable[[Choice], None] | None,
        route: str,
        **options: Any,
    ) -> None:
        super().__init__(artefact, candidates, **options)
        self._router = learned
        self._folded = None
        self._keep = keep
        self._route = route
        self._rng = np.random.default_rng()
        self._model_of = [placement.weights[0][0] if placement.is_measured else -1 for placement in self._placed]
        """Number of each candidate's model in the router; -1 where it has no scores of its own there."""
        unmeasured = [c.model for c, model in zip(self.candidates, self._model_of, strict=True) if model < 0]
        self._draws = isinstance(learned, BanditRouter) and not unmeasured
        self._draws = self._draws and len(set(self._model_of)) == len(self._model_of)
        if unmeasured:
            self.warnings.append(f"nothing is learned of {', '.join(unmeasured)}: the router has no scores of its own")

    def rate(
        self,
        prompt: Prompt,
        prompt_tokens: int,
        max_tokens: int | None,
        *,
        quality: float | None = None,
        allowed: Sequence[int] | None = None,
        caps: Caps | None = None,
        paces: Sequence[float] | None = None,
        look: Look | None = None,
    ) -> Rating:
        """As `RoutePlan.rate`, for the holder of `prompt.key_hash`, and never from memory.

        An `OnlineRating` where there is a vector to learn by.
        """
        look = look or self._look(prompt)
        rating = self._order(look, prompt_tokens, max_tokens, quality, allowed, caps, paces)
        if not isinstance(look, _LookWithVector):
            return rating
        weight, unlike = self._weight(quality), look[2]
        if not self._draws or len(rating.order) == 1 or weight == math.inf or (unlike and unlike in rating.reason):
            return OnlineRating.of(rating, look.x, 1.0)
        return self._drawn(rating, look.x, weight)

    def remembers(self, prompt: Prompt) -> bool:
        return False

    def look_at(self, prompt: Prompt, made: Float32 | str) -> Look:
        if isinstance(made, str):
            return super().look_at(prompt, made)
        return self._look_with(made, self._features.why_unlike(prompt), prompt.key_hash)

    def _look(self, prompt: Prompt) -> Look:
        x, unlike = self._features.look(prompt)
        return self._look_with(x, unlike, prompt.key_hash)

    def _look_with(self, x: Float32, unlike: str, key_hash: str) -> Look:
        lengths = self.artefact.lengths
        wordiness = 0.0 if lengths is None else float(x @ lengths.direction_ - lengths.shift_[0])
        scores = self._score(self._router.rate_for(x, key_hash)).tolist()
        look = _LookWithVector((scores, self._lengths(wordiness), unlike))
        look.x = x
        return look

    def _drawn(self, rating: Rating, x: Float32, weight: float) -> OnlineRating:
        router = self._router
        assert isinstance(router, BanditRouter)
        penalty = np.zeros(router.n_models, dtype=np.float32)
        for candidate, model in enumerate(self._model_of):
            penalty[model] = weight * rating.costs_usd[candidate]
        model, propensity = router.choose(x, self._rng, penalty, [self._model_of[i] for i in rating.order])
        first = self._model_of.index(model)
        if first != rating.order[0]:
            score = rating.scores[first]
            calibration = self.artefact.calibration
            rating.confidence = score if calibration is None else calibration.one(score)
            rating.order = [first, *[i for i in rating.order if i != first]]
        rating.reason = BY_CHANCE
        return OnlineRating.of(rating, x, propensity)

    def remember(self, outcome: Outcome) -> None:
        """Keep a choice that was answered, until somebody rates it."""
        decision, deployment = outcome.decision, outcome.deployment
        rating = decision.rating if decision is not None else None
        if self._keep is None or deployment is None or outcome.ended != "complete" or type(rating) is not OnlineRating:
            return
        names = [candidate.model for candidate in self.candidates]
        answered = names.index(deployment.model_name) if deployment.model_name in names else -1
        if answered < 0 or self._model_of[answered] < 0:
            return  # a fallback that the router does not know
        choice = Choice(
            call=digest_of(outcome.call_id),
            request=digest_of(outcome.request_id),
            key_hash=outcome.caller.key_hash,
            route=self._route,
            artefact=self.artefact_id,
            model=self._model_of[answered],
            propensity=rating.propensity if answered == rating.order[0] else math.nan,
            at_s=time.time(),
            x=rating.x,
        )
        try:
            self._keep(choice)
        except OSError as error:
            log.error("feedback: a choice can't be kept, so it can't be rated: %s", error.strerror)
