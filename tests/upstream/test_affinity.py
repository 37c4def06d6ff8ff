"""The same goes to the same deployment: over turns, workers and rests, and evenly."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from harness.dialect import openai_error
from harness.gateway import Gateway, base_config, deployment, running
from harness.upstream import Upstream
from routewright.catalog import make_group
from routewright.settings import AttemptSettings
from routewright.types import Call, Group, Health
from routewright.upstream.affinity import MAX_ELSEWHERE, Affinity, Key
from values import call, caller, deployment_settings, gemini_call, messages_call, responses_call

NOW = 1000.0
LONG = "word " * 1200


def group(*weights: float | None) -> Group:
    settings = [deployment_settings("m", id=f"d{place}", weight=weight) for place, weight in enumerate(weights)]
    return make_group("m", [(each, Health()) for each in settings], AttemptSettings())


def affinity(*checks: str, ttl_s: float = 3600.0) -> Affinity:
    return Affinity(AttemptSettings(affinity=frozenset(checks), deployment_affinity_ttl_s=ttl_s))


def where(key: Key, among: Group) -> str:
    return affinity("session_affinity").choose(among.deployments, key, NOW).id


def digest(found: Key | None) -> bytes:
    assert found is not None
    return found.digest


def of_prompt(asked: Call) -> bytes:
    return digest(affinity("prompt_caching").key_of(asked, caller(), "m"))


# --- where it goes ----------------------------------------------------------------------------------------------------


def keys(count: int) -> list[Key]:
    return [Key(60.0, b"session", str(place).encode()) for place in range(count)]


@pytest.mark.parametrize(
    ("weights", "expected"),
    [((None, None, None), [1 / 3] * 3), ((3.0, 1.0), [0.75, 0.25]), ((1.0, 0.0), [1.0, 0.0])],
)
def test_keys_are_spread_by_weight(weights: tuple[Any, ...], expected: list[float]) -> None:
    among = group(*weights)
    counted = Counter(where(key, among) for key in keys(4000))
    assert [counted[each.id] / 4000 for each in among.deployments] == pytest.approx(expected, abs=0.03)


def test_one_that_rests_loses_its_own_evenly_and_nobody_else_moves() -> None:
    among = group(None, None, None)
    others = among.deployments[1:]
    fixed = affinity("session_affinity")
    moved: Counter[str] = Counter()
    for key in keys(3000):
        usual, then = where(key, among), fixed.choose(others, key, NOW).id
        if usual == "d0":
            moved[then] += 1
        else:
            assert then == usual
    assert moved["d1"] / moved.total() == pytest.approx(0.5, abs=0.05)


def test_what_was_answered_elsewhere_stays_there_for_a_time() -> None:
    among, steady = group(None, None), affinity("session_affinity")
    (key,) = keys(1)
    own = steady.choose(among.deployments, key, NOW)
    (other,) = [each for each in among.deployments if each is not own]
    steady.note(among, other, key, NOW)
    assert steady.choose(among.deployments, key, NOW + 59) is other
    assert steady.choose([own], key, NOW + 59) is own
    assert steady.choose(among.deployments, key, NOW + 61) is own
    steady.note(among, own, key, NOW)
    assert steady.choose(among.deployments, key, NOW) is own


def test_no_more_is_remembered_than_fits() -> None:
    among, steady = group(None, None), affinity("session_affinity")
    for key in keys(3 * MAX_ELSEWHERE):
        steady.note(among, among.deployments[0], key, NOW)
    assert len(steady._elsewhere) <= MAX_ELSEWHERE


# --- what is alike ----------------------------------------------------------------------------------------------------

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": LONG}]
CLAUDE = [{"role": "user", "content": [{"type": "text", "text": LONG}]}]


def later_chat(text: str = "And?") -> list[dict[str, Any]]:
    return [*CHAT, {"role": "assistant", "content": "Yes."}, {"role": "user", "content": text}]


@pytest.mark.parametrize(
    ("first", "later"),
    [
        (call(messages=CHAT), call(messages=later_chat())),
        (call(messages=later_chat("a")), call(messages=later_chat("b"))),
        (call(messages=CHAT), call(messages=[CHAT[0], {"role": "user", "content": LONG + " Another question?"}])),
        (messages_call(messages=CLAUDE), messages_call(messages=[*CLAUDE, {"role": "assistant", "content": "Yes."}])),
        (
            messages_call(messages=CLAUDE),
            messages_call(
                messages=[{"role": "user", "content": [
                    {"type": "text", "text": LONG, "cache_control": {"type": "ephemeral"}}]}]
            ),
        ),
        (
            gemini_call(contents=[{"role": "user", "parts": [{"text": LONG}]}]),
            gemini_call(contents=[{"role": "user", "parts": [{"text": LONG}]}, {"role": "model", "parts": []}]),
        ),
        (responses_call(input=LONG), responses_call(input=LONG)),
        (call("completions", prompt=LONG), call("completions", prompt=LONG + "more")),
    ],
)  # fmt: skip
def test_turns_of_a_conversation_are_alike(first: Call, later: Call) -> None:
    assert of_prompt(first) == of_prompt(later)


@pytest.mark.parametrize(
    "other",
    [
        call(messages=[CHAT[0], {"role": "user", "content": "Another " + LONG}]),
        call(messages=[{"role": "system", "content": "Be long."}, CHAT[1]]),
        call(messages=CHAT, tools=[{"type": "function", "function": {"name": "f"}}]),
    ],
)
def test_other_conversations_are_not(other: Call) -> None:
    assert of_prompt(call(messages=CHAT)) != of_prompt(other)


def test_prompt_too_short_for_any_cache_may_go_anywhere() -> None:
    assert affinity("prompt_caching").key_of(call(), caller(), "m") is None


def test_session_is_the_caller_s_own_and_comes_before_the_rest() -> None:
    both = affinity("session_affinity", "prompt_caching", "deployment_affinity")
    one, other = caller(key_hash="1" * 64), caller(key_hash="2" * 64)
    in_session = call(messages=CHAT, litellm_session_id="s")
    assert digest(both.key_of(in_session, one, "m")) == digest(both.key_of(call(litellm_session_id="s"), one, "m"))
    assert digest(both.key_of(in_session, one, "m")) != digest(both.key_of(in_session, other, "m"))
    assert digest(both.key_of(in_session, one, "m")) != digest(both.key_of(in_session, one, "n"))
    assert digest(both.key_of(call(messages=CHAT), one, "m")) == digest(both.key_of(call(messages=CHAT), other, "m"))
    assert digest(both.key_of(call(), one, "m")) != digest(both.key_of(call(), other, "m"))


def test_responses_are_alike_at_any_length_where_they_are_checked() -> None:
    steady = affinity("responses_api_deployment_check")
    asked = responses_call(input=[{"role": "user", "content": "hi"}])
    later = responses_call(input=[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}])
    assert digest(steady.key_of(asked, caller(), "m")) == digest(steady.key_of(later, caller(), "m"))
    assert steady.key_of(call(), caller(), "m") is None


def test_nothing_configured_is_nothing_asked() -> None:
    assert Affinity.of(AttemptSettings()) is None


# --- at the socket ----------------------------------------------------------------------------------------------------


def config(upstream: Upstream) -> dict[str, Any]:
    made = base_config(
        upstream,
        router_settings={
            "optional_pre_call_checks": ["session_affinity", "prompt_caching"],
            "cooldown_time": 60,
            "num_retries": 1,
        },
    )
    made["model_list"] += [deployment("sticky", upstream, f"sticky-{place}", model="m") for place in range(3)]
    return made


def asked_at(gateway: Gateway, **fields: Any) -> str:
    reply = gateway.chat(model="sticky", **fields)
    assert reply.status == 200, reply.body
    return reply.text


def test_sessions_and_prompts_stay_where_they_are_over_workers_and_a_start(upstream: Upstream) -> None:
    with running(config(upstream), workers=2) as gateway:
        homes = {name: {asked_at(gateway, litellm_session_id=name) for _ in range(4)} for name in "abcdefgh"}
        assert all(len(home) == 1 for home in homes.values())
        assert len(set.union(*homes.values())) > 1
        prompts = {name: {asked_at(gateway, prompt=name + LONG) for _ in range(3)} for name in "abcdef"}
        assert all(len(home) == 1 for home in prompts.values())
        assert len(set.union(*prompts.values())) > 1
        assert len({asked_at(gateway) for _ in range(30)}) == 3, "what is not alike is spread"
        gateway.terminate()
        gateway.wait()
        gateway.start_again()
        assert {name: {asked_at(gateway, litellm_session_id=name)} for name in "abcdefgh"} == homes


def test_session_moves_once_when_its_deployment_fails_and_stays(upstream: Upstream) -> None:
    with running(config(upstream)) as gateway:
        home = asked_at(gateway, metadata={"session_id": "s"})
        failing = upstream[home.removeprefix("Hello from ")]
        failing.answers(429, openai_error("slow down"))
        moved = {asked_at(gateway, metadata={"session_id": "s"}) for _ in range(5)}
        failing.forget()
        assert len(moved) == 1
        assert home not in moved
