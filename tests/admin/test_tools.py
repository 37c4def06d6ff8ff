"""`/utils/token_counter`, `/utils/supported_openai_params`, and what is told of a model's abilities."""

from __future__ import annotations

import random
from typing import Any

import pytest

from harness.gateway import SMALL_KEY, TEAM_KEY, Gateway
from routewright.admin.tokens import ESTIMATE, EXACT, PIECE_CHARS, TokenCounter, _load, encoding_of, pieces
from routewright.config.abilities import abilities_of
from routewright.config.load import load_text
from routewright.errors import InvalidRequest


@pytest.fixture(scope="module")
def counter() -> TokenCounter:
    return TokenCounter()


@pytest.mark.parametrize(
    ("model", "prompt", "tokens"),
    [
        # As tiktoken counts them: its README and the OpenAI cookbook.
        ("gpt-4", "hello world", 2),
        ("gpt-4", "tiktoken is great!", 6),
        ("gpt-4", "antidisestablishmentarianism", 6),
        ("gpt-4o", "hello world", 2),
        ("gpt-4o", "tiktoken is great!", 6),
        ("gpt-4o", "<|endoftext|>", 7),  # what a user writes is text, never a token of control
        ("gpt-4o", "", 0),
    ],
)
def test_text_is_counted_as_openais_tokenizers_do(counter: TokenCounter, model: str, prompt: str, tokens: int) -> None:
    assert counter.count({"prompt": prompt}, model) == (tokens, EXACT)


def test_messages_cost_what_the_cookbook_says_they_do(counter: TokenCounter) -> None:
    """The cookbook's example, for which OpenAI's API billed 129 tokens with gpt-4 and 124 with gpt-4o."""
    messages = [
        {"role": "system", "content": "You are a helpful, pattern-following assistant that translates corporate jargon"
         " into plain English."},
        {"role": "system", "name": "example_user", "content": "New synergies will help drive top-line growth."},
        {"role": "system", "name": "example_assistant",
         "content": "Things working well together will increase revenue."},
        {"role": "system", "name": "example_user",
         "content": "Let's circle back when we have more bandwidth to touch base on opportunities for increased"
         " leverage."},
        {"role": "system", "name": "example_assistant",
         "content": "Let's talk later when we're less busy about how to do better."},
        {"role": "user",
         "content": "This late pivot means we don't have time to boil the ocean for the client deliverable."},
    ]  # fmt: skip
    assert counter.count({"messages": messages}, "gpt-4-0613") == (129, EXACT)
    assert counter.count({"messages": messages}, "gpt-4o") == (124, EXACT)


def test_other_models_and_tools_are_estimated_and_say_so(counter: TokenCounter) -> None:
    assert counter.count({"prompt": "x" * 400}, "claude-sonnet-4-5") == (100, ESTIMATE)
    ask: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}]}
    tools = [{"type": "function", "function": {"name": "weather"}}]
    with_tools, kind = counter.count({**ask, "tools": tools}, "gpt-4o")
    assert kind == ESTIMATE
    assert with_tools > counter.count(ask, "gpt-4o")[0]


@pytest.mark.parametrize(
    "body",
    [{}, {"messages": []}, {"messages": "hi"}, {"messages": [1]}, {"prompt": 3}, {"prompt": [1]}],
)
def test_what_is_no_prompt_is_refused(counter: TokenCounter, body: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        counter.count(body, "gpt-4o")


def test_a_long_text_in_pieces_counts_as_the_whole_does(counter: TokenCounter) -> None:
    rng = random.Random(7)
    words = ["the", "Straße", "don't", "42", "  ", "\n", "naïve", "x_y", "数字", "end.", "ok"]
    text = " ".join(rng.choice(words) for _ in range(PIECE_CHARS // 2))
    assert len(list(pieces(text))) > 1
    assert "".join(pieces(text)) == text
    whole = _load("o200k_base")
    assert whole is not None
    assert counter.count({"prompt": text}, "gpt-4o") == (whole(text), EXACT)


@pytest.mark.parametrize(
    ("model", "encoding"),
    [("gpt-4o-mini", "o200k_base"), ("openai/gpt-4.1", "o200k_base"), ("o3", "o200k_base"), ("gpt-5.1", "o200k_base"),
     ("ft:gpt-4o:acme", "o200k_base"), ("gpt-4", "cl100k_base"), ("gpt-4-turbo", "cl100k_base"),
     ("text-embedding-3-small", "cl100k_base"), ("gpt-3.5-turbo", "cl100k_base"), ("claude-3-5-haiku", None),
     ("openchat", None), ("gemini-2.5-pro", None)],
)  # fmt: skip
def test_encoding_of_a_model(model: str, encoding: str | None) -> None:
    assert encoding_of(model) == encoding


# --- at the socket --------------------------------------------------------------------------------------------------


def test_token_counter_answers_in_litellms_shape_for_models_of_the_key_only(gateway: Gateway) -> None:
    ask = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello world"}]}
    for path in ("/utils/token_counter", "/v1/utils/token_counter"):
        reply = gateway.request("POST", path, ask)
        assert reply.status == 200
        assert reply.json == {"total_tokens": 9, "request_model": "gpt-4o", "model_used": "gpt-4o",
                              "tokenizer_type": "openai_tokenizer"}  # fmt: skip
    assert gateway.request("POST", "/utils/token_counter", ask, key=SMALL_KEY).status == 404
    assert gateway.request("POST", "/utils/token_counter", ask, key=None).status == 401
    assert gateway.request("POST", "/utils/token_counter", {"prompt": "hi"}).json["error"]["param"] == "model"


def test_supported_params_follow_the_dialect(gateway: Gateway) -> None:
    def of(model: str) -> list[str]:
        reply = gateway.request("GET", f"/utils/supported_openai_params?model={model}")
        assert reply.status == 200, reply.body
        found: list[str] = reply.json["supported_openai_params"]
        return found

    assert "logit_bias" in of("gpt-4o")
    assert "logit_bias" not in of("anthropic/claude-sonnet-4-5")
    assert "tools" in of("anthropic/claude-sonnet-4-5")
    assert gateway.request("GET", "/utils/supported_openai_params?model=nobody/x").status == 404


def test_what_a_model_can_is_told_and_the_configurations_word_wins(gateway: Gateway) -> None:
    reply = gateway.request("GET", "/model_group/info?model_group=gpt-4o", key=TEAM_KEY)
    (group,) = reply.json["data"]
    assert group["supports_vision"] is True
    assert group["supports_reasoning"] is False
    assert group["max_output_tokens"] == 16_384
    assert group["max_input_tokens"] == 128_000
    assert "tools" in group["supported_openai_params"]
    (info,) = gateway.request("GET", "/v2/model/info").json["data"][:1]
    assert info["model_info"]["supports_prompt_caching"] is True

    (found,) = load_text(
        """
model_list:
  - model_name: m
    litellm_params: {model: openai/gpt-4o, api_key: sk-x}
    model_info: {supports_vision: false, max_input_tokens: 1000}
""",
        environ={},
    ).deployments
    assert (found.supports_vision, found.supports_tools, found.max_input_tokens) == (False, True, 1000)
    assert found.max_output_tokens is None  # what is asked for where nobody names a length is the configuration's


@pytest.mark.parametrize(
    ("model", "vision", "tools"),
    [("gpt-4o-2024-08-06", True, True), ("gpt-4", False, True), ("o1-mini", False, False), ("o3", True, True),
     ("claude-sonnet-4-5-20250929", True, True), ("anthropic.claude-3-haiku-20240307-v1:0", True, True),
     ("us.anthropic.claude-opus-4-1-20250805-v1:0", True, True), ("gemini-2.5-flash", True, True),
     ("codestral-2508", False, None), ("meta-llama/Llama-3.1-8B-Instruct", False, True), ("somebody-else", None, None)],
)  # fmt: skip
def test_table_of_abilities(model: str, vision: bool | None, tools: bool | None) -> None:
    found = abilities_of(model)
    assert (found.vision, found.tools) == (vision, tools)
