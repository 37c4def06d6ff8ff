"""One line a request in the log, made of the record that is in the journal already."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from routewright.logs import DIM, GREEN, RED, RESET, YELLOW, stamp

_decode = msgspec.json.Decoder().decode


class AccessLog:
    """Turns records into lines, and writes a batch of them at once. Called by a thread of its own."""

    def __init__(self, write: Callable[[bytes], object], *, as_json: bool, is_coloured: bool = False) -> None:
        self._write = write
        self._as_json = as_json
        self._is_coloured = is_coloured

    def send(self, records: Sequence[bytes]) -> None:
        if self._as_json:
            # The record is JSON already: three fields are put before its own.
            head = b'{"time":"%b","level":"INFO","message":"request",' % stamp(time.time()).encode()
            lines = b"".join([b"%b%b\n" % (head, record[1:]) for record in records])
        else:
            lines = "".join([readable(_decode(record), is_coloured=self._is_coloured) for record in records]).encode()
        self._write(lines)


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
