"""What a caller's allowances look like where they are counted, and what one admitted call holds of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from routewright.admission.counters import Counters
from routewright.types import Allowance
from routewright.windows import FOREVER_MS, Window

_SCOPES = {"key": "api_key", "customer": "end_user"}
"""LiteLLM's words where ours differ."""
IS_KNOWN = 1
"""Bit of a budget's second cell: its first one says what was spent in the window that is now."""


class LimitMeter:
    """Requests and tokens a minute and parallel requests of one owner."""

    __slots__ = ("base", "fields", "lone_fields", "owner", "parallel", "rpm", "scope", "tag", "tpm")

    def __init__(self, allowance: Allowance, counters: Counters) -> None:
        self.scope, self.owner = allowance.scope, allowance.owner
        self.rpm, self.tpm, self.parallel = allowance.rpm, allowance.tpm, allowance.parallel
        self.tag = counters.tag("limit", allowance.scope, allowance.owner)
        self.base = 0
        """Where its row was last found."""
        scope = _SCOPES.get(allowance.scope, allowance.scope)
        self.fields = "".join(
            [
                f"x-ratelimit-{scope}-limit-{kind}: {most}\r\nx-ratelimit-{scope}-remaining-{kind}: %d\r\n"
                for kind, most in (
                    ("requests", self.rpm), ("tokens", self.tpm), ("max_parallel_requests", self.parallel),
                )
                if most is not None
            ]
        ).encode("ascii")  # fmt: skip
        """LiteLLM's header lines for this owner, with a place for what remains of each limit."""
        self.lone_fields = _lone_fields(self.rpm, self.tpm)
        """Header lines where nothing else is limited, with places for what remains and when the window ends."""


def _lone_fields(rpm: int | None, tpm: int | None) -> bytes:
    """The reference's three, for requests or else tokens, then OpenAI's for each kind; empty where both are free."""
    kinds = [(kind, most) for kind, most in (("requests", rpm), ("tokens", tpm)) if most is not None]
    lines = [
        f"x-ratelimit-limit-{kind}: {most}\r\nx-ratelimit-remaining-{kind}: %d\r\nx-ratelimit-reset-{kind}: %ds\r\n"
        for kind, most in kinds
    ]
    if kinds:
        most = kinds[0][1]
        lines.insert(0, f"X-RateLimit-Limit: {most}\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n")
    return "".join(lines).encode("ascii")


class BudgetMeter:
    """The money of one owner in the window that is now."""

    __slots__ = ("allowance", "base", "cap_nusd", "end_ms", "first_mark_nusd", "start_ms", "tag", "window")

    def __init__(self, allowance: Allowance, counters: Counters) -> None:
        self.allowance = allowance
        self.window = Window(allowance.budget_duration)
        self.tag = counters.tag("budget", allowance.scope, allowance.owner, allowance.budget_duration or "")
        self.base = 0
        self.start_ms, self.end_ms = 0, 0
        marks = [each for each in (allowance.budget_nusd, allowance.soft_budget_nusd) if each is not None]
        self.first_mark_nusd = min(marks, default=FOREVER_MS) - self.before_nusd
        """Below this spend in the row no alert is due."""
        self.cap_nusd = FOREVER_MS if allowance.budget_nusd is None else allowance.budget_nusd - self.before_nusd
        """What the row may come to, without a temporary increase."""

    def amount_nusd(self, now_ms: int) -> int | None:
        """The cap at this moment, a temporary increase included; None where only an alert is wanted."""
        allowance = self.allowance
        if allowance.budget_nusd is None:
            return None
        return allowance.budget_nusd + (allowance.extra_nusd if now_ms < allowance.extra_until_ms else 0)

    @property
    def before_nusd(self) -> int:
        return 0 if self.window.ends else self.allowance.spent_before_nusd


class Meters:
    """All that is counted for one caller."""

    __slots__ = ("budgets", "by_model", "limits")

    def __init__(
        self, limits: tuple[LimitMeter, ...], budgets: tuple[BudgetMeter, ...], by_model: Mapping[str, Meters]
    ) -> None:
        self.limits = limits
        self.budgets = budgets
        self.by_model = by_model
        """Public model name -> what is counted only for requests to it."""

    @classmethod
    def of(
        cls,
        counters: Counters,
        allowances: Sequence[Allowance],
        by_model: Mapping[str, Sequence[Allowance]] | None = None,
    ) -> Meters | None:
        """None where nothing is limited. Raises ValueError for a budget_duration that is none."""
        limits = tuple([LimitMeter(each, counters) for each in allowances if _limits(each)])
        budgets = tuple([BudgetMeter(each, counters) for each in allowances if _caps(each)])
        of_models = {}
        for model, own in (by_model or {}).items():
            made = cls.of(counters, own)
            if made is not None:
                of_models[model] = made
        return cls(limits, budgets, of_models) if limits or budgets or of_models else None


def _limits(allowance: Allowance) -> bool:
    return not (allowance.rpm is None and allowance.tpm is None and allowance.parallel is None)


def _caps(allowance: Allowance) -> bool:
    return not (allowance.budget_nusd is None and allowance.soft_budget_nusd is None)


LimitRow = tuple[LimitMeter, int, int, int, str | None]
"""A meter, the first cell of its row, the start of its window, tokens reserved, and the model that it is for."""


BudgetRow = tuple[BudgetMeter, int, int, str | None]
"""A meter, the first cell of its row, nano-dollars reserved, and the model that it is for."""


class Reservation(msgspec.Struct, eq=False):
    """What one admitted call holds until it is settled."""

    limits: list[LimitRow] = []
    budgets: list[BudgetRow] = []
    fields: bytes = b""
    """Header lines for the client."""
