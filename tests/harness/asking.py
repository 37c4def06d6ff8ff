"""How clients of each dialect ask and read, with bytes alone, so that one test can speak all of them."""

from __future__ import annotations

import json
from typing import Any

from harness.gateway import TEAM_KEY, Gateway
from harness.wire import Reply


class Client:
    """How a client of one dialect asks, and what it reads of an answer."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect

    def ask(
        self, gateway: Gateway, model: str, prompt: str, *, stream: bool = False, key: str = TEAM_KEY, **more: Any
    ) -> Reply:
        headers = more.pop("headers", None)
        path, body = self._request(model, prompt, stream)
        reply = gateway.request("POST", path, {**body, **more}, key=key, headers=headers)
        assert reply.status == 200, reply.body
        is_events = reply.headers["content-type"].startswith("text/event-stream")
        assert is_events == stream, reply.headers
        return reply

    def _request(self, model: str, prompt: str, stream: bool) -> tuple[str, dict[str, Any]]:
        said = [{"role": "user", "content": prompt}]
        if self.dialect == "gemini":
            verb = ":streamGenerateContent?alt=sse" if stream else ":generateContent"
            return f"/v1beta/models/{model}{verb}", {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
        streamed = {"stream": True} if stream else {}
        if self.dialect == "completions":
            return "/v1/completions", {"model": model, "prompt": prompt, **streamed}
        if self.dialect == "messages":
            return "/v1/messages", {"model": model, "max_tokens": 99, "messages": said, **streamed}
        if self.dialect == "responses":
            return "/v1/responses", {"model": model, "input": prompt, **streamed}
        return "/v1/chat/completions", {"model": model, "messages": said, **streamed}

    def text(self, reply: Reply) -> str:
        """What the model said."""
        if reply.headers["content-type"].startswith("text/event-stream"):
            return "".join(self._piece(event) for event in events(reply))
        whole = reply.json
        if self.dialect == "chat":
            return whole["choices"][0]["message"]["content"]
        if self.dialect == "completions":
            return whole["choices"][0]["text"]
        if self.dialect == "messages":
            return "".join(block.get("text", "") for block in whole["content"])
        if self.dialect == "responses":
            return "".join(part["text"] for item in whole["output"] for part in item.get("content", ()))
        return "".join(part.get("text", "") for part in whole["candidates"][0]["content"]["parts"])

    def _piece(self, event: dict[str, Any]) -> str:
        if self.dialect == "chat":
            return "".join(choice["delta"].get("content") or "" for choice in event.get("choices", ()))
        if self.dialect == "completions":
            return "".join(choice["text"] for choice in event.get("choices", ()))
        if self.dialect == "messages":
            return event.get("delta", {}).get("text", "") if event["type"] == "content_block_delta" else ""
        if self.dialect == "responses":
            return event["delta"] if event["type"] == "response.output_text.delta" else ""
        parts = event["candidates"][0]["content"]["parts"] if event.get("candidates") else ()
        return "".join(part.get("text", "") for part in parts)

    def has_ended(self, reply: Reply) -> bool:
        """Whether a stream says that it is whole, as this dialect says it."""
        body = reply.body.decode()
        return {
            "chat": body.endswith("data: [DONE]\n\n") and '"finish_reason":"stop"' in body,
            "completions": body.endswith("data: [DONE]\n\n") and '"finish_reason":"stop"' in body,
            "messages": body.rstrip().endswith('data: {"type":"message_stop"}') and '"end_turn"' in body,
            "responses": '"type":"response.completed"' in body.rstrip().rsplit("\n\n", 1)[-1],
            "gemini": '"finishReason":"STOP"' in body.rstrip().rsplit("\n\n", 1)[-1],
        }[self.dialect]


def events(reply: Reply) -> list[dict[str, Any]]:
    found = []
    for event in reply.body.decode().replace("\r\n", "\n").split("\n\n"):
        for line in event.split("\n"):
            if line.startswith("data:") and "[DONE]" not in line:
                found.append(json.loads(line[5:]))
    return found
