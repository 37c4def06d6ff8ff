"""`parallel_tool_calls: false` where a provider's dialect has no word for it: the first call is told, and no other.

The model calls the next tool in its next turn, which is what was asked for.
"""

from __future__ import annotations

from routewright.dialect import Pieces
from routewright.errors import GatewayError
from routewright.types import Call, Usage


def wants_one_call(call: Call) -> bool:
    """OpenAI's word for it, and Anthropic's; Gemini's clients have none."""
    if call.body.get("parallel_tool_calls") is False:
        return True
    choice = call.body.get("tool_choice")
    return type(choice) is dict and choice.get("disable_parallel_tool_use") is True


class FirstCall:
    """`Pieces` without the calls after the first."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = pieces

    def begin(self, answer_id: str, usage: Usage | None) -> bytes:
        return self._pieces.begin(answer_id, usage)

    def text(self, text: str) -> bytes:
        return self._pieces.text(text)

    def thinking(self, text: str) -> bytes:
        return self._pieces.thinking(text)

    def signature(self, signature: str) -> bytes:
        return self._pieces.signature(signature)

    def redacted_thinking(self, data: str) -> bytes:
        return self._pieces.redacted_thinking(data)

    def refusal(self, text: str) -> bytes:
        return self._pieces.refusal(text)

    def tool(self, tool: int, call_id: str, name: str) -> bytes:
        return b"" if tool else self._pieces.tool(tool, call_id, name)

    def arguments(self, tool: int, text: str) -> bytes:
        return b"" if tool else self._pieces.arguments(tool, text)

    def finish(self, reason: str, stop_sequence: str | None = None) -> bytes:
        return self._pieces.finish(reason, stop_sequence)

    def end(self, usage: Usage) -> bytes:
        return self._pieces.end(usage)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        return self._pieces.fail(error, request_id)
