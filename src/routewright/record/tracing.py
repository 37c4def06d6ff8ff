"""Which requests are traced, and what is noted of them on the way: W3C Trace Context in and out.

Source: W3C Trace Context, level 1 (traceparent, tracestate). A trace that the caller began goes on under its id; one
that is not sampled is passed on as it came, and where none came the upstream is told that this one is not, so that it
does not sample by itself what nobody sees the rest of. Whether a request is sampled is decided before anything is made;
what is noted of one that is becomes spans after its end, elsewhere.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Mapping

import msgspec

from routewright.settings import TraceSettings
from routewright.types import Deployment

_PARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?\Z")
_NO_TRACE, _NO_SPAN = b"0" * 32, b"0" * 16
MOST_STATE_BYTES = 512
"""More than the 512 that everybody has to pass on is nobody's right."""
SAMPLED = 1


class AttemptRecord(msgspec.Struct, omit_defaults=True):
    """One request to an upstream, as its span will tell it."""

    span_id: str
    deployment: str
    provider: str
    upstream_model: str
    host: str
    port: int
    from_ms: float
    """Since the request came."""
    to_ms: float = 0.0
    error: str = ""


class TraceRecord(msgspec.Struct, omit_defaults=True):
    """What a traced request's record has more than others."""

    trace_id: str
    span_id: str
    parent_id: str = ""
    state: str = ""
    attempts: list[AttemptRecord] = []


class NotSampled:
    """A request of which nothing is told; the upstream gets the trace that came, or hears that none is told."""

    __slots__ = ("_fields", "_rng")
    record: TraceRecord | None = None
    call_id = ""

    def __init__(self, fields: bytes, rng: random.Random) -> None:
        """`fields`: those that came; empty: none did."""
        self._fields = fields
        self._rng = rng

    def begin(self, deployment: Deployment, request: bytes) -> bytes:
        """An upstream is asked: the request with its trace's fields."""
        fields = self._fields
        if not fields:
            fields = b"traceparent: 00-%b-00\r\n" % self._rng.randbytes(24).hex("-", -16).encode()
        return request.replace(b"\r\n", b"\r\n" + fields, 1)

    def end(self, deployment: Deployment, error: str | None) -> None:
        """Nothing is noted."""


class Trace:
    """One request that is traced."""

    __slots__ = ("_fields", "_rng", "_started_s", "call_id", "record")

    def __init__(self, record: TraceRecord, fields: bytes, rng: random.Random, call_id: str, started_s: float) -> None:
        self.record = record
        self.call_id = call_id
        """Whose spans these are; the calls behind a request note their attempts in its trace."""
        self._fields = fields
        """That go upstream beside `traceparent`."""
        self._rng = rng
        self._started_s = started_s

    def begin(self, deployment: Deployment, request: bytes) -> bytes:
        """An upstream is asked: the request with its trace's fields."""
        record = self.record
        span_id = self._rng.randbytes(8).hex()
        _, host, port = deployment.origin
        record.attempts.append(
            AttemptRecord(
                span_id, deployment.id, deployment.provider, deployment.upstream_model, host, port,
                _milliseconds(time.monotonic() - self._started_s),
            )
        )  # fmt: skip
        parent = b"\r\ntraceparent: 00-%b-%b-01\r\n" % (record.trace_id.encode(), span_id.encode())
        return request.replace(b"\r\n", parent + self._fields, 1)

    def end(self, deployment: Deployment, error: str | None) -> None:
        """A deployment that was asked has answered, or has not; another one may be asked at the same time."""
        for attempt in reversed(self.record.attempts):
            if attempt.deployment == deployment.id and not attempt.to_ms:
                attempt.to_ms = _milliseconds(time.monotonic() - self._started_s)
                attempt.error = error or ""
                return


class Tracer:
    """Decides for each request."""

    def __init__(self, settings: TraceSettings, rng: random.Random) -> None:
        self._share = settings.sampling
        self._follows_caller = settings.follows_caller
        self._rng = rng

    def begin(self, headers: Mapping[bytes, bytes], call_id: str, started_s: float) -> Trace | NotSampled:
        came = headers.get(b"traceparent")
        found = None if came is None else _read(came)
        if came is None or found is None:
            if self._rng.random() >= self._share:
                return NotSampled(b"", self._rng)
            return Trace(TraceRecord(self._id(16), self._id(8)), b"", self._rng, call_id, started_s)
        state = headers.get(b"tracestate", b"")
        if len(state) > MOST_STATE_BYTES or not state.isascii():
            state = b""
        fields = b"tracestate: %b\r\n" % state if state else b""
        is_sampled = int(found[4], 16) & SAMPLED if self._follows_caller else self._rng.random() < self._share
        if not is_sampled:
            return NotSampled(b"traceparent: %b\r\n%b" % (came[:55], fields), self._rng)
        record = TraceRecord(found[2].decode(), self._id(8), found[3].decode(), state.decode())
        return Trace(record, fields, self._rng, call_id, started_s)

    def _id(self, size: int) -> str:
        """All zeros would be no id; nobody will live to see it."""
        return self._rng.randbytes(size).hex()


def _read(came: bytes) -> re.Match[bytes] | None:
    """A `traceparent` that may be gone by."""
    found = _PARENT.match(came)
    if (
        found is None
        or found[1] == b"ff"
        or found[2] == _NO_TRACE
        or found[3] == _NO_SPAN
        or (found[1] == b"00" and len(came) != 55)
    ):
        return None
    return found


def _milliseconds(seconds: float) -> float:
    return int(seconds * 1e6) / 1e3
