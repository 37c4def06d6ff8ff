"""What a client sends and finds: forms with a file, lines of a batch."""

from __future__ import annotations

import json
from typing import Any

from harness.gateway import TEAM_KEY, Gateway
from harness.wire import Reply, request_bytes

BOUNDARY = "xYzZY-boundary-2"


def line(number: int, model: str = "cheap", **body: Any) -> dict[str, Any]:
    """One request of a batch: 8 characters and a message's overhead, 100 tokens of answer at most."""
    asked = {"model": model, "messages": [{"role": "user", "content": "x" * 8}], "max_tokens": 100, **body}
    return {"custom_id": f"r{number}", "method": "POST", "url": "/v1/chat/completions", "body": asked}


def jsonl(*lines: Any) -> bytes:
    return b"".join([json.dumps(each).encode() + b"\n" for each in lines])


def part(name: str, value: bytes, file_name: str | None = None) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
    if file_name is not None:
        head += f'; filename="{file_name}"\r\nContent-Type: application/jsonl'
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload(
    gateway: Gateway,
    content: bytes,
    *,
    purpose: str = "batch",
    key: str | None = TEAM_KEY,
    is_file_first: bool = False,
    query: str = "",
    headers: dict[str, str] | None = None,
    **fields: str,
) -> Reply:
    """POST /v1/files."""
    given = [part(name, value.encode()) for name, value in {"purpose": purpose, **fields}.items()]
    given.insert(0 if is_file_first else len(given), part("file", content, "in.jsonl"))
    send = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}", **(headers or {})}
    with gateway.connect() as client:
        client.send(request_bytes("POST", f"/v1/files{query}", key=key, body=form(*given), headers=send))
        return client.reply("POST")


def start_batch(gateway: Gateway, file_id: str, *, key: str | None = TEAM_KEY, **more: Any) -> Reply:
    body = {"input_file_id": file_id, "endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return gateway.request("POST", "/v1/batches", body, key=key)
