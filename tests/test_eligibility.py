"""Which deployments may take a request: tags, regions, lengths."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.catalog import make_group
from routewright.eligibility import Eligibility, is_in_region
from routewright.errors import ContextLengthExceeded, ModelAccessDenied
from routewright.settings import AttemptSettings
from routewright.types import Candidates, Group, Health
from values import call, deployment_settings


def group(name: str = "m", **entries: dict[str, Any]) -> Group:
    settings = [deployment_settings(name, id=identity, **entry) for identity, entry in entries.items()]
    return make_group(name, [(each, Health()) for each in settings], AttemptSettings())


def narrowed(candidates: Candidates, fields: Any = None, **settings: Any) -> Candidates:
    found = Eligibility.of(AttemptSettings(**settings))
    assert found is not None
    found.narrow(candidates, call(**(fields or {})))
    return candidates


def left(candidates: Candidates) -> list[list[str]]:
    return [[each.id for each in group.deployments] for group in candidates.groups]


TAGGED = {"free": {"tags": ("free",)}, "paid": {"tags": ("paid", "eu")}, "bare": {}}


@pytest.mark.parametrize(
    ("tags", "match_any", "expected"),
    [
        (["paid"], True, ["paid"]),
        (["paid", "unknown"], True, ["paid"]),
        (["paid", "free"], True, ["free", "paid"]),
        (["paid", "eu"], False, ["paid"]),
        ([], True, ["free", "paid", "bare"]),
    ],
)
def test_tags_choose_who_has_one_or_all_of_them(tags: list[str], match_any: bool, expected: list[str]) -> None:
    settings = {"enable_tag_filtering": True, "tag_filtering_match_any": match_any}
    assert left(narrowed(Candidates((group(**TAGGED),)), fields={"tags": tags}, **settings)) == [expected]


@pytest.mark.parametrize(("tags", "match_any"), [(["unknown"], True), (["paid", "free"], False)])
def test_tags_that_nobody_has_are_refused(tags: list[str], match_any: bool) -> None:
    with pytest.raises(ModelAccessDenied, match="these tags"):
        narrowed(
            Candidates((group(**TAGGED),)), fields={"tags": tags}, enable_tag_filtering=True,
            tag_filtering_match_any=match_any,
        )  # fmt: skip


@pytest.mark.parametrize("tags", [["unknown"], []])
def test_default_ones_take_what_has_no_tags_or_tags_that_nobody_has(tags: list[str]) -> None:
    among = group(usual={"tags": ("default",)}, **TAGGED)
    assert left(narrowed(Candidates((among,)), fields={"tags": tags}, enable_tag_filtering=True)) == [["usual"]]


def test_group_that_loses_nobody_stays_itself_and_a_part_is_made_once() -> None:
    among = group(**TAGGED)
    found = Eligibility(AttemptSettings(enable_tag_filtering=True))
    kept: list[Group] = []
    for tags in ([], ["paid"], ["paid"]):
        candidates = Candidates((among,))
        found.narrow(candidates, call(tags=tags))
        kept.append(candidates.groups[0])
    assert kept[0] is among
    assert kept[1] is kept[2]
    assert kept[1].deployments[0] is among.deployments[1]


def test_route_goes_on_with_the_candidates_that_have_somebody_left() -> None:
    candidates = Candidates((group("a", a={}), group("b", b={"tags": ("x",)}), group("c", c={"tags": ("x",)})), "auto")
    found = narrowed(candidates, fields={"tags": ["x"]}, enable_tag_filtering=True)
    assert found.allowed == [1, 2]
    assert [each.name for each in found.groups] == ["a", "b", "c"]


def test_fallbacks_are_held_to_the_same() -> None:
    candidates = Candidates((group(**TAGGED),))
    candidates.fallbacks = [group("a", a={}), group("b", b={"tags": ("paid",)})]
    found = narrowed(candidates, fields={"tags": ["paid"]}, enable_tag_filtering=True)
    assert [each.name for each in found.fallbacks] == ["b"]


# --- pre-call checks --------------------------------------------------------------------------------------------------


def test_deployments_whose_context_is_too_short_are_left_out() -> None:
    among = group(short={"max_input_tokens": 10}, long={"max_input_tokens": 10_000}, unsaid={})
    asked = {"messages": [{"role": "user", "content": "x" * 4000}]}
    assert left(narrowed(Candidates((among,)), fields=asked, enable_pre_call_checks=True)) == [["long", "unsaid"]]


def test_prompt_too_long_for_all_closes_the_model_so_that_a_fallback_is_tried() -> None:
    among = group(short={"max_input_tokens": 10})
    asked = {"messages": [{"role": "user", "content": "x" * 4000}]}
    found = narrowed(Candidates((among,)), fields=asked, enable_pre_call_checks=True)
    assert not found.groups[0].tiers
    assert found.groups[0].refusal is not None
    assert isinstance(found.groups[0].refusal(), ContextLengthExceeded)


def test_request_that_must_stay_in_a_region_stays_there() -> None:
    among = group(east={"region": "us-east-1"}, frankfurt={"region": "eu-central-1"}, unsaid={})
    for asked, expected in (("eu", ["frankfurt"]), ("us-east-1", ["east"]), ("us", ["east"])):
        found = narrowed(Candidates((among,)), fields={"allowed_model_region": asked}, enable_pre_call_checks=True)
        assert left(found) == [expected]
    with pytest.raises(ModelAccessDenied, match="region"):
        narrowed(Candidates((among,)), fields={"allowed_model_region": "ap-south-1"}, enable_pre_call_checks=True)


def test_end_user_s_region_binds_whatever_the_request_says() -> None:
    among = group(east={"region": "us-east-1"}, frankfurt={"region": "eu-central-1"}, dublin={"region": "eu-west-1"})
    found = Eligibility.of(AttemptSettings(enable_pre_call_checks=True), {"anna": "eu"}.get)
    assert found is not None
    for fields, expected in (
        ({"user": "anna"}, ["frankfurt", "dublin"]),
        ({"user": "anna", "allowed_model_region": "eu-west-1"}, ["dublin"]),
        ({"user": "ben"}, ["east", "frankfurt", "dublin"]),
    ):
        candidates = Candidates((among,))
        found.narrow(candidates, call(**fields))
        assert left(candidates) == [expected]
    with pytest.raises(ModelAccessDenied):
        found.narrow(Candidates((among,)), call(user="anna", allowed_model_region="us"))


@pytest.mark.parametrize(
    ("region", "allowed", "is_in"),
    [
        ("eu", "eu", True), ("EU-Central-1", "eu", True), ("eu-west-1", "eu", True), ("europe-west4", "eu", True),
        ("westeurope", "eu", True), ("swedencentral", "eu", True), ("germanywestcentral", "eu", True),
        ("eu-west-2", "eu", False), ("eu-central-2", "eu", False), ("europe-west2", "eu", False),
        ("europe-west6", "eu", False), ("uksouth", "eu", False), ("us-east-1", "eu", False), (None, "eu", False),
        ("us-east-1", "us", True), ("us-central1", "us", True), ("eastus2", "us", True), ("us", "us", True),
        ("northcentralus", "us", True), ("australiaeast", "us", False), ("eu-west-1", "us", False),
        ("europe-west12", "eu", True), ("eu-west-2", "eu-west-2", True),
    ],
)  # fmt: skip
def test_a_region_lies_in_the_european_union_or_the_united_states(region: str, allowed: str, is_in: bool) -> None:
    assert is_in_region(region, allowed) is is_in


def test_without_either_setting_nothing_is_looked_at() -> None:
    assert Eligibility.of(AttemptSettings()) is None
