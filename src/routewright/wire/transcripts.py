"""The words of a transcript, in every form that OpenAI gives one: to be read, to be replaced.

Source: OpenAI API reference, "Create transcription": json, verbose_json, diarized_json, text, srt, vtt, and events.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from routewright.wire.json import encode

_decode = msgspec.json.Decoder().decode
_NO_WORDS = re.compile(r"\s*(?:\d+|WEBVTT.*|NOTE.*|STYLE.*|.*-->.*)?\s*\Z")


class NoTranscript(ValueError):
    """It can't be told what was said."""


class Transcript:
    """`texts` may be looked at and changed; `put` makes the answer of them. Raises NoTranscript."""

    def __init__(self, body: bytes, media_type: bytes) -> None:
        self._body = body
        kind = media_type.split(b";")[0].strip().lower()
        try:
            if kind == b"application/json":
                self._answer = self._object(_decode(body))
                self.texts = [self._answer["text"]]
                self._make = self._whole
            elif kind == b"text/event-stream":
                self._events = [self._object(event) for event in _events(body)]
                self.texts = [event["text"] for event in self._events if event.get("type") == "transcript.text.done"]
                if len(self.texts) != 1:
                    raise NoTranscript("the stream of a transcript has no end")
                self._make = self._streamed
            else:
                self._lines = body.decode("utf-8").split("\n")
                self._cues = [at for at, line in enumerate(self._lines) if not _NO_WORDS.match(line)]
                if kind == b"text/plain" and "-->" not in self._lines[1:3].__str__():
                    self.texts, self._make = ["\n".join(self._lines)], self._plain
                else:
                    said = [self._lines[at].strip() for at in self._cues]
                    self.texts, self._make = [" ".join(said), *said], self._subtitled
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, LookupError, TypeError) as error:
            raise NoTranscript("the transcript can't be read") from error
        if not all(type(text) is str for text in self.texts):
            raise NoTranscript("the transcript has no text")

    @staticmethod
    def _object(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise NoTranscript("the transcript can't be read")
        return value

    def put(self, texts: list[str]) -> bytes:
        """The answer with these texts. Raises NoTranscript where something was found across two subtitles."""
        return self._body if texts == self.texts else self._make(texts)

    def _plain(self, texts: list[str]) -> bytes:
        return texts[0].encode("utf-8", "replace")

    def _whole(self, texts: list[str]) -> bytes:
        """Segments and words tell the same once more, with what was taken out: they go."""
        kept = {name: value for name, value in self._answer.items() if name not in ("segments", "words", "logprobs")}
        return encode({**kept, "text": texts[0]})

    def _streamed(self, texts: list[str]) -> bytes:
        end = next(event for event in self._events if event.get("type") == "transcript.text.done")
        kept = {name: value for name, value in end.items() if name != "logprobs"}
        events = ({"type": "transcript.text.delta", "delta": texts[0]}, {**kept, "text": texts[0]})
        return b"".join([b"data: %b\n\n" % encode(event) for event in events])

    def _subtitled(self, texts: list[str]) -> bytes:
        whole, *cues = texts
        if " ".join(cues) != whole:
            raise NoTranscript("something was found that begins in one subtitle and ends in another")
        lines = list(self._lines)
        for at, cue in zip(self._cues, cues, strict=True):
            lines[at] = cue
        return "\n".join(lines).encode("utf-8", "replace")


def _events(stream: bytes) -> list[Any]:
    found = []
    for event in stream.replace(b"\r\n", b"\n").split(b"\n\n"):
        data = b"".join([line[5:] for line in event.split(b"\n") if line.startswith(b"data:")]).strip()
        if data and data != b"[DONE]":
            found.append(_decode(data))
    return found
