"""What is made of a provider's answer about an object: collected where it is small and read, else passed on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from routewright.carriage.headers import answer_lines
from routewright.errors import GatewayError, UpstreamBadResponse, UpstreamError
from routewright.metered import MeteredUsage, Units
from routewright.providers import openai
from routewright.providers.head import provider_fields
from routewright.types import CHARS_PER_TOKEN, Deployment, Outcome, Responder, Usage

MAX_OBJECT_BYTES = 8 * 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024
_decode = msgspec.json.Decoder().decode


class Collected:
    """Takes an answer in place of the client, who may leave meanwhile: what was made at the provider is put down."""

    def __init__(self, client: Responder, may_leave: Callable[[], bool] = lambda: False) -> None:
        """`may_leave`: nothing is made yet, so that it ends with the client."""
        self._client = client
        self._may_leave = may_leave
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_whole = False
        self._on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None
        client.on_gone = self._left

    def object(self) -> tuple[bytes, dict[str, Any]]:
        """The answer, and what it says. Raises UpstreamError and its kin."""
        self._client.on_gone = None
        if not self._is_whole:
            raise UpstreamError("the upstream's answer broke off")
        if self._size > MAX_OBJECT_BYTES:
            raise UpstreamBadResponse("the upstream's answer is too large")
        body = b"".join(self._pieces)
        try:
            found = _decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            found = None
        if type(found) is not dict:
            raise UpstreamBadResponse("the upstream's answer is no object in JSON")
        return body, found

    def _left(self) -> None:
        if self._on_gone is not None and self._may_leave():
            self._on_gone()

    # --- types.Responder ------------------------------------------------------------------------------------------

    @property
    def is_gone(self) -> bool:
        return self._client.is_gone and self._may_leave()

    @property
    def on_gone(self) -> Callable[[], None] | None:
        return self._on_gone

    @on_gone.setter
    def on_gone(self, call: Callable[[], None] | None) -> None:
        self._on_gone = call

    def begin(self, status: int, fields: bytes, first: bytes) -> None:
        self.write(first)

    def write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MAX_OBJECT_BYTES:
            self._pieces.append(data)

    def hold(self, last: bytes, *, close: bool = False) -> None:
        self.write(last)
        self._is_whole = not close

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None:
        self.write(body)
        self._is_whole = True

    def release(self) -> None: ...


class NoClient:
    """Where an answer goes that is only read on its way."""

    is_gone = False

    def __init__(self) -> None:
        self.on_gone: Callable[[], None] | None = None
        self.on_pause: Callable[[bool], None] | None = None

    def begin(self, status: int, fields: bytes, first: bytes) -> None: ...

    def write(self, data: bytes) -> None: ...

    def hold(self, last: bytes, *, close: bool = False) -> None: ...

    def hold_response(self, status: int, fields: bytes, body: bytes, *, close: bool = False) -> None: ...

    def release(self) -> None: ...


class ObjectReading:
    """An answer that is an object, or the error in place of it. Objects are free of charge."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self.fields = b""
        """Header lines of the answer, for the client."""

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> bytes | None:
        if not 200 <= status < 300:
            return None
        self.fields = b"content-type: application/json\r\nx-content-type-options: nosniff\r\n%b%b" % (
            self._deployment.reply_fields, provider_fields(headers, self._deployment),
        )  # fmt: skip
        return self.fields

    def feed(self, data: bytes) -> None: ...

    def error_of(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> GatewayError:
        return openai.error_of(status, headers, body, self._deployment, time.time())

    def usage(self, *, is_whole: bool) -> Usage | None:
        return FreeOfCharge()


class FreeOfCharge(MeteredUsage):
    """Used nothing that anybody pays for."""

    def charge(self, outcome: Outcome) -> None:
        outcome.is_priced, outcome.cost_nusd = True, 0


class ContentReading(ObjectReading):
    """A file's content, of whatever kind."""

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> bytes | None:
        return answer_lines(headers, self._deployment) if 200 <= status < 300 else None


class OutputReading(ObjectReading):
    """What the answers of a batch used, read off its output as it comes; one line is held at a time."""

    def __init__(self, deployment: Deployment) -> None:
        super().__init__(deployment)
        self._rest = b""
        self._skips = False
        self.used = BatchUsage()
        self.is_whole = False

    def feed(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._take(line)
        self._rest = rest
        if len(rest) > MAX_LINE_BYTES:
            self.used.add_estimated(len(rest))
            self._rest, self._skips = b"", True

    def usage(self, *, is_whole: bool) -> Usage | None:
        self._take(self._rest)
        self._rest = b""
        self.is_whole = is_whole
        return None

    def _take(self, line: bytes) -> None:
        if self._skips:  # the end of a line of which the beginning is counted
            self._skips = False
            return
        if line.strip():
            self.used.add_line(line)


class BatchUsage(MeteredUsage):
    """Tokens of all answers of a batch together, at what a batch costs."""

    @classmethod
    def lost(cls, about: Mapping[str, Any]) -> BatchUsage:
        """Of a batch whose output somebody has deleted before it was read: all that its lines may have used."""
        used = cls(int(about.get("prompt_tokens", 0)), int(about.get("output_tokens", 0)), is_estimated=True)
        used.units = Units(requests=int(about.get("lines", 0)))
        return used

    def add_line(self, line: bytes) -> None:
        """One line of the output. An answer that does not say what it used is counted by its length."""
        try:
            answer = _decode(line)["response"]
            status, body = answer["status_code"], answer["body"]
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
            return
        self.units = Units(requests=self.units.requests + 1)
        if status != 200 or type(body) is not dict:
            return
        if not self.add(body.get("usage")):
            self.add_estimated(len(line))

    def add_estimated(self, length: int) -> None:
        self.completion_tokens += length // CHARS_PER_TOKEN
        self.is_estimated = True

    def add(self, told: Any) -> bool:
        """Figures in the words of chat or of Responses. False: they can't be believed, or there are none."""
        if type(told) is not dict:
            return False
        prompt, answer = (
            _count(told, "prompt_tokens", "input_tokens"),
            _count(told, "completion_tokens", "output_tokens"),
        )
        if not prompt + answer:
            return False
        given = told.get("prompt_tokens_details") or told.get("input_tokens_details")
        made = told.get("completion_tokens_details") or told.get("output_tokens_details")
        self.prompt_tokens += prompt
        self.completion_tokens += answer
        self.cached_tokens += min(prompt, _count(given, "cached_tokens"))
        self.reasoning_tokens += min(answer, _count(made, "reasoning_tokens"))
        return True

    def charge(self, outcome: Outcome) -> None:
        deployment = outcome.deployment
        outcome.is_priced = deployment is not None and deployment.is_priced
        if deployment is not None:
            outcome.cost_nusd = batch_nusd(deployment, self.prompt_tokens, self.completion_tokens)


def batch_nusd(deployment: Deployment, prompt_tokens: int, output_tokens: int) -> int:
    """What a batch costs at a deployment, in nano-dollars; 0 where its tokens have no price."""
    return round(prompt_tokens * deployment.batch_input_nusd + output_tokens * deployment.batch_output_nusd)


def _count(figures: Any, *names: str) -> int:
    """The first of these figures that is there; chat's words stand beside Responses' with zeros in them."""
    if type(figures) is not dict:
        return 0
    found = [value for name in names if type(value := figures.get(name)) is int]
    return max([value for value in found if 0 <= value <= openai.MAX_TOKENS_BELIEVED * 1000], default=0)
