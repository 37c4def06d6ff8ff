"""Mistral's API, which refuses every field that it does not know."""

from __future__ import annotations

from typing import Any

from harness import dialect
from harness.relay import Relayed, request_json
from values import HELLO, call, deployment, messages_call

MISTRAL = deployment("public/mistral", provider="mistral", upstream_model="mistral-large-latest")


def sent(**fields: Any) -> dict[str, Any]:
    return request_json(MISTRAL.exchanges["chat"].request_bytes(call(**fields), MISTRAL))


def test_fields_have_mistral_s_names_and_none_is_unknown_to_it() -> None:
    fields = {"user": "u", "metadata": {"a": "b"}, "store": True, "top_p": None}
    streaming = {"stream": True, "stream_options": {"include_usage": True}}
    body = sent(max_completion_tokens=50, seed=7, temperature=0.5, **fields, **streaming)
    assert body == {
        "model": "mistral-large-latest",
        "messages": HELLO,
        "max_tokens": 50,
        "random_seed": 7,
        "temperature": 0.5,
        "stream": True,
    }


def test_request_of_another_client_is_as_careful() -> None:
    asked = messages_call(stream=True, metadata={"user_id": "u"})
    body = request_json(MISTRAL.exchanges["messages"].request_bytes(asked, MISTRAL))
    assert set(body) == {"model", "messages", "max_tokens", "stream"}


def test_figures_of_the_last_chunk_are_told_by_openai_s_rule() -> None:
    asked = call(stream=True, stream_options={"include_usage": True})
    relayed = Relayed(asked, MISTRAL, dialect.chat_events(["Hel", "lo"], usage_shape="one_empty_choice"))
    assert relayed.chunks[-1]["usage"]["prompt_tokens"] == 9
    assert relayed.chunks[-1]["choices"] == []
