"""A cascade: the cheapest candidate is asked first, and the next one where its answer is not good enough.

Source: FrugalGPT (arXiv:2305.05176) for the order and the thresholds, AutoMix (arXiv:2310.12963) for judging before
asking a larger model. Where ours departs: an answer is judged by what is in it already (`verdict`), never by another
model's opinion, so that judging costs nothing; and the last stage is not judged at all where nothing could follow.

A stream is not begun before an answer is accepted: stages that can still be rejected are asked for whole answers, and
an accepted one goes out as events. The last stage streams as it comes. So no client sees a word of a rejected answer.
"""

from __future__ import annotations

from typing import Any

from routewright.catalog import header_text
from routewright.errors import GatewayError, UpstreamRefusedRequest
from routewright.orchestration.steps import Part, Steps
from routewright.orchestration.verdict import DISAGREES, FEW_TOKENS, Verdict, agree, is_short, judge, text_of
from routewright.settings import CascadeSettings
from routewright.types import NUSD_PER_USD, Call, Group

FIELD = b"x-routewright-cascade: "
STAGE, SAMPLE, PLAIN = "cascade", "second sample", "plain"
MAX_REMEMBERED = 1000


class Cascade:
    """Answers the requests of one route."""

    def __init__(self, settings: CascadeSettings, max_cost_usd: float | None = None) -> None:
        """`max_cost_usd`: the route's cap."""
        self._settings = settings
        self._max_cost_usd = max_cost_usd
        self._without_logprobs: set[str] = set()
        """Models whose upstream refused to tell log-probabilities; they are not asked for them again."""

    async def answer(self, steps: Steps) -> None:
        """Raises the last GatewayError where no stage gave an answer at all."""
        if not steps.can_be_held:
            await steps.relay(steps.call, steps.decision.groups, PLAIN)
            return
        stages = self.stages(steps)
        most_usd = steps.most_usd(self._max_cost_usd)
        told: list[str] = []
        best: tuple[int, Part, dict[str, Any] | None] | None = None
        failure: GatewayError | None = None
        for group in stages:
            name = header_text(group.name)
            is_last = group is stages[-1]
            if best is not None and most_usd is not None and self._would_cost(steps, group) > most_usd:
                told.append(f"{name} not asked (max_cost_usd)")
                continue
            try:
                if is_last and (steps.call.is_stream or not best):
                    # Nothing can follow, so judging would change nothing.
                    steps.notes = [_field([*told, f"{name} not judged"])]
                    await steps.relay(steps.call, [group], STAGE)
                    return
                part, verdict, answer = await self._ask(steps, group, may_be_rejected=not is_last)
            except GatewayError as error:
                told.append(f"{name} failed ({error.code})")
                failure = error
                if not error.try_next or steps.call.without_fallbacks:
                    break
                continue
            if not verdict.reason:
                steps.notes = [_field([*told, f"{name} accepted"])]
                part.decision.signal = verdict.logprob
                steps.give(part, answer)
                return
            told.append(f"{name} rejected ({verdict.reason})")
            steps.set_aside(part, verdict.reason, verdict.logprob)
            if best is None or verdict.worth >= best[0]:
                best = verdict.worth, part, answer
        if best is None:
            assert failure is not None
            raise failure
        _, part, answer = best
        steps.notes = [_field([*told, f"{header_text(part.decision.groups[0].name)} given"])]
        steps.give(part, answer)

    def stages(self, steps: Steps) -> list[Group]:
        """Whom to ask, by expected cost. At the dial's ends there is one: the cheapest, or the best."""
        decision, settings = steps.decision, self._settings
        rating, groups = decision.rating, decision.candidates.groups
        if rating is None:
            return list(decision.groups)
        quality = steps.call.quality if steps.call.quality is not None else decision.candidates.quality
        if quality is not None and decision.candidates.dial is not None:
            least, most = decision.candidates.dial
            quality = min(max(quality, least), most)
        by_cost = sorted(rating.order, key=lambda i: (rating.costs_usd[i], rating.scores[i]))
        best = max(rating.order, key=lambda i: (rating.scores[i], -rating.costs_usd[i]))
        if quality == 0.0:
            return [groups[by_cost[0]]]
        if quality == 1.0:
            return [groups[best]]
        if len(by_cost) > settings.max_stages:
            # The best has the last word; who is dearer than it would not be asked after it.
            cheaper = by_cost[: by_cost.index(best)]
            by_cost = [*cheaper[: settings.max_stages - 1], best]
        least_of, least = settings.min_score_of, settings.min_score
        hopeful = [i for i in by_cost[:-1] if rating.scores[i] >= least_of.get(groups[i].name, least)]
        return [groups[i] for i in (*hopeful, by_cost[-1])]

    def _would_cost(self, steps: Steps, group: Group) -> float:
        """US dollars, expected, that the request has cost when this stage has answered too."""
        rating, groups = steps.decision.rating, steps.decision.candidates.groups
        expected = 0.0 if rating is None else rating.costs_usd[list(groups).index(group)]
        return steps.spent_nusd / NUSD_PER_USD + expected

    # --- one stage ------------------------------------------------------------------------------------------------

    async def _ask(
        self, steps: Steps, group: Group, *, may_be_rejected: bool
    ) -> tuple[Part, Verdict, dict[str, Any] | None]:
        """The answer, what is thought of it, and what the client may have of it (None: all)."""
        settings, call = self._settings, steps.held_call()
        asks_logprobs = (
            may_be_rejected
            and "logprob" in settings.checks
            and call.endpoint == "chat"
            and call.body.get("logprobs") is not True
            and group.name not in self._without_logprobs
        )
        compares = may_be_rejected and "agreement" in settings.checks and _can_be_compared(call)
        asks_two = compares and call.max_tokens is not None and call.max_tokens <= FEW_TOKENS
        changes: dict[str, Any] = {}
        if asks_two:
            changes["n"] = 2
        if asks_logprobs:
            changes["logprobs"] = True
        try:
            call.body |= changes
            part = await steps.ask(call, group, STAGE)
        except UpstreamRefusedRequest:
            if not changes:
                raise
            # Perhaps only what was added is not to be had there; then it is not asked for again.
            asks_two = False
            call = steps.held_call()
            part = await steps.ask(call, group, STAGE)
            if asks_logprobs and len(self._without_logprobs) < MAX_REMEMBERED:
                self._without_logprobs.add(group.name)
        answer = part.answer
        least = settings.min_logprob_of.get(group.name, settings.min_logprob)
        first = {**answer, "choices": answer["choices"][:1]} if asks_two else answer
        verdict = judge(first, call, settings.checks, least)
        if compares and not verdict.reason:
            second = _second_choice(answer) if asks_two else None
            if second is None and is_short(answer):
                second = await self._second_sample(steps, group)
            if second is not None and not agree(text_of(answer), second):
                verdict = Verdict(DISAGREES, verdict.logprob)
        return part, verdict, _as_asked_for(answer, changes) if changes else None

    async def _second_sample(self, steps: Steps, group: Group) -> str | None:
        """What the same model says when asked once more; None where it can't be asked."""
        try:
            part = await steps.ask(steps.held_call(), group, SAMPLE)
        except GatewayError:
            return None
        text = text_of(part.answer)
        steps.set_aside(part)
        return text


def _field(told: list[str]) -> bytes:
    return FIELD + "; ".join(told).encode("ascii", "replace") + b"\r\n"


def _can_be_compared(call: Call) -> bool:
    """Whether a second sample may differ, and is text."""
    return (
        call.n_choices == 1
        and not call.has_tools
        and not call.wants_json
        and call.body.get("temperature") != 0
        and call.body.get("seed") is None
    )


def _second_choice(answer: dict[str, Any]) -> str | None:
    choices = answer.get("choices")
    return text_of({"choices": choices[1:]}) if type(choices) is list and len(choices) > 1 else None


def _as_asked_for(answer: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """The answer without what was asked for beside the client's wish."""
    choices = answer["choices"][:1] if "n" in changes else answer["choices"]
    if "logprobs" in changes:
        choices = [{**choice, "logprobs": None} for choice in choices]
    return {**answer, "choices": choices}
