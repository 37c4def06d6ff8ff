"""Every path that is served, who may call it, and which side of the house answers: the one table of both.

Each path is served with and without `/v1`. What is not in this table is not served.
"""

from __future__ import annotations

from routewright.errors import FrontError
from routewright.types import Access, Endpoint

GET = ("GET", "HEAD")
POST = ("POST",)


def _proxied(name: str) -> Endpoint:
    return Endpoint(name=name, methods=POST, access=Access.KEY, is_proxied=True)


def _control(name: str, methods: tuple[str, ...], access: Access) -> Endpoint:
    return Endpoint(name=name, methods=methods, access=access, is_proxied=False, takes_body=methods == POST)


CHAT = _proxied("chat")
COMPLETIONS = _proxied("completions")
EMBEDDINGS = _proxied("embeddings")
MODELS = _control("models", GET, Access.KEY)
MODEL = _control("model", GET, Access.KEY)

EXACT: dict[str, Endpoint] = {
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/embeddings": EMBEDDINGS,
    "/models": MODELS,
    "/health": _control("health", GET, Access.OPEN),
    "/health/liveliness": _control("liveliness", GET, Access.OPEN),
    "/health/liveness": _control("liveliness", GET, Access.OPEN),
    "/health/readiness": _control("readiness", GET, Access.OPEN),
    "/metrics": _control("metrics", GET, Access.OPEN),
    "/routes": _control("routes", GET, Access.OPEN),
    "/router/info": _control("router_info", GET, Access.MASTER),
    "/router/reload": _control("router_reload", POST, Access.MASTER),
    "/router/route": _control("router_route", POST, Access.MASTER),
}
PAGES: dict[str, Endpoint] = {
    "/docs": _control("docs", GET, Access.OPEN),
    "/openapi.json": _control("openapi", GET, Access.OPEN),
    "/": _control("root", GET, Access.OPEN),
}
_MODEL_PREFIX = "/models/"
_ENGINE_PREFIXES = ("/engines/", "/openai/deployments/")
_ENGINE_SUFFIXES = {"/chat/completions": CHAT, "/completions": COMPLETIONS, "/embeddings": EMBEDDINGS}

_TABLE = {**PAGES, **EXACT, **{"/v1" + path: endpoint for path, endpoint in EXACT.items()}}


def find(path: str, method: str) -> tuple[Endpoint, str | None]:
    """The endpoint, and the model that the path itself names. Raises FrontError 404 or 405."""
    endpoint = _TABLE.get(path)
    model = None
    if endpoint is None:
        endpoint, model = _find_by_prefix(path)
    if method not in endpoint.methods:
        raise FrontError(405, "method_not_allowed", "this path is served with another method", close=False,
                         allow=endpoint.methods)  # fmt: skip
    return endpoint, model


def _find_by_prefix(path: str) -> tuple[Endpoint, str | None]:
    short = path[3:] if path.startswith("/v1/") else path
    if short.startswith(_MODEL_PREFIX) and len(short) > len(_MODEL_PREFIX):
        return MODEL, short[len(_MODEL_PREFIX) :]
    for prefix in _ENGINE_PREFIXES:
        if short.startswith(prefix):
            for suffix, endpoint in _ENGINE_SUFFIXES.items():
                model = short[len(prefix) : -len(suffix)]
                if short.endswith(suffix) and model and (suffix != "/completions" or not model.endswith("/chat")):
                    return endpoint, model
    raise FrontError(404, "not_found", "nothing is served at this path", close=False)


def paths() -> list[tuple[str, Endpoint]]:
    """For `/routes`: every fixed path."""
    return [*PAGES.items(), *EXACT.items(), *(("/v1" + path, endpoint) for path, endpoint in EXACT.items())]
