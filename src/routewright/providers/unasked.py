"""Endpoints of ours for which a provider is not asked: it has none, or we know the answer."""

from __future__ import annotations

from collections.abc import Mapping

from routewright.dialect import Exchange, Stream
from routewright.errors import GatewayError, UnsupportedField
from routewright.providers.translation import encode
from routewright.types import Call, Deployment, Usage


class _Alone:
    """What asks no upstream gets nothing back from it."""

    stream_type = b""
    unframe = None

    def open_stream(self, call: Call, deployment: Deployment) -> Stream:
        raise AssertionError("nothing was asked")

    def error_of(
        self, status: int, headers: Mapping[bytes, bytes], body: bytes, deployment: Deployment, now_s: float
    ) -> GatewayError:
        raise AssertionError("nothing was asked")


class Unserved(_Alone):
    """An endpoint that the provider has nothing for."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        raise UnsupportedField(f"the provider of this model serves no {call.endpoint}", param="model")

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        raise AssertionError("nothing was asked")


class OwnCount(_Alone):
    """A count of tokens for providers that count for nobody: the estimate that limits go by."""

    def __init__(self, name: str) -> None:
        self._name = name
        """Of the figure, in the client's dialect."""

    def request_bytes(self, call: Call, deployment: Deployment) -> bytes:
        return b""

    def read_answer(self, body: bytes, call: Call, deployment: Deployment) -> tuple[bytes, Usage]:
        return encode({self._name: call.prompt_tokens_estimate}), Usage()


UNSERVED = Unserved()
OWN_COUNTS: Mapping[str, Exchange] = {
    "count_tokens": OwnCount("input_tokens"),
    "count_content": OwnCount("totalTokens"),
}
TALKS = ("chat", "messages", "generate_content", "responses")
"""Endpoints whose answer is a conversation's next turn."""


def talking(exchange: Exchange, **others: Exchange) -> dict[str, Exchange]:
    """What serves each endpoint where one exchange serves every client's chats; `others` serve further endpoints."""
    return {
        **dict.fromkeys(TALKS, exchange), "completions": UNSERVED, "embeddings": UNSERVED, **OWN_COUNTS, **others
    }  # fmt: skip
