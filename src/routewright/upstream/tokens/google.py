"""A token of Google Cloud, by google-auth (the extra `vertex`): service accounts, gcloud's logins, other clouds'
identities, and the metadata server."""

from __future__ import annotations

import datetime
import http.client
from typing import Any

import msgspec

from routewright.credentials import GoogleSource
from routewright.types import Secret
from routewright.upstream.tokens.fetched import TIMEOUT_S, Fetched, FetchError, Way, ask

SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
USUAL_S = 3600.0


def fetch(source: GoogleSource, way: Way) -> Fetched:
    """Raises FetchError with what google-auth says is wrong."""
    from google.auth import exceptions, transport

    class Answer(transport.Response):  # type: ignore[misc]
        def __init__(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self._status, self._headers, self._data = status, headers, data

        @property
        def status(self) -> int:
            return self._status

        @property
        def headers(self) -> dict[str, str]:
            return self._headers

        @property
        def data(self) -> bytes:
            return self._data

    class Door(transport.Request):  # type: ignore[misc]
        """google-auth's requests by our own bounded client: no further dependency."""

        def __call__(
            self, url: str, method: str = "GET", body: Any = None, headers: Any = None, timeout: Any = None, **_: Any
        ) -> Answer:
            sent = body.encode() if isinstance(body, str) else body
            try:
                return Answer(*ask(method, url, headers or {}, sent, way, min(timeout or TIMEOUT_S, TIMEOUT_S)))
            except (OSError, http.client.HTTPException) as error:
                raise exceptions.TransportError(error) from error

    door = Door()
    try:
        credentials = _credentials(source, door)
        credentials.refresh(door)
    except (exceptions.GoogleAuthError, ValueError) as error:
        raise FetchError(str(error.args[0]) if error.args else type(error).__name__) from error
    token, expiry = credentials.token, credentials.expiry
    if not isinstance(token, str) or not token or not token.isascii():
        raise FetchError("the token's server answered without a token")
    valid_s = USUAL_S
    if expiry is not None:  # google-auth gives UTC without a zone
        valid_s = (expiry.replace(tzinfo=datetime.UTC) - datetime.datetime.now(datetime.UTC)).total_seconds()
    return Fetched(Secret(token), valid_s)


def _credentials(source: GoogleSource, door: Any) -> Any:
    """By the kind of the file. Each is named here: a kind that runs a program is not taken."""
    if source.info is None:
        import google.auth

        found, _ = google.auth.default(scopes=SCOPES, request=door)
        return found
    info = msgspec.json.decode(source.info.reveal())
    kind = info.get("type")
    if kind == "service_account":
        from google.oauth2 import service_account

        return service_account.Credentials.from_service_account_info(info, scopes=SCOPES)
    if kind == "authorized_user":
        from google.oauth2 import credentials

        return credentials.Credentials.from_authorized_user_info(info, scopes=SCOPES)
    if kind == "external_account" and "executable" not in (info.get("credential_source") or {}):
        if str(info.get("subject_token_type")).endswith("aws4_request"):
            from google.auth import aws

            return aws.Credentials.from_info(info, scopes=SCOPES)
        from google.auth import identity_pool

        return identity_pool.Credentials.from_info(info, scopes=SCOPES)
    raise FetchError("credentials of this type are not taken")
