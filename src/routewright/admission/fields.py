"""What the client is told of its limits and budgets: header lines, and the errors that refuse a call."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil

from routewright.admission.counters import FIRST, HELD, SECOND
from routewright.admission.meters import BudgetMeter, LimitMeter, LimitRow
from routewright.errors import BudgetExceeded, RateLimited

NUSD_PER_USD = 1e9
WINDOW_MS = 60_000
_HOLDERS = {
    "key": "this key",
    "team": "this key's team",
    "user": "this key's user",
    "team_member": "this member of the team",
    "customer": "this end user",
    "tag": "this tag",
    "model_per_key": "this key, of this model,",
    "model_per_team": "this key's team, of this model,",
    "model_per_user": "this key's user, of this model,",
    "organization": "this key's organization",
    "organization_member": "this member of the organization",
    "model_per_organization": "this key's organization, of this model,",
}


def limit_fields(cells: Sequence[int], rows: Sequence[LimitRow], now_ms: int, wall_s: float) -> bytes:
    """The reference's three for the tightest limit, OpenAI's for the tightest of requests and of tokens, and LiteLLM's
    for each owner where there are several."""
    if len(rows) == 1 and rows[0][0].lone_fields:
        return _fields_of_lone(cells, rows[0], now_ms, wall_s)
    has_requests = has_tokens = False
    least_requests = least_tokens = 0
    for limit, base, started, _, _ in rows:
        if limit.rpm is not None:
            left = limit.rpm - cells[base + FIRST]
            if not has_requests or left < least_requests:
                has_requests, least_requests = True, left
                requests, requests_base, requests_started = limit, base, started
        if limit.tpm is not None:
            left = limit.tpm - cells[base + SECOND]
            if not has_tokens or left < least_tokens:
                has_tokens, least_tokens = True, left
                tokens, tokens_base, tokens_started = limit, base, started
    fields = b""
    if has_requests:
        most = requests.rpm or 0
        remaining = most - cells[requests_base + FIRST]
        if remaining < 0:
            remaining = 0
        left_ms = requests_started + WINDOW_MS - now_ms
        fields = (
            b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n"
            b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
            b"x-ratelimit-reset-requests: %ds\r\n"
            % (most, remaining, ceil(wall_s + left_ms / 1000), most, remaining, -(-left_ms // 1000))
        )
    if has_tokens:
        most = tokens.tpm or 0
        remaining = most - cells[tokens_base + SECOND]
        if remaining < 0:
            remaining = 0
        left_ms = tokens_started + WINDOW_MS - now_ms
        if not has_requests:
            fields = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
                most, remaining, ceil(wall_s + left_ms / 1000),
            )  # fmt: skip
        fields += (
            b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\nx-ratelimit-reset-tokens: %ds\r\n"
            % (most, remaining, -(-left_ms // 1000))
        )
    if not fields:
        limit, base = min([(row[0], row[1]) for row in rows], key=lambda row: _places(row[0], row[1], cells))
        fields = b"X-RateLimit-Limit: %d\r\nX-RateLimit-Remaining: %d\r\nX-RateLimit-Reset: %d\r\n" % (
            limit.parallel or 0,
            _places(limit, base, cells),
            ceil(wall_s) + 1,
        )
    if len(rows) > 1:
        fields += b"".join([_owner_fields(limit, base, cells) for limit, base, *_ in rows])
    return fields


def _fields_of_lone(cells: Sequence[int], row: LimitRow, now_ms: int, wall_s: float) -> bytes:
    limit, base, started, _, _ = row
    left_ms = started + WINDOW_MS - now_ms
    left_s = -(-left_ms // 1000)
    reset = ceil(wall_s + left_ms / 1000)
    rpm, tpm = limit.rpm, limit.tpm
    requests = tokens = 0
    if rpm is not None and cells[base + FIRST] < rpm:
        requests = rpm - cells[base + FIRST]
    if tpm is None:
        return limit.lone_fields % (requests, reset, requests, left_s)
    if cells[base + SECOND] < tpm:
        tokens = tpm - cells[base + SECOND]
    if rpm is None:
        return limit.lone_fields % (tokens, reset, tokens, left_s)
    return limit.lone_fields % (requests, reset, requests, left_s, tokens, left_s)


def _places(limit: LimitMeter, base: int, cells: Sequence[int]) -> int:
    """Parallel requests that could still be made."""
    return max(0, (limit.parallel or 0) - cells[base + HELD])


def _owner_fields(limit: LimitMeter, base: int, cells: Sequence[int]) -> bytes:
    left = []
    if limit.rpm is not None:
        left.append(max(0, limit.rpm - cells[base + FIRST]))
    if limit.tpm is not None:
        left.append(max(0, limit.tpm - cells[base + SECOND]))
    if limit.parallel is not None:
        left.append(_places(limit, base, cells))
    return limit.fields % tuple(left)


def budget_fields(spent_nusd: int, amount_nusd: int | None) -> bytes:
    """A key's spend, as it was before this call."""
    fields = b"x-litellm-key-spend: %.9f\r\n" % (spent_nusd / NUSD_PER_USD)
    if amount_nusd is not None:
        fields += b"x-litellm-key-max-budget: %.9f\r\n" % (amount_nusd / NUSD_PER_USD)
    return fields


def refusal_of_limit(limit: LimitMeter, kind: str, wait_ms: int, wall_s: float) -> RateLimited:
    """`kind`: requests, tokens or max_parallel_requests."""
    what = {
        "requests": f"make {limit.rpm} requests a minute",
        "tokens": f"use {limit.tpm} tokens a minute",
        "max_parallel_requests": f"make {limit.parallel} requests at the same time",
    }[kind]
    wait_s = max(1, -(-wait_ms // 1000))
    return RateLimited(
        f"{_HOLDERS.get(limit.scope, limit.scope)} may {what}; try again in {wait_s} s",
        retry_after_s=wait_s,
        limit_type=kind,
        reset_at_epoch_s=ceil(wall_s) + wait_s,
    )


def refusal_of_budget(budget: BudgetMeter, spent_nusd: int, cost_nusd: int, now_ms: int) -> BudgetExceeded:
    """`cost_nusd`: what the cheapest way to answer the call may cost."""
    amount = budget.amount_nusd(now_ms) or 0
    spent = spent_nusd + budget.before_nusd
    holder = _HOLDERS.get(budget.allowance.scope, budget.allowance.scope)
    what = f"{holder} may spend {amount / NUSD_PER_USD:.6g} USD"
    if budget.window.ends:
        what += f" in {budget.window.text}"
    if spent < amount and spent + cost_nusd <= amount:
        return BudgetExceeded(f"{what}; requests that run now hold what is left of it", retry_after_s=1)
    retry_after_s = -(-(budget.end_ms - now_ms) // 1000) if budget.window.ends else None
    if spent < amount:
        left = max(0, amount - spent)
        what += (
            f"; of this {left / NUSD_PER_USD:.6g} is left, and this request may cost {cost_nusd / NUSD_PER_USD:.6g}: "
            "a smaller max_tokens costs less"
        )
    elif retry_after_s is not None:
        what += f" and has; try again in {retry_after_s} s"
    else:
        what += " and has"
    return BudgetExceeded(what, retry_after_s=retry_after_s)
