"""Text -> codes by any OpenAI-compatible embeddings endpoint. Asked in threads, several prompts in a call.

Address, model and key come from the configuration's section `embeddings`, never from a router file: a file cannot send
prompts anywhere. What the endpoint answers is checked for size, shape and numbers before it is used; an endpoint that
is down, slow or wrong costs a request its vector, nothing else.

The same text gives the same codes as far as the endpoint gives the same numbers, to a step of the codes: many compute a
batch otherwise than a single text, in the last bits.

Source: platform.openai.com/docs/api-reference/embeddings.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

import msgspec
import numpy as np

from routewright.routing.features.cheap import cut
from routewright.routing.features.contract import NoVector, Supplies
from routewright.routing.features.encoded import EncodedFeatures
from routewright.routing.features.encoder import Codes, Encoder, Remembering, to_codes
from routewright.routing.features.used import TALLY
from routewright.routing.router import Float32
from routewright.settings import EmbeddingsSettings
from routewright.types import CHARS_PER_TOKEN, Prompt

_TEXTS_IN_A_CALL: Final = 32
_MAX_WIDTH: Final = 8192
_MAX_BYTES: Final = _TEXTS_IN_A_CALL * _MAX_WIDTH * 32
"""Of an answer."""
_EMPTY: Final = " "
"""Sent for an empty text, which endpoints refuse."""


class _Row(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Row]


class _Told(msgspec.Struct):
    prompt_tokens: int = 0
    total_tokens: int = 0


class _Usage(msgspec.Struct):
    usage: _Told | None = None


_decoder: Final = msgspec.json.Decoder(_Answer)
_usage_decoder: Final = msgspec.json.Decoder(_Usage)
_MOST_TOKENS: Final = 10_000_000
"""That are believed of one call."""


class Endpoint(Encoder):
    """Asks for embeddings over one kept connection a thread."""

    def __init__(self, settings: EmbeddingsSettings) -> None:
        self._settings = settings
        parts = urlsplit(settings.api_base)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError('"embeddings.api_base" must be an http or https address')
        self._host, self._port = parts.hostname, parts.port
        self._path = parts.path.rstrip("/") + "/embeddings"
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._model = settings.model
        self._timeout_s = settings.timeout_s
        self._fields = {"Content-Type": "application/json", "Accept": "application/json"}
        if settings.api_key is not None:
            self._fields["Authorization"] = f"Bearer {settings.api_key.reveal()}"
        self._own = threading.local()

    def encode(self, texts: Sequence[str]) -> Codes:
        """As the contract says."""
        rows: list[Codes] = []
        for at in range(0, len(texts), _TEXTS_IN_A_CALL):
            rows += self._call(texts[at : at + _TEXTS_IN_A_CALL])
        if len({len(row) for row in rows}) > 1:
            raise NoVector("the endpoint's vectors differ in length")
        return np.stack(rows) if rows else np.empty((0, 1), dtype=np.int8)

    def _call(self, texts: Sequence[str]) -> list[Codes]:
        clean = [text.encode("utf-8", "replace").decode() or _EMPTY for text in texts]
        body = msgspec.json.encode({"model": self._model, "input": clean, "encoding_format": "float"})
        connection: HTTPConnection | None = getattr(self._own, "connection", None)
        try:
            if connection is not None:  # kept alive: it may have been closed meanwhile, which is no failure
                try:
                    return self._parse(self._ask(connection, body), clean)
                except (OSError, HTTPException):
                    connection.close()
            connection = self._own.connection = self._connect()
            return self._parse(self._ask(connection, body), clean)
        except (OSError, HTTPException) as error:
            self.close()
            raise NoVector(f"the embeddings endpoint can't be reached: {type(error).__name__}") from None
        except NoVector:
            self.close()
            raise

    def _connect(self) -> HTTPConnection:
        if self._tls is None:
            return HTTPConnection(self._host, self._port, timeout=self._timeout_s)
        return HTTPSConnection(self._host, self._port, timeout=self._timeout_s, context=self._tls)

    def close(self) -> None:
        """Close the calling thread's connection; the next call makes another."""
        connection: HTTPConnection | None = getattr(self._own, "connection", None)
        if connection is not None:
            connection.close()
            self._own.connection = None

    def _ask(self, connection: HTTPConnection, body: bytes) -> bytes:
        """The answer's bytes. Raises NoVector for another status than 200, too many bytes, or too long a time."""
        end_s = time.monotonic() + self._timeout_s
        connection.request("POST", self._path, body, self._fields)
        response: HTTPResponse = connection.getresponse()
        if response.status != 200:
            raise NoVector(f"the embeddings endpoint answered with status {response.status}")
        content = bytearray()
        while part := response.read1(65_536):
            content += part
            if len(content) > _MAX_BYTES:
                raise NoVector(f"the embeddings endpoint answered with more than {_MAX_BYTES} bytes")
            if time.monotonic() > end_s:
                raise NoVector(f"the embeddings endpoint took longer than {self._timeout_s:g} s")
        return bytes(content)

    def _count(self, content: bytes, texts: Sequence[str]) -> None:
        """What was answered is paid for, whatever the answer is good for."""
        try:
            told = _usage_decoder.decode(content).usage or _Told()
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            told = _Told()
        tokens = told.prompt_tokens or told.total_tokens
        if 0 < tokens <= _MOST_TOKENS:
            TALLY.add(self._settings, tokens, is_estimated=False)
        else:
            length = sum([len(text.encode("utf-8")) for text in texts])
            TALLY.add(self._settings, length // CHARS_PER_TOKEN + len(texts), is_estimated=True)

    def _parse(self, content: bytes, texts: Sequence[str]) -> list[Codes]:
        self._count(content, texts)
        n = len(texts)
        try:
            answer = _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise NoVector("the embeddings endpoint's answer is no list of embeddings") from None
        if sorted(row.index for row in answer.data) != list(range(n)):
            raise NoVector(f"the embeddings endpoint answered for other texts than the {n} that it was asked for")
        out: list[Codes] = [np.empty(0, dtype=np.int8)] * n
        for row in answer.data:
            vector = np.array(row.embedding, dtype=np.float64)
            if not 0 < len(vector) <= _MAX_WIDTH or not np.isfinite(vector).all() or np.abs(vector).max() > 1e9:
                raise NoVector("the embeddings endpoint answered with a vector that is none")
            out[row.index] = to_codes(vector)
        return out


@lru_cache(maxsize=4)
def _endpoint(settings: EmbeddingsSettings) -> Encoder:
    return Remembering(Endpoint(settings))


class RemoteFeatures(EncodedFeatures):
    """See `EncodedFeatures`; the encoder is the configured endpoint.

    Whether it is the one that was learned with is looked at with the first vector, not when a file is loaded: an
    endpoint that is down must not keep a gateway from starting.
    """

    name: ClassVar[str] = "remote"
    is_quick = False
    batch_size = _TEXTS_IN_A_CALL
    n_threads = 4

    def find_encoder(self, supplies: Supplies) -> Encoder:
        """As `EncodedFeatures` says."""
        if supplies.embeddings is None:
            raise ValueError('features "remote" need the section "embeddings" of the configuration')
        return _endpoint(supplies.embeddings)

    def open(self, supplies: Supplies) -> Self:
        """As the contract says; nothing is asked yet."""
        self.is_known = not hasattr(self, "probe_")
        return super().open(supplies)

    def check_encoder(self) -> None:
        """Looked at with the first vector."""

    def rehearsal(self, prompt: Prompt) -> Float32:
        """A vector as the probe's codes would give it."""
        vector: Float32 = self._vectors([prompt], [cut(prompt.text)], self.probe_[None])[0]
        return vector

    def transform(self, prompts: Sequence[Prompt]) -> Float32:
        """As the contract says."""
        if not self.is_known:
            try:
                super().check_encoder()
            except ValueError as error:
                raise NoVector(str(error)) from None
            self.is_known = True
        return super().transform(prompts)
