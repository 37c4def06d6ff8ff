"""Somebody who is told things by HTTP POST: a webhook, Langfuse, an OpenTelemetry collector. It may misbehave."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec


@dataclass(frozen=True)
class Post:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Receiver:
    """Keeps what it gets. `status` is answered from now on; `hold` makes it take a connection and say nothing."""

    def __init__(self, port: int = 0) -> None:
        self.posts: list[Post] = []
        self.status = 200
        self.refused = 0
        self._may_answer = threading.Event()
        self._may_answer.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if not outer._may_answer.wait(30):
                    self.close_connection = True
                    return
                if outer.status < 300:
                    headers = {name.lower(): value for name, value in self.headers.items()}
                    outer.posts.append(Post(self.path, headers, body))
                else:
                    outer.refused += 1
                self.send_response(outer.status)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A sender that was ended in the middle is no fault of this side."""

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def hold(self, is_held: bool = True) -> None:
        self._may_answer.clear() if is_held else self._may_answer.set()

    def close(self) -> None:
        self._may_answer.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(60)
