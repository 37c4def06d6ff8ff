"""What the processes say to people and to log collectors: readable lines, coloured on a terminal, or one JSON object a
line.

A collector that stops reading stops no request: what the pipe does not take at once is left out. Credentials are
written as `***` whatever said them.
"""

from __future__ import annotations

import logging
import os
import select
import sys
import time
import traceback
from typing import Final

import msgspec

from routewright.errors import clean_secrets

PIPE_BYTES: Final = 4096
"""What a pipe that can be written to takes without blocking (POSIX: PIPE_BUF is 512 at least, on Linux 4096)."""
FOR_CHILDREN: Final = "ROUTEWRIGHT_LOGS_OF_PARENT"
"""The variable by which a process tells another of ours how it logs."""
DIM, BOLD, RESET = "\x1b[2m", "\x1b[1m", "\x1b[0m"
RED, GREEN, YELLOW, BLUE = "\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[34m"
_COLOUR_OF = {"DEBUG": DIM, "INFO": BLUE, "WARNING": YELLOW, "ERROR": RED, "CRITICAL": RED + BOLD}
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(10), *range(11, 32), 127) if code != 9}
_encode = msgspec.json.Encoder().encode


def is_terminal() -> bool:
    """Whether a person reads along; `NO_COLOR` and `TERM=dumb` say that colours would disturb."""
    return sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def configure(*, level: str = "INFO", as_json: bool = False) -> None:
    """Log like this from now on, in this process."""
    root = logging.getLogger()
    handler = next((each for each in root.handlers if isinstance(each, LineHandler)), None)
    if handler is None:
        handler = LineHandler()
        root.addHandler(handler)
    handler.setFormatter(JsonLines() if as_json else Readable(is_coloured=is_terminal()))
    root.setLevel(logging.INFO if level == "DEBUG" else level)  # other libraries' details help nobody
    logging.getLogger("routewright").setLevel(level)


class LineHandler(logging.Handler):
    """Writes to standard error, and never waits for who reads it."""

    def __init__(self) -> None:
        super().__init__()
        self.left_out = 0
        """Lines that nobody took."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record).encode("utf-8", "backslashreplace") + b"\n"
            if not write(line):
                self.left_out += 1
        except Exception:  # noqa: BLE001 - logging must not break what logs; `handleError` says where
            self.handleError(record)


def write(data: bytes, patience_s: float = 0.0) -> bool:
    """Write to standard error as far as it takes data; False where it did not take all within `patience_s`."""
    ready = select.poll()
    ready.register(2, select.POLLOUT)
    for start in range(0, len(data), PIPE_BYTES):
        if not ready.poll(patience_s * 1000):
            return False
        try:
            os.write(2, data[start : start + PIPE_BYTES])
        except OSError:
            return False
    return True


class JsonLines(logging.Formatter):
    """One object a line: `time`, `level`, `message`, `pid`, and `exception` where there was one."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": stamp(record.created),
            "level": record.levelname,
            "message": clean_secrets(record.getMessage()),
            "pid": record.process,
        }
        if record.name != "routewright":
            line["logger"] = record.name
        if record.exc_info and record.exc_info[0] is not None:
            line["exception"] = clean_secrets("".join(traceback.format_exception(*record.exc_info)))
        return _encode(line).decode()


class Readable(logging.Formatter):
    """`09:15:02 WARNING text`; what goes on in a second line is set in, so that no text can pretend to be a line."""

    def __init__(self, *, is_coloured: bool) -> None:
        super().__init__()
        self._is_coloured = is_coloured

    def format(self, record: logging.LogRecord) -> str:
        text = clean_secrets(record.getMessage())
        if record.exc_info and record.exc_info[0] is not None:
            text += "\n" + clean_secrets("".join(traceback.format_exception(*record.exc_info))).rstrip()
        text = text.translate(_CONTROL).replace("\n", "\n    ")
        clock, level = time.strftime("%H:%M:%S", time.localtime(record.created)), record.levelname
        if not self._is_coloured:
            return f"{clock} {level:<7} {text}"
        return f"{DIM}{clock}{RESET} {_COLOUR_OF.get(level, '')}{level:<7}{RESET} {text}"


def stamp(seconds: float) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    whole = int(seconds)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{int((seconds - whole) * 1000):03d}Z"
