"""The decision: a route's router joined to its candidates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import exp, inf, isfinite, log
from time import perf_counter
from typing import Any, Final

import numpy as np

from routewright.routing.artefact import Artefact
from routewright.routing.features.contract import SYSTEM_CHARACTERS
from routewright.routing.lengths import LEAST_RATIO, MOST_RATIO
from routewright.routing.objective import Dial
from routewright.routing.profiles import Placement, place
from routewright.routing.router import Float32
from routewright.types import Caps, Prompt, Rating, RouteCandidate

TOO_CLOSE: Final = 0.005
"""A lead over the route's default model that is below half a point of score is no reason to leave it."""
_ODDS_LIMIT: Final = np.float32(0.005)
_REMEMBERED: Final = 256
_REMEMBERED_CHARACTERS: Final = 256 * 1024
"""Prompts whose scores are kept, and their characters: an agent asks many times with one last user message."""
_LONGEST_REMEMBERED: Final = 8192

# Short words on the hot path; `explain` makes sentences of them.
BY_OBJECTIVE: Final = "best score for its cost"
BY_SCORE: Final = "best expected score"
BY_COST: Final = "cheapest"
ONLY_ONE: Final = "only candidate"
BY_DEFAULT_CLOSE: Final = "default model: too close to call"


_Key = tuple[str, str, str, bool, bool, bool]
Look = tuple[list[float], list[float], str]
"""What is known of a prompt for a route: candidates' scores, 0..1; output tokens; why it is unlike the training's."""


class NothingWithinCap(ValueError):
    """No candidate is expected to answer within a cap; `cap` is its field's name."""

    def __init__(self, cap: str, message: str) -> None:
        super().__init__(message)
        self.cap = cap


class RoutePlan:
    """One route's router joined to its candidates; built at start and at every reload, then only read.

    artefact: what `read_artefact` gave. candidates: at least one, in the route's order; ratings run along it.
    quality: the route's dial, 0 cheapest .. 1 best (`objective.Dial` says what it means exactly).
    default_model: a candidate's public name, taken where the router has nothing to say; None: no such model.
    caps: what an answer may be expected to take at most; a request's own caps can only be tighter.
    latency_weight: score given up per second saved; 0 ignores time. Where cost alone decides, so does it still.
    strategy_name: as `/router/info` shows it, `llmrouter-knn`; empty: made of the router's name.

    Raises ValueError for no candidates, or a quality outside 0..1. A default model that is no candidate is a warning in
    `warnings`, since a reload may take a candidate away.
    """

    learns = False
    """Whether it changes while it serves (`online.OnlinePlan`)."""

    def __init__(
        self,
        artefact: Artefact,
        candidates: Sequence[RouteCandidate],
        *,
        quality: float = 0.8,
        default_model: str | None = None,
        caps: Caps | None = None,
        latency_weight: float = 0.0,
        strategy_name: str = "",
    ) -> None:
        if not candidates:
            raise ValueError("a route needs at least one candidate")
        if not 0.0 <= quality <= 1.0:
            raise ValueError(f"quality must lie in 0..1, got {quality}")
        self.artefact = artefact
        self.artefact_id = artefact.sha256[:12]
        """What responses and records name the artefact by."""
        self.field = b"x-routewright-artefact: %b\r\nx-routewright-confidence: " % self.artefact_id.encode("ascii")
        """Header lines for the client, up to the rating's confidence."""
        self.candidates = tuple(candidates)
        self.quality = quality
        self.default_model = default_model
        self.caps = None if caps == Caps() else caps
        self.latency_weight = latency_weight
        self.needs_paces = bool(latency_weight) or (self.caps is not None and self.caps.max_latency_s is not None)
        """Whether `rate` wants to know how fast the candidates answer."""
        self.strategy_name = strategy_name or f"llmrouter-{artefact.router.name}"
        self.warnings: list[str] = []
        self._features = artefact.features
        self.is_quick = artefact.features.is_quick
        """Whether `rate` may be called on the event loop for a prompt that is not remembered."""
        self._router = artefact.router
        self._all = tuple(range(len(candidates)))

        names = [candidate.model for candidate in candidates]
        self._default = names.index(default_model) if default_model in names else -1
        if default_model is not None and self._default < 0:
            self.warnings.append(f'default model "{default_model}" is no candidate of this route')

        self._placed: list[Placement] = place(self.candidates, artefact)
        self._mix = np.zeros((len(artefact.labels), len(candidates)), dtype=np.float32)
        for column, placement in enumerate(self._placed):
            for label, weight in placement.weights:
                self._mix[label, column] += weight
        self._offset = np.array([placement.offset for placement in self._placed], dtype=np.float32)
        self._taken: np.ndarray[Any, np.dtype[np.int64]] | None = None
        if all(placement.is_measured for placement in self._placed):
            self._taken = np.array([placement.weights[0][0] for placement in self._placed])

        self._input_usd, self._output_usd, self._price_notes = self._prices()
        self._usual_tokens = [placement.output_tokens for placement in self._placed]
        self.usual_tokens = sum(self._usual_tokens) / len(self._usual_tokens)
        """Of an answer, by a candidate as they are in the mean."""
        self._shares: list[float] = []
        if artefact.lengths is not None:
            self._shares = [
                sum(weight * float(artefact.lengths.shares_[label]) for label, weight in placement.weights)
                for placement in self._placed
            ]

        labels = artefact.sample_scores.astype(np.float32)
        scores = np.stack([self._score(row) for row in labels])
        tokens = artefact.sample_prompt_tokens.astype(np.float64)[:, None]
        wordiness = [0.0] * len(labels) if artefact.sample_wordiness is None else artefact.sample_wordiness.tolist()
        lengths = np.array([self._lengths(value) for value in wordiness])
        self.sample_scores = scores
        """Expected scores of the artefact's sample of prompts, (n_sample, n_candidates); their costs below."""
        self.sample_costs_usd = tokens * np.array(self._input_usd) + lengths * np.array(self._output_usd)
        self._dial = Dial(scores, self.sample_costs_usd)
        self._usual_scores: list[float] = scores.mean(axis=0).tolist()
        self._folded = self._fold()
        self._young: dict[_Key, Look] = {}
        self._old: dict[_Key, Look] = {}
        self._room = _REMEMBERED_CHARACTERS
        self._route_weight = self._dial.weight(quality)

    # --- at start -------------------------------------------------------------------------------------------------

    def _fold(self) -> Callable[[Prompt], tuple[list[float], str]] | None:
        """The candidates' log-odds straight from a prompt, where router and mix are both affine in them.

        Where lengths are predicted, the prompt's wordiness stands after them.
        """
        head = self._router.log_odds()
        if head is None:
            return None
        weights, intercept = head
        if self._taken is not None:
            self._highest = 30.0
            weights, offset = weights[:, self._taken], intercept[self._taken]
        else:
            self._highest = log(1.0 / float(_ODDS_LIMIT) - 1.0)
            weights, offset = weights @ self._mix, intercept @ self._mix + self._offset
        lengths = self.artefact.lengths
        if lengths is not None:
            weights = np.column_stack((weights, lengths.direction_))
            offset = np.append(offset, -lengths.shift_)
        return self._features.fold(weights, offset)

    def _prices(self) -> tuple[list[float], list[float], list[str]]:
        """Input and output USD per token of each candidate, and what had to be assumed."""
        known = [c.price for c in self.candidates if c.price.input_usd_per_token is not None]
        dearest_in = max((p.input_usd_per_token or 0.0 for p in known), default=0.0)
        dearest_out = max((p.output_usd_per_token or 0.0 for p in known), default=0.0)
        inputs, outputs, notes = [], [], []
        for candidate in self.candidates:
            price = candidate.price
            note = ""
            if price.input_usd_per_token is not None:
                inputs.append(price.input_usd_per_token)
                outputs.append(price.output_usd_per_token or 0.0)
                if price.output_usd_per_token is None:
                    note = "output price not known, taken as 0"
            else:
                inputs.append(dearest_in)
                outputs.append(dearest_out)
                note = (
                    "price not known, taken as the dearest known" if known else "no price is known, all taken as equal"
                )
            notes.append(note)
            if note:
                self.warnings.append(f'model "{candidate.model}": {note}')
        return inputs, outputs, notes

    # --- the hot path ---------------------------------------------------------------------------------------------

    def _score(self, labels: Float32) -> Float32:
        """Candidates' scores (n_candidates,) from labels' scores (n_labels,)."""
        if self._taken is not None:
            taken: Float32 = labels[self._taken]
            return taken
        held = np.minimum(np.maximum(labels, _ODDS_LIMIT), np.float32(1) - _ODDS_LIMIT)
        z = np.log(held / (1 - held)) @ self._mix
        z += self._offset
        scores: Float32 = (1 / (1 + np.exp(-z))).astype(np.float32, copy=False)
        return scores

    def _lengths(self, wordiness: float) -> list[float]:
        """Expected output tokens, by candidate."""
        if not self._shares:
            return self._usual_tokens
        lengths = []
        for usual, share in zip(self._usual_tokens, self._shares, strict=True):
            ratio = 1.0 + share * wordiness
            lengths.append(
                usual * (ratio if LEAST_RATIO < ratio < MOST_RATIO else MOST_RATIO if ratio > 1 else LEAST_RATIO)
            )
        return lengths

    def _costs(self, prompt_tokens: int, lengths: list[float], max_tokens: int | None) -> list[float]:
        """Expected USD of one answer, by candidate."""
        prices = zip(self._input_usd, self._output_usd, lengths, strict=True)
        if max_tokens is None:
            return [prompt_tokens * usd_in + tokens * usd_out for usd_in, usd_out, tokens in prices]
        return [
            prompt_tokens * usd_in + (tokens if tokens < max_tokens else max_tokens) * usd_out
            for usd_in, usd_out, tokens in prices
        ]

    def weight(self, quality: float) -> float:
        """Score given up per US dollar saved, at a position of the dial."""
        return self._dial.weight(quality)

    def _weight(self, quality: float | None) -> float:
        if quality is None or not isfinite(quality):
            return self._route_weight
        return self._dial.weight(quality)

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
        """Rate the candidates for one prompt and put the allowed ones in order.

        prompt_tokens: an estimate. max_tokens: the request's bound on the answer. quality: the request's own dial,
        overriding the route's. allowed: indices into the candidates; None: all. caps: the request's. paces: seconds per
        output token, by candidate; 0 is not known, and holds nobody back. look: what `look_at` made of a vector; None:
        it is made here, or remembered. Raises ValueError when none is allowed, NothingWithinCap when none is expected
        to answer within a cap.
        """
        if look is None:
            key = _key(prompt)
            look = self._young.get(key)
            if look is None:
                look = self._old.get(key) or self._look(prompt)
                self._remember(key, look)
        return self._order(look, prompt_tokens, max_tokens, quality, allowed, caps, paces)

    def remembers(self, prompt: Prompt) -> bool:
        """Whether `rate` knows the prompt already, and needs no vector."""
        key = _key(prompt)
        return key in self._young or key in self._old

    def look_at(self, prompt: Prompt, made: Float32 | str) -> Look:
        """What a vector that was made elsewhere says of the prompt, to be remembered; or the reason why there is none.

        Without one the candidates get their usual scores, and the reason leads to the route's default model.
        """
        if isinstance(made, str):
            return self._usual_scores, self._lengths(0.0), made
        look = self._look_of(made, self._features.why_unlike(prompt))
        self._remember(_key(prompt), look)
        return look

    def _remember(self, key: _Key, look: Look) -> None:
        """Two generations: when the young one is full it takes the old one's place, which is forgotten."""
        size = len(key[0]) + len(key[1]) + len(key[2])
        if size > _LONGEST_REMEMBERED:
            return
        self._room -= size
        if self._room < 0 or len(self._young) >= _REMEMBERED:
            self._old = self._young
            self._young = {}
            self._room = _REMEMBERED_CHARACTERS - size
        self._young[key] = look

    def _look(self, prompt: Prompt) -> Look:
        if self._folded is None:
            return self._look_of(*self._features.look(prompt))
        values, unlike = self._folded(prompt)
        wordiness = values.pop() if self._shares else 0.0
        scores = []
        highest = self._highest
        for z in values:
            z = z if -highest < z < highest else highest if z > 0 else -highest
            scores.append(1.0 / (1.0 + exp(-z)))
        return scores, self._lengths(wordiness), unlike

    def _look_of(self, x: Float32, unlike: str) -> Look:
        lengths = self.artefact.lengths
        wordiness = 0.0 if lengths is None else float(x @ lengths.direction_ - lengths.shift_[0])
        return self._score(self._router.rate_one(x)).tolist(), self._lengths(wordiness), unlike

    def _order(
        self,
        look: Look,
        prompt_tokens: int,
        max_tokens: int | None,
        quality: float | None,
        allowed: Sequence[int] | None,
        caps: Caps | None,
        paces: Sequence[float] | None,
    ) -> Rating:
        scores, lengths, unlike = look
        costs = self._costs(prompt_tokens, lengths, max_tokens)
        weight = self._weight(quality)
        if weight == inf:
            objective = [-cost for cost in costs]
            reason = BY_COST
        elif weight == 0.0:
            objective = scores
            reason = BY_SCORE
        else:
            objective = [score - weight * cost for score, cost in zip(scores, costs, strict=True)]
            reason = BY_OBJECTIVE
        candidates = self._all if allowed is None else allowed
        if caps is not None or self.caps is not None or paces is not None:
            latencies = self._latencies(lengths, max_tokens, paces)
            candidates = self._within(caps, candidates, costs, latencies)
            if self.latency_weight and weight != inf:
                objective = [
                    value - self.latency_weight * latency for value, latency in zip(objective, latencies, strict=True)
                ]
        if len({*objective}) == len(objective):
            order = sorted(candidates, key=objective.__getitem__, reverse=True)
        else:  # equal objectives: the cheaper one; cheapest and equal: the better one
            order = sorted(candidates, key=lambda i: (-objective[i], costs[i], -scores[i], i))
        if not order:
            raise ValueError("no candidate is allowed")
        first = order[0]
        margin = objective[first] - objective[order[1]] if len(order) > 1 else 0.0
        if len(order) == 1:
            reason = ONLY_ONE
        elif self._default >= 0 and self._default in order:
            lead = objective[first] - objective[self._default]
            if unlike:
                reason = f"default model: {unlike}"
            elif lead < TOO_CLOSE and first != self._default and self._may_yield(quality):
                reason = BY_DEFAULT_CLOSE
            if (unlike or reason is BY_DEFAULT_CLOSE) and first != self._default:
                order.remove(self._default)
                order.insert(0, self._default)
                first = self._default
                margin = -lead
        calibration = self.artefact.calibration
        score = scores[first]
        confidence = score if calibration is None else calibration.one(score)
        return Rating(order, scores, costs, confidence, margin, reason)

    def _latencies(self, lengths: list[float], max_tokens: int | None, paces: Sequence[float] | None) -> list[float]:
        """Expected seconds of a whole answer, by candidate; 0 where no pace is known."""
        if paces is None:
            return [0.0] * len(lengths)
        most = inf if max_tokens is None else max_tokens
        return [min(tokens, most) * pace for tokens, pace in zip(lengths, paces, strict=True)]

    def _within(
        self, caps: Caps | None, candidates: Sequence[int], costs: list[float], latencies: list[float]
    ) -> Sequence[int]:
        """Those of the candidates that are expected to answer within the request's caps and the route's."""
        caps = (caps or Caps()).within(self.caps)
        for cap, field, unit, expected in (
            (caps.max_cost_usd, "max_cost_usd", "USD", costs),
            (caps.max_latency_s, "max_latency_ms", "s", latencies),
        ):
            if cap is None or not candidates:
                continue
            within = [i for i in candidates if expected[i] <= cap]
            if not within:
                least = min(candidates, key=expected.__getitem__)
                raise NothingWithinCap(
                    field,
                    f"no candidate is expected to answer for {cap:.3g} {unit} or less; the least is "
                    f'{expected[least]:.3g} {unit}, of "{self.candidates[least].model}"',
                )
            candidates = within
        return candidates

    def _may_yield(self, quality: float | None) -> bool:
        """At its ends the dial means exactly the cheapest or the best, so nothing yields to the default model."""
        return 0.0 < (self.quality if quality is None or not isfinite(quality) else quality) < 1.0

    # --- for people -----------------------------------------------------------------------------------------------

    def explain(
        self,
        prompt: Prompt,
        prompt_tokens: int,
        max_tokens: int | None,
        *,
        quality: float | None = None,
        allowed: Sequence[int] | None = None,
        caps: Caps | None = None,
        paces: Sequence[float] | None = None,
        made: Float32 | str | None = None,
        features_s: float = 0.0,
    ) -> dict[str, Any]:
        """What `rate` would decide and on what grounds, as JSON values, for `POST /router/route`.

        made: a vector that took `features_s` to make elsewhere, or why there is none; None: it is made here.
        """
        start = perf_counter() - features_s
        if made is None:
            made = self._features.vector(prompt)
            features_s = perf_counter() - start
            look = self._look(prompt)
        else:
            look = self.look_at(prompt, made)
        rating = self._order(look, prompt_tokens, max_tokens, quality, allowed, caps, paces)
        done = perf_counter()
        first = rating.order[0]
        dial = self.quality if quality is None or not isfinite(quality) else min(max(quality, 0.0), 1.0)
        weight = self._weight(quality)
        return {
            "selected_model": self.candidates[first].model,
            "confidence": round(rating.confidence, 4),
            "score": round(rating.scores[first], 4),
            "cost_usd": _significant(rating.costs_usd[first]),
            "alternatives": [
                {
                    "model": self.candidates[i].model,
                    "score": round(rating.scores[i], 4),
                    "cost_usd": _significant(rating.costs_usd[i]),
                }
                for i in rating.order[1:]
            ],
            "reason": self.sentence(rating),
            "why": rating.reason,
            "quality": dial,
            "score_per_usd": None if weight == inf else _significant(weight),
            "margin": round(rating.margin, 6),
            "strategy": self.strategy_name,
            "output_tokens": {
                candidate.model: round(tokens) for candidate, tokens in zip(self.candidates, look[1], strict=True)
            },
            "latency_s": {
                candidate.model: round(latency, 3)
                for candidate, latency in zip(self.candidates, self._latencies(look[1], max_tokens, paces), strict=True)
                if latency
            },
            "profiles": {placement.model: placement.profile for placement in self._placed},
            "neighbours": {} if isinstance(made, str) else self._neighbours(made),
            "features_ms": round(features_s * 1e3, 4),
            "decision_ms": round((done - start) * 1e3, 4),
            "artefact": self.artefact_id,
        }

    def _neighbours(self, x: Float32) -> dict[str, Any]:
        found = self._router.describe(x)
        ids = self.artefact.training_ids
        if ids and "rows" in found:
            found["ids"] = [ids[row] for row in found["rows"] if row < len(ids)]
        return found

    def sentence(self, rating: Rating) -> str:
        """A rating's reason in plain words."""
        first = rating.order[0]
        name, score, cost = self.candidates[first].model, rating.scores[first], rating.costs_usd[first]
        best = max(rating.order, key=lambda i: rating.scores[i])
        text = f"{name}: expected score {score:.2f}"
        if best != first:
            text += f" of at best {rating.scores[best]:.2f} ({self.candidates[best].model})"
            if rating.costs_usd[best] > 0:
                text += f", at {_percent(cost / rating.costs_usd[best])} of its cost"
        elif len(rating.order) > 1:
            text += ", the best of all"
            dearest = max(rating.order, key=lambda i: rating.costs_usd[i])
            if rating.costs_usd[dearest] > cost:
                text += f", at {_percent(cost / rating.costs_usd[dearest])} of the dearest's cost"
        if rating.reason.startswith("default model"):
            text += f"; chosen as the route's default, {rating.reason.partition(': ')[2]}"
        elif rating.reason is not BY_OBJECTIVE:
            text += f"; {rating.reason}"
        return text

    @property
    def placements(self) -> list[dict[str, Any]]:
        """For `/router/info`: each candidate with what stands for it, how it was placed, and its price."""
        out = []
        for i, (candidate, placement) in enumerate(zip(self.candidates, self._placed, strict=True)):
            out.append(
                {
                    "model": candidate.model,
                    "upstream_model": candidate.upstream_model,
                    "label": placement.label,
                    "profile": placement.profile,
                    "placed": placement.how,
                    "level": None if placement.level is None else round(placement.level, 4),
                    "input_usd_per_million_tokens": _significant(self._input_usd[i] * 1e6),
                    "output_usd_per_million_tokens": _significant(self._output_usd[i] * 1e6),
                    "price_source": candidate.price.source,
                    "price_note": self._price_notes[i],
                    "usual_output_tokens": round(self._usual_tokens[i]),
                }
            )
        return out


def _key(prompt: Prompt) -> _Key:
    """All that a vector can depend on."""
    return (
        prompt.text,
        prompt.system[:SYSTEM_CHARACTERS],
        prompt.task,
        prompt.has_tools,
        prompt.has_images,
        prompt.wants_json,
    )


def _significant(value: float) -> float:
    return float(f"{value:.6g}")


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %" if share >= 0.01 else f"{share * 100:.2g} %"
