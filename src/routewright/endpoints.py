"""Every path that is served, who may call it, and which side of the house answers: the one table of both.

Each path is served with and without `/v1`. What is not in this table is not served.
"""

from __future__ import annotations

from dataclasses import replace

from routewright.errors import FrontError
from routewright.types import Access, Endpoint

GET = ("GET", "HEAD")
POST = ("POST",)


def _proxied(name: str, speaks: str = "openai") -> Endpoint:
    return Endpoint(name=name, methods=POST, access=Access.KEY, is_proxied=True, speaks=speaks)


def _carried(name: str) -> Endpoint:
    return Endpoint(name=name, methods=POST, access=Access.KEY, is_proxied=False, is_carried=True)


def _control(name: str, methods: tuple[str, ...], access: Access) -> Endpoint:
    return Endpoint(name=name, methods=methods, access=access, is_proxied=False, takes_body=methods == POST)


def _stored(name: str, methods: tuple[str, ...] = POST) -> Endpoint:
    return Endpoint(
        name=name, methods=methods, access=Access.KEY, is_proxied=False, takes_body=methods != GET, is_stored=True
    )


def _owned(name: str, methods: tuple[str, ...]) -> Endpoint:
    return Endpoint(
        name=name, methods=methods, access=Access.KEY, is_proxied=False, takes_body="POST" in methods, is_owned=True
    )


CHAT = _proxied("chat")
COMPLETIONS = _proxied("completions")
EMBEDDINGS = _proxied("embeddings")
IMAGES = _proxied("images")
SPEECH = _proxied("speech")
TRANSCRIPTIONS = _carried("transcriptions")
TRANSLATIONS = _carried("translations")
RERANK = _proxied("rerank")
RESPONSES = Endpoint(name="responses", methods=POST, access=Access.KEY, is_proxied=False, is_kept=True)
RESPONSE = Endpoint(name="response", methods=("GET", "DELETE"), access=Access.KEY, is_proxied=False, is_kept=True,
                    takes_body=False)  # fmt: skip
RESPONSE_ITEMS = Endpoint(name="response_input_items", methods=GET, access=Access.KEY, is_proxied=False, is_kept=True,
                          takes_body=False)  # fmt: skip
RESPONSE_CANCEL = Endpoint(name="response_cancel", methods=POST, access=Access.KEY, is_proxied=False, is_kept=True,
                           takes_body=False)  # fmt: skip
FILES = replace(_owned("files", ("GET", "POST")), is_carried=True)
FILE = _owned("file", ("GET", "DELETE"))
FILE_CONTENT = _owned("file_content", ("GET",))
BATCHES = _owned("batches", ("GET", "POST"))
BATCH = _owned("batch", ("GET",))
BATCH_CANCEL = replace(_owned("batch_cancel", POST), takes_body=False)
TUNING_JOBS = _owned("fine_tuning_jobs", ("GET", "POST"))
TUNING_JOB = _owned("fine_tuning_job", ("GET",))
TUNING_JOB_STEP = replace(_owned("fine_tuning_job_step", POST), takes_body=False)
TUNING_JOB_PART = _owned("fine_tuning_job_part", ("GET",))
GENERATE = _proxied("generate_content", "gemini")
COUNT_CONTENT = _proxied("count_content", "gemini")
MODELS = _control("models", GET, Access.KEY)
MODEL = _control("model", GET, Access.KEY)

EXACT: dict[str, Endpoint] = {
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/embeddings": EMBEDDINGS,
    "/responses": RESPONSES,
    "/messages": _proxied("messages", "anthropic"),
    "/messages/count_tokens": _proxied("count_tokens", "anthropic"),
    "/images/generations": IMAGES,
    "/audio/speech": SPEECH,
    "/images/edits": _carried("image_edits"),
    "/images/variations": _carried("image_variations"),
    "/audio/transcriptions": TRANSCRIPTIONS,
    "/audio/translations": TRANSLATIONS,
    "/moderations": _proxied("moderations"),
    "/files": FILES,
    "/batches": BATCHES,
    "/fine_tuning/jobs": TUNING_JOBS,
    "/rerank": RERANK,
    "/v2/rerank": RERANK,
    "/models": MODELS,
    "/health": _control("health", GET, Access.OPEN),
    "/health/liveliness": _control("liveliness", GET, Access.OPEN),
    "/health/liveness": _control("liveliness", GET, Access.OPEN),
    "/health/readiness": _control("readiness", GET, Access.OPEN),
    "/health/latest": _control("health_latest", GET, Access.MASTER),
    "/health/history": _control("health_history", GET, Access.MASTER),
    "/metrics": _control("metrics", GET, Access.OPEN),
    "/routes": _control("routes", GET, Access.OPEN),
    "/router/info": _control("router_info", GET, Access.MASTER),
    "/router/reload": _control("router_reload", POST, Access.MASTER),
    "/router/route": _control("router_route", POST, Access.MASTER),
    "/router/feedback": _control("router_feedback", POST, Access.KEY),
    "/cache/ping": _control("cache_ping", GET, Access.MASTER),
    "/cache/redis/info": _control("cache_info", GET, Access.MASTER),
    "/cache/delete": _control("cache_delete", POST, Access.MASTER),
    "/cache/flushall": _control("cache_flushall", POST, Access.MASTER),
    "/guardrails/list": _control("guardrails_list", GET, Access.KEY),
    "/v2/guardrails/list": _control("guardrails_list", GET, Access.KEY),
    "/guardrails/apply_guardrail": _control("apply_guardrail", POST, Access.KEY),
    "/config/update": _control("config_update", POST, Access.KEY),
    "/config/list": _control("config_list", GET, Access.KEY),
    "/config/field/update": _control("config_field_update", POST, Access.KEY),
    "/config/field/info": _control("config_field_info", GET, Access.KEY),
    "/config/field/delete": _control("config_field_delete", POST, Access.KEY),
    "/fallback": _control("fallback_create", POST, Access.KEY),
    "/config/reload": _control("config_reload", POST, Access.MASTER),
    "/model/info": _control("model_info", GET, Access.KEY),
    "/v2/model/info": _control("model_info", GET, Access.KEY),
    "/model_group/info": _control("model_group_info", GET, Access.KEY),
    "/utils/token_counter": _control("token_counter", POST, Access.KEY),
    "/utils/supported_openai_params": _control("supported_openai_params", GET, Access.KEY),
    "/key/generate": _stored("key_generate"),
    "/key/service-account/generate": _stored("key_service_account_generate"),
    "/key/update": _stored("key_update"),
    "/key/bulk_update": _stored("key_bulk_update"),
    "/key/delete": _stored("key_delete"),
    "/key/regenerate": _stored("key_regenerate"),
    "/key/block": _stored("key_block"),
    "/key/unblock": _stored("key_unblock"),
    "/key/health": _stored("key_health"),
    "/key/info": _stored("key_info", GET),
    "/key/list": _stored("key_list", GET),
    "/key/aliases": _stored("key_aliases", GET),
    "/team/new": _stored("team_new"),
    "/team/update": _stored("team_update"),
    "/team/delete": _stored("team_delete"),
    "/team/block": _stored("team_block"),
    "/team/unblock": _stored("team_unblock"),
    "/team/member_add": _stored("team_member_add"),
    "/team/member_update": _stored("team_member_update"),
    "/team/member_delete": _stored("team_member_delete"),
    "/team/model/add": _stored("team_model_add"),
    "/team/model/delete": _stored("team_model_delete"),
    "/team/info": _stored("team_info", GET),
    "/team/list": _stored("team_list", GET),
    "/organization/new": _stored("organization_new"),
    # LiteLLM has changed the methods of some; clients of both times are answered.
    "/organization/update": _stored("organization_update", ("PATCH", "POST")),
    "/organization/delete": _stored("organization_delete", ("DELETE", "POST")),
    "/organization/member_add": _stored("organization_member_add"),
    "/organization/member_update": _stored("organization_member_update", ("PATCH", "POST")),
    "/organization/member_delete": _stored("organization_member_delete", ("DELETE", "POST")),
    "/organization/info": _stored("organization_info", ("GET", "POST")),
    "/organization/list": _stored("organization_list", GET),
    "/user/new": _stored("user_new"),
    "/user/update": _stored("user_update"),
    "/user/delete": _stored("user_delete"),
    "/user/info": _stored("user_info", GET),
    "/user/list": _stored("user_list", GET),
    **{
        f"{prefix}/{action}": _stored(f"customer_{action}", GET if action in ("info", "list") else POST)
        for prefix in ("/customer", "/end_user")
        for action in ("new", "update", "delete", "block", "unblock", "info", "list")
    },
    "/budget/new": _stored("budget_new"),
    "/budget/update": _stored("budget_update"),
    "/budget/delete": _stored("budget_delete"),
    "/budget/info": _stored("budget_info"),
    "/budget/list": _stored("budget_list", GET),
    "/model/new": _stored("model_new"),
    "/model/update": _stored("model_update"),
    "/model/delete": _stored("model_delete"),
    "/audit": _stored("audit", GET),
    "/user/daily/activity": _stored("user_daily_activity", GET),
    "/team/daily/activity": _stored("team_daily_activity", GET),
    "/organization/daily/activity": _stored("organization_daily_activity", GET),
    "/global/spend": _stored("global_spend", GET),
    "/global/spend/logs": _stored("global_spend_logs", GET),
    "/global/spend/keys": _stored("global_spend_keys", GET),
    "/global/spend/teams": _stored("global_spend_teams", GET),
    "/global/spend/models": _stored("global_spend_models", GET),
    "/global/spend/provider": _stored("global_spend_provider", GET),
    "/global/activity": _stored("global_activity", GET),
    "/global/activity/model": _stored("global_activity_model", GET),
    "/spend/logs": _stored("spend_logs", GET),
    "/spend/keys": _stored("spend_keys", GET),
    "/spend/users": _stored("spend_users", GET),
    "/spend/teams": _stored("spend_teams", GET),
    "/spend/tags": _stored("spend_tags", GET),
    "/spend/calculate": _control("spend_calculate", POST, Access.KEY),
    "/provider/budgets": _control("provider_budgets", GET, Access.MASTER),
    "/global/spend/report": _stored("spend_report", GET),
}
KEY_REGENERATE = _stored("key_regenerate")
FALLBACK = _control("fallback", ("GET", "DELETE"), Access.KEY)
MODEL_PATCH = _stored("model_patch", ("PATCH",))
UI = Endpoint(name="ui", methods=("GET", "HEAD", "POST"), access=Access.OPEN, is_proxied=False)
"""Every page for people, and what they do there: who is logged in is looked at behind it."""
UI_LOGIN = replace(UI, takes_body=False)
"""Where the key comes in a header, and nobody is known yet whose body would have to be held."""
SSO = replace(UI, methods=("GET",), takes_body=False)
"""Off to an identity provider and back."""
_SSO_PATHS = frozenset({"/login", "/sso/key/generate", "/sso/callback"})
"""LiteLLM's."""
PAGES: dict[str, Endpoint] = {
    "/docs": _control("docs", GET, Access.OPEN),
    "/openapi.json": _control("openapi", GET, Access.OPEN),
    "/": _control("root", GET, Access.OPEN),
}
_MODEL_PREFIX = "/models/"
_ENGINE_PREFIXES = ("/engines/", "/openai/deployments/")
_ENGINE_SUFFIXES = {
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/embeddings": EMBEDDINGS,
    "/images/generations": IMAGES,
    "/audio/speech": SPEECH,
}

_GEMINI_PREFIXES = ("/v1beta/models/", "/v1/models/", "/models/")
_GEMINI_SUFFIXES = {
    ":generateContent": GENERATE,
    ":streamGenerateContent": GENERATE,
    ":countTokens": COUNT_CONTENT,
}
_FALLBACK_PREFIX = "/fallback/"
_RESPONSE_PREFIX = "/responses/"
_BEHIND = {
    _RESPONSE_PREFIX: RESPONSE,
    "/files/": FILE,
    "/batches/": BATCH,
    "/fine_tuning/jobs/": TUNING_JOB,
}
"""Paths that end in a name without a slash."""
_BETWEEN = (
    ("/files/", "/content", FILE_CONTENT),
    ("/batches/", "/cancel", BATCH_CANCEL),
    ("/fine_tuning/jobs/", "/cancel", TUNING_JOB_STEP),
    ("/fine_tuning/jobs/", "/pause", TUNING_JOB_STEP),
    ("/fine_tuning/jobs/", "/resume", TUNING_JOB_STEP),
    ("/fine_tuning/jobs/", "/events", TUNING_JOB_PART),
    ("/fine_tuning/jobs/", "/checkpoints", TUNING_JOB_PART),
    ("/responses/", "/input_items", RESPONSE_ITEMS),
    ("/responses/", "/cancel", RESPONSE_CANCEL),
    ("/key/", "/regenerate", KEY_REGENERATE),
    ("/model/", "/update", MODEL_PATCH),
)
"""Paths with a name in the middle."""

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
    if path == "/ui/login":
        return UI_LOGIN, None
    if path == "/ui" or path.startswith("/ui/"):
        return UI, None
    if path in _SSO_PATHS:
        return SSO, None
    name, colon, verb = path.rpartition(":")
    if colon and f":{verb}" in _GEMINI_SUFFIXES:
        for prefix in _GEMINI_PREFIXES:
            if name.startswith(prefix) and len(name) > len(prefix):
                return _GEMINI_SUFFIXES[f":{verb}"], name[len(prefix) :]
    short = path[3:] if path.startswith("/v1/") else path
    if short.startswith(_MODEL_PREFIX) and len(short) > len(_MODEL_PREFIX):
        return MODEL, short[len(_MODEL_PREFIX) :]
    if short.startswith(_FALLBACK_PREFIX) and len(short) > len(_FALLBACK_PREFIX):
        return FALLBACK, short[len(_FALLBACK_PREFIX) :]
    for start, end, endpoint in _BETWEEN:
        middle = short[len(start) : -len(end)]
        if short.startswith(start) and short.endswith(end) and middle and "/" not in middle:
            return endpoint, middle
    for prefix, endpoint in _BEHIND.items():
        if short.startswith(prefix) and (name := short[len(prefix) :]) and "/" not in name:
            return endpoint, name
    for prefix in _ENGINE_PREFIXES:
        if short.startswith(prefix):
            for suffix, endpoint in _ENGINE_SUFFIXES.items():
                model = short[len(prefix) : -len(suffix)]
                if short.endswith(suffix) and model and (suffix != "/completions" or not model.endswith("/chat")):
                    return endpoint, model
    raise FrontError(404, "not_found", "nothing is served at this path", close=False)


def every() -> list[tuple[str, Endpoint]]:
    """What is served, once each: without `/v1`, and with `{}` for the part of a path that is a name."""
    google = [(f"/v1beta/models/{{}}{suffix}", endpoint) for suffix, endpoint in _GEMINI_SUFFIXES.items()]
    named = [
        ("/models/{}", MODEL),
        ("/fallback/{}", FALLBACK),
        *((f"{prefix}{{}}", endpoint) for prefix, endpoint in _BEHIND.items()),
        *google,
        *((f"{start}{{}}{end}", endpoint) for start, end, endpoint in _BETWEEN),
    ]
    return [*EXACT.items(), *named]


def paths() -> list[tuple[str, Endpoint]]:
    """For `/routes`: every fixed path."""
    return [*PAGES.items(), *EXACT.items(), *(("/v1" + path, endpoint) for path, endpoint in EXACT.items())]
