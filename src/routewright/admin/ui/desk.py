"""What the pages may see and do, and one visit to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec

from routewright.admin.ui.sessions import Sessions
from routewright.admin.ui.standing import Standing
from routewright.auth import Keys
from routewright.catalog import Catalog
from routewright.errors import GatewayError, PermissionDenied
from routewright.grants import AuditNote, Session
from routewright.reloading import Difference
from routewright.routing.live import LiveRouters
from routewright.settings import DeploymentSettings, OidcSettings, ProxySettings
from routewright.storage import ManageReply, ManageRequest, Storage
from routewright.types import HttpRequest, Responder
from routewright.wire.json import decode_object

if TYPE_CHECKING:
    from routewright.admin.ui.oidc.login import OidcLogin

ASK_S = 35.0
"""Longer than the slowest statement may take."""
ADMIN = "proxy_admin"


@dataclass(slots=True)
class Desk:
    """Filled in by the worker, which keeps `catalog`, `routing` and `deployments` as they are served now."""

    catalog: Catalog
    routing: LiveRouters
    keys: Keys
    storage: Storage
    sessions: Sessions
    standing: Standing
    requests_counted: Callable[[], int]
    """By all workers since the start."""
    spread_reload: Callable[[], None]
    reload_config: Callable[[], Awaitable[Difference]]
    is_draining: Callable[[], bool]
    infer: Callable[[HttpRequest, Responder], Awaitable[None]]
    """The straight line of a request, for the playground."""
    workers: int
    is_tls: bool
    has_master_key: bool
    oidc: OidcLogin | None = None
    """None: people log in with keys alone."""
    deployments: Sequence[DeploymentSettings] = ()
    stored_ids: frozenset[str] = frozenset()

    def log_in_at(self, settings: OidcSettings | None, proxy: ProxySettings | None) -> None:
        """Let people log in at this provider too, reached by this proxy, or at none."""
        before, self.oidc = self.oidc, None
        if settings is None:
            return
        if before is not None and before.settings == settings:
            self.oidc = before
            return
        # Imported where there is a provider.
        from routewright.admin.ui.oidc.login import OidcLogin

        self.oidc = OidcLogin(settings, is_tls=self.is_tls, proxy=proxy)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer."""

    body: bytes
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Events:
    """An answer that goes on: server-sent events, made by the visitor's own page."""

    events: AsyncIterator[bytes]


@dataclass(slots=True)
class Visit:
    """One request to a page, by somebody who is logged in."""

    desk: Desk
    session: Session
    token: str
    csrf: str
    request: HttpRequest
    query: Mapping[str, str]
    name: str = ""
    """What stands in the path's place for a name, decoded."""
    body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def may_write(self) -> bool:
        return self.session.role == ADMIN

    def need_admin(self) -> None:
        """Raises PermissionDenied for who may only look."""
        if not self.may_write:
            raise PermissionDenied("your role may look, and change nothing")

    def read_body(self) -> dict[str, Any]:
        """Raises InvalidRequest."""
        return decode_object(self.request.body)

    async def ask(self, question: str, **parameters: Any) -> Any:
        """A question to the ledger. Raises StorageUnavailable."""
        answer = await self.desk.storage.ask("glance", [question, parameters], timeout_s=ASK_S)
        return msgspec.msgpack.decode(answer)

    async def note(
        self, action: str, kind: str, object_id: str, *, before: str | None = None, after: str | None = None
    ) -> None:
        """A line in the audit, of what changes nothing in the store. Raises StorageUnavailable."""
        note = AuditNote(
            actor=self.session.name, role=self.session.role, action=action, kind=kind, object_id=object_id,
            request_id=self.request.request_id,
            before=None if before is None else {kind: before}, after=None if after is None else {kind: after},
        )  # fmt: skip
        await self.desk.storage.ask("note", note, is_repeatable=False)

    async def manage(self, endpoint: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """One call of the management API with the visitor's own rights. Raises its GatewayError."""
        asked = ManageRequest(
            endpoint=endpoint,
            method="GET" if body is None else "POST",
            named=None,
            query=urlencode(query),
            body=b"" if body is None else json.dumps(body).encode(),
            key_hash=self.session.key_hash,
            is_master=self.session.is_master,
            request_id=self.request.request_id,
        )
        answer = await self.desk.storage.ask("manage", asked, timeout_s=ASK_S, is_repeatable=body is None)
        reply = msgspec.msgpack.decode(answer, type=ManageReply)
        told = msgspec.json.decode(reply.body)
        if reply.status >= 400:
            raise _refused(reply.status, told["error"])
        return told


def _refused(status: int, error: Mapping[str, Any]) -> GatewayError:
    """What the management API has refused, in its words."""
    found = GatewayError(str(error["message"]), param=error.get("param"))
    found.status, found.type, found.code = status, error["type"], error["code"]
    return found


Handler = Callable[[Visit], Awaitable[Reply | Events]]


@dataclass(frozen=True, slots=True)
class Route:
    """A page or an action. `{}` at the end of the path stands for a name."""

    method: str
    path: str
    handler: Handler


def json_reply(value: Any, status: int = 200) -> Reply:
    return Reply(json.dumps(value, ensure_ascii=False).encode(), "application/json", status)


def folder_of(path: str) -> Path:
    """Where the files of the pages lie."""
    return Path(__file__).parent / path
