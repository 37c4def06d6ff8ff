"""What is read of an answer on its way by: its kind, and what it used."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from routewright.carriage.headers import answer_lines
from routewright.carriage.peek import USUAL_OUTPUT_TOKENS, Asked
from routewright.errors import GatewayError, UpstreamBadResponse
from routewright.metered import MeteredCall, MeteredUsage, Units
from routewright.providers import openai
from routewright.providers.head import provider_fields
from routewright.providers.media import Figures, estimated, figures_of, picture_usage
from routewright.providers.rerank import usage_of
from routewright.types import CHARS_PER_TOKEN, Deployment, Outcome, Usage

MAX_LOOKED_AT_BYTES = 1024 * 1024
"""Of an answer in JSON, which is looked at whole; a longer one is only passed on."""
TAIL_BYTES = 16 * 1024
MAX_SECONDS_BELIEVED = 1_000_000.0
BYTES_PER_SECOND = 16_000
"""Of sound whose length nobody tells: 128 kbit/s."""
_KINDS = re.compile(
    rb"(?:application/json|text/plain|text/event-stream|text/vtt|text/srt|application/x-subrip)(?:\s*;[ -~]{0,128})?"
)
_LAST_TIME = re.compile(rb"-->\s*(?:(\d{1,4}):)?(\d{2}):(\d{2})[.,](\d{1,3})")
_IN_ANSWER = b'"b64_json"'
_MODEL = re.compile(rb'"model(?:Version)?"\s*:\s*"([^"\\]{1,256})"')
_USAGE = re.compile(rb'"usage(?:Metadata)?"\s*:\s*(\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\})')
_decode = msgspec.json.Decoder().decode


class Looked:
    """The beginning of an answer, as far as it may be looked at, and its end."""

    __slots__ = ("_is_too_long", "_pieces", "_size", "tail")

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._is_too_long = False
        self.tail = b""

    def feed(self, data: bytes) -> None:
        self.tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self.tail + data)[-TAIL_BYTES:]
        self._size += len(data)
        if self._size > MAX_LOOKED_AT_BYTES:
            self._pieces.clear()
        else:
            self._pieces.append(data)

    def object(self) -> dict[str, Any]:
        """The answer as JSON, or the last event's; empty where it is neither, or too long."""
        text = b"".join(self._pieces)
        if text[:64].lstrip()[:1] != b"{":
            start = self.tail.rfind(b"\ndata: {")
            text = self.tail[start + 7 :].split(b"\n", 1)[0] if start >= 0 else b""
            if not text and self.tail.startswith(b"data: {"):
                text = self.tail[6:].split(b"\n", 1)[0]
        try:
            found = _decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError):
            return {}
        return found if type(found) is dict else {}


PICTURES, TRANSCRIPT, SPEECH, RANKING, VERDICTS = "pictures", "transcript", "speech", "ranking", "verdicts"
"""What is asked for beside text and vectors."""


class FormReading:
    """The answer to a form with a file, a transcript or pictures; or, where all of it passes, of another of these."""

    def __init__(
        self, call: MeteredCall, deployment: Deployment, outcome: Outcome, file_bytes: Callable[[], int], kind: str
    ) -> None:
        self._call = call
        self._deployment = deployment
        self._outcome = outcome
        self._file_bytes = file_bytes
        self._kind = kind
        self._looked = Looked()
        self._pictures = 0

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> bytes | None:
        if status != 200:
            return None
        media_type = headers.get(b"content-type", b"")
        if _KINDS.fullmatch(media_type.lower()) is None:
            raise UpstreamBadResponse("the upstream's answer is of a kind that this endpoint has not")
        return b"content-type: %b\r\nx-content-type-options: nosniff\r\n%b%b" % (
            media_type, self._deployment.reply_fields, provider_fields(headers, self._deployment),
        )  # fmt: skip

    def feed(self, data: bytes) -> None:
        if self._kind == PICTURES:  # each of several megabytes, of which none is held
            before = self._looked.tail[-len(_IN_ANSWER) + 1 :]
            self._pictures += (before + data).count(_IN_ANSWER)
        self._looked.feed(data)

    def error_of(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> GatewayError:
        return openai.error_of(status, headers, body, self._deployment, time.time())

    def usage(self, *, is_whole: bool) -> MeteredUsage:
        answer = self._looked.object() if is_whole else {}
        figures = figures_of(answer.get("usage") or self._told_last())
        if self._kind == PICTURES:
            data = answer.get("data")
            count = len(data) if type(data) is list else self._pictures or self._call.units.images
            return picture_usage(figures, self._call, count)
        if self._kind == RANKING:
            return usage_of(answer, self._call)[0]
        if self._kind == VERDICTS:
            return estimated(self._call)
        if self._kind == SPEECH:
            told = figures.usage(self._call.units) if figures is not None else None
            return told if told is not None else estimated(self._call, self._call.max_tokens or 0)
        seconds = self._seconds(answer, figures) if is_whole else None
        is_told = seconds is not None
        if seconds is None:
            seconds = self._file_bytes() / BYTES_PER_SECOND
        units = Units(seconds=seconds)
        told = figures.usage(units) if figures is not None else None
        if told is not None:
            return told
        return MeteredUsage(units=units, is_estimated=not is_told)

    def _told_last(self) -> Any:
        """What the end of a long answer, or of a stream, says was used."""
        told = _USAGE.findall(self._looked.tail)
        try:
            return _decode(told[-1]) if told else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def _seconds(self, answer: dict[str, Any], figures: Figures | None) -> float | None:
        """How long the sound was, by the provider's word or by the last subtitle's end."""
        if figures is not None and figures.type == "duration":
            return _believed(figures.seconds)
        if answer:
            return _believed(answer.get("duration"))
        ends = list(_LAST_TIME.finditer(self._looked.tail))
        if not ends:
            return None
        hours, minutes, seconds, part = ends[-1].groups()
        return _believed(int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(part) / 10 ** len(part))


class PassedUsage(MeteredUsage):
    """Priced by whichever deployment has a price for the model that answered."""

    priced_by: Deployment | None = None

    def charge(self, outcome: Outcome) -> None:
        MeteredUsage.charge(self, outcome)
        if self.priced_by is not None and not outcome.is_priced:
            self.charge_at(outcome, self.priced_by)

    @classmethod
    def of(cls, usage: MeteredUsage, priced_by: Deployment | None) -> PassedUsage:
        """What was used, at another deployment's price than that of where it went."""
        return cls(**msgspec.structs.asdict(usage), priced_by=priced_by)


class PassReading:
    """The answer to a request that passes through: of any status and kind; tokens are read where it tells some, and
    counted by its length where a request to a model has an answer that does not, or not to its end."""

    def __init__(
        self,
        deployment: Deployment,
        price_of: Callable[[str], Deployment | None],
        priced_by: Deployment | None = None,
        asked: Asked | None = None,
        media: FormReading | None = None,
    ) -> None:
        """`priced_by`: whose price the model has that `asked` names. `media`: what was asked for is none of text."""
        self._deployment = deployment
        self._price_of = price_of
        self._priced_by = priced_by
        self._asked = asked
        self._media = media
        self._start = b""
        self._tail = b""
        self._status = 0
        self._is_stream = False
        self._events = self._size = 0
        self.tells_usage = True
        """What it tells was used by this request, and by no other that it speaks of."""

    def begin(self, status: int, headers: Mapping[bytes, bytes]) -> bytes | None:
        self._status = status
        self._is_stream = headers.get(b"content-type", b"").lower().startswith(b"text/event-stream")
        return answer_lines(headers, self._deployment)

    def feed(self, data: bytes) -> None:
        self._size += len(data)
        if self._media is not None:
            self._media.feed(data)
        if self._is_stream:
            self._events += data.count(b"data:")
        if len(self._start) < TAIL_BYTES:
            self._start += data[: TAIL_BYTES - len(self._start)]
        self._tail = data[-TAIL_BYTES:] if len(data) >= TAIL_BYTES else (self._tail + data)[-TAIL_BYTES:]

    def error_of(self, status: int, headers: Mapping[bytes, bytes], body: bytes) -> GatewayError:
        raise AssertionError("an answer that passes through is told as it is")

    def usage(self, *, is_whole: bool) -> Usage | None:
        usage = PassedUsage(units=Units(requests=1))
        if self._status >= 400:
            usage.units = Units()
            return usage
        if self._media is not None:
            used = self._media.usage(is_whole=is_whole)
            return PassedUsage.of(used, self._priced_by)
        told = _USAGE.findall(self._tail) if self.tells_usage else []
        if told:
            usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens = tokens_told(told[-1])
            model = _MODEL.search(self._start)
            if model is not None and usage.prompt_tokens + usage.completion_tokens:
                usage.priced_by = self._price_of(model[1].decode("utf-8", "replace"))
        is_told = usage.prompt_tokens + usage.completion_tokens > 0
        if self._asked is not None and (not is_told or not is_whole) and (self._status or not is_whole):
            self._count(usage, self._asked)
        return usage

    def _count(self, usage: PassedUsage, asked: Asked) -> None:
        """Our own count: the request's texts, and an event or four bytes of the answer for a token; where the answer
        comes later, to who asks for it, as much as there may be of it."""
        usage.is_estimated = True
        usage.prompt_tokens = max(usage.prompt_tokens, asked.prompt_tokens)
        came = self._events if self._is_stream else self._size // CHARS_PER_TOKEN
        if asked.is_background:
            came = (USUAL_OUTPUT_TOKENS if asked.output_tokens is None else asked.output_tokens) * asked.n_choices
        elif asked.output_tokens is not None:
            came = min(came, asked.output_tokens * asked.n_choices)
        usage.completion_tokens = max(usage.completion_tokens, came)
        usage.priced_by = usage.priced_by or self._priced_by


def tokens_told(text: bytes) -> tuple[int, int, int]:
    """(of the prompt, of the answer, read from a cache), in OpenAI's, Anthropic's or Google's words."""
    try:
        figures = _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return 0, 0, 0

    def count(*names: str) -> int:
        found = next((value for name in names if (value := figures.get(name)) is not None), 0)
        return found if type(found) is int and 0 <= found <= openai.MAX_TOKENS_BELIEVED else 0

    cached = count("cache_read_input_tokens")
    beside = cached + count("cache_creation_input_tokens")  # which Anthropic does not count with the others
    prompt = count("prompt_tokens", "input_tokens", "promptTokenCount") + beside
    answer = count("completion_tokens", "output_tokens", "candidatesTokenCount")
    inner = figures.get("tokens")
    if type(inner) is dict and not prompt + answer:  # Cohere's own
        figures = inner
        prompt, answer = count("input_tokens"), count("output_tokens")
    return prompt, answer, cached


def _believed(value: Any) -> float | None:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return None
    return seconds if 0 < seconds <= MAX_SECONDS_BELIEVED else None
