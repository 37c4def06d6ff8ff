"""What the upstream behind `paid` does: every answer uses the tokens that were asked for, after a moment."""

from __future__ import annotations

from harness import dialect
from harness.upstream import Deployment, Play, Request, Send, Wait

GAP_S = 0.05


def uses_all(deployment: Deployment, *, gap_s: float = GAP_S) -> None:
    def script(request: Request) -> Play:
        asked = request.json
        used = dialect.usage(9, asked["max_tokens"])
        deployment.tokens_sent += asked["max_tokens"]
        if asked.get("stream"):
            events = dialect.chat_events(["Hello", " there"], used=used)
            return [Wait(gap_s), Send(b"".join(dialect.chunked_stream(events)))]
        return [Wait(gap_s), Send(dialect.response(200, dialect.to_json(dialect.chat_completion(usage=used))))]

    deployment.runs(script)
