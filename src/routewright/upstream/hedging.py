"""A second attempt while the first has not begun to answer: the first byte wins, and the other attempt is cut off.

Only for models and routes that the configuration names. A second attempt is admitted, counted and recorded like a call
of its own, and it is a retry: where the retry budget, a limit of the caller or of the deployment has no room, there is
none.

Source: Dean and Barroso, "The Tail at Scale", 2013, hedged requests.
"""

from __future__ import annotations

import asyncio
import copy
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from routewright.deadlines import Deadlines
from routewright.errors import DeploymentsBusy, GatewayError
from routewright.settings import HedgeSettings
from routewright.types import Call, Deployment, Group, Outcome, PartDecision, Responder
from routewright.upstream.health import Balance
from routewright.upstream.race import Race, Runner
from routewright.upstream.retries import RetryBudget

STAGE = "hedge"
LOST = "hedge_lost"
"""How an attempt ended that was cut off for another's sake."""
SAMPLES = 200
LEAST_SAMPLES = 20
"""Fewer say nothing of a quantile: until then nothing is hedged by one."""
RENEWED_EVERY = 10
"""Measurements after which a quantile is worked out anew."""
HEDGED_FIELD = b"x-routewright-hedged: true\r\n"
_RESULT = ("deployment", "usage", "cost_nusd", "status", "error", "ended", "first_byte_s")

Try = Callable[[Call, Group, Deployment, Responder, Outcome], Coroutine[Any, Any, GatewayError | None]]
"""One attempt at one deployment."""


class Desk(Protocol):
    """Admits and records second attempts, in the name of whoever asked."""

    def admit(self, outcome: Outcome, call: Call, group: Group) -> Any:
        """What the attempt holds until `close`; None where it may not be made."""

    def close(self, held: Any, outcome: Outcome) -> None:
        """The attempt that did not answer has ended; what it used is recorded as a part of the request."""


class Door(Protocol):
    """As `relay.Door`."""

    def enter(self, deployment: Deployment, call: Call) -> Any: ...

    def leave(self, held: Any, tokens: int) -> None: ...


class Waits:
    """How long a model's first bytes took lately, and so when a second attempt is due."""

    def __init__(self, settings: Mapping[str, HedgeSettings]) -> None:
        self._settings = settings
        self._took_s: dict[tuple[str, bool], deque[float]] = {}
        self._quantiles: dict[tuple[str, bool], tuple[int, float]] = {}
        self._noted = 0

    def settings_of(self, route: str | None, model: str) -> HedgeSettings | None:
        """A model's own word comes before its route's; None: it is never asked twice at once."""
        found = self._settings.get(model)
        return found if found is not None or route is None else self._settings.get(route)

    def after_s(self, settings: HedgeSettings, model: str, *, is_stream: bool) -> float | None:
        """Seconds without a first byte; None while not enough is known."""
        if settings.after_s is not None:
            return settings.after_s
        key = (model, is_stream)
        took_s = self._took_s.get(key)
        if took_s is None or len(took_s) < LEAST_SAMPLES:
            return None
        at, quantile_s = self._quantiles.get(key, (-RENEWED_EVERY, 0.0))
        if self._noted - at >= RENEWED_EVERY:
            quantile_s = sorted(took_s)[min(len(took_s) - 1, int(len(took_s) * settings.quantile))]
            self._quantiles[key] = self._noted, quantile_s
        return quantile_s

    def note(self, model: str, took_s: float, *, is_stream: bool) -> None:
        """A first byte came after so long."""
        self._noted += 1
        self._took_s.setdefault((model, is_stream), deque(maxlen=SAMPLES)).append(took_s)


class Hedging:
    """First attempts that may get a second beside them."""

    def __init__(
        self,
        settings: Mapping[str, HedgeSettings],
        attempt: Try,
        *,
        balance: Balance,
        budget: RetryBudget,
        door: Door,
        desk: Desk,
        deadlines: Deadlines,
    ) -> None:
        self._waits = Waits(settings)
        self._attempt = attempt
        self._balance = balance
        self._budget = budget
        self._door = door
        self._desk = desk
        self._deadlines = deadlines

    async def attempt(
        self, call: Call, group: Group, tried: list[Deployment], client: Responder, outcome: Outcome
    ) -> tuple[GatewayError | None, Outcome]:
        """Ask the one of `tried`, and somebody else where it is slow to begin, who is then of `tried` too.

        Returns how it ended, and the outcome that tells what the first of them used.
        """
        (deployment,) = tried
        route = outcome.decision.route if outcome.decision is not None else None
        settings = self._waits.settings_of(route, group.name)
        if settings is None:
            return await self._attempt(call, group, deployment, client, outcome), outcome
        after_s = self._waits.after_s(settings, group.name, is_stream=call.is_stream)
        started_s = time.monotonic()
        race = Race(client)
        first = race.start(copy.copy(outcome), lambda own: self._attempt(call, group, deployment, own, own.outcome))
        second: Runner | None = None
        held = None
        if after_s is not None and not first.is_done:
            timer = asyncio.get_running_loop().call_later(after_s, race.ring)
            while not race.is_over:
                await race.change()
                if race.has_rung and second is None and race.winner is None and not first.is_done:
                    race.has_rung = False
                    second, held = self._start_second(race, call, group, tried, outcome, client)
            timer.cancel()
        while not race.is_over:
            await race.change()
        race.end()
        winner = race.winner or first
        if race.winner is not None:
            # Where the second won, the first would have taken longer than this.
            took_s = max(winner.outcome.first_byte_s, started_s) - started_s
            self._waits.note(group.name, took_s, is_stream=call.is_stream)
        _adopt(outcome, winner.outcome)
        if second is not None:
            loser = second if winner is first else first
            self._desk.close(held, _as_part(loser.outcome, outcome, group))
        return winner.error, first.outcome if second is not None else outcome

    def _start_second(
        self, race: Race, call: Call, group: Group, tried: list[Deployment], outcome: Outcome, client: Responder
    ) -> tuple[Runner | None, Any]:
        """(None, None) where there is nobody to ask, or no room for it."""
        now, door = self._deadlines.now, self._door
        deployment = self._balance.pick(group, tried, now, is_stream=call.is_stream)
        # Spend at a deployment with a budget has to be asked for first; by then the first has answered.
        if deployment is None or deployment.budgets or client.is_gone:
            return None, None
        place = None
        if deployment.allowance is not None:
            try:
                place = door.enter(deployment, call)
            except DeploymentsBusy:
                return None, None
            if place is None:
                return None, None
        held = self._desk.admit(outcome, call, group) if self._budget.withdraw(now) else None
        if held is None:
            if place is not None:
                door.leave(place, 0)
            return None, None
        tried.append(deployment)
        second = copy.copy(outcome)
        second.fields = outcome.fields + HEDGED_FIELD
        second.trace = None

        async def attempt(own: Runner) -> GatewayError | None:
            try:
                return await self._attempt(call, group, deployment, own, second)
            finally:
                if place is not None:
                    usage = second.usage
                    door.leave(place, 0 if usage is None else usage.prompt_tokens + usage.completion_tokens)

        return race.start(second, attempt), held


def _adopt(outcome: Outcome, winner: Outcome) -> None:
    """What the client got is what the request's own record tells."""
    for name in _RESULT:
        setattr(outcome, name, getattr(winner, name))
    outcome.attempts = winner.attempts


def _as_part(loser: Outcome, whole: Outcome, group: Group) -> Outcome:
    """The attempt that did not answer, for the ledger: a part of the request, with an id of its own."""
    loser.call_id = f"{whole.call_id}.{STAGE}"
    loser.attempts = 1
    loser.trace = None
    if loser.ended == "client_gone" and whole.ended != "client_gone":
        loser.ended, loser.status = LOST, 499
    decision = whole.decision
    if decision is not None:
        loser.decision = PartDecision.of(decision, group, STAGE, part_of=whole.call_id)
        model = group.name if loser.deployment is None else loser.deployment.metrics_model
        loser.decision.route = decision.route or model
    return loser
