"""From a request under `/ui` to its answer: who asks, which page, and what every answer carries.

Every write is JSON with the session's CSRF token in a header. A form on another site can send neither, and a script
there would have to ask first, which is never allowed. What a page shows is escaped by its templates, and no page has
a script or a style in itself, so its content security policy allows none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, unquote

from routewright import endpoints
from routewright.admin.ui.desk import Desk, Events, Reply, Route, Visit, json_reply
from routewright.admin.ui.sessions import cookie_line, csrf_of, token_in, way_in, way_line
from routewright.errors import (
    AuthenticationError,
    FrontError,
    GatewayError,
    InternalError,
    InvalidRequest,
    LoginFailed,
    PermissionDenied,
    error_body,
    error_object,
)
from routewright.grants import Session
from routewright.server.lines import field_lines
from routewright.types import Caller, HttpRequest, Responder

if TYPE_CHECKING:
    from routewright.admin.ui.oidc.login import OidcLogin

LOGIN, LOGOUT, CHAT = "/ui/login", "/ui/logout", "/ui/chat"
OTHER_LOGIN = "/login"
"""LiteLLM's."""
SSO_START, CALLBACK = "/ui/sso", "/sso/callback"
SSO = frozenset({SSO_START, "/sso/key/generate", CALLBACK})
"""Off to an identity provider by ours or LiteLLM's path, and back."""
MAX_PARAMETERS = 50
MAX_KEY = 512
EVENT_HEADERS = (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-store"))
SECURITY = (
    (
        "content-security-policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
_REFUSALS = {
    "key": "This key is not known here, or it is blocked.",
    "role": "This key may not see the pages: they are for the master key, and for keys of users whose role is "
    "proxy_admin or proxy_admin_viewer.",
    "person": "You may not see the pages: they are for administrators (proxy_admin) and viewers (proxy_admin_viewer). "
    "Ask one of them for a role.",
    "blocked": "Your login is blocked here. Ask an administrator.",
    "state": "This login has been used already. Begin again.",
}
log = logging.getLogger("routewright")


class Pages:
    """Answers everything under `/ui`. `load` gives the pages; it is called when the first is asked for."""

    def __init__(self, desk: Desk, load: Callable[[], Any]) -> None:
        self._desk = desk
        self._load = load
        self._book: Any = None
        self._routes: dict[tuple[str, str], Route] = {}

    def admit(self, request: HttpRequest) -> asyncio.Future[GatewayError | None] | None:
        """Nobody who is not logged in may send a body. Raises GatewayError, or asks the store first."""
        if request.method != "POST" or request.path == LOGIN:
            return None
        token = token_in(request.headers)
        if self._desk.sessions.known(token) is not None:
            _check_token(request, token)
            return None
        return asyncio.get_running_loop().create_task(self._knows(request))

    async def _knows(self, request: HttpRequest) -> GatewayError | None:
        try:
            await self._session_for_write(request)
        except GatewayError as error:
            return error
        return None

    async def _session_for_write(self, request: HttpRequest) -> Session:
        token = token_in(request.headers)
        session = await self._desk.sessions.find(token)
        if session is None:
            raise AuthenticationError("you are not logged in, or your session has ended")
        _check_token(request, token)
        return session

    # --- answering ------------------------------------------------------------------------------------------------

    async def handle(self, request: HttpRequest, client: Responder) -> None:
        """Answer; errors too."""
        loop = asyncio.get_running_loop()
        if request.path == CHAT and request.method == "POST":
            caller: Caller | None = await loop.create_task(self._caller(request, client))
            if caller is not None:
                # From here on it is the request of any client: admitted, routed and recorded on the straight line.
                request.caller, request.endpoint = caller, endpoints.CHAT
                await self._desk.infer(request, client)
            return
        await loop.create_task(self._answer(request, client))

    async def _caller(self, request: HttpRequest, client: Responder) -> Caller | None:
        try:
            session = await self._session_for_write(request)
            return await self._desk.keys.of_hash(session.key_hash)
        except GatewayError as error:
            _send(client, request, json_reply(error_object(error), error.status))
            return None

    async def _answer(self, request: HttpRequest, client: Responder) -> None:
        try:
            reply = await self._reply(request)
        except GatewayError as error:
            reply = self._failure(request, error)
        except Exception:
            log.exception("request %s failed", request.request_id)
            reply = self._failure(request, InternalError("internal error; the log has it under this request id"))
        if isinstance(reply, Events) and request.method == "HEAD":
            reply = Reply(b"", EVENT_HEADERS[0][1])
        if isinstance(reply, Reply):
            _send(client, request, reply)
            return
        await _stream(client, request, reply)

    async def _reply(self, request: HttpRequest) -> Reply | Events:
        book = await self._open()
        if request.method == "POST" and request.path == LOGIN:
            return await self._log_in(request)
        if request.path.startswith("/ui/static/"):
            return _found(book.static(request.path.rpartition("/")[2]))
        token = token_in(request.headers)
        if request.method == "POST":
            session: Session | None = await self._session_for_write(request)
        else:
            session = await self._desk.sessions.find(token)
        if request.path == LOGIN:
            return _to("/ui") if session is not None else book.login(self._desk, _query(request).get("next", ""))
        if request.path == OTHER_LOGIN:
            return _to(LOGIN)
        if self._desk.oidc is not None and request.path in SSO:
            return await self._log_in_elsewhere(self._desk.oidc, request)
        if session is None:
            # A provider is asked about whoever came from there, without a click: it may have changed its mind.
            again = self._desk.oidc is not None and _is_visit(request) and way_in(request.headers)
            return _to(
                (SSO_START if again else LOGIN) + (f"?next={quote(request.path)}" if request.path != "/ui" else "")
            )
        if request.path == LOGOUT and request.method == "POST":
            await self._desk.sessions.end(session, request)
            oidc = self._desk.oidc
            reply = json_reply({"then": oidc.settings.logout_url} if oidc and oidc.settings.logout_url else {})
            return replace(reply, headers=self._cookies("", request))
        route, name = self._find(request)
        visit = Visit(self._desk, session, token, csrf_of(token), request, _query(request), name)
        return await route.handler(visit)

    async def _open(self) -> Any:
        """The templates' library and the pages are loaded when somebody first looks, beside what the loop does."""
        if self._book is None:
            book = await asyncio.to_thread(self._load)
            self._routes = {(route.method, route.path): route for route in book.routes}
            self._book = book
        return self._book

    def _find(self, request: HttpRequest) -> tuple[Route, str]:
        method = "GET" if request.method == "HEAD" else request.method
        route = self._routes.get((method, request.path))
        if route is not None:
            return route, ""
        start, _, last = request.path.rpartition("/")
        route = self._routes.get((method, start + "/{}"))
        if route is None or not last:
            raise FrontError(404, "not_found", "there is no such page", close=False)
        return route, unquote(last)

    async def _log_in(self, request: HttpRequest) -> Reply:
        """The key comes as it comes to every other endpoint: a form elsewhere can't send this header."""
        stated = request.headers.get(b"authorization", b"")
        key = stated[7:].strip().decode("utf-8", "replace") if stated[:7].lower() == b"bearer " else ""
        if not key or len(key) > MAX_KEY:
            raise AuthenticationError("Give a key.")
        login, token = await self._desk.sessions.begin(key, request)
        if login.session is None:
            if login.refusal == "attempts":
                error = GatewayError(f"Too many attempts. Try again in {login.wait_s} seconds.",
                                     retry_after_s=login.wait_s)  # fmt: skip
                error.status, error.type, error.code = 429, "rate_limit_error", "too_many_attempts"
                raise error
            if login.refusal == "role":
                raise PermissionDenied(_REFUSALS["role"])
            raise AuthenticationError(_REFUSALS["key"])
        return Reply(b"{}", "application/json", headers=self._cookies(token, request))

    def _cookies(self, token: str, request: HttpRequest) -> tuple[tuple[str, str], ...]:
        """Of whoever logs in by a key, or out: the provider is not asked for them any more."""
        cookies = [cookie_line(token, is_secure=self._is_secure)]
        if way_in(request.headers):
            cookies.append(way_line(False, is_secure=self._is_secure))
        return tuple(("set-cookie", cookie) for cookie in cookies)

    async def _log_in_elsewhere(self, oidc: OidcLogin, request: HttpRequest) -> Reply:
        """Off to the identity provider, or back from it."""
        query = _query(request)
        if request.path != CALLBACK:
            target, cookie = await oidc.begin(request, query)
            return Reply(b"", status=303, headers=(("location", target), ("set-cookie", cookie)))
        try:
            person, state, after = await oidc.finish(request, query)
        except LoginFailed as error:
            await self._desk.sessions.refused(error.message, request)
            raise
        login, token = await self._desk.sessions.begin_person(person, state, request)
        if login.session is None:
            raise LoginFailed(_REFUSALS[{"key": "blocked", "role": "person"}.get(login.refusal, login.refusal)])
        # A browser on its way back from another site leaves a strict cookie at home, so that the page itself goes on.
        page: Reply = self._book.welcome(after)
        is_secure = oidc.is_secure
        cookies = [cookie_line(token, is_secure=is_secure), way_line(True, is_secure=is_secure), oidc.over()]
        return replace(page, headers=tuple(("set-cookie", cookie) for cookie in cookies))

    @property
    def _is_secure(self) -> bool:
        return self._desk.is_tls

    def _failure(self, request: HttpRequest, error: GatewayError) -> Reply:
        if error.status >= 500:
            log.warning("request %s: %s was answered with %d", request.request_id, request.path, error.status)
        retry = (("retry-after", str(error.retry_after_s)),) if error.retry_after_s else ()
        if self._book is None or request.method == "POST" or request.path.endswith(".json"):
            return Reply(error_body(error), "application/json", error.status, retry)
        page: Reply = self._book.failure(error, request.request_id)
        return page


def _query(request: HttpRequest) -> dict[str, str]:
    try:
        return dict(parse_qsl(request.query, keep_blank_values=True, max_num_fields=MAX_PARAMETERS))
    except ValueError:
        raise InvalidRequest("too many parameters in the query") from None


def _is_visit(request: HttpRequest) -> bool:
    """A browser that goes to a page, and no script that asks for a part of one: that can't go to another site."""
    return request.method == "GET" and request.headers.get(b"sec-fetch-mode", b"navigate") == b"navigate"


def _check_token(request: HttpRequest, token: str) -> None:
    stated = request.headers.get(b"x-csrf-token", b"")
    if not hmac.compare_digest(stated, csrf_of(token).encode()):
        raise PermissionDenied("the page's token is missing or wrong; load the page again")


def _found(reply: Reply | None) -> Reply:
    if reply is None:
        raise FrontError(404, "not_found", "there is no such file", close=False)
    return reply


def _to(target: str) -> Reply:
    return Reply(b"", status=303, headers=(("location", target),))


def _send(client: Responder, request: HttpRequest, reply: Reply) -> None:
    headers = [*SECURITY, *reply.headers, ("x-request-id", request.request_id)]
    if not any(name == "cache-control" for name, _ in reply.headers):
        headers.append(("cache-control", "no-store"))
    if reply.body or reply.status == 200:
        headers.append(("content-type", reply.content_type))
    client.hold_response(reply.status, field_lines(headers), reply.body)
    client.release()


async def _stream(client: Responder, request: HttpRequest, reply: Events) -> None:
    """Send events until they end or the client leaves. One that does not read misses some."""
    left = asyncio.Event()
    is_full = False

    def paused(is_paused: bool) -> None:
        nonlocal is_full
        is_full = is_paused

    client.on_gone, client.on_pause = left.set, paused
    fields = field_lines([*SECURITY, *EVENT_HEADERS, ("x-request-id", request.request_id)])
    client.begin(200, fields, b": welcome\n\n")
    gone = asyncio.ensure_future(left.wait())
    try:
        while not client.is_gone:
            # Whoever has gone is not waited for until the next event: a worker may be about to end.
            coming = asyncio.ensure_future(anext(reply.events, None))
            await asyncio.wait({coming, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                coming.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await coming
                break
            event = coming.result()
            if event is None:
                break
            if not is_full:
                client.write(event)
    finally:
        gone.cancel()
        await reply.events.aclose()  # type: ignore[attr-defined]
        client.hold(b"")
        client.release()
