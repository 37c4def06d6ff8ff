"""One line a request in the log, made of the record that is in the journal already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routewright.logs import DIM, GREEN, PIPE_BYTES, RED, RESET, YELLOW, stamp

_decode = msgspec.json.Decoder().decode


class AccessLog:
    """Turns records into lines, and writes a batch of them. Called by a thread of its own, which may wait."""

    def __init__(self, write: Callable[[bytes], object], *, as_json: bool, is_coloured: bool = False) -> None:
        """`write` takes whole lines, so that those of several workers don't run into one another. It raises
        ConnectionError where nobody reads; the batch comes again then, and goes on with what was not taken."""
        self._write = write
        self._as_json = as_json
        self._is_coloured = is_coloured
        self._batch: Sequence[bytes] = ()
        self._left: list[bytes] = []

    def send(self, records: Sequence[bytes]) -> None:
        if records is not self._batch:
            self._batch, self._left = records, pieces(self._lines(records))
            self._left.reverse()
        while self._left:
            self._write(self._left[-1])
            self._left.pop()
        self._batch = ()

    def _lines(self, records: Sequence[bytes]) -> list[bytes]:
        if self._as_json:
            # The record is JSON already: three fields are put before its own.
            head = b'{"time":"%b","level":"INFO","message":"request",' % stamp(time.time()).encode()
            return [b"%b%b\n" % (head, record[1:]) for record in records]
        return [readable(_decode(record), is_coloured=self._is_coloured).encode() for record in records]


def pieces(lines: Sequence[bytes], most_bytes: int = PIPE_BYTES) -> list[bytes]:
    """Joined, as many as a pipe takes at once without another process's bytes between; a longer line is by itself."""
    made: list[bytes] = []
    begin = size = 0
    for at, line in enumerate(lines):
        size += len(line)
        if size > most_bytes and at > begin:
            made.append(b"".join(lines[begin:at]))
            begin, size = at, len(line)
    if begin < len(lines):
        made.append(b"".join(lines[begin:]))
    return made


def readable(record: dict[str, Any], *, is_coloured: bool) -> str:
    """`09:15:02 200 chat auto -> gpt-4o-mini 412 ms, first 120 ms, 120+34 tokens, $0.000034, team, id 4f2a...`."""
    status, asked, model = record["status"], record["model_asked"], record["model"]
    parts = [f"{record['latency_ms']:.0f} ms"]
    if record["ttft_ms"] is not None and record["is_stream"]:
        parts[0] += f", first {record['ttft_ms']:.0f} ms"
    if record["prompt_tokens"] or record["completion_tokens"]:
        parts.append(f"{record['prompt_tokens']}+{record['completion_tokens']} tokens")
    if record["cost_nusd"]:
        parts.append(f"${record['cost_nusd'] / 1e9:.6f}")
    if record["attempts"] > 1:
        parts.append(f"{record['attempts']} attempts")
    if record["error_code"]:
        parts.append(record["error_code"])
    if record["ended"] == "client_gone":
        parts.append("client left")
    if record["key_alias"]:
        parts.append(f"key {record['key_alias']}")
    clock = time.strftime("%H:%M:%S", time.localtime(record["ended_at_ms"] / 1000))
    way = f"{asked} -> {model}" if model and model != asked else asked
    rest = f"{record['endpoint']} {_printable(way)}  {_printable(', '.join(parts))}"
    number = f"id {_printable(record['request_id'])}"
    if not is_coloured:
        return f"{clock} {status:<7} {rest}, {number}\n"
    colour = GREEN if status < 400 and not record["error_code"] else RED if status >= 500 or status == 200 else YELLOW
    return f"{DIM}{clock}{RESET} {colour}{status:<7}{RESET} {rest}  {DIM}{number}{RESET}\n"


def _printable(text: str) -> str:
    """A name that a caller chose moves no cursor and begins no line."""
    return text if text.isprintable() else "".join(each if each.isprintable() else "?" for each in text)
