"""What OpenAI's clients are told."""

from __future__ import annotations

import json

from routewright.errors import UpstreamTimeout
from routewright.wire.chat_answers import CHAT


def test_stream_that_failed_says_so_and_ends() -> None:
    """R16, S: an error event, then the end; no invented reason to finish."""
    text = CHAT.error_event(UpstreamTimeout("too slow"), "request-1")
    told, done, end = text.split(b"\n\n")
    assert json.loads(told.removeprefix(b"data: "))["error"]["code"] == "upstream_timeout"
    assert (done, end) == (b"data: [DONE]", b"")
    assert b"finish_reason" not in text
