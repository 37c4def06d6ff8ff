"""Every client's dialect with every upstream's: the same answer, tools, figures and price, whole, streamed and cut.

A pair that is served and has no proof here fails the first test.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.heard import EARS, Ear, Heard
from harness.relay import Relayed, request_json
from harness.said import SIGNATURE, TONGUES, Said, Tongue, Tool, whole_bytes
from routewright.providers import dialects
from routewright.providers.names import PROVIDERS
from routewright.providers.unasked import TALKS
from routewright.settings import AwsCredentials
from routewright.types import Deployment, Price, Secret
from values import deployment, deployment_settings

PRICE = Price(
    input_usd_per_token=1e-6, output_usd_per_token=4e-6, cached_input_usd_per_token=1e-7, source="config"
)  # fmt: skip
AWS = AwsCredentials(key_id="AKIDEXAMPLE", secret_key=Secret("x" * 40), region="us-east-1")


spoken_here: set[str] = set()
"""Dialects of the upstreams below."""


def at(provider: str, model: str, **changed: Any) -> Callable[[], Deployment]:
    fields = {"provider": provider, "upstream_model": model, "price": PRICE, **changed}
    spoken_here.add(dialects.dialect_of(deployment_settings("public", **fields)))
    return lambda: deployment("public", **fields)


VERTEX = {"api_key": None, "api_base": "https://europe-west1-aiplatform.googleapis.com/v1/projects/p/locations/l"}
UPSTREAMS: dict[str, tuple[str, Callable[[], Deployment]]] = {
    "openai": ("openai", at("openai", "gpt-4o")),
    "azure": ("openai", at("azure", "gpt-4o")),
    "vllm": ("openai", at("hosted_vllm", "qwen")),
    "responses": ("responses", at("openai", "gpt-5.2", by_responses="all")),
    "responses, Azure": ("responses", at("azure", "my-gpt", by_responses="all")),
    "mistral": ("openai", at("mistral", "mistral-large-latest")),
    "ollama's door for OpenAI's": ("openai", at("ollama", "llama3.1", api_base="http://localhost:11434/v1")),
    "the LiteLLM SDK": ("openai", at("heroku", "claude-x", sdk_params=Secret('{"model": "heroku/claude-x"}'))),
    "anthropic": ("anthropic", at("anthropic", "claude-sonnet-4-5-20250929", api_base="https://api.anthropic.com/v1")),
    "gemini": ("gemini", at("gemini", "gemini-2.5-flash")),
    "vertex, Gemini": ("gemini", at("vertex_ai", "gemini-2.5-pro", **VERTEX)),
    "vertex, Claude": ("anthropic", at("vertex_ai", "claude-sonnet-4-5@20250929", **VERTEX)),
    "vertex, others": ("openai", at("vertex_ai", "meta/llama-4-maas", **VERTEX)),
    "bedrock": ("bedrock", at("bedrock", "us.anthropic.claude-sonnet-4-5-20250929-v1:0", api_key=None, aws=AWS)),
    "cohere": ("cohere", at("cohere", "command-a-03-2025")),
    "ollama": ("ollama", at("ollama_chat", "llama3.1", api_base="http://localhost:11434")),
}
PAIRS = list(itertools.product(EARS, UPSTREAMS))
IDS = [f"{client} at {upstream}" for client, upstream in PAIRS]
EVERY_BYTE = bool(os.environ.get("ROUTEWRIGHT_LONG"))

WEATHER = '{"city":"Zürich","unit":"°C","n":9007199254740993,"x":{"a":[1,null,"\\u2028"]}}'
TOOLS = (
    Tool("call_1", "weather", WEATHER),
    Tool("call_2", "weather", '{"city":"Bern"}'),
    Tool("call_3", "now", "{}"),
)
EVERYTHING = Said(
    texts=("Grü", "", "ezi", " 🐕\n\ndata: x", "\r\n"),
    thinking=("Let me", " see … ja"),
    tools=TOOLS,
    finish="tool_calls",
)
RESULTS = ["12 °C", "15 °C", "noon"]


def heard(ear: Ear, said: Said) -> Heard:
    """What this client should read of it."""
    finish = said.finish if ear.tells_tools or said.finish != "tool_calls" else "stop"
    tools = [(tool.name, json.loads(tool.arguments)) for tool in said.tools]
    return Heard(said.text, said.thought, tools, finish, said.prompt, said.cached, said.completion)


def parts_of(client: str, upstream: str) -> tuple[Ear, Tongue, Deployment]:
    dialect, make = UPSTREAMS[upstream]
    return EARS[client], TONGUES[dialect], make()


def whole(ear: Ear, tongue: Tongue, own: Deployment, said: Said) -> Relayed:
    return Relayed(ear.ask(), own, [whole_bytes(tongue, said)])


def streamed(ear: Ear, own: Deployment, packets: list[bytes], *, breaks_off: bool = False) -> Relayed:
    return Relayed(ear.ask(is_stream=True), own, packets, breaks_off=breaks_off)


def test_every_pair_that_is_served_is_tried_here() -> None:
    assert set(TALKS) == set(EARS)
    spoken = {provider.dialect for provider in PROVIDERS.values()}
    assert spoken - set(TONGUES) - {"azure", "vertex"} == set(), "an upstream's dialect without a proof"
    assert set(dialects.MODULES) - spoken_here == set(), "an upstream's dialect without a proof"
    exchanges = {client: {type(make().exchanges[client]) for _, make in UPSTREAMS.values()} for client in EARS}
    for provider in PROVIDERS.values():
        if provider.dialect in ("bedrock", "vertex"):
            continue
        own = at(provider.name, "some-model")()
        for client in EARS:
            assert type(own.exchanges[client]) in exchanges[client], (client, provider.name)


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
def test_answer_whole_and_streamed(client: str, upstream: str) -> None:
    """Thinking, text, parallel calls of tools, every class of tokens and the price: the same both ways."""
    ear, tongue, own = parts_of(client, upstream)
    said = tongue.can_say(EVERYTHING)
    answered = whole(ear, tongue, own, said)
    assert ear.hear(answered.json) == heard(ear, said)
    relayed = streamed(ear, own, tongue.stream(said))
    assert ear.hear(ear.gather(relayed.body)) == heard(ear, said)
    assert ear.has_ended(relayed.body)
    for one in (answered, relayed):
        fresh = said.prompt - said.cached
        assert one.outcome.cost_nusd == fresh * 1000 + said.cached * 100 + said.completion * 4000
        assert (one.usage.prompt_tokens, one.usage.completion_tokens) == (said.prompt, said.completion)
        assert not one.usage.is_estimated
    assert answered.usage == relayed.usage


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
def test_ways_to_end(client: str, upstream: str, finish: str) -> None:
    ear, tongue, own = parts_of(client, upstream)
    said = tongue.can_say(Said(texts=("Hel", "lo"), finish=finish))
    assert ear.hear(whole(ear, tongue, own, said).json) == heard(ear, said)
    assert ear.hear(ear.gather(streamed(ear, own, tongue.stream(said)).body)) == heard(ear, said)


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
def test_same_stream_cut_anywhere_says_the_same(client: str, upstream: str) -> None:
    """R29: byte by byte, and in two at places all over it; at every one of them where ROUTEWRIGHT_LONG is set."""
    ear, tongue, own = parts_of(client, upstream)
    packets = tongue.stream(tongue.can_say(EVERYTHING))
    raw = b"".join(packets)
    expected = streamed(ear, own, packets)
    assert same(streamed(ear, own, [raw]), expected)
    assert same(streamed(ear, own, [raw[place : place + 1] for place in range(len(raw))]), expected)
    for place in range(1, len(raw), 1 if EVERY_BYTE else 61):
        assert same(streamed(ear, own, [raw[:place], raw[place:]]), expected), place


def same(one: Relayed, other: Relayed) -> bool:
    """Ids that are made of the moment apart, which upstreams without ids have."""
    return one.usage == other.usage and _timeless(one.body) == _timeless(other.body)


def _timeless(body: bytes) -> bytes:
    return re.sub(rb"[0-9a-f]{13,14}|\"created(_at)?\":\d+", b"", body)


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
def test_stream_broken_off_is_never_told_as_whole(client: str, upstream: str) -> None:
    """F9, R16: after every event, and in the middle of each; at every byte where ROUTEWRIGHT_LONG is set."""
    ear, tongue, own = parts_of(client, upstream)
    packets = tongue.stream(tongue.can_say(replace(EVERYTHING, tools=TOOLS[:1])))
    raw = b"".join(packets)
    ends = list(itertools.accumulate(len(packet) for packet in packets))
    places = set(range(len(raw))) if EVERY_BYTE else {0, *ends[:-1], *(end - 5 for end in ends)}
    for place in sorted(places):
        relayed = streamed(ear, own, [raw[:place], b""], breaks_off=True)
        if relayed.error is not None and not relayed.sent:
            assert relayed.body == b""  # the next candidate may answer
            continue
        if relayed.outcome.ended == "complete":
            assert ear.hear(ear.gather(relayed.body)).tools  # all was said, but for figures that came too late
        else:
            assert not ear.has_ended(relayed.body), place
            assert relayed.outcome.ended == "upstream_failed"


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
def test_tools_round_trip(client: str, upstream: str) -> None:
    """Called, answered and asked again, after a whole answer and after a stream: each result at its own call."""
    ear, tongue, own = parts_of(client, upstream)
    said = tongue.can_say(EVERYTHING)
    for answer in (whole(ear, tongue, own, said).json, ear.gather(streamed(ear, own, tongue.stream(said)).body)):
        again = ear.ask(history=ear.answer_tools(answer, RESULTS))
        body = request_json(own.exchanges[client].request_bytes(again, own))
        asked = tongue.read(body)
        assert asked.calls == heard(ear, said).tools
        assert asked.results == list(zip(["weather", "weather", "now"], RESULTS, strict=True))
        if UPSTREAMS[upstream][0] in ("anthropic", "bedrock") and client != "generate_content":
            assert SIGNATURE in str(body)  # Anthropic wants its thinking back as it was


ONE_CALL: dict[str, dict[str, Any]] = {
    "chat": {"parallel_tool_calls": False},
    "messages": {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "responses": {"parallel_tool_calls": False},
}


@pytest.mark.parametrize("upstream", UPSTREAMS)
@pytest.mark.parametrize("client", ONE_CALL)
def test_one_call_at_a_time(client: str, upstream: str) -> None:
    """Told to those who have a word for it, and kept to by the gateway for the others."""
    ear, tongue, own = parts_of(client, upstream)
    said = tongue.can_say(EVERYTHING)
    answered = Relayed(ear.ask(**ONE_CALL[client]), own, [whole_bytes(tongue, said)])
    if "parallel_tool" in str(request_json(answered)):
        return
    relayed = Relayed(ear.ask(is_stream=True, **ONE_CALL[client]), own, tongue.stream(said))
    expected = heard(ear, replace(said, tools=said.tools[:1]))
    assert ear.hear(answered.json) == ear.hear(ear.gather(relayed.body)) == expected


@pytest.mark.parametrize("client", EARS)
@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(TONGUES, 2)))
def test_conversation_goes_on_at_another_provider(client: str, first: str, second: str) -> None:
    ear, tongue, own = parts_of(client, first)
    _, other_tongue, other = parts_of(client, second)
    answer = whole(ear, tongue, own, tongue.can_say(EVERYTHING)).json
    again = ear.ask(history=ear.answer_tools(answer, RESULTS))
    asked = other_tongue.read(request_json(other.exchanges[client].request_bytes(again, other)))
    assert asked.calls == heard(ear, EVERYTHING).tools
    assert [result for _, result in asked.results] == RESULTS


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@st.composite
def sayings(draw: st.DrawFn) -> Said:
    tools = tuple(
        Tool(f"call_{place}", draw(st.sampled_from(["weather", "now"])), json.dumps(arguments))
        for place, arguments in enumerate(draw(st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=3)))
    )
    prompt = draw(st.integers(0, 10**6))
    pieces = st.lists(TEXT, max_size=5).map(tuple)
    return Said(draw(pieces), draw(pieces), tools, "tool_calls" if tools else draw(st.sampled_from(["stop", "length"])),
                prompt, draw(st.integers(0, prompt)), draw(st.integers(0, 10**6)))  # fmt: skip


@pytest.mark.parametrize(("client", "upstream"), PAIRS, ids=IDS)
@settings(max_examples=500 if EVERY_BYTE else 12, deadline=None)
@given(said=sayings(), data=st.data())
def test_whatever_is_said_is_heard(client: str, upstream: str, said: Said, data: st.DataObject) -> None:
    ear, tongue, own = parts_of(client, upstream)
    said = tongue.can_say(said)
    assert ear.hear(whole(ear, tongue, own, said).json) == heard(ear, said)
    packets = tongue.stream(said)
    raw = b"".join(packets)
    cut = data.draw(st.integers(0, len(raw)))
    for sent in (packets, [raw[:cut], raw[cut:]]):
        assert ear.hear(ear.gather(streamed(ear, own, sent).body)) == heard(ear, said)
