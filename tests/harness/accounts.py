"""Accounts at a provider that serves OpenAI's files, batches and fine-tuning, on a real loopback socket.

accounts["one"].finish(batch_id, [usage, usage])        # as if a day had gone by
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import urlsplit

from harness import dialect, responses

_numbers = count(1)


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    """Below the account's `/v1`, with its query."""
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Account:
    """What lies in one account, and what was asked of it."""

    name: str
    api_base: str
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    requests: list[Asked] = field(default_factory=list)
    failing: int = 0
    """The status of every answer from now on; 0: as it should be."""
    next_id: str = ""
    """Of the next object, in place of one that nobody has."""

    @property
    def last(self) -> Asked:
        return self.requests[-1]

    def count(self, method: str, path: str) -> int:
        return sum(each.method == method and each.path.startswith(path) for each in self.requests)

    def lines_of(self, file_id: str) -> list[Any]:
        return [json.loads(line) for line in self.contents[file_id].splitlines()]

    def finish(
        self,
        batch_id: str,
        usages: Sequence[Mapping[str, Any] | None],
        *,
        status: str = "completed",
        tells_usage: bool = False,
    ) -> None:
        """End a batch with one answer for each of `usages`. `tells_usage`: in the batch, as OpenAI does of late."""
        batch = self.batches[batch_id]
        lines = [
            {
                "id": f"batch_req_{at}",
                "custom_id": f"r{at}",
                "response": {"status_code": 200, "request_id": "x", "body": {"id": "c", "model": "m", "usage": usage}},
                "error": None,
            }
            for at, usage in enumerate(usages)
        ]
        batch["status"] = status
        batch["request_counts"] = {"total": len(lines), "completed": len(lines), "failed": 0}
        if lines:
            output = self._file(
                b"".join([dialect.to_json(line) + b"\n" for line in lines]), "out.jsonl", "batch_output"
            )
            batch["output_file_id"] = output["id"]
        if tells_usage:
            batch["usage"] = {
                "input_tokens": sum(usage["prompt_tokens"] for usage in usages if usage),
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": sum(usage["completion_tokens"] for usage in usages if usage),
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": sum(usage["total_tokens"] for usage in usages if usage),
            }

    def _id(self, prefix: str) -> str:
        given, self.next_id = self.next_id, ""
        return given or f"{prefix}{self.name}{next(_numbers):06}"

    def _file(self, content: bytes, name: str, purpose: str) -> dict[str, Any]:
        made = {"id": self._id("file-"), "object": "file", "bytes": len(content), "created_at": int(time.time()),
                "filename": name, "purpose": purpose, "status": "processed", "status_details": None}  # fmt: skip
        self.files[made["id"]], self.contents[made["id"]] = made, content
        return made

    def answer(self, asked: Asked) -> tuple[int, Any]:
        path = urlsplit(asked.path).path
        collection, _, rest = path.strip("/").removeprefix("fine_tuning/").partition("/")
        object_id, _, verb = rest.partition("/")
        if self.failing:
            return self.failing, dialect.openai_error("scripted")
        if path == "/chat/completions":
            return 200, dialect.chat_completion(f"Hello from {self.name}")
        if path == "/responses":
            return 200, responses.response(responses.message(responses.text(f"Hello from {self.name}")))
        if asked.method == "POST" and not rest:
            return 200, getattr(self, f"_make_{collection}")(asked)
        found = getattr(self, collection).get(object_id)
        if found is None:
            return 404, dialect.openai_error(f"No such object: {object_id}")
        if asked.method == "DELETE":
            del self.files[object_id]
            return 200, {"id": object_id, "object": "file", "deleted": True}
        if verb == "content":
            return 200, self.contents[object_id]
        if verb == "cancel":
            found["status"] = "cancelling" if collection == "batches" else "cancelled"
        if verb == "events":
            return 200, {"object": "list", "data": [{"id": "ftevent-1", "message": "began"}], "has_more": False}
        return 200, found

    def _make_files(self, asked: Asked) -> dict[str, Any]:
        boundary = asked.headers["content-type"].partition("boundary=")[2].encode()
        values, name, content = {}, "", b""
        for piece in asked.body.split(b"--" + boundary)[1:-1]:
            head, _, value = piece[2:].partition(b"\r\n\r\n")
            value = value.removesuffix(b"\r\n")
            named = re.search(rb'name="([^"]+)"', head)
            assert named is not None
            file_name = re.search(rb'filename="([^"]*)"', head)
            if file_name is not None:
                name, content = file_name[1].decode(), value
            else:
                values[named[1].decode()] = value.decode()
        made = self._file(content, name, values.pop("purpose"))
        made["others"] = values
        return made

    def _make_batches(self, asked: Asked) -> dict[str, Any]:
        given = asked.json
        made = {"id": self._id("batch_"), "object": "batch", "endpoint": given["endpoint"], "errors": None,
                "input_file_id": given["input_file_id"], "completion_window": given["completion_window"],
                "status": "in_progress", "output_file_id": None, "error_file_id": None,
                "created_at": int(time.time()), "metadata": given.get("metadata"),
                "request_counts": {"total": 0, "completed": 0, "failed": 0}}  # fmt: skip
        self.batches[made["id"]] = made
        return made

    def _make_jobs(self, asked: Asked) -> dict[str, Any]:
        given = asked.json
        made = {"id": self._id("ftjob-"), "object": "fine_tuning.job", "model": given["model"], "status": "running",
                "training_file": given["training_file"], "validation_file": given.get("validation_file"),
                "created_at": int(time.time()), "fine_tuned_model": None, "finished_at": None, "error": None,
                "hyperparameters": {"n_epochs": 1}, "organization_id": "o", "result_files": [], "seed": 1,
                "trained_tokens": None}  # fmt: skip
        self.jobs[made["id"]] = made
        return made


class Accounts:
    """The listener, and the accounts by the first part of a path."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        accounts = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                _, name, _, rest = self.path.split("/", 3)
                account = accounts[name]
                asked = Asked(self.command, "/" + rest, {k.lower(): v for k, v in self.headers.items()}, self._body())
                if self.headers.get("transfer-encoding") == "chunked" and not asked.body.endswith(b"--\r\n"):
                    self.close_connection = True  # it was broken off
                    return
                account.requests.append(asked)
                status, answer = account.answer(asked)
                body = answer if isinstance(answer, bytes) else dialect.to_json(answer)
                kind = "application/octet-stream" if isinstance(answer, bytes) else "application/json"
                self.send_response(status)
                self.send_header("content-type", kind)
                self.send_header("content-length", str(len(body)))
                self.send_header("x-of-account", name)
                self.end_headers()
                self.wfile.write(body)

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                pieces = []
                while size := int(self.rfile.readline() or b"0", 16):
                    pieces.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(pieces)

            def log_message(self, *args: Any) -> None: ...

            do_GET = do_POST = do_DELETE = _serve  # noqa: N815 - as the library looks for them

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def __getitem__(self, name: str) -> Account:
        if name not in self._accounts:
            self._accounts[name] = Account(name, f"http://127.0.0.1:{self.port}/{name}/v1")
        return self._accounts[name]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
