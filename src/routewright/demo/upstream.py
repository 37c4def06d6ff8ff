"""A stand-in upstream: it speaks OpenAI's dialect, says which model it stands for, and takes a believable time.

It runs on the gateway's own front, as a process of its own: `python -m routewright.demo.upstream`.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sys
import time
from typing import Any

import numpy as np
import uvloop

from routewright.deadlines import Deadlines
from routewright.errors import FrontError, GatewayError, InvalidRequest
from routewright.server.front import Worker
from routewright.server.protocol import HttpConnection
from routewright.settings import FrontLimits
from routewright.types import CHARS_PER_TOKEN, Access, Caller, Endpoint, HttpRequest
from routewright.wire.json import decode_object, encode

# Seconds to the first token, and between tokens.
PACES = {"mini": (0.15, 0.008), "haiku": (0.15, 0.008), "8b": (0.1, 0.005), "": (0.35, 0.015)}
DIMENSIONS = 256
ANYBODY = Caller(key_hash="", alias=None, is_master=False, models=None)
JSON = b"content-type: application/json\r\n"
EVENTS = b"content-type: text/event-stream\r\n"


def pace_of(model: str) -> tuple[float, float]:
    """Time to the first token and between tokens, in seconds."""
    return next(pace for part, pace in PACES.items() if part in model)


def words_of(model: str, text: str) -> list[str]:
    """What the stand-in says, in pieces."""
    told = " ".join(text.split())[:160]
    sentence = f"I stand in for {model}. A real one would now answer: {told!r}."
    return [word if index == 0 else " " + word for index, word in enumerate(sentence.split(" "))]


def last_text(body: dict[str, Any]) -> str:
    """The last message's text, or the prompt."""
    messages = body.get("messages")
    if not messages:
        return str(body.get("prompt", ""))
    content = messages[-1].get("content")
    if isinstance(content, list):
        content = " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def usage_of(body: dict[str, Any], words: list[str]) -> dict[str, int]:
    prompt = max(1, len(encode(body.get("messages", body.get("prompt", "")))) // CHARS_PER_TOKEN)
    return {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}


def embedding_of(item: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A unit vector that depends on the text alone."""
    seed = int.from_bytes(hashlib.sha256(encode(item)).digest()[:8], "little")
    vector = np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)
    return vector / np.linalg.norm(vector)


class StandIn:
    """The front's application: three endpoints, no keys."""

    def __init__(self, *, in_haste: bool) -> None:
        self._in_haste = in_haste
        self._count = 0

    def admit(self, request: HttpRequest) -> None:
        name = {"/v1/chat/completions": "chat", "/v1/completions": "completions", "/v1/embeddings": "embeddings"}
        if request.path not in name:
            raise FrontError(404, "not_found", "nothing is served at this path", close=False)
        request.endpoint = Endpoint(name[request.path], ("POST",), Access.OPEN, is_proxied=True)
        request.caller = ANYBODY

    def refused(self, request_id: str, error: GatewayError) -> None:
        pass

    async def handle(self, request: HttpRequest, client: HttpConnection) -> None:
        try:
            body = decode_object(request.body)
            if type(body.get("model")) is not str:
                raise InvalidRequest("model is required", param="model")
            self._count += 1
            if request.endpoint.name == "embeddings":
                self._embed(body, client)
            else:
                await self._answer(request.endpoint.name, body, client)
        except GatewayError as error:
            client.hold_response(error.status, JSON, encode({"error": {"message": error.message, "code": error.code}}))
        client.release()

    async def _wait(self, seconds: float) -> None:
        if not self._in_haste:
            await asyncio.sleep(seconds)

    async def _answer(self, endpoint: str, body: dict[str, Any], client: HttpConnection) -> None:
        model = body["model"]
        is_chat = endpoint == "chat"
        first_s, each_s = pace_of(model)
        words = words_of(model, last_text(body))
        kind = "chat.completion" if is_chat else "text_completion"
        shared = {"id": f"{'chatcmpl' if is_chat else 'cmpl'}-{self._count}", "created": int(time.time())}
        shared["model"] = f"{model}-stand-in"
        await self._wait(first_s)
        call = _tool_call(body, self._count)
        if not body.get("stream"):
            await self._wait(each_s * len(words))
            choice: dict[str, Any] = {"index": 0, "finish_reason": "tool_calls" if call else "stop"}
            if not is_chat:
                choice["text"] = "".join(words)
            elif call:
                choice["message"] = {"role": "assistant", "content": None, "tool_calls": [call]}
            else:
                choice["message"] = {"role": "assistant", "content": "".join(words)}
            answer = {**shared, "object": kind, "choices": [choice], "usage": usage_of(body, words)}
            client.hold_response(200, JSON, encode(answer))
            return
        shared["object"] = kind + (".chunk" if is_chat else "")
        asked = body.get("stream_options") or {}
        wants_usage = asked.get("include_usage") is True

        def event(choices: list[dict[str, Any]], usage: dict[str, int] | None = None) -> bytes:
            chunk = {**shared, "choices": choices}
            if wants_usage:
                chunk["usage"] = usage
            return b"data: %b\n\n" % encode(chunk)

        def piece(content: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
            part = {"delta": content} if is_chat else {"text": content.get("content", "")}
            return {"index": 0, **part, "finish_reason": finish}

        client.begin(200, EVENTS, event([piece({"role": "assistant", "content": ""})]))
        if call:
            client.write(event([piece({"tool_calls": [{"index": 0, **call}]})]))
        for word in () if call else words:
            await self._wait(each_s)
            if client.is_gone:
                return
            client.write(event([piece({"content": word})]))
        last = event([piece({}, "tool_calls" if call else "stop")])
        if wants_usage:
            last += event([], usage_of(body, words))
        client.hold(last + b"data: [DONE]\n\n")

    def _embed(self, body: dict[str, Any], client: HttpConnection) -> None:
        given = body.get("input", "")
        items = given if isinstance(given, list) and given and not isinstance(given[0], int) else [given]
        as_base64 = body.get("encoding_format") == "base64"
        data = []
        for index, item in enumerate(items):
            vector = embedding_of(item)
            value = base64.b64encode(vector.tobytes()).decode("ascii") if as_base64 else vector.tolist()
            data.append({"object": "embedding", "index": index, "embedding": value})
        tokens = max(1, len(encode(items)) // CHARS_PER_TOKEN)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        client.hold_response(
            200, JSON, encode({"object": "list", "data": data, "model": body["model"], "usage": usage})
        )


def _tool_call(body: dict[str, Any], number: int) -> dict[str, Any] | None:
    """A call of the first tool offered, unless the conversation already holds a tool's answer."""
    tools = body.get("tools")
    if not tools or any(message.get("role") == "tool" for message in body.get("messages", ())):
        return None
    function = tools[0]["function"]
    names = function.get("parameters", {}).get("required", ())
    arguments = encode(dict.fromkeys(names, "Paris")).decode()
    return {
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": function["name"], "arguments": arguments},
    }


async def _serve(in_haste: bool) -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines(time.monotonic)
    worker = Worker(StandIn(in_haste=in_haste), FrontLimits(), deadlines, lambda: "stand-in")
    deadlines.start(loop)
    server = await loop.create_server(worker.connection, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends with the process that started it, however that one ends: its pipe closes.
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve("--in-haste" in sys.argv[1:]))
