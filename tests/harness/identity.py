"""An OpenID provider on a socket of its own: real keys, real signatures, codes that serve once. It may misbehave."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import threading
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "routewright", "s3cr:t/of the client"


class Identity:
    """`claims`: what it says of whoever logs in next. `twist` changes the claims of ID tokens before it signs them."""

    def __init__(self) -> None:
        self.claims: dict[str, Any] = {}
        self.of_userinfo: dict[str, Any] = {}
        self.twist: Callable[[dict[str, Any]], None] = lambda claims: None
        self.unsigned = False
        self.signs_with_secret = False
        self.forgives_codes = False
        """Takes a code more than once, as no provider should."""
        self.asks_first = False
        """Shows a page with a button, as to people."""
        self.codes: dict[str, dict[str, str]] = {}
        self.refusals: list[str] = []
        self.rotate()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer._get(self)

            def do_POST(self) -> None:
                outer._post(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def rotate(self, *, kind: str = "RSA") -> None:
        """Sign by a new key from now on; the old one is not in the key set any more."""
        kid = secrets.token_hex(4)
        if kind == "RSA":
            self._key: Any = RSAKey.generate_key(2048, {"kid": kid, "use": "sig"})
            self._algorithm = "RS256"
        else:
            self._key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig"})
            self._algorithm = "ES256"

    # --- its ends ---

    def _get(self, at: BaseHTTPRequestHandler) -> None:
        path, query = urlsplit(at.path).path, dict(parse_qsl(urlsplit(at.path).query))
        if path == "/.well-known/openid-configuration":
            ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys",
                    "userinfo_endpoint": "me"}  # fmt: skip
            _answer(at, {"issuer": self.issuer, **{name: f"{self.issuer}/{end}" for name, end in ends.items()}})
        elif path == "/keys":
            _answer(at, {"keys": [self._key.as_dict(private=False)]})
        elif path == "/authorize":
            if self.asks_first and query.pop("agreed", None) is None:
                link = f"/authorize?{urlencode({**query, 'agreed': '1'})}".replace("&", "&amp;")
                _answer(at, f"<!doctype html><title>Identity</title><a href='{link}'>I am Ada</a>")
                return
            _answer(at, "", 303, location=self.agree(query))
        elif path == "/me":
            _answer(at, self.of_userinfo)
        else:
            _answer(at, {"error": "not_found"}, 404)

    def agree(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to, with a code."""
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT_ID
        assert asked["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        back = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(back)}"

    def _post(self, at: BaseHTTPRequestHandler, body: bytes) -> None:
        form = dict(parse_qsl(body.decode()))
        name, _, secret = b64decode(at.headers.get("authorization", "")[6:]).decode().partition(":")
        asked = self.codes.get(form.get("code", ""))
        if not self.forgives_codes:
            self.codes.pop(form.get("code", ""), None)
        challenge = urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest()).decode()
        why = ""
        if (unquote_plus(name), unquote_plus(secret)) != (CLIENT_ID, CLIENT_SECRET):
            why = "invalid_client"
        elif asked is None or form["redirect_uri"] != asked["redirect_uri"]:
            why = "invalid_grant"
        elif challenge.rstrip("=") != asked["code_challenge"]:
            why = "invalid_verifier"
        if why:
            self.refusals.append(why)
            _answer(at, {"error": why}, 400)
            return
        assert asked is not None
        _answer(at, {"access_token": "an-access-token", "token_type": "Bearer", "id_token": self._token(asked)})

    def _token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
                  **self.claims}  # fmt: skip
        self.twist(claims)
        header = {"alg": self._algorithm, "kid": self._key.kid}
        if self.unsigned:
            return _joined({"alg": "none", "kid": self._key.kid}, claims) + "."
        if self.signs_with_secret:
            # The old trick: the public key, which everybody has, as the secret of a symmetric signature.
            signed = _joined({"alg": "HS256", "kid": self._key.kid}, claims)
            return f"{signed}.{_base64(hmac.digest(self._key.as_pem(private=False), signed.encode(), 'sha256'))}"
        return jwt.encode(header, claims, self._key, algorithms=[self._algorithm])


def _joined(*parts: dict[str, Any]) -> str:
    return ".".join(_base64(json.dumps(part).encode()) for part in parts)


def _base64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _answer(at: BaseHTTPRequestHandler, body: Any, status: int = 200, **headers: str) -> None:
    is_page = isinstance(body, str)
    data = body.encode() if is_page else json.dumps(body).encode()
    at.send_response(status)
    at.send_header("content-type", "text/html" if is_page else "application/json")
    at.send_header("content-length", str(len(data)))
    for name, value in headers.items():
        at.send_header(name, value)
    at.end_headers()
    at.wfile.write(data)
