"""The process that holds the LiteLLM SDK: OpenAI's dialect at a socket, LiteLLM's providers behind it.

Run as a file by any interpreter that has `litellm`; it imports nothing of ours, so that LiteLLM, which pins many
packages, may live in an environment of its own. It serves the workers of one gateway alone: the socket is in a folder
that belongs to its user. Where a call goes, and by which credential, comes with the request from the configuration;
what a client wrote is looked through for fields that would steer LiteLLM or have it fetch something.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import fcntl
import json
import logging
import os
import re
import sys
from typing import Any

MAX_RUNNING = 256
"""Calls at a time; more wait for their turn."""
MAX_WAITING = 1000
MAX_LOAD_S = 60.0
AGAIN_S = 0.1
PARAMS_HEADER = "x-routewright-params"
_WORDS = """
    model messages input prompt stream stream_options temperature max_tokens max_completion_tokens top_p n stop
    presence_penalty frequency_penalty logit_bias logprobs top_logprobs seed user response_format tools
    tool_choice parallel_tool_calls functions function_call reasoning_effort thinking verbosity service_tier
    store prediction modalities audio dimensions encoding_format suffix echo best_of top_k min_p
    repetition_penalty input_type truncate web_search_options safety_settings prompt_cache_key safety_identifier
"""
FIELDS = frozenset(_WORDS.split())
"""What a request may say to LiteLLM; all else would be an argument of its own."""
ADDRESS = re.compile(r"(?i)\s*[a-z][a-z0-9+.-]*://")
PLACES = frozenset({"url", "image_url", "file_id", "file_data", "video_url", "file"})
CODES = {
    "ContextWindowExceededError": "context_length_exceeded",
    "ContentPolicyViolationError": "content_policy_violation",
    "UnsupportedParamsError": "unsupported_parameter",
}
STATUSES = {"APIConnectionError": 502, "Timeout": 504, "ServiceUnavailableError": 503}


class Refused(Exception):
    """The request can't go on as it is."""

    def __init__(self, message: str, param: str | None, code: str = "unsupported_parameter") -> None:
        super().__init__(message)
        self.param, self.code = param, code


def checked(body: dict[str, Any]) -> dict[str, Any]:
    """Raises Refused."""
    for name in body:
        if name not in FIELDS:
            raise Refused(f"{name} can't be carried over by the LiteLLM SDK; with drop_params it is left out", name)
    if names_address(body.get("messages")):
        raise Refused("the provider of this model takes pictures and files inline only, in base64", "messages")
    return {name: value for name, value in body.items() if value is not None}


def names_address(value: Any, place: str = "") -> bool:
    """Whether some part of a message names an address, which LiteLLM might fetch from here."""
    if isinstance(value, str):
        return place in PLACES and ADDRESS.match(value) is not None and not value.startswith("data:")
    if isinstance(value, dict):
        return any(names_address(entry, name) for name, entry in value.items())
    if isinstance(value, list):
        return any(names_address(entry, place) for entry in value)
    return False


class Bridge:
    """Serves one request a connection at a time, as the gateway sends them."""

    def __init__(self, litellm: Any) -> None:
        self._litellm = litellm
        self._running = asyncio.Semaphore(MAX_RUNNING)
        self._asked = 0
        self._idle: set[asyncio.StreamWriter] = set()
        """Connections on which nothing is under way."""
        self.connections = 0
        self.is_ending = False
        self.ended = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while not self.is_ending:
                self._idle.add(writer)
                head = await reader.readuntil(b"\r\n\r\n")
                self._idle.discard(writer)
                if not await self._one(head.decode("latin-1"), reader, writer):
                    break
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # the gateway has left, or its worker has died
        finally:
            self._idle.discard(writer)
            self.connections -= 1
            with contextlib.suppress(OSError):
                writer.close()
            self.end_if_idle()

    def end(self) -> None:
        """Take no more calls, and end with the last that is under way. The gateway asks again where one was closed."""
        self.is_ending = True
        for writer in list(self._idle):
            writer.close()
        self.end_if_idle()

    def end_if_idle(self) -> None:
        if self.is_ending and not self.connections:
            self.ended.set()

    async def _one(self, head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One exchange. False where the connection can't be used again."""
        first, *lines = head.split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = json.loads(await reader.readexactly(int(headers["content-length"])))
        params = json.loads(base64.b64decode(headers[PARAMS_HEADER]))
        endpoint = first.split(" ")[1]
        if self._asked >= MAX_WAITING:
            await answer(writer, 503, error_body("too many calls of the LiteLLM SDK are under way", None, None))
            return True
        self._asked += 1
        # The gateway sends nothing before it has its answer: a byte, or the end, means that the client has left.
        left = asyncio.ensure_future(reader.read(1))
        work = asyncio.ensure_future(self._answered(endpoint, params, body, writer))
        try:
            await asyncio.wait((left, work), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return False
            left.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await left
            return work.result()
        finally:
            self._asked -= 1
            for task in (left, work):
                task.cancel()
            await asyncio.gather(left, work, return_exceptions=True)

    async def _answered(self, endpoint: str, params: dict[str, Any], body: Any, writer: asyncio.StreamWriter) -> bool:
        has_begun = False
        try:
            async with self._running:
                result = await self._call(endpoint, params, body)
                if not body.get("stream"):
                    await answer(writer, 200, as_json(result))
                    return True
                async for chunk in result:
                    if not has_begun:
                        has_begun = True
                        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
                                     b"transfer-encoding: chunked\r\n\r\n")  # fmt: skip
                    await event(writer, as_json(chunk))
                if not has_begun:
                    raise Refused("the provider's stream held no answer", None, "upstream_error")
                await event(writer, b"[DONE]")
                writer.write(b"0\r\n\r\n")
                await writer.drain()
            return True
        except Exception as error:  # noqa: BLE001 - LiteLLM raises what its providers raise
            status, told, wait = failure(error)
            if not has_begun:
                await answer(writer, status, told, wait)
                return True
            await event(writer, told)
            return False

    async def _call(self, endpoint: str, params: dict[str, Any], body: Any) -> Any:
        asked = checked(body)
        model = f"{params.pop('provider')}/{asked.pop('model')}"
        asked = {**params, **asked, "model": model, "num_retries": 0, "max_retries": 0}
        if endpoint == "/embeddings":
            return await self._litellm.aembedding(**asked)
        if endpoint == "/completions":
            return await self._litellm.atext_completion(**asked)
        if "tools" in asked:
            asked["_skip_mcp_handler"] = True  # it would look for servers to connect to, in LiteLLM's own proxy
        return await self._litellm.acompletion(**asked)


def as_json(answer: Any) -> bytes:
    """As OpenAI writes an answer or a chunk: a delta has only what it adds, and figures of nothing are no figures."""
    whole = answer.model_dump()
    if not (whole.get("usage") or {}).get("total_tokens"):
        whole.pop("usage", None)
    for choice in whole.get("choices") or ():
        if isinstance(choice.get("delta"), dict):
            choice["delta"] = {name: value for name, value in choice["delta"].items() if value is not None}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), default=str).encode()


def error_body(message: str, param: str | None, code: str | None) -> bytes:
    return json.dumps({"error": {"message": message, "type": "api_error", "param": param, "code": code}}).encode()


def failure(error: Exception) -> tuple[int, bytes, str | None]:
    """(status, OpenAI's error object, Retry-After)."""
    if isinstance(error, Refused):
        status = 502 if error.code == "upstream_error" else 400
        return status, error_body(str(error), error.param, error.code), None
    name = type(error).__name__
    given = getattr(error, "status_code", None)
    status = STATUSES.get(name) or (given if isinstance(given, int) and 400 <= given <= 599 else 500)
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    wait = headers.get("retry-after") if hasattr(headers, "get") else None
    message = str(getattr(error, "message", None) or error)
    return status, error_body(message, None, CODES.get(name)), wait if wait and wait.isprintable() else None


async def answer(writer: asyncio.StreamWriter, status: int, body: bytes, retry_after: str | None = None) -> None:
    wait = f"retry-after: {retry_after}\r\n" if retry_after else ""
    head = f"HTTP/1.1 {status} -\r\ncontent-type: application/json\r\n{wait}content-length: {len(body)}\r\n\r\n"
    writer.write(head.encode("latin-1") + body)
    await writer.drain()


async def event(writer: asyncio.StreamWriter, data: bytes) -> None:
    whole = b"data: %b\n\n" % data
    writer.write(b"%x\r\n%b\r\n" % (len(whole), whole))
    await writer.drain()


# --- the process ---------------------------------------------------------------------------------------------------


async def run(socket_path: str, lock: int, litellm: Any) -> None:
    """Serve until whoever started it has gone and the last call is over.

    The socket takes the place of the one before it at once: calls that come from now on come here, and those that are
    under way there end there. While a successor is being loaded, the one before goes on although its gateway has gone.
    """
    loop = asyncio.get_running_loop()
    bridge = Bridge(litellm)
    own_path = f"{socket_path}.{os.getpid()}"
    with contextlib.suppress(FileNotFoundError):
        os.unlink(own_path)
    os.umask(0o177)
    server = await asyncio.start_unix_server(bridge.serve, own_path, limit=1024 * 1024, backlog=1024)
    os.rename(own_path, socket_path)
    fcntl.flock(lock, fcntl.LOCK_UN)

    def parent_read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            end_unless_awaited(MAX_LOAD_S)

    def end_unless_awaited(left_s: float) -> None:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if left_s > 0:
                loop.call_later(AGAIN_S, end_unless_awaited, left_s - AGAIN_S)
                return
        else:
            fcntl.flock(lock, fcntl.LOCK_UN)
        server.close()
        bridge.end()

    loop.add_reader(0, parent_read)
    await bridge.ended.wait()
    server.close()


def main() -> int:
    socket_path = sys.argv[1]
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else the import asks the network for prices
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # else it reads a file .env
    logging.disable(logging.CRITICAL)  # LiteLLM's lines may hold prompts and keys
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    lock = os.open(f"{socket_path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)  # held while it is loaded: the one before this waits for it
    try:
        import litellm
    except ImportError as error:
        print(f"the LiteLLM SDK can't be loaded: {error.name} is missing", file=sys.stderr)
        return 1
    litellm.suppress_debug_info = True
    litellm.telemetry = False
    litellm.num_retries = 0
    asyncio.run(run(socket_path, lock, litellm))
    return 0


if __name__ == "__main__":
    sys.exit(main())
