"""From the model a client names to the deployments that may answer."""

from __future__ import annotations

from typing import Any

import pytest

from routewright.catalog import MAX_WILDCARD_MODELS, Catalog, may_use
from routewright.errors import InvalidRequest, ModelAccessDenied, ModelNotFound
from routewright.settings import AttemptSettings, DeploymentSettings, RouteSettings, Settings
from routewright.types import Caller, Candidates, Group, Price, Secret
from values import HELLO, call, caller, deployment_settings

BIG = deployment_settings(
    "big", supports_vision=True, supports_tools=True, supports_json=True, max_input_tokens=100_000
)
SMALL = deployment_settings(
    "small", supports_vision=False, supports_tools=False, supports_json=False, max_input_tokens=50
)
UNSAID = deployment_settings("unsaid")


def catalog(
    *deployments: DeploymentSettings,
    routes: tuple[RouteSettings, ...] = (),
    down: tuple[str, ...] = (),
    **attempts: Any,
) -> Catalog:
    settings = Settings(
        deployments=deployments or (BIG, SMALL, UNSAID), routes=routes, attempts=AttemptSettings(**attempts)
    )
    return Catalog(settings, lambda group: group.name not in down)


def found(served: Catalog, model: str, who: Caller | None = None, **fields: Any) -> Candidates:
    return served.candidates(call(model=model, **fields), who or caller())


def names(groups: Any) -> list[str]:
    return [group.name for group in groups]


def allowed(candidates: Candidates) -> list[str]:
    places = range(len(candidates.groups)) if candidates.allowed is None else candidates.allowed
    return [candidates.groups[place].name for place in places]


# --- plain models --------------------------------------------------------------------------------------------------


def test_all_entries_of_one_name_are_one_group_in_tiers() -> None:
    entries = [
        deployment_settings("m", id="a", order=2),
        deployment_settings("m", id="b", order=1, weight=3.0),
        deployment_settings("m", id="c", order=2, rpm=60),
    ]
    (group,) = found(catalog(*entries), "m").groups
    assert [[each.id for each in tier] for tier in group.tiers] == [["b"], ["a", "c"]]
    assert [each.weight for each in group.deployments] == [1.0, 1.0, 1.0]  # as the first says nothing


def test_deployment_is_priced_in_nano_dollars_and_hides_its_secrets() -> None:
    price = Price(input_usd_per_token=2e-6, output_usd_per_token=8e-6, cached_input_usd_per_token=5e-7)
    entry = deployment_settings("m", price=price, extra_headers=(("x", "open"), ("y", Secret("hidden"))))
    (made,) = found(catalog(entry), "m").groups[0].deployments
    assert (made.input_nusd, made.output_nusd, made.cached_nusd) == pytest.approx((2000, 8000, 500))
    assert made.secrets == ("sk-upstream-credential", "hidden")


def test_name_can_t_write_a_header() -> None:
    """T8, G19."""
    (made,) = found(catalog(deployment_settings("m\r\nX: y é", id="i\r\nj")), "auto").groups[0].deployments
    assert made.reply_fields.count(b"\r\n") == 2
    assert made.routed_field.count(b"\r\n") == 1
    assert made.reply_fields.isascii()


@pytest.mark.parametrize(
    "name", ["biG", "big ", "bi", "openai/big", "http://evil/v1", "openai/http://evil/v1", "*", "b?g"]
)
def test_unknown_name_is_a_404_that_names_what_is_served(name: str) -> None:
    """T6: a model is a key of our table."""
    with pytest.raises(ModelNotFound) as caught:
        found(catalog(), name)
    assert (caught.value.status, caught.value.param) == (404, "model")


def test_404_tells_only_names_that_the_key_may_use() -> None:
    with pytest.raises(ModelNotFound) as caught:
        found(catalog(), "bog", caller("small"))
    assert "small" in caught.value.message
    assert "big" not in caught.value.message


@pytest.mark.parametrize(
    ("models", "model", "may"),
    [
        (["big"], "big", True),
        (["big"], "small", False),
        (["b*"], "big", True),
        (["*"], "big", True),
        (["*ig", "x"], "big", True),
        (["s*"], "big", False),
        (["auto"], "big", False),
        (["auto"], "auto", True),
        (["auto"], "auto:best", True),
        (["auto:cheap"], "auto:cheap", True),
        (["auto:cheap"], "auto:best", False),
        (["auto:cheap"], "auto", False),
        (["big"], "auto", False),
    ],
)
def test_key_uses_only_its_models(models: list[str], model: str, may: bool) -> None:
    served = catalog()
    if may:
        assert found(served, model, caller(*models)).groups
    else:
        with pytest.raises(ModelAccessDenied) as caught:
            found(served, model, caller(*models))
        assert (caught.value.status, caught.value.param) == (403, "model")


def test_right_to_a_name_is_none_to_the_same_name_with_a_tag() -> None:
    """`llama3` is another model than `llama3:405b`, however alike they are written."""
    served = catalog(deployment_settings("llama3"), deployment_settings("llama3:405b"), deployment_settings("ft:*"))
    assert not may_use(frozenset({"llama3"}), "llama3:405b")
    for model, mine in (("llama3:405b", "llama3"), ("ft:gpt:other-team", "ft:gpt")):
        with pytest.raises(ModelAccessDenied):
            found(served, model, caller(mine))


# --- aliases -------------------------------------------------------------------------------------------------------


def test_alias_is_the_model_it_stands_for() -> None:
    served = catalog(model_group_alias={"gpt-4": "big", "smart": "auto", "lost": "nowhere"})
    assert names(found(served, "gpt-4").groups) == ["big"]
    assert found(served, "smart").route == "auto"
    with pytest.raises(ModelNotFound):
        found(served, "lost")
    assert {"gpt-4", "smart"} <= set(served.names(caller()))
    assert "lost" not in served.names(caller())
    assert served.owner("gpt-4") == "openai"
    assert served.has("gpt-4", caller())


@pytest.mark.parametrize(("mine", "may"), [("gpt-4", True), ("big", True), ("small", False)])
def test_right_to_an_alias_or_to_its_model_is_enough(mine: str, may: bool) -> None:
    served = catalog(model_group_alias={"gpt-4": "big"})
    assert served.has("gpt-4", caller(mine)) is may
    if may:
        assert names(found(served, "gpt-4", caller(mine)).groups) == ["big"]
    else:
        with pytest.raises(ModelAccessDenied):
            found(served, "gpt-4", caller(mine))


# --- wildcards -----------------------------------------------------------------------------------------------------

WILD = (
    deployment_settings("*", id="any", upstream_model="*"),
    deployment_settings("openai/*", id="openai", upstream_model="*"),
    deployment_settings("openai/gpt-*", id="gpt", upstream_model="gpt-*-latest"),
    deployment_settings("openai/gpt-4o", id="exact", upstream_model="gpt-4o-2024"),
)


@pytest.mark.parametrize(
    ("model", "deployment", "upstream_model"),
    [
        ("openai/gpt-4o", "exact", "gpt-4o-2024"),
        ("openai/gpt-5", "gpt", "gpt-5-latest"),
        ("openai/o3", "openai", "o3"),
        ("openai/org/o3", "openai", "org/o3"),
        ("anything", "any", "anything"),
        ("openai/http://evil/v1", "openai", "http://evil/v1"),
    ],
)
def test_longest_pattern_wins_and_the_star_is_what_the_client_wrote(
    model: str, deployment: str, upstream_model: str
) -> None:
    """T6: an address in a name stays a name; host and credential are the configuration's."""
    (made,) = found(catalog(*WILD), model).groups[0].deployments
    assert (made.id, made.upstream_model, made.model_name) == (deployment, upstream_model, model)
    assert made.origin == ("https", "api.example.com", 443)


@pytest.mark.parametrize("model", ["openai/", "openai/.", "openai/.."])
def test_nothing_and_dots_are_no_model(model: str) -> None:
    """T6: in a provider's path `..` would be a step up."""
    with pytest.raises(ModelNotFound):
        found(catalog(deployment_settings("openai/*", upstream_model="*", provider="azure")), model)


def test_names_behind_one_wildcard_share_its_health() -> None:
    served = catalog(deployment_settings("openai/*", upstream_model="*"))
    one, two = (found(served, f"openai/{name}").groups[0].deployments[0] for name in "ab")
    assert one.health is two.health
    assert found(served, "openai/a").groups[0].deployments[0] is one


def test_names_behind_a_wildcard_are_bounded_in_memory() -> None:
    """T20: a caller who invents names makes nothing grow."""
    served = catalog(deployment_settings("openai/*", upstream_model="*"))
    made: list[Group] = [found(served, f"openai/{number}").groups[0] for number in range(2 * MAX_WILDCARD_MODELS)]
    assert len(made) == 2 * MAX_WILDCARD_MODELS
    assert len(served._wildcard_groups) <= MAX_WILDCARD_MODELS


def test_wildcards_follow_the_key_s_rights_and_are_not_listed() -> None:
    served = catalog(*WILD)
    assert served.has("openai/o3", caller("openai/*"))
    assert not served.has("other", caller("openai/*"))
    with pytest.raises(ModelAccessDenied):
        found(served, "other", caller("openai/*"))
    assert served.names(caller()) == ["auto", "openai/gpt-4o"]


# --- routes --------------------------------------------------------------------------------------------------------


def test_auto_exists_by_itself_over_all_chat_models() -> None:
    served = catalog(BIG, SMALL, deployment_settings("vectors", mode="embedding"))
    route = found(served, "auto")
    assert (route.route, names(route.groups), route.quality) == ("auto", ["big", "small"], None)
    assert [each.model for each in served.route_candidates("auto")] == ["big", "small"]
    assert served.owner("auto") == "routewright"


def test_without_a_chat_model_there_is_no_auto() -> None:
    served = catalog(deployment_settings("vectors", mode="embedding"))
    with pytest.raises(ModelNotFound):
        found(served, "auto")


@pytest.mark.parametrize(("model", "quality"), [("auto:best", 1.0), ("auto:balanced", 0.5), ("auto:cheap", 0.0)])
def test_dial_may_stand_behind_a_route_s_name(model: str, quality: float) -> None:
    assert (found(catalog(), model).route, found(catalog(), model).quality) == ("auto", quality)


@pytest.mark.parametrize("model", ["auto:", "auto:finest", "auto:best:best", "big:best", ":best"])
def test_other_words_behind_a_name_are_another_name(model: str) -> None:
    with pytest.raises(ModelNotFound):
        found(catalog(), model)


def test_configured_route_chooses_from_its_candidates() -> None:
    served = catalog(routes=(RouteSettings(name="mine", candidates=("small", "big")),))
    assert names(found(served, "mine").groups) == ["small", "big"]
    assert served.names(caller()) == ["mine", "auto", "big", "small", "unsaid"]
    assert served.names(caller("mine", "s*")) == ["mine", "small"]


IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("fields", "able"),
    [
        ({}, ["big", "small", "unsaid"]),
        ({"tools": [{"type": "function"}]}, ["big", "unsaid"]),
        ({"response_format": {"type": "json_object"}}, ["big", "unsaid"]),
        ({"messages": [{"role": "user", "content": [IMAGE]}]}, ["big", "unsaid"]),
        ({"messages": [{"role": "user", "content": "x" * 400}]}, ["big", "unsaid"]),
        ({"messages": [{"role": "user", "content": "x" * 800_000}]}, ["unsaid"]),
    ],
)
def test_what_a_model_is_known_not_to_do_takes_it_out(fields: dict[str, Any], able: list[str]) -> None:
    assert allowed(found(catalog(), "auto", **fields)) == able


def test_resting_models_are_left_out_unless_all_rest() -> None:
    assert allowed(found(catalog(down=("big",)), "auto")) == ["small", "unsaid"]
    assert allowed(found(catalog(down=("big", "small", "unsaid")), "auto")) == ["big", "small", "unsaid"]
    assert allowed(found(catalog(down=("big", "unsaid")), "auto", tools=[{}])) == ["big", "small", "unsaid"]


# --- fallbacks -----------------------------------------------------------------------------------------------------


def test_configured_fallbacks_are_those_the_key_may_use() -> None:
    served = catalog(
        fallbacks={"big": ("small", "unsaid", "nowhere"), "auto": ("unsaid",)},
        default_fallbacks=("big",),
        context_window_fallbacks={"small": ("big",), "auto": ("big",)},
        content_policy_fallbacks={"small": ("unsaid",)},
    )
    assert names(found(served, "big").fallbacks) == ["small", "unsaid"]
    assert names(found(served, "big", caller("big", "unsaid")).fallbacks) == ["unsaid"]
    assert names(found(served, "small").fallbacks) == ["big", "unsaid"]
    assert names(found(served, "small").context_window_fallbacks) == ["big"]
    assert names(found(served, "small").content_policy_fallbacks) == ["unsaid"]
    assert names(found(served, "auto").fallbacks) == ["unsaid", "big", "small"]
    assert names(found(served, "auto").context_window_fallbacks) == ["big"]


@pytest.mark.parametrize("model", ["big", "auto"])
def test_request_s_fallbacks_take_the_place_of_the_configured(model: str) -> None:
    served = catalog(*WILD, BIG, SMALL, fallbacks={"big": ("small",), "auto": ("small",)})
    assert names(found(served, model, fallbacks=["openai/o3", "big"]).fallbacks) == ["openai/o3", "big"]
    assert names(found(served, model, fallbacks=[]).fallbacks) == []


@pytest.mark.parametrize("model", ["big", "auto"])
def test_request_s_fallbacks_are_models_that_the_key_may_use(model: str) -> None:
    """T6: COMPAT, section 4."""
    with pytest.raises(ModelAccessDenied):
        found(catalog(), model, caller("big", "auto"), fallbacks=["small"])
    with pytest.raises(ModelNotFound):
        found(catalog(), model, fallbacks=["http://evil/v1"])


def test_fallback_of_a_fallback_follows_it_and_none_comes_twice() -> None:
    entries = [deployment_settings(name) for name in "abcdefgh"]
    lists = {"a": ("b", "f"), "b": ("c", "a"), "c": ("d", "b"), "f": ("g",)}
    served = catalog(*entries, fallbacks=lists, max_fallbacks=5)
    assert names(found(served, "a").fallbacks) == ["b", "c", "d", "f", "g"]
    assert names(found(catalog(*entries, fallbacks=lists, max_fallbacks=2), "a").fallbacks) == ["b", "c"]
    assert names(found(served, "h").fallbacks) == []


def test_fallback_may_be_an_alias_or_a_route_which_stands_for_its_candidates() -> None:
    served = catalog(BIG, SMALL, fallbacks={"big": ("second", "auto")}, model_group_alias={"second": "small"})
    assert names(found(served, "big").fallbacks) == ["small", "big", "small"]
    assert names(found(served, "second", fallbacks=["auto"]).fallbacks) == ["big", "small"]


def test_fallbacks_may_be_listed_for_an_alias() -> None:
    served = catalog(fallbacks={"nick": ("unsaid",), "big": ("small",)}, model_group_alias={"nick": "big"})
    assert names(found(served, "nick").fallbacks) == ["unsaid"]
    assert names(found(served, "big").fallbacks) == ["small"]


@pytest.mark.parametrize("field", ["context_window_fallbacks", "content_policy_fallbacks"])
def test_request_names_fallbacks_of_either_kind(field: str) -> None:
    served = catalog(**{field: {"big": ("small",)}})
    assert names(getattr(found(served, "big"), field)) == ["small"]
    assert names(getattr(found(served, "big", **{field: ["unsaid"]}), field)) == ["unsaid"]
    by_model = [{"big": ["unsaid"]}, {"small": ["big"]}]
    assert names(getattr(found(served, "big", **{field: by_model}), field)) == ["unsaid"]
    with pytest.raises(ModelAccessDenied):
        found(served, "big", caller("big"), **{field: ["small"]})


def test_fallback_may_be_served_by_a_wildcard() -> None:
    served = catalog(BIG, deployment_settings("openai/*", upstream_model="*"), fallbacks={"big": ("openai/o3",)})
    (group,) = found(served, "big").fallbacks
    assert group.deployments[0].upstream_model == "o3"


def test_plain_call_keeps_its_messages() -> None:
    parsed = call(model="big")
    catalog().candidates(parsed, caller())
    assert parsed.body["messages"] == HELLO


def test_route_does_not_choose_for_embeddings() -> None:
    with pytest.raises(InvalidRequest, match="name a model for this endpoint") as refused:
        found(catalog(), "auto", endpoint="embeddings")
    assert refused.value.param == "model"
