"""Lines of the log: one each, whatever a caller wrote, and no credential in any."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from routewright.logs import PIPE_BYTES, JsonLines, LineHandler, Readable
from routewright.record import exports
from routewright.record.access_log import AccessLog, pieces, readable
from routewright.record.exports import write_all

RECORD = {
    "request_id": "r1", "ended_at_ms": 1_790_000_001_500, "endpoint": "chat", "key_alias": "ci",
    "model_asked": "auto", "model": "mini", "status": 200, "error_code": None, "ended": "complete", "is_stream": True,
    "prompt_tokens": 12, "completion_tokens": 8, "cost_nusd": 34_000, "latency_ms": 412.3, "ttft_ms": 120.0,
    "attempts": 2,
}  # fmt: skip


def record(message: str, *values: object, failure: bool = False) -> logging.LogRecord:
    information = None
    if failure:
        try:
            raise ValueError("with Bearer abcdefgh in it")
        except ValueError:
            information = sys.exc_info()
    return logging.LogRecord("routewright", logging.WARNING, __file__, 1, message, values, information)


@pytest.mark.parametrize("formatter", [JsonLines(), Readable(is_coloured=False), Readable(is_coloured=True)])
def test_no_credential_is_written(formatter: logging.Formatter) -> None:
    """T17."""
    text = formatter.format(record("the upstream said: %s", "key sk-abcdefgh12345 is bad", failure=True))
    assert "sk-abcdefgh" not in text
    assert "Bearer abcdefgh" not in text
    assert "***" in text
    assert "ValueError" in text


def test_text_from_outside_begins_no_line_of_its_own() -> None:
    """T8."""
    text = Readable(is_coloured=False).format(record("model %s", "x\n09:15:02 ERROR   all is lost\x1b[2J\r"))
    first, second = text.split("\n")
    assert first.endswith("WARNING model x")
    assert second.startswith("    09:15:02 ERROR")
    assert "\x1b" not in text
    assert "\r" not in text
    line = JsonLines().format(record("model %s", "x\ny"))
    assert "\n" not in line
    assert json.loads(line)["message"] == "model x\ny"


def test_colours_are_for_terminals() -> None:
    assert "\x1b" not in Readable(is_coloured=False).format(record("hello"))
    assert "\x1b[33m" in Readable(is_coloured=True).format(record("hello"))


def test_request_reads_like_a_sentence() -> None:
    line = readable(RECORD, is_coloured=False)
    assert line[9:] == (
        "200     chat auto -> mini  412 ms, first 120 ms, 12+8 tokens, $0.000034, 2 attempts, key ci, id r1\n"
    )
    left = readable({**RECORD, "status": 499, "ended": "client_gone", "model": None}, is_coloured=False)
    assert "499     chat auto  " in left
    assert "client left" in left
    assert readable({**RECORD, "model_asked": "a\nb\x1b"}, is_coloured=False).count("\n") == 1


def test_json_line_is_the_record_with_time_level_and_message_before_it() -> None:
    lines: list[bytes] = []
    AccessLog(lines.append, as_json=True).send([json.dumps(RECORD).encode(), b'{"request_id":"r2"}'])
    first, second = (json.loads(line) for line in lines[0].splitlines())
    assert {**RECORD, "time": first["time"], "level": "INFO", "message": "request"} == first
    assert second["request_id"] == "r2"


@contextlib.contextmanager
def full_pipe() -> Iterator[int]:
    """Standard error is a pipe that nobody reads, and that is full of `x`; where it can be read from."""
    before = os.dup(2)
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 65536)
        os.set_blocking(writer, True)
        os.dup2(writer, 2)
        os.close(writer)
        yield reader
    finally:
        os.dup2(before, 2)
        os.close(before)
        os.close(reader)


def test_collector_that_stopped_reading_stops_nobody() -> None:
    with full_pipe():
        handler = LineHandler()
        handler.setFormatter(JsonLines())
        handler.emit(record("nobody hears"))  # would wait for ever
        assert handler.left_out == 1


def test_slow_collector_gets_every_line_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch is larger than what a pipe holds; after a while in which nobody read it goes on where it stopped."""
    monkeypatch.setattr(exports, "LOG_PATIENCE_S", 0.05)
    records = [b'{"number":%d,"long":"%b"}' % (number, b"y" * 900) for number in range(500)]
    log = AccessLog(write_all, as_json=True)
    with full_pipe() as reader:
        with pytest.raises(ConnectionError):
            log.send(records)
        got = bytearray()

        def read() -> None:
            while data := os.read(reader, 3000):
                got.extend(data)

        thread = threading.Thread(target=read)
        thread.start()
        log.send(records)
        os.dup2(1, 2)  # the last that could write
        thread.join(60)
    lines = bytes(got).lstrip(b"x").splitlines()
    assert [json.loads(line)["number"] for line in lines] == list(range(500))


def test_lines_of_a_piece_are_whole_and_go_into_a_pipe_at_once() -> None:
    """What is no longer than PIPE_BUF has no other process's bytes in it (POSIX, write)."""
    lines = [b"%d" % number * size + b"\n" for number, size in enumerate((1, 4094, 1, 2000, 2093, 5000, 3))]
    made = pieces(lines)
    assert b"".join(made) == b"".join(lines)
    assert all(each.endswith(b"\n") for each in made)
    assert [each for each in made if len(each) > PIPE_BYTES] == [lines[5]]
    assert len(made) < len(lines)
    assert pieces([]) == []
