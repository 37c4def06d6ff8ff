"""Questions of all workers and replicas, in a stream of the Valkey that each of them reads on from where it was.

So a search is one of this worker's memory, and what one kept is found by the others with their next look: the stream's
new entries come with the answer to the look-up of the equal question, which has to be made anyway.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec
import numpy as np

from routewright.caching.similar import Question, Similar
from routewright.valkey.connection import Command

AT_ONCE: Final = 200
"""Entries that one look reads at most: a few milliseconds of work."""
DAY_MS: Final = 86_400_000
_HALF: Final = np.dtype("<f2")
_WIDEST: Final = 8192


class _Row(msgspec.Struct, array_like=True, frozen=True):
    key: str
    family: bytes
    vector: bytes
    words: tuple[int, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Row).decode


class Rows:
    """This worker's place in the stream."""

    def __init__(self, similar: Similar, stream: str, max_rows: int) -> None:
        self.similar = similar
        self._stream = stream
        self._max_rows = max_rows
        self._read_to: bytes | str = "0"

    def command(self) -> Command:
        """Asks for what is new."""
        return ("XREAD", "COUNT", AT_ONCE, "STREAMS", self._stream, self._read_to)

    def added(self, key: str, question: Question, left_ms: int) -> list[Command]:
        """Tells everybody; the stream goes a day after the last of them."""
        row = _encode(_Row(key, question.family, question.vector.astype(_HALF).tobytes(), question.words))
        return [
            ("XADD", self._stream, "MAXLEN", "~", self._max_rows, "*", "r", row),
            ("PEXPIRE", self._stream, max(left_ms, DAY_MS)),
        ]

    def take(self, reply: Any) -> int:
        """What `command` was answered with; how many there were. What can't be read is passed over."""
        if not isinstance(reply, list) or not reply or not isinstance(reply[0], list) or len(reply[0]) != 2:
            return 0
        entries = reply[0][1]
        for entry in entries:
            self._read_to = entry[0]
            try:
                row = _decode(entry[1][1])
                vector = np.frombuffer(row.vector, _HALF).astype(np.float32)
                length = float(np.sqrt(vector @ vector))
                if 0 < len(vector) <= _WIDEST and 0.9 < length < 1.1:
                    self.similar.add(row.key, Question(row.family, vector / np.float32(length), row.words))
            except (msgspec.MsgspecError, ValueError, TypeError, IndexError):
                continue
        return len(entries)
