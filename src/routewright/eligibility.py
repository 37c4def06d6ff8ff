"""Which deployments of a model may take a request: by tags, region, and the length of the prompt. LiteLLM's tag routing
and pre-call checks; none of it is asked where none of it is configured.

Source: LiteLLM's pages "Tag based routing" and "Pre-call checks".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from routewright.errors import ContextLengthExceeded, GatewayError, ModelAccessDenied
from routewright.settings import AttemptSettings
from routewright.types import Call, Candidates, Deployment, Group

DEFAULT_TAG = "default"
MAX_NARROWED = 4096
"""Parts of groups that are kept, so that a request makes none of its own."""

_EU = re.compile(
    r"eu(?:-(?!west-2\b|central-2\b).*)?|europe-(?!west2\b|west6\b).*|(?:west|north)europe|"
    r"(?:france|germany|sweden|poland|italy|spain|austria|belgium|denmark|finland|greece).*"
)
"""Regions of AWS, Google and Azure inside the European Union; London and Zurich are not."""
_US = re.compile(r"us(?:[-_].*)?|(?:east|west|central|northcentral|southcentral|westcentral)us\d?")

Reason = Callable[[], GatewayError]


def is_in_region(region: str | None, allowed: str) -> bool:
    """Whether a deployment's region is the allowed one, or lies in it where that is `eu` or `us`. One whose region
    nobody has said is in none."""
    if region is None:
        return False
    region, allowed = region.lower(), allowed.lower()
    if region == allowed:
        return True
    wider = {"eu": _EU, "us": _US}.get(allowed)
    return wider is not None and wider.fullmatch(region) is not None


class Eligibility:
    """Takes out of a request's candidates what may not take it."""

    def __init__(self, settings: AttemptSettings, region_of: Callable[[str], str | None] | None = None) -> None:
        """`region_of`: where the requests of an end user must stay, by its id."""
        self._region_of = region_of
        self._by_tags = settings.enable_tag_filtering
        self._any_tag = settings.tag_filtering_match_any
        self._checks = settings.enable_pre_call_checks
        self._narrowed: dict[tuple[Group, tuple[int, ...], str], Group] = {}

    @staticmethod
    def of(settings: AttemptSettings, region_of: Callable[[str], str | None] | None = None) -> Eligibility | None:
        """None where every deployment may take every request."""
        return (
            Eligibility(settings, region_of)
            if settings.enable_tag_filtering or settings.enable_pre_call_checks
            else None
        )

    def narrow(self, candidates: Candidates, call: Call) -> None:
        """Raises ModelAccessDenied where tags or region leave nothing of the model, or of any of a route's.

        What is too long for all deployments stays, closed: a fallback may have a longer context.
        """
        regions = self._regions(call) if self._checks else ()
        whole = candidates.groups
        groups = [self._part(group, call, regions) for group in whole]
        allowed = range(len(groups)) if candidates.allowed is None else candidates.allowed
        if any(group is not before for group, before in zip(groups, whole, strict=True)):
            candidates.groups = groups
            open_ones = [index for index in allowed if groups[index].refusal is None]
            if not open_ones:
                closed = groups[next(iter(allowed))]
                assert closed.refusal is not None
                refusal = closed.refusal()
                if isinstance(refusal, ModelAccessDenied):
                    raise refusal
            elif len(open_ones) != len(groups):
                candidates.allowed = open_ones
        candidates.fallbacks = self._open(candidates.fallbacks, call, regions)
        candidates.context_window_fallbacks = self._open(candidates.context_window_fallbacks, call, regions)
        candidates.content_policy_fallbacks = self._open(candidates.content_policy_fallbacks, call, regions)

    def _regions(self, call: Call) -> Sequence[str]:
        """All that a request must stay in: its own word can't lead out of its end user's."""
        of_user = self._region_of(call.user) if call.user and self._region_of is not None else None
        return [region for region in (call.allowed_region, of_user) if region is not None]

    def _open(self, groups: Sequence[Group], call: Call, regions: Sequence[str]) -> Sequence[Group]:
        return [part for part in [self._part(group, call, regions) for group in groups] if part.refusal is None]

    def _part(self, group: Group, call: Call, regions: Sequence[str]) -> Group:
        """The deployments of a group that may take the call: the group itself where all may."""
        left: Sequence[Deployment] = group.deployments
        why = ""
        if self._by_tags:
            left = self._of_tags(left, call.metadata_tags)
            why = "" if left else "tags"
        if self._checks and left:
            if regions:
                left = [each for each in left if all(is_in_region(each.region, region) for region in regions)]
                why = "" if left else "region"
            if left:
                tokens = call.prompt_tokens_estimate
                left = [each for each in left if each.max_input_tokens is None or each.max_input_tokens >= tokens]
                why = "" if left else "context"
        if len(left) == len(group.deployments):
            return group
        key = (group, tuple([group.deployments.index(each) for each in left]), why)
        part = self._narrowed.get(key)
        if part is None:
            if len(self._narrowed) >= MAX_NARROWED:
                self._narrowed.clear()
            part = self._narrowed[key] = Group(group.name, group.mode, left or group.deployments)
            if why:
                part.close(_REASONS[why])
        return part

    def _of_tags(self, deployments: Sequence[Deployment], tags: Sequence[str]) -> Sequence[Deployment]:
        """With tags: who has them, else the default ones. Without: the default ones, else all."""
        default = [each for each in deployments if DEFAULT_TAG in each.tags]
        if not tags:
            return default or deployments
        if self._any_tag:
            found = [each for each in deployments if not each.tags.isdisjoint(tags)]
        else:
            found = [each for each in deployments if each.tags.issuperset(tags)]
        return found or default


def _no_tags() -> GatewayError:
    return ModelAccessDenied("no deployment of this model takes requests with these tags")


def _no_region() -> GatewayError:
    return ModelAccessDenied("no deployment of this model is in the region that this request must stay in")


def _too_long() -> GatewayError:
    return ContextLengthExceeded("the prompt is longer than any deployment of this model takes")


_REASONS: dict[str, Reason] = {"tags": _no_tags, "region": _no_region, "context": _too_long}
