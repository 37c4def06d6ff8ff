"""What a call may use at most: tokens, money, and whom it may be sent to."""

from __future__ import annotations

from math import ceil

from routewright.admission.meters import LimitMeter
from routewright.metered import MeteredCall
from routewright.types import Call, Candidates, Group

USUAL_OUTPUT_TOKENS = 256
"""Reserved for an answer whose length the caller did not bound, where nothing longer is usual."""
SPARE = 2.0
"""A usual answer is reserved this many times over."""


def tokens_of(limit: LimitMeter, call: Call) -> int:
    """Tokens that a call reserves. One larger than the whole limit may pass on an empty window; else it never could."""
    if limit.tpm is None:
        return 0
    output = call.max_tokens if call.max_tokens is not None else USUAL_OUTPUT_TOKENS
    return max(1, min(call.prompt_tokens_estimate + output * call.n_choices, limit.tpm))


def groups_of(candidates: Candidates) -> list[Group]:
    """Everything that may answer."""
    allowed = candidates.allowed
    groups = list(candidates.groups) if allowed is None else [candidates.groups[index] for index in allowed]
    for more in (candidates.fallbacks, candidates.context_window_fallbacks, candidates.content_policy_fallbacks):
        groups += more
    return groups


def worst_nusd(group: Group, call: Call) -> int:
    """What a call may cost at the dearest deployment of a group."""
    if isinstance(call, MeteredCall):
        return call.worst_nusd(group)
    output = 0.0
    if call.endpoint != "embeddings":
        if call.max_tokens is not None:
            output = float(call.max_tokens)
        else:
            usual = max([deployment.health.usual_output_tokens for deployment in group.deployments], default=0.0)
            output = max(float(USUAL_OUTPUT_TOKENS), SPARE * usual)
    return ceil(
        call.prompt_tokens_estimate * group.dearest_input_nusd + output * call.n_choices * group.dearest_output_nusd
    )
