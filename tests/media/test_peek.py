"""What a request that passes through is held for: at most what it may use, whatever shape that is written in."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from routewright.carriage.peek import PICTURE_TOKENS, Asked, asked_of
from routewright.carriage.readings import tokens_told


def asked(**body: Any) -> Asked:
    found = asked_of("/v1/chat/completions", msgspec.json.encode(body), is_whole=True, length=None)
    assert found is not None
    return found


@pytest.mark.parametrize("text", ["x" * 100_000, "\t".join("word" * 25_000), "长文本" * 20_000])
def test_text_without_spaces_is_text(text: str) -> None:
    prompt = asked(model="m", messages=[{"role": "user", "content": text}]).prompt_tokens
    assert prompt >= len(text.encode()) // 4


def test_picture_is_one_however_long_its_base64_is() -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 200_000}}
    assert PICTURE_TOKENS <= asked(messages=[{"role": "user", "content": [part]}]).prompt_tokens < PICTURE_TOKENS + 20


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v2/chat", {"model": "command-a", "messages": [{"role": "user", "content": "x" * 400}]}),
     ("/v1/chat", {"model": "command-a", "message": "x" * 400}), ("/v2/embed", {"model": "e", "texts": ["x" * 400]}),
     ("/v1/generate", {"model": "c", "prompt": "x" * 400}), ("/v1/conversations/c1/x/responses", {"input": "x" * 400})],
)  # fmt: skip
def test_request_of_a_provider_s_own_dialect_is_one(path: str, body: dict[str, Any]) -> None:
    found = asked_of(path, msgspec.json.encode(body), is_whole=True, length=None)
    assert found is not None
    assert found.prompt_tokens >= 100


def test_tokens_are_told_in_each_provider_s_words() -> None:
    for told, tokens in (
        ({"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}, (7, 3, 0)),
        ({"input_tokens": 5, "cache_read_input_tokens": 2, "output_tokens": 3}, (7, 3, 2)),
        ({"billed_units": {"input_tokens": 1}, "tokens": {"input_tokens": 7, "output_tokens": 3}}, (7, 3, 0)),
        ({"promptTokenCount": 7, "candidatesTokenCount": 3}, (7, 3, 0)),
    ):
        assert tokens_told(msgspec.json.encode(told)) == tokens


def test_largest_of_several_bounds_counts() -> None:
    """A provider reads the one that it knows; which one that is, the gateway need not."""
    body = {"messages": [], "max_completion_tokens": 1, "generationConfig": {"maxOutputTokens": 5000}}
    assert asked(**body, max_tokens=700).output_tokens == 5000
    assert asked(messages=[]).output_tokens is None
