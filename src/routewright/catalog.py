"""From the model a client names to the deployments that may answer, under the key's rights."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from urllib.parse import quote

import msgspec

from routewright.credentials import Credential, CredentialSource, Hidden
from routewright.eligibility import Eligibility
from routewright.errors import (
    GatewayError,
    InvalidRequest,
    ModelAccessDenied,
    ModelNotFound,
    RefusedField,
    StorageUnavailable,
    clean_text,
)
from routewright.fallbacks import Fallbacks
from routewright.metered import BATCH_SHARES
from routewright.providers import dialects
from routewright.providers.head import origin_of
from routewright.settings import AttemptSettings, DeploymentSettings, RouteSettings, Settings
from routewright.types import (
    NUSD_PER_USD,
    Allowance,
    Call,
    Caller,
    Candidates,
    Deployment,
    Group,
    Health,
    Price,
    RouteCandidate,
    Secret,
)

AUTO = "auto"
DIALS = {"best": 1.0, "cheap": 0.0, "balanced": 0.5}
"""What may stand behind a route's name: `auto:best`."""
NOT_ROUTED = frozenset(
    {
        "embeddings",
        "images",
        "speech",
        "moderations",
        "rerank",
        "transcriptions",
        "translations",
        "image_edits",
        "image_variations",
        "files",
        "batches",
        "fine_tuning_jobs",
    }
)
MAX_WILDCARD_MODELS = 1000
NO_LIMIT = 1 << 62
COUNTING = frozenset({"usage-based-routing", "usage-based-routing-v2"})
"""Strategies that go by what every deployment was sent."""
MAX_COMPARED = 200
"""Names that a wrong one is compared with; a long list would cost more than the hint is worth."""

_encode = msgspec.json.Encoder().encode


CredentialOf = Callable[[CredentialSource], Credential]


def make_deployment(
    settings: DeploymentSettings,
    *,
    model_name: str,
    upstream_model: str,
    health: Health,
    credential_of: CredentialOf = Credential,
) -> Deployment:
    """Everything about a deployment that can be had before a request comes."""
    deployment = Deployment()
    deployment.id = settings.id
    deployment.model_name = model_name
    deployment.metrics_model = settings.model_name
    deployment.provider = settings.provider
    deployment.upstream_model = upstream_model
    deployment.origin = origin_of(settings)
    credential = None if settings.credential is None else credential_of(settings.credential)
    deployment.exchanges, deployment.request_heads = dialects.spoken(settings, upstream_model, credential)
    deployment.reply_fields = (
        f"x-litellm-model-id: {header_text(settings.id)}\r\nx-litellm-model-group: {header_text(model_name)}\r\n"
    ).encode("ascii")
    deployment.routed_field = f"x-routewright-model: {header_text(model_name)}\r\n".encode("ascii")
    deployment.model_field = _encode(model_name)
    hidden = [settings.api_key, *(value for _, value in settings.extra_headers)]
    if settings.aws is not None:
        hidden += [settings.aws.secret_key, settings.aws.session_token]
    hidden += settings.sdk_secrets
    deployment.secrets = tuple([value.reveal() for value in hidden if isinstance(value, Secret)])
    if credential is not None:
        deployment.secrets = Hidden(deployment.secrets, credential)
    price = settings.price
    deployment.is_priced = price.is_known
    deployment.units = price.units
    deployment.price_version = price.version
    input_nusd = deployment.input_nusd = (price.input_usd_per_token or 0.0) * NUSD_PER_USD
    output_nusd = deployment.output_nusd = (price.output_usd_per_token or 0.0) * NUSD_PER_USD
    deployment.cached_nusd = _own_price(price.cached_input_usd_per_token, input_nusd)
    deployment.cache_creation_nusd = _own_price(price.cache_creation_usd_per_token, input_nusd)
    deployment.cache_creation_long_nusd = _own_price(
        price.cache_creation_long_usd_per_token, deployment.cache_creation_nusd
    )
    deployment.audio_input_nusd = _own_price(price.audio_input_usd_per_token, input_nusd)
    deployment.audio_output_nusd = _own_price(price.audio_output_usd_per_token, output_nusd)
    deployment.reasoning_nusd = _own_price(price.reasoning_usd_per_token, output_nusd)
    share = BATCH_SHARES.get(settings.provider, 1.0)
    deployment.batch_input_nusd = _own_price(settings.batch_input_usd_per_token, input_nusd * share)
    deployment.batch_output_nusd = _own_price(settings.batch_output_usd_per_token, output_nusd * share)
    deployment.weight = 1.0
    deployment.order = settings.order
    deployment.timeout_s = settings.timeout_s
    deployment.stream_timeout_s = settings.stream_timeout_s
    deployment.max_retries = settings.max_retries
    deployment.cooldown_s = settings.cooldown_s
    deployment.default_params = settings.default_params
    deployment.drop_params = settings.drop_params
    deployment.drops_unsupported = settings.drops_unsupported
    deployment.max_input_tokens = settings.max_input_tokens
    deployment.max_output_tokens = settings.max_output_tokens
    deployment.tags = frozenset(settings.tags)
    deployment.region = settings.region
    deployment.health = health
    deployment.limits = None
    deployment.budgets = ()
    deployment.allowance = None
    if not (settings.rpm is None and settings.tpm is None and settings.max_parallel_requests is None):
        deployment.allowance = Allowance(
            scope="deployment",
            owner=settings.id,
            rpm=settings.rpm,
            tpm=settings.tpm,
            parallel=settings.max_parallel_requests,
        )
    return deployment


def share_out(deployments: Sequence[Deployment], entries: Sequence[DeploymentSettings]) -> None:
    """Weights for the shuffle, as LiteLLM has them: what the first says, a weight, else its rpm, else its tpm, is what
    all are weighed by, and who does not say it gets nothing of it; all alike where the first says none of them."""
    for said in ("weight", "rpm", "tpm"):
        if getattr(entries[0], said) is not None:
            for deployment, entry in zip(deployments, entries, strict=True):
                deployment.weight = float(getattr(entry, said) or 0.0)
            return


def budgets_of(entry: DeploymentSettings, attempts: AttemptSettings) -> tuple[Allowance, ...]:
    """What may be spent there: its own budget, and its provider's."""
    of_provider = attempts.provider_budgets.get(entry.provider)
    own = () if entry.budget is None else (entry.budget.allowance("deployment", entry.id),)
    shared = () if of_provider is None else (of_provider.allowance("provider", entry.provider),)
    return (*own, *shared)


def make_group(
    name: str,
    entries: Sequence[tuple[DeploymentSettings, Health]],
    attempts: AttemptSettings,
    starred: str | None = None,
    *,
    credential_of: CredentialOf = Credential,
) -> Group:
    """`starred`: what stands for the wildcard of the upstream's name."""
    settings = [entry for entry, _ in entries]
    deployments = [
        make_deployment(
            entry,
            model_name=name,
            upstream_model=entry.upstream_model if starred is None else entry.upstream_model.replace("*", starred, 1),
            health=health,
            credential_of=credential_of,
        )
        for entry, health in entries
    ]
    share_out(deployments, settings)
    for deployment, each in zip(deployments, settings, strict=True):
        deployment.budgets = budgets_of(each, attempts)
    if attempts.routing_strategy in COUNTING:  # also what has no limit
        for deployment in deployments:
            limits = deployment.allowance or Allowance(scope="deployment", owner=deployment.id)
            deployment.allowance = replace(limits, tpm=limits.tpm if limits.tpm is not None else NO_LIMIT)
    return Group(name, settings[0].mode, deployments)


def _own_price(usd_per_token: float | None, usual_nusd: float) -> float:
    return usual_nusd if usd_per_token is None else usd_per_token * NUSD_PER_USD


def header_text(text: str) -> str:
    return quote(text, safe="/:.,@+-_ ()[]*")


class Catalog:
    """What is served, by name."""

    def __init__(
        self,
        settings: Settings,
        is_available: Callable[[Group], bool],
        is_anything_resting: Callable[[], bool] = lambda: True,
        health_of: Callable[[str], Health] = lambda _: Health(),
        credential_of: CredentialOf = Credential,
        region_of: Callable[[str], str | None] | None = None,
    ) -> None:
        """`is_available`: has the group a deployment that may be used now; `is_anything_resting`: could it be False.

        `health_of`: what is known of a deployment by its id, from a catalog that this one follows.
        `credential_of`: the one credential of a source. `region_of`: where an end user's requests must stay.
        """
        self._credential_of = credential_of
        self._attempts: AttemptSettings = settings.attempts
        self._allows_mock = settings.allow_mock_response
        self._fallbacks = Fallbacks.of(settings.attempts)
        self._eligibility = Eligibility.of(settings.attempts, region_of)
        self.candidates: Callable[[Call, Caller], Candidates] = (
            self._candidates if self._eligibility is None else self._eligible
        )
        """What a request may use. Raises ModelNotFound, or ModelAccessDenied where rights or tags leave nothing."""
        self.is_whole = True
        """Every model is here that should be; else one that is not is no mistake of the caller's."""
        self._is_available = is_available
        self._is_anything_resting = is_anything_resting
        self._groups: dict[str, Group] = {}
        self._wildcards: list[tuple[str, list[tuple[DeploymentSettings, Health]]]] = []
        self._wildcard_groups: dict[str, Group] = {}
        self._profiles: dict[str, DeploymentSettings] = {}
        dialects.load(settings.deployments)
        by_name: dict[str, list[DeploymentSettings]] = {}
        for deployment in settings.deployments:
            by_name.setdefault(deployment.model_name, []).append(deployment)
        for name, entries in by_name.items():
            known = [(entry, health_of(entry.id)) for entry in entries]
            if "*" in name:
                self._wildcards.append((name, known))
                continue
            self._profiles[name] = entries[0]
            self._groups[name] = make_group(name, known, settings.attempts, credential_of=credential_of)
        # The longest pattern wins: `openai/gpt-*` before `openai/*` before `*`.
        self._wildcards.sort(key=lambda item: len(item[0]), reverse=True)
        self.routes = self._make_routes(settings.routes)
        self._route_groups = {
            name: [self._groups[model] for model in route.candidates or ()] for name, route in self.routes.items()
        }
        self._shortest_context = {
            name: min([self._profiles[group.name].max_input_tokens or NO_LIMIT for group in groups], default=NO_LIMIT)
            for name, groups in self._route_groups.items()
        }

    def _make_routes(self, configured: Iterable[RouteSettings]) -> dict[str, RouteSettings]:
        """Every route with its candidates spelled out. `auto` exists by itself over all chat models."""
        routes = {route.name: route for route in configured}
        chat_models = tuple(name for name, group in self._groups.items() if group.mode == "chat")
        if AUTO not in routes and AUTO not in self._groups and chat_models:
            routes[AUTO] = RouteSettings(name=AUTO)
        return {name: replace(route, candidates=route.candidates or chat_models) for name, route in routes.items()}

    # --- what a request may use -----------------------------------------------------------------------------------

    def _eligible(self, call: Call, caller: Caller) -> Candidates:
        assert self._eligibility is not None
        candidates = self._candidates(call, caller)
        self._eligibility.narrow(candidates, call)
        return candidates

    def _candidates(self, call: Call, caller: Caller) -> Candidates:
        if call.mock is not None and not self._allows_mock:
            raise RefusedField(
                f"{call.mock.field} needs general_settings.allow_mock_response: true", param=call.mock.field
            )
        model = call.model if caller.aliases is None else caller.aliases.get(call.model, call.model)
        name = self._attempts.model_group_alias.get(model, model)
        models = caller.models
        # A right to the name that was asked for is enough, and so is one to what it stands for.
        is_allowed = models is None or may_use(models, call.model)
        group = self._groups.get(name)
        if group is not None and name not in self.routes:
            if not (is_allowed or may_use(models or frozenset(), name)):
                raise self._denied(call.model)
            return self._plain(group, call, caller)
        name, quality = self.split_dial(name)
        is_allowed = is_allowed or may_use(models or frozenset(), name)
        if name in self.routes:
            if not is_allowed:
                raise self._denied(call.model)
            return self._routed(name, quality, call, caller)
        group = self._wildcard(name, create=is_allowed)
        if group is None:
            raise self._not_found(call.model, caller)
        if not is_allowed:
            raise self._denied(call.model)
        return self._plain(group, call, caller)

    def split_dial(self, name: str) -> tuple[str, float | None]:
        """A route's name and where its ending sets the dial; any other name as it is."""
        if name not in self.routes and ":" in name:
            route, _, dial = name.rpartition(":")
            if route in self.routes and dial in DIALS:
                return route, DIALS[dial]
        return name, None

    def _plain(self, group: Group, call: Call, caller: Caller) -> Candidates:
        candidates = Candidates((group,))
        self._add_fallbacks(candidates, group.name, call, caller)
        return candidates

    def _add_fallbacks(self, candidates: Candidates, name: str, call: Call, caller: Caller) -> None:
        """What may be tried after `name`'s own deployments: the request's word, else the configuration's."""
        configured = self._fallbacks
        if configured is not None:
            asked = call.model
            candidates.fallbacks = self._known(configured.general(asked, name), caller)
            candidates.context_window_fallbacks = self._known(configured.context_window(asked, name), caller)
            candidates.content_policy_fallbacks = self._known(configured.content_policy(asked, name), caller)
        if call.fallbacks is not None:
            candidates.fallbacks = self._asked(call.fallbacks, caller)
        if call.context_window_fallbacks is not None:
            candidates.context_window_fallbacks = self._asked(call.context_window_fallbacks, caller)
        if call.content_policy_fallbacks is not None:
            candidates.content_policy_fallbacks = self._asked(call.content_policy_fallbacks, caller)

    def _routed(self, name: str, quality: float | None, call: Call, caller: Caller) -> Candidates:
        if call.endpoint in NOT_ROUTED:
            raise InvalidRequest(f'"{name}" chooses among chat models; name a model for this endpoint', param="model")
        groups = self._route_groups[name]
        candidates = Candidates(groups, name)
        candidates.quality = quality
        candidates.dial = caller.dial
        candidates.key_hash = caller.key_hash
        # The right to a route is the right to all that it chooses from; health and ability narrow it here, so that
        # the router rates only what can answer. Where nothing can, all are tried: one may be back by then.
        asks_much = call.has_images or call.has_tools or call.wants_json
        if asks_much or call.prompt_tokens_estimate > self._shortest_context[name] or self._is_anything_resting():
            usable = [
                index
                for index, group in enumerate(groups)
                if self._is_available(group) and self._is_able(group.name, call)
            ]
            if usable and len(usable) != len(groups):
                candidates.allowed = usable
        self._add_fallbacks(candidates, name, call, caller)
        return candidates

    def _is_able(self, model: str, call: Call) -> bool:
        """Whether what the request asks for is not known to be beyond the model."""
        settings = self._profiles[model]
        if call.has_images and settings.supports_vision is False:
            return False
        if call.has_tools and settings.supports_tools is False:
            return False
        if call.wants_json and settings.supports_json is False:
            return False
        limit = settings.max_input_tokens
        return limit is None or call.prompt_tokens_estimate <= limit

    def _asked(self, names: Iterable[str], caller: Caller) -> list[Group]:
        """What a request names. Raises ModelNotFound and ModelAccessDenied."""
        found: list[Group] = []
        for name in names:
            groups = self._stands_for(name)
            if not groups:
                raise self._not_found(name, caller)
            if caller.models is not None and not may_use(caller.models, name):
                raise self._denied(name)
            found += groups
        return found

    def _known(self, names: Iterable[str], caller: Caller) -> list[Group]:
        """What the configuration names, as far as the key may use it."""
        found: list[Group] = []
        for name in names:
            if caller.models is None or may_use(caller.models, name):
                found += self._stands_for(name)
        return found

    def _stands_for(self, name: str) -> Sequence[Group]:
        """A model by any of its names; or the candidates of a route, its default model first."""
        name = self._attempts.model_group_alias.get(name, name)
        if name in self.routes:
            default = self.routes[name].default_model
            return sorted(self._route_groups[name], key=lambda group: group.name != default)
        group = self._groups.get(name) or self._wildcard(name, create=True)
        return () if group is None else (group,)

    def _wildcard(self, name: str, *, create: bool) -> Group | None:
        group = self._wildcard_groups.get(name)
        if group is not None:
            return group
        for pattern, entries in self._wildcards:
            if not fnmatch.fnmatchcase(name, pattern):
                continue
            starred = _star_part(pattern, name)
            if not starred.strip("."):
                continue  # no name; and where it stands in a path, `..` would be a step up
            group = make_group(name, entries, self._attempts, starred, credential_of=self._credential_of)
            if create:
                if len(self._wildcard_groups) >= MAX_WILDCARD_MODELS:
                    self._wildcard_groups.clear()
                self._wildcard_groups[name] = group
            return group
        return None

    def _denied(self, model: str) -> ModelAccessDenied:
        return ModelAccessDenied(f'this key may not use model "{clean_text(model)}"')

    def _not_found(self, model: str, caller: Caller) -> GatewayError:
        if not self.is_whole:
            return StorageUnavailable("the models that are stored are not known yet; try again")
        served = self.names(caller)
        near = difflib.get_close_matches(model, served, n=1) if len(served) <= MAX_COMPARED else []
        hint = f'; did you mean "{near[0]}"?' if near else f"; served: {', '.join(served[:10])}"
        return ModelNotFound(f'model "{clean_text(model)}" is not served here{hint}')

    # --- what is told ---------------------------------------------------------------------------------------------

    def names(self, caller: Caller) -> list[str]:
        """Routes, then models, that the key may use; wildcard patterns are left out."""
        names = list(dict.fromkeys([*self.routes, *self._groups, *self._aliases()]))
        if caller.models is None:
            return names
        return [name for name in names if may_use(caller.models, name)]

    def _aliases(self) -> list[str]:
        """Second names of what is served."""
        aliases = self._attempts.model_group_alias
        hidden = self._attempts.hidden_aliases
        return [
            alias
            for alias, name in aliases.items()
            if alias not in hidden and (name in self._groups or name in self.routes)
        ]

    def owner(self, name: str) -> str:
        """The provider behind a model's name; routewright for a route."""
        name = self._attempts.model_group_alias.get(name, name)
        settings = self._profiles.get(name)
        return "routewright" if settings is None or name in self.routes else settings.provider

    def has(self, name: str, caller: Caller) -> bool:
        """Whether the key may use `name`, an alias or one that a wildcard stands for too."""
        real = self._attempts.model_group_alias.get(name, name)
        if real not in self._groups and real not in self.routes and self._wildcard(real, create=False) is None:
            return False
        return caller.models is None or may_use(caller.models, name) or may_use(caller.models, real)

    def group(self, name: str) -> Group | None:
        """The deployments of a model that stands in the configuration by its own name."""
        return self._groups.get(name)

    def groups(self) -> list[Group]:
        return list(self._groups.values())

    def route_groups(self, route: str) -> Sequence[Group]:
        """The groups that a route chooses from."""
        return self._route_groups[route]

    def route_candidates(self, route: str) -> list[RouteCandidate]:
        """What the router of a route has to choose from, in the order of `Candidates.groups`."""
        return [self._candidate(group.name) for group in self._route_groups[route]]

    def _candidate(self, name: str) -> RouteCandidate:
        settings = self._profiles[name]
        price: Price = settings.price
        return RouteCandidate(
            model=name,
            upstream_model=settings.upstream_model,
            provider=settings.provider,
            price=price,
            quality=settings.quality,
            max_input_tokens=settings.max_input_tokens,
            supports_vision=settings.supports_vision,
            supports_tools=settings.supports_tools,
            supports_json=settings.supports_json,
        )


def may_use(models: frozenset[str], name: str) -> bool:
    """Whether a key's list of names and wildcards holds `name`."""
    if name in models or "*" in models:
        return True
    return any("*" in pattern and fnmatch.fnmatchcase(name, pattern) for pattern in models)


def _star_part(pattern: str, name: str) -> str:
    """What stands in `name` where `pattern` has its first star."""
    before, _, after = pattern.partition("*")
    return name[len(before) : len(name) - len(after)] if after else name[len(before) :]
