"""Where requests may pass through to: fixed by the configuration, whatever a request says."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import unquote, urlsplit

from routewright import __version__, endpoints
from routewright.catalog import make_deployment
from routewright.errors import FrontError
from routewright.metered import MeteredCall, UnitPrices
from routewright.providers.names import PROVIDERS
from routewright.settings import DeploymentSettings, PassThroughSettings, Settings
from routewright.types import Access, Deployment, Endpoint, Group, Health, Price, Secret

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
PREFIXES = {
    "openai": "openai", "anthropic": "anthropic", "gemini": "gemini", "bedrock": "bedrock", "azure": "azure",
    "cohere": "cohere", "mistral": "mistral", "vllm": "hosted_vllm",
}  # fmt: skip
"""First part of a path -> provider."""
_ENDINGS = ("/compatibility/v1", "/openai/v1", "/v1beta/openai", "/v1beta", "/v1", "/openai")
_VISIBLE = re.compile(r"[\x21-\x7e]*")
_ESCAPED = re.compile(r"%(?![0-9A-Fa-f]{2})")
_OWN_LINES = re.compile(rb"(?i)(?:content-type|accept|content-length|transfer-encoding|anthropic-version):")
_OPEN = Endpoint(name="pass_through", methods=METHODS, access=Access.OPEN, is_proxied=False, is_carried=True)
_KEYED = Endpoint(name="pass_through", methods=METHODS, access=Access.KEY, is_proxied=False, is_carried=True)


@dataclass(frozen=True, slots=True)
class Target:
    """One place behind one path of ours."""

    prefix: str
    deployment: Deployment
    group: Group
    root: str
    """What stands before the rest of a request's path."""
    lines: bytes
    """Header lines of every request: host, agent, credential."""
    forwards_all: bool
    includes_subpaths: bool
    endpoint: Endpoint
    right: str
    """A key with a list of models needs this name in it; empty: every key may."""
    guardrails: tuple[str, ...] = ()
    """Names of those that look at every request, and what follows: where its texts and its answers' stand."""
    request_texts: tuple[str, ...] = ()
    answer_texts: tuple[str, ...] = ()
    begins_with: str = ""
    """What the path begins with where a client leaves it out."""

    @property
    def names(self) -> frozenset[bytes]:
        """Of the headers that the configuration sets: a client's own never stand beside them."""
        return frozenset([line.partition(b":")[0].lower() for line in self.lines.split(b"\r\n")])

    def path_for(self, path: str) -> str:
        """The path upstream. Raises FrontError for one that could mean another place than it says."""
        rest = path[len(self.prefix) :]
        check_path(rest)
        if self.begins_with and not rest.startswith(self.begins_with):
            rest = self.begins_with.rstrip("/") + rest
        return self.root + rest


def check_path(path: str) -> None:
    """Nothing that a server might resolve, decode or split otherwise than we do. Raises FrontError 400."""
    decoded = unquote(path, errors="replace")
    segments = decoded.replace("\\", "/").split("/")
    if (
        _VISIBLE.fullmatch(path) is None
        or _ESCAPED.search(path)
        or "//" in decoded
        or "\\" in decoded
        or "%" in decoded
        or any(segment.partition(";")[0].strip() in (".", "..") for segment in segments)
        or any(ord(char) < 32 or ord(char) == 127 or char in "?#" for char in decoded)
        or "%2f" in path.lower()
    ):
        raise FrontError(400, "bad_request", "this path can't be passed on", close=False)


class Targets:
    """Every place, by the path that leads there."""

    def __init__(self, settings: Settings, groups: Iterable[Group]) -> None:
        self._configured = {entry.path: _configured(entry) for entry in settings.pass_through}
        self._under = sorted(
            [target for target in self._configured.values() if target.includes_subpaths],
            key=lambda target: -len(target.prefix),
        )
        all_groups = list(groups)
        self._providers = _providers(settings.deployments, all_groups)
        self._all = [each for group in all_groups for each in group.deployments]
        self._priced = [
            each for group in all_groups for each in group.deployments if each.is_priced or each.units is not None
        ]
        self.overrides = {path for path in self._configured if _may_override(path)}
        """Configured paths that the gateway itself would serve otherwise: the configuration's word counts."""

    def price_of(self, provider: str, model: str) -> Deployment | None:
        """The deployment whose price a model of a provider's has: the one whose name its own begins with."""
        fitting = [each for each in self._priced if each.provider == provider and model.startswith(each.upstream_model)]
        return max(fitting, key=lambda each: len(each.upstream_model), default=None)

    def dearest_of(self, provider: str) -> Deployment | None:
        """Whose price a request has that may name any model of a provider's."""
        return max(self._of(provider), key=lambda each: each.input_nusd + each.output_nusd, default=None)

    def dearest_for(self, provider: str, call: MeteredCall) -> Deployment | None:
        """The same for what is paid by other units."""
        return max(self._of(provider), key=call.worst_at, default=None)

    def _of(self, provider: str) -> list[Deployment]:
        return [each for each in self._priced if each.provider == provider]

    def names_of(self, provider: str, model: str | None) -> set[str]:
        """The names here of what may be a provider's model; of all of its models where it is not known which."""
        those = [each for each in self._all if each.provider == provider]
        return {each.model_name for each in those if model is None or model.startswith(each.upstream_model)}

    def find(self, path: str) -> Target | None:
        found = self._configured.get(path.rstrip("/"))
        if found is not None:
            return found
        for target in self._under:
            if path.startswith(target.prefix + "/"):
                return target
        first, slash, rest = path[1:].partition("/")
        if slash and rest and not path.startswith("/openai/deployments/"):
            return self._providers.get(first)
        return None


def _may_override(path: str) -> bool:
    try:
        endpoint, _ = endpoints.find(path, "POST")
    except FrontError:
        return False
    return endpoint.is_proxied or endpoint.is_carried


def _configured(entry: PassThroughSettings) -> Target:
    parts = urlsplit(entry.target)
    settings = DeploymentSettings(
        id=f"pass-through:{entry.path}",
        model_name=f"pass-through:{entry.path}",
        provider="pass_through",
        upstream_model="",
        api_base=entry.target.rstrip("/"),
        extra_headers=entry.headers,
        price=Price()
        if entry.cost_usd is None
        else Price(units=UnitPrices(per_request=entry.cost_usd), source="config", version="config"),
    )
    deployment = make_deployment(settings, model_name=settings.model_name, upstream_model="", health=Health())
    deployment.secrets = tuple([value.reveal() for _, value in entry.headers if isinstance(value, Secret)])
    lines = [f"host: {parts.netloc}", f"user-agent: routewright/{__version__}", "accept-encoding: identity"]
    lines += [f"{name}: {value.reveal() if isinstance(value, Secret) else value}" for name, value in entry.headers]
    return Target(
        prefix=entry.path,
        deployment=deployment,
        group=Group(settings.model_name, "pass_through", [deployment]),
        root=parts.path.rstrip("/") or ("" if entry.includes_subpaths else "/"),
        lines="".join([f"{line}\r\n" for line in lines]).encode("latin-1"),
        forwards_all=entry.forwards_headers,
        includes_subpaths=entry.includes_subpaths,
        endpoint=_KEYED if entry.needs_key else _OPEN,
        right="",
        guardrails=entry.guardrails,
        request_texts=entry.request_texts,
        answer_texts=entry.answer_texts,
    )


def _providers(deployments: Iterable[DeploymentSettings], groups: Iterable[Group]) -> dict[str, Target]:
    """The first deployment of each provider stands for its account."""
    built = {each.id: each for group in groups for each in group.deployments}
    found: dict[str, Target] = {}
    for settings in deployments:
        for prefix, provider in PREFIXES.items():
            deployment = built.get(settings.id)
            if settings.provider != provider or prefix in found or deployment is None:
                continue
            target = _provider(prefix, settings, deployment)
            if target is not None:
                found[prefix] = target
    return found


def credential_lines(heads: Mapping[str, bytes]) -> bytes | None:
    """What the dialect writes into every head of a deployment's: host, agent, credential; None: it has none."""
    head = next(iter(heads.values()), None)
    if head is None:
        return None
    lines = [line for line in head.split(b"\r\n")[1:] if line and not _OWN_LINES.match(line)]
    return b"".join([line + b"\r\n" for line in lines])


def _provider(prefix: str, settings: DeploymentSettings, deployment: Deployment) -> Target | None:
    lines = credential_lines(deployment.request_heads)
    if lines is None:  # signed request by request, over a body that would have to be held
        return None
    root = urlsplit(settings.api_base).path.rstrip("/")
    known = PROVIDERS[settings.provider]
    name = f"{settings.provider}/*"
    # Without that one's price: what is asked for there may be any model, each of which has its own.
    account = make_deployment(
        replace(settings, price=Price()), model_name=name, upstream_model="", health=deployment.health
    )
    account.budgets = deployment.budgets  # no way around them
    speaks = prefix if prefix in ("anthropic", "gemini") else "openai"
    for ending in _ENDINGS:
        if root.endswith(ending):
            root = root.removesuffix(ending)
            break
    return Target(
        prefix=f"/{prefix}",
        deployment=account,
        group=Group(name, "pass_through", [account]),
        root=root,
        lines=lines,
        forwards_all=False,
        includes_subpaths=True,
        endpoint=replace(_KEYED, speaks=speaks),
        right=name,
        begins_with="/v1/" if known.name == "openai" else "",
    )
