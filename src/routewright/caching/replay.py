"""A kept answer on its way to a client, in the form that this client asked for."""

from __future__ import annotations

from routewright.caching.entry import Entry
from routewright.types import Call, Outcome, Responder
from routewright.wire.gathered import whole_of
from routewright.wire.told import split_end, stream_of
from routewright.wire.whole import STREAM_FIELDS

JSON_FIELDS = b"content-type: application/json\r\n"


def replayed(entry: Entry, call: Call) -> tuple[bytes, bytes] | None:
    """(what may be sent at once, what has to wait for the record); None where it can't be had in this form.

    A whole answer comes all in the second part.
    """
    if not call.is_stream:
        body = whole_of(entry.body, call, entry.usage) if entry.is_stream else entry.body
        return None if body is None else (b"", body)
    if entry.is_stream:
        if entry.has_usage == call.wants_usage:
            return split_end(entry.body)
        body = whole_of(entry.body, call, entry.usage)
        return None if body is None else stream_of(body, call)
    return stream_of(entry.body, call)


def give(
    said: tuple[bytes, bytes], entry: Entry, call: Call, client: Responder, outcome: Outcome, age_s: int,
    similarity: float = 0.0,
) -> None:  # fmt: skip
    """Hand it over as an upstream's answer is handed over: the end waits for `release`."""
    fields = b"%b%bx-litellm-cache-hit: true\r\nage: %d\r\n" % (outcome.fields, entry.fields, age_s)
    if similarity:
        fields += b"x-litellm-semantic-similarity: %.4f\r\n" % similarity
    if call.is_stream:
        client.begin(200, STREAM_FIELDS + fields, said[0])
        client.hold(said[1])
    else:
        client.hold_response(200, JSON_FIELDS + fields + b"x-litellm-response-cost: 0.000000000\r\n", said[1])
