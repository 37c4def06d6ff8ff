"""A scripted upstream: an OpenAI-style server on a real loopback socket that does what each test tells it.

    upstream["a"].answers(status=503)
    upstream["b"].streams("Hel", "lo")

One listener serves many deployments; the first part of the path says which: `http://127.0.0.1:PORT/a/v1`. It runs
on an event loop of its own thread. Every request is logged, and every open connection counted.
"""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from harness import anthropic, bedrock, cohere, dialect, gemini, ollama, responses


@dataclass(frozen=True)
class Request:
    """One request as it arrived."""

    deployment: str
    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at_s: float
    connection: int

    @property
    def path(self) -> str:
        """Without the deployment's own prefix."""
        return self.target.split("/", 2)[2] if self.target.count("/") > 1 else self.target

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.body)


@dataclass(frozen=True)
class Send:
    """Write these bytes at once."""

    data: bytes


@dataclass(frozen=True)
class Drip:
    """Write these bytes one by one."""

    data: bytes
    gap_s: float


@dataclass(frozen=True)
class Wait:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Until:
    """Do nothing before the test sets this event."""

    event: threading.Event


class Close:
    """End the connection with FIN."""


class Reset:
    """End the connection with RST."""


class Hang:
    """Never do anything again."""


@dataclass(frozen=True)
class Flood:
    """Write these bytes again and again, until the other side leaves."""

    data: bytes


Step = Send | Drip | Wait | Until | Close | Reset | Hang | Flood
Play = Sequence[Step]
Script = Callable[[Request], Play]
PACKET_GAP_S = 0.002
"""Long enough on loopback that two packets are two reads on the other side, most of the time."""


@dataclass
class Deployment:
    """What one deployment does, and what it has seen."""

    name: str
    api_base: str
    requests: list[Request] = field(default_factory=list)
    in_use: int = 0
    """Requests under way whose connection is still open."""
    most_in_use: int = 0
    """The most at one time; a test sets it back."""
    tokens_sent: int = 0
    """Completion tokens of the default answers: what a bill would show."""
    _always: Script | None = None
    _queue: deque[Script] = field(default_factory=deque)

    @property
    def hits(self) -> int:
        return len(self.requests)

    @property
    def last(self) -> Request:
        return self.requests[-1]

    def script_for(self, request: Request) -> Script:
        if self._queue:
            return self._queue.popleft()
        return self._always or self._answer_well

    def forget(self) -> None:
        """Back to good answers, with an empty log."""
        self.requests.clear()
        self._queue.clear()
        self._always = None
        self.tokens_sent = 0

    def runs(self, script: Script, *, times: int | None = None) -> None:
        """Do this with each request, or with the next `times`; after those, what was told before."""
        if times is None:
            self._always = script
        else:
            self._queue.extend([script] * times)

    def plays(self, *steps: Step, times: int | None = None) -> None:
        self.runs(lambda request: steps, times=times)

    def answers(
        self,
        status: int = 200,
        body: Any = ...,
        headers: Mapping[str, str] | None = None,
        *,
        times: int | None = None,
    ) -> None:
        """Answer with this status; `body` may be bytes, or anything that JSON can hold."""
        if body is ...:
            body = dialect.chat_completion() if status == 200 else dialect.openai_error(f"scripted {status}")
        data = body if isinstance(body, bytes) else dialect.to_json(body)
        self.plays(Send(dialect.response(status, data, headers)), times=times)

    def streams(self, *texts: str, times: int | None = None, **shape: Any) -> None:
        """Stream these texts, each event in a packet of its own."""
        self.sends_packets(dialect.chat_events(texts, **shape), times=times)

    def sends_packets(self, packets: Sequence[bytes], *, gap_s: float = PACKET_GAP_S, times: int | None = None) -> None:
        """Stream these bytes of an event stream, each piece in a packet and an HTTP chunk of its own."""
        steps: list[Step] = []
        for piece in dialect.chunked_stream(packets):
            steps += [Send(piece), Wait(gap_s)] if gap_s else [Send(piece)]
        self.plays(*steps, times=times)

    def hangs(self, *, times: int | None = None) -> None:
        self.plays(Hang(), times=times)

    def cuts(self, data: bytes, *, with_reset: bool = False, times: int | None = None) -> None:
        """Send these bytes of a response, then break the connection off."""
        self.plays(Send(data), Reset() if with_reset else Close(), times=times)

    def stalls(self, data: bytes, *, times: int | None = None) -> None:
        """Send these bytes of a response, then nothing more."""
        self.plays(Send(data), Hang(), times=times)

    @staticmethod
    def _streamed(events: Sequence[bytes]) -> Play:
        return [Send(b"".join(dialect.chunked_stream(events)))]

    def _answer_well(self, request: Request) -> Play:
        asked = request.json
        path = request.path.partition("?")[0]
        if ":countTokens" in request.path:
            return [Send(dialect.response(200, dialect.to_json({"totalTokens": 14})))]
        if ":generateContent" in request.path or ":streamGenerateContent" in request.path:
            self.tokens_sent += 3
            if ":stream" in request.path:
                return self._streamed(gemini.text_events(["Hello", " from", f" {self.name}"]))
            whole = gemini.response({"text": f"Hello from {self.name}"})
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith("v2/chat"):
            if asked["stream"]:
                return self._streamed(cohere.text_events(["Hello", " from", f" {self.name}"]))
            whole = cohere.response(cohere.text(f"Hello from {self.name}"))
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith("api/chat"):
            if asked["stream"]:
                lines = ollama.text_lines(["Hello", " from", f" {self.name}"])
                return [Send(b"".join(dialect.chunked_stream(lines, ollama.STREAM_HEADERS)))]
            return [Send(dialect.response(200, dialect.to_json(ollama.response(f"Hello from {self.name}"))))]
        if path.endswith("/embed"):
            whole = cohere.embeddings(asked) if "texts" in asked else ollama.embeddings(asked)
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith(":rawPredict"):
            count = path.endswith("count-tokens:rawPredict")
            whole = {"input_tokens": 14} if count else anthropic.message(anthropic.text(f"Hello from {self.name}"))
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith(":streamRawPredict"):
            return self._streamed(anthropic.message_events("Hello", " from", f" {self.name}"))
        if path.endswith(":predict"):
            return [Send(dialect.response(200, dialect.to_json(gemini.predictions(asked))))]
        if path.endswith("/invoke"):
            return [Send(dialect.response(200, dialect.to_json(bedrock.invoked(asked))))]
        if path.endswith("/converse"):
            whole = bedrock.response({"text": f"Hello from {self.name}"})
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith("/converse-stream"):
            events = bedrock.text_events(["Hello", " from", f" {self.name}"])
            return [Send(b"".join(dialect.chunked_stream(events, bedrock.STREAM_HEADERS)))]
        model = asked["model"]
        if path.endswith("embeddings"):
            return [Send(dialect.response(200, dialect.to_json(dialect.embeddings(asked, model=model))))]
        text = f"Hello from {self.name}"
        self.tokens_sent += 3
        if path.endswith("/count_tokens"):
            return [Send(dialect.response(200, dialect.to_json({"input_tokens": 14})))]
        if path.endswith("/messages"):
            if asked.get("stream"):
                return self._streamed(anthropic.message_events("Hello", " from", f" {self.name}"))
            return [Send(dialect.response(200, dialect.to_json(anthropic.answer_to(asked, text))))]
        if path.endswith("/responses"):
            if asked.get("stream"):
                return self._streamed(responses.text_events(["Hello", " from", f" {self.name}"]))
            whole = responses.response(responses.message(responses.text(text)), model=model)
            return [Send(dialect.response(200, dialect.to_json(whole)))]
        if path.endswith("chat/completions"):
            if asked.get("stream"):
                events = dialect.chat_events(["Hello", " from", f" {self.name}"])
                return self._streamed(events)
            return [Send(dialect.response(200, dialect.to_json(dialect.chat_completion(text, model=model))))]
        whole = dialect.text_completion(text, model=model)
        if asked.get("stream"):
            events = [dialect.event({**whole, "usage": None}), dialect.event({**whole, "choices": []}), dialect.DONE]
            return self._streamed(events)
        return [Send(dialect.response(200, dialect.to_json(whole)))]


class _Connection(asyncio.Protocol):
    """One accepted connection: takes requests apart, plays the script, one after the other."""

    def __init__(self, upstream: Upstream) -> None:
        self.upstream = upstream
        self.buffer = b""
        self.playing: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.transport = transport
        self.number = self.upstream.connections_made
        self.upstream.connections_made += 1
        self.upstream.connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        self.upstream.connections.discard(self)
        if self.playing is not None:
            self.playing.cancel()

    def _next(self) -> None:
        if self.playing is not None or b"\r\n\r\n" not in self.buffer:
            return
        raw_head, rest = self.buffer.split(b"\r\n\r\n", 1)
        first, *lines = raw_head.decode("latin-1").split("\r\n")
        method, target, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", 0))
        if len(rest) < length:
            return
        self.buffer = rest[length:]
        deployment = self.upstream[target.split("/")[1]]
        request = Request(deployment.name, method, target, headers, rest[:length], time.monotonic(), self.number)
        deployment.requests.append(request)
        self.playing = asyncio.get_running_loop().create_task(self._play(deployment, request))
        self.playing.add_done_callback(self._played)

    def _played(self, task: asyncio.Task[None]) -> None:
        self.playing = None
        if not task.cancelled() and task.exception() is not None:
            self.upstream.script_errors.append(task.exception())
            self.transport.abort()
        elif not self.transport.is_closing():
            self._next()

    async def _play(self, deployment: Deployment, request: Request) -> None:
        deployment.in_use += 1
        deployment.most_in_use = max(deployment.most_in_use, deployment.in_use)
        try:
            for step in deployment.script_for(request)(request):
                await self._do(step)
        finally:
            deployment.in_use -= 1

    async def _do(self, step: Step) -> None:
        transport = self.transport
        match step:
            case Send(data):
                transport.write(data)
            case Drip(data, gap_s):
                for place in range(len(data)):
                    transport.write(data[place : place + 1])
                    await asyncio.sleep(gap_s)
            case Wait(seconds):
                await asyncio.sleep(seconds)
            case Until(told):
                while not told.is_set():  # noqa: ASYNC110 - set by another thread
                    await asyncio.sleep(0.005)
            case Flood(data):
                while not transport.is_closing():
                    is_full = transport.get_write_buffer_size() > 200_000
                    if not is_full:
                        transport.write(data)
                    await asyncio.sleep(0.01 if is_full else 0)
            case Close():
                transport.close()
            case Reset():
                linger = struct.pack("ii", 1, 0)
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                transport.abort()
            case Hang():
                await asyncio.Event().wait()


class Upstream:
    """The listener and its deployments."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        """With `tls` its deployments are at https://localhost."""
        self._tls = tls
        self.port = 0
        self.connections: set[_Connection] = set()
        self.connections_made = 0
        self.script_errors: list[BaseException] = []
        self._deployments: dict[str, Deployment] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        self._ready.wait(30)

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), "127.0.0.1", 0, backlog=1024, ssl=self._tls)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        if self.script_errors:
            raise AssertionError(f"scripts failed: {self.script_errors[:3]}")

    def __getitem__(self, name: str) -> Deployment:
        if name not in self._deployments:
            origin = "http://127.0.0.1" if self._tls is None else "https://localhost"
            self._deployments[name] = Deployment(name, f"{origin}:{self.port}/{name}/v1")
        return self._deployments[name]

    def forget(self) -> None:
        """All deployments back to good answers."""
        for deployment in list(self._deployments.values()):
            deployment.forget()

    @property
    def open_connections(self) -> int:
        return len(self.connections)

    @property
    def in_use(self) -> int:
        return sum(deployment.in_use for deployment in list(self._deployments.values()))


@contextmanager
def closed_port() -> Iterator[int]:
    """A port that refuses: bound, so that nobody else takes it, and not listening."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def port_that_never_accepts() -> Iterator[int]:
    """A port whose backlog is full, so that the next connection waits for good."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        try:
            yield listener.getsockname()[1]
        finally:
            for filler in fillers:
                filler.close()
