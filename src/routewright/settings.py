"""Every setting, declared once, read once at start and handed down as values.

Field names are the names in files, environment and documentation. `config/` makes these values of a `config.yaml`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from routewright.credentials import AwsCredentials, CredentialSource
from routewright.grants import AccessGroups
from routewright.types import Allowance, Price, Secret

STORE_FILE = "store.sqlite3"
STORED_MARK = "store.managed"
"""Beside it once keys, teams or anything else was stored: then unknown keys are worth a question. The ledger alone is
no reason."""
JOURNAL_FOLDER = "journal"
"""The embedded database's name in `data_dir`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontLimits:
    """What the HTTP front takes before it refuses."""

    max_target_bytes: int = 8 * 1024
    max_head_bytes: int = 64 * 1024
    max_fields: int = 100
    max_field_name_bytes: int = 256
    max_body_bytes: int = 10 * 1024 * 1024
    max_upload_bytes: int = 512 * 1024 * 1024
    """Of a body that is passed on as it comes: sound, pictures, files."""
    max_pipelined_bytes: int = 64 * 1024
    head_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    min_body_bytes_per_s: int = 1024
    """Asked for after the first 5 seconds of a body."""
    idle_timeout_s: float = 75.0
    write_stall_timeout_s: float = 60.0
    """A client that takes nothing for this long is cut off."""
    max_in_flight_bytes: int = 512 * 1024 * 1024
    """Request bodies per worker; beyond it new bodies get 503."""
    max_connections_per_address: int = 1000
    max_wrong_keys_per_minute: int = 100
    """From one address, over all workers; beyond it that address is refused until the minute is over. 0: no limit."""
    trusted_proxies: tuple[str, ...] = ()
    """Addresses and networks whose `X-Forwarded-For` says where a request comes from."""
    keeps_addresses: bool = True
    """Records say where a request came from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxySettings:
    """An egress proxy that gives connections to others (CONNECT)."""

    host: str
    port: int
    authorization: Secret | None = None
    """Value of the header `proxy-authorization`."""
    directly: tuple[str, ...] = ()
    """`NO_PROXY`: names, addresses and networks that are reached without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """Time and size limits towards the upstreams."""

    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 60.0
    """Time to the first byte. Long: reasoning models think before they speak."""
    idle_timeout_s: float = 60.0
    total_timeout_s: float = 600.0
    name_fresh_s: float = 30.0
    """So long an upstream's addresses are taken from memory; then they are looked up again, beside the requests."""
    keepalive_s: float = 60.0
    """An idle upstream connection older than this is closed rather than used."""
    max_head_bytes: int = 64 * 1024
    max_response_bytes: int = 64 * 1024 * 1024
    """Of a response that is not streamed."""
    max_connections_per_origin: int = 2000
    ping_interval_s: float = 15.0
    """A stalled stream gets a comment line this often, so that proxies in between keep it open."""
    ssl_verify: bool | str = True
    """True: the system's store; a path: that bundle; False: no check (a warning says so)."""
    proxy: ProxySettings | None = None
    """What upstreams by https are reached through."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """A cap on spend."""

    max_budget_nusd: int | None = None
    soft_budget_nusd: int | None = None
    budget_duration: str | None = None
    """`30s`, `15m`, `12h`, `30d`, `1mo`, in UTC; None: never reset."""

    def allowance(self, scope: str, owner: str) -> Allowance:
        """This budget as one owner's."""
        return Allowance(
            scope=scope,
            owner=owner,
            budget_nusd=self.max_budget_nusd,
            soft_budget_nusd=self.soft_budget_nusd,
            budget_duration=self.budget_duration,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentSettings:
    """A place to send to: provider, upstream model, address, credential, price."""

    id: str
    """`model_info.id`, else a hash of the entry; what logs, journal and `x-litellm-model-id` name."""
    model_name: str
    """Public name; may hold a wildcard, `openai/*`."""
    provider: str
    upstream_model: str
    """Without the provider; `*` stands for what the client's name has in the wildcard's place."""
    api_base: str
    """Address with path, without a slash at its end, `https://api.openai.com/v1`."""
    api_key: Secret | None = None
    is_bearer: bool = False
    """The credential is a token of Microsoft Entra (`azure_ad_token`), where a key would have a header of its own."""
    aws: AwsCredentials | None = None
    sdk_params: Secret | None = None
    """JSON of what the LiteLLM SDK is given, where the deployment is reached through it; None: we speak its dialect."""
    sdk_secrets: tuple[Secret, ...] = ()
    """The credentials among them."""
    credential: CredentialSource | None = None
    """Where a credential that expires is fetched; None: `api_key` or `aws` is all there is."""
    api_version: str | None = None
    organization: str | None = None
    extra_headers: tuple[tuple[str, str | Secret], ...] = ()
    weight: float | None = None
    order: int = 1
    rpm: int | None = None
    tpm: int | None = None
    max_parallel_requests: int | None = None
    timeout_s: float | None = None
    stream_timeout_s: float | None = None
    max_retries: int | None = None
    cooldown_s: float | None = None
    price: Price = field(default_factory=Price)
    batch_input_usd_per_token: float | None = None
    """In a batch; None: as the provider's discount has it."""
    batch_output_usd_per_token: float | None = None
    default_params: Mapping[str, Any] = field(default_factory=dict)
    """Request fields filled in where the client left them out."""
    drop_params: tuple[str, ...] = ()
    """`additional_drop_params`: request fields taken out."""
    drops_unsupported: bool = False
    """`drop_params`, here or in `litellm_settings`: what the provider's dialect has no word for is left out."""
    mode: str = "chat"
    """`chat`, `completion` or `embedding`."""
    by_responses: str = "none"
    """Who is answered by OpenAI's Responses in place of chat completions: `all`, its `own` clients, or `none`."""
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    """As configured: asked for where the caller names no length and the provider wants one."""
    known_max_output_tokens: int | None = None
    """As its provider's page says; told to people only."""
    abilities: frozenset[str] = frozenset()
    """What else is known that it can, by LiteLLM's names without `supports_`."""
    supports_vision: bool | None = None
    supports_tools: bool | None = None
    supports_json: bool | None = None
    access_groups: tuple[str, ...] = ()
    """`model_info.access_groups`: a key that may use one of them may use this model."""
    quality: float | None = None
    """`model_info.quality`, 0..1."""
    tags: tuple[str, ...] = ()
    health_check_model: str | None = None
    """`model_info.health_check_*`: what is asked for in place of the deployment's own model, how long, how much."""
    health_check_timeout_s: float | None = None
    health_check_max_tokens: int | None = None
    skips_health_check: bool = False
    region: str | None = None
    """`region_name`, else the provider's own word for it."""
    budget: BudgetSettings | None = None
    """`max_budget` and `budget_duration`: what may be spent at it."""
    mock_response: str | None = None
    """The answer, or the failure, that it gives without asking anybody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptSettings:
    """What is kept of what people ask and are answered."""

    stores_all: bool = False
    """`general_settings.store_prompts_in_spend_logs`; else the routes and keys that say so alone."""
    is_forbidden: bool = False
    """`litellm_settings.turn_off_message_logging`: whatever a route or key says."""
    max_bytes: int = 64 * 1024
    """Of a request, and of an answer; what is longer is cut."""
    kept_s: int = 30 * 86_400
    """Their calls may stay in the ledger for longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySettings:
    """A static virtual key."""

    key: Secret
    alias: str | None = None
    models: tuple[str, ...] | None = None
    """None: all."""
    rpm_limit: int | None = None
    tpm_limit: int | None = None
    max_parallel_requests: int | None = None
    model_rpm_limit: Mapping[str, int] = field(default_factory=dict)
    model_tpm_limit: Mapping[str, int] = field(default_factory=dict)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    model_max_budget: Mapping[str, BudgetSettings] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    """Its requests go to deployments with these tags, where `enable_tag_filtering` is on."""
    dial: tuple[float, float] | None = None
    """`min_quality` and `max_quality`: what the key may ask of a route lies between the two; None: 0..1."""
    cache_controls: tuple[str, ...] | None = None
    """`allowed_cache_controls`: what its requests may ask of the cache; None: all."""
    guardrails: tuple[str, ...] = ()
    """Names of guardrails that look at all of its requests."""
    stores_prompts: bool = False
    """`store_prompts_in_spend_logs`."""

    def allowances(self, key_hash: str) -> tuple[list[Allowance], dict[str, list[Allowance]]]:
        """What the key may use in all, and of each model that has limits of its own."""
        whole = Allowance(
            scope="key",
            owner=key_hash,
            rpm=self.rpm_limit,
            tpm=self.tpm_limit,
            parallel=self.max_parallel_requests,
            budget_nusd=self.budget.max_budget_nusd,
            soft_budget_nusd=self.budget.soft_budget_nusd,
            budget_duration=self.budget.budget_duration,
        )
        by_model = {}
        for model in sorted({*self.model_rpm_limit, *self.model_tpm_limit, *self.model_max_budget}):
            budget = self.model_max_budget.get(model, BudgetSettings())
            by_model[model] = [
                Allowance(
                    scope="model_per_key",
                    owner=f"{key_hash}/{model}",
                    rpm=self.model_rpm_limit.get(model),
                    tpm=self.model_tpm_limit.get(model),
                    budget_nusd=budget.max_budget_nusd,
                    soft_budget_nusd=budget.soft_budget_nusd,
                    budget_duration=budget.budget_duration,
                )
            ]
        return [whole], by_model


@dataclass(frozen=True, slots=True, kw_only=True)
class CascadeSettings:
    """A route that asks the cheapest candidate first, and the next one where the answer is not good enough."""

    checks: frozenset[str] = frozenset({"truncated", "refused", "schema"})
    """What an answer is looked over for: these, and `logprob` and `agreement`, which make an answer dearer."""
    min_logprob: float = -0.6
    """Least mean log-probability of an answer's tokens; a mean of 0.55 a token. Above 0 nothing would pass."""
    min_logprob_of: Mapping[str, float] = field(default_factory=dict)
    """The same by model, where it was fitted."""
    min_score: float = 0.0
    """A candidate that the router expects to score less is passed over, save the last."""
    min_score_of: Mapping[str, float] = field(default_factory=dict)
    """The same by model, where it was fitted."""
    max_stages: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundsSettings:
    """A route whose planner, a model like any other, has the candidates answer parts of a request."""

    kind: str = "multiround"
    """`multiround`: cut up, let the router place the parts, sum up; `llm-multiround`: the planner places them too;
    `r1`: think, ask, think again."""
    planner: str | None = None
    """Public name of a model; None: the candidate that the router rates best."""
    max_parts: int = 4
    """Parts of one request, or questions of one planner."""
    max_part_tokens: int = 1024
    """Of the answer to one part, and of one turn of the planner."""
    max_output_tokens: int = 8192
    """Of all calls of one request together."""
    max_cost_usd: float = 0.5
    """Of all calls of one request together; the next is not made where it could cost more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteSettings:
    """A configured name whose requests a router places."""

    name: str
    candidates: tuple[str, ...] | None = None
    """Public model names; None: every chat model."""
    router: str | None = None
    """A router's name or the path of an artefact; None: the packaged default."""
    quality: float = 0.8
    """The dial: 0 cheapest .. 1 best."""
    default_model: str | None = None
    orchestration: CascadeSettings | RoundsSettings | None = None
    """How the route asks more than once; None: it asks the one that its router chose."""
    max_cost_usd: float | None = None
    """Candidates whose answer is expected to cost more are not asked."""
    max_latency_s: float | None = None
    """Candidates whose whole answer is expected to take longer are not asked."""
    latency_weight: float = 0.0
    """Score given up per second saved; 0 ignores time."""
    stores_prompts: bool = False
    """`store_prompts_in_spend_logs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgeSettings:
    """When a second attempt is made while the first has not begun to answer."""

    after_s: float | None = None
    quantile: float = 0.95
    """Of the times to the first byte lately, where `after_s` is None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSettings:
    """Retries, fallbacks and cooldown; LiteLLM's `router_settings`."""

    routing_strategy: str = "simple-shuffle"
    latency_ttl_s: float = 3600.0
    """`routing_strategy_args.ttl`: how long a measured latency counts."""
    latency_samples: int = 10
    """`routing_strategy_args.max_latency_list_size`: measurements kept of a deployment."""
    lowest_latency_buffer: float = 0.0
    """`routing_strategy_args.lowest_latency_buffer`: who is slower by this share at most is as good as the fastest."""
    num_retries: int = 2
    retry_policy: Mapping[str, int] = field(default_factory=dict)
    """Kind of error (`errors.KINDS`) -> retries; a kind that is named here is retried so often, whatever else holds."""
    model_retry_policy: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """The same by public model name, in place of `retry_policy`."""
    retry_after_s: float = 0.0
    """Least wait before a retry."""
    fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    context_window_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    content_policy_fallbacks: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    default_fallbacks: tuple[str, ...] = ()
    max_fallbacks: int = 5
    allowed_fails: int | None = None
    """Failures a minute before cooldown; None: more than half of at least five."""
    allowed_fails_policy: Mapping[str, int] = field(default_factory=dict)
    """The same by kind of error, each kind counted by itself; for kinds not named here `allowed_fails` holds."""
    cooldown_s: float = 5.0
    disable_cooldowns: bool = False
    retry_budget_ratio: float = 0.2
    retry_budget_per_s: float = 10.0
    model_group_alias: Mapping[str, str] = field(default_factory=dict)
    enable_tag_filtering: bool = False
    """Deployments with a tag of the request's, else those tagged `default`."""
    tag_filtering_match_any: bool = True
    """One of the request's tags is enough; else a deployment must have all of them."""
    enable_pre_call_checks: bool = False
    """Deployments whose context is too short for the prompt, or that are in another region, are not asked."""
    hedging: Mapping[str, HedgeSettings] = field(default_factory=dict)
    """By model or route; nothing else is asked twice at once."""
    provider_budgets: Mapping[str, BudgetSettings] = field(default_factory=dict)
    """`provider_budget_config`: what may be spent at a provider's deployments, by its name."""
    affinity: frozenset[str] = frozenset()
    """Of `optional_pre_call_checks` those that send alike to the same deployment (`upstream/affinity.py`)."""
    deployment_affinity_ttl_s: float = 3600.0
    """How long a session that was answered elsewhere, since its own deployment could not, stays there."""
    hidden_aliases: frozenset[str] = frozenset()
    """Second names that work and are not listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckSettings:
    """`general_settings.background_health_checks` and its kin."""

    interval_s: float = 300.0
    tells_details: bool = True
    """Names, addresses and errors to the master; else ids only."""
    at_once: int = 8
    """Deployments that are asked at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddingsSettings:
    """An OpenAI-compatible embeddings endpoint, for routers whose features are `remote`."""

    api_base: str
    """Address with path, without a slash at its end."""
    model: str
    """As the endpoint names it."""
    api_key: Secret | None = None
    timeout_s: float = 10.0
    """Of one call. A request to a route does not wait for it so long; a router that is fitted does."""
    provider: str = "openai"
    price: Price = field(default_factory=Price, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSettings:
    """Where the learned routers come from."""

    artefact_path: Path | None = None
    """`routing_strategy_args.model_path`; None: the packaged default."""
    strategy_name: str = "llmrouter-default"
    """What `/router/info` calls it."""
    hot_reload: bool = True
    reload_interval_s: float = 2.0
    public_keys: tuple[bytes, ...] = ()
    """`routing_strategy_args.public_keys`: Ed25519, 32 bytes each. Where there are any, only files signed by one of
    them are taken; the packaged router, which comes with the code, is taken as the code is."""
    embeddings: EmbeddingsSettings | None = None
    """The section `embeddings`: what routers with `remote` features ask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimilaritySettings:
    """Answers to questions that mean the same as one that was answered."""

    threshold: float = 0.9
    """Least cosine of the two questions' vectors."""
    maker: str = "minilm"
    """Of the vectors: `minilm`, `wordllama` or `remote`."""
    embeddings: EmbeddingsSettings | None = None
    """What `remote` asks."""
    max_questions: int = 10_000
    """Of each worker; the oldest is forgotten first. One takes some 2 kB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSettings:
    """Answers that are given again: LiteLLM's `cache` and `cache_params`."""

    ttl_s: float = 600.0
    """How long an answer is kept, where its request does not say."""
    is_default_on: bool = True
    """False: only requests that ask for it (`mode: default_off`)."""
    endpoints: frozenset[str] | None = None
    """Ours, from `supported_call_types`; None: all whose answers can be kept."""
    namespace: str = ""
    """Equal requests of gateways with other namespaces are others, where they share a store."""
    scope: str = "team"
    """Who shares answers: `team` (a key without one stands alone), `key` or `everyone`."""
    max_memory_bytes: int = 64 * 1024 * 1024
    """Of each worker."""
    max_entry_bytes: int = 1024 * 1024
    """Of one answer; a longer one is not kept."""
    is_shared: bool = False
    """Kept in the Valkey or Redis of `valkey`, for all workers and replicas, in place of each worker's memory."""
    is_on_disk: bool = False
    """Kept in a file that this machine's workers share, and that a restart does not lose."""
    disk_folder: Path | None = None
    """None: in the data directory."""
    max_disk_bytes: int = 1024 * 1024 * 1024
    similarity: SimilaritySettings | None = None
    """None: only equal requests are answered."""
    shares_flights: bool = False
    """Equal requests under way ask a provider once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailSettings:
    """One entry of the section `guardrails`."""

    name: str
    kind: str
    """Ours, or a plug-in's entry point."""
    modes: tuple[str, ...]
    """Of pre_call, post_call, during_call, logging_only."""
    is_default_on: bool = False
    is_fail_open: bool = False
    """Where it fails itself, what it should have looked at passes."""
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """The process: where it listens, how many workers, how it ends."""

    host: str = "127.0.0.1"
    port: int = 4000
    workers: int = 1
    data_dir: Path = Path(".data")
    drain_s: float = 30.0
    tls_cert: Path | None = None
    tls_key: Path | None = None


@dataclass(frozen=True, kw_only=True)
class ValkeySettings:
    """The Valkey or Redis that replicas share limits and budgets by."""

    host: str = ""
    port: int = 6379
    path: str | None = None
    """Of a Unix socket, in place of host and port."""
    db: int = 0
    username: str | None = None
    password: Secret | None = None
    sentinels: tuple[tuple[str, int], ...] = ()
    """Ask these where the master called `service_name` is, in place of host and port."""
    service_name: str = ""
    sentinel_password: Secret | None = None
    cluster: tuple[tuple[str, int], ...] = ()
    """Ask these which node of the cluster holds our keys, in place of host and port."""
    is_tls: bool = False
    ca_file: str | None = None
    """Who signs the server's certificate; None: the system's store knows."""
    cert_file: str | None = None
    key_file: str | None = None
    is_verified: bool = True
    is_host_checked: bool = True
    namespace: str = "routewright"
    """Every key of ours begins with it; replicas that share limits have the same. In a cluster it is a hash tag."""
    timeout_s: float = 0.05
    """What a request waits for it at most; then it counts as away. ROUTEWRIGHT_VALKEY_TIMEOUT_S."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """What is said while serving."""

    level: str = "INFO"
    """`general_settings.log_level`, else LITELLM_LOG, else DEBUG where `set_verbose` is on."""
    as_json: bool = False
    """`litellm_settings.json_logs` or JSON_LOGS: one object a line."""
    access: bool | None = None
    """`general_settings.access_log`: one line a request. None: where lines are JSON, or a person reads along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSettings:
    """Somebody who is told of every request after its end."""

    name: str
    """As the configuration calls it; in logs and metrics."""
    kind: str
    """`webhook`, `langfuse` or `objects`."""
    url: str
    """May hold a credential, so it is never printed."""
    headers: tuple[tuple[str, Secret], ...] = ()
    options: tuple[tuple[str, Secret], ...] = ()
    """For an object store: what fsspec takes for it."""
    wants_success: bool = True
    wants_failure: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceSettings:
    """Spans to an OpenTelemetry collector."""

    url: str
    """Whole, with its `/v1/traces`."""
    headers: tuple[tuple[str, Secret], ...] = ()
    is_protobuf: bool = True
    """`http/protobuf`; else `http/json`."""
    sampling: float = 1.0
    """Share of requests whose caller has not decided."""
    follows_caller: bool = True
    """A `traceparent` says whether its trace is sampled."""
    resource: tuple[tuple[str, str], ...] = (("service.name", "routewright"),)


@dataclass(frozen=True, slots=True, kw_only=True)
class PassThroughSettings:
    """A path of ours behind which an address lies."""

    path: str
    target: str
    headers: tuple[tuple[str, str | Secret], ...] = ()
    """Sent with every request."""
    needs_key: bool = True
    """`auth`; where the file says nothing a key is asked for, since the target gets our headers."""
    forwards_headers: bool = False
    """The client's own go on, but for its credential and what belongs to its connection."""
    includes_subpaths: bool = False
    """What follows the path is appended to the target."""
    cost_usd: float | None = None
    """Of one request; None: unpriced."""
    guardrails: tuple[str, ...] = ()
    """Names of those that look at every request."""
    request_texts: tuple[str, ...] = ()
    """Paths such as `documents[*].text` to what guardrails are to look at; none: by the shapes of known dialects."""
    answer_texts: tuple[str, ...] = ()


LOGIN_ROLES = ("proxy_admin", "proxy_admin_viewer", "internal_user", "internal_user_viewer")
"""The mightiest first. The first two may see the pages."""
SIGNATURE_ALGORITHMS = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
"""Never `none`, and none whose key is a secret that both sides hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcSettings:
    """Logging in to the pages at an OpenID provider: `general_settings.oidc`, or LiteLLM's GENERIC_* variables."""

    issuer: str
    """Its `.well-known/openid-configuration` says where everything else is, unless it is said here."""
    client_id: str
    client_secret: Secret | None = None
    """None: a public client, which proves itself by PKCE alone."""
    label: str = "single sign-on"
    """For the button: log in with ..."""
    base_url: str | None = None
    """Of the gateway, as browsers see it; None: by the Host header of whoever logs in."""
    scope: str = "openid email profile"
    algorithms: tuple[str, ...] = SIGNATURE_ALGORITHMS
    """Of signatures of ID tokens."""
    authorization_endpoint: str | None = None
    token_endpoint: str | None = None
    userinfo_endpoint: str | None = None
    jwks_uri: str | None = None
    logout_url: str | None = None
    """Where a browser goes after logging out."""
    user_id_claim: str = "sub"
    email_claim: str = "email"
    name_claim: str = "name"
    role_claim: str = "role"
    """Dots go into objects: `realm_access.roles`."""
    roles: tuple[tuple[str, frozenset[str]], ...] = tuple((role, frozenset({role})) for role in LOGIN_ROLES)
    """(role, values of the claim that mean it), the mightiest role first."""
    default_role: str | None = None
    """Of whoever the claim says nothing about and nobody has given a role here; None: not let in."""
    admin_ids: frozenset[str] = frozenset()
    """Users who are administrators whatever their claims say: PROXY_ADMIN_ID."""
    email_domains: frozenset[str] = frozenset()
    """Lower case; empty: all."""
    session_s: int = 3600
    """How long a login is believed before the provider is asked anew; a role that it takes away counts until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All of it."""

    server: ServerSettings = field(default_factory=ServerSettings)
    limits: FrontLimits = field(default_factory=FrontLimits)
    upstream: UpstreamSettings = field(default_factory=UpstreamSettings)
    attempts: AttemptSettings = field(default_factory=AttemptSettings)
    router: RouterSettings = field(default_factory=RouterSettings)
    master_key: Secret | None = None
    database_url: Secret | None = None
    """`general_settings.database_url`, a Postgres; None: SQLite in `data_dir`, from when something is first stored."""
    valkey: ValkeySettings | None = None
    """`router_settings.redis_*`, `cache_params` of type redis, or REDIS_*; None: limits are this machine's own."""
    salt_key: Secret | None = None
    """LITELLM_SALT_KEY: seals the credentials of stored models; None: the master key does."""
    key_header_name: str | None = None
    """`general_settings.litellm_key_header_name`: one more header a key may stand in."""
    keys: tuple[KeySettings, ...] = ()
    end_user_budget: BudgetSettings = field(default_factory=BudgetSettings)
    """`litellm_settings.max_end_user_budget`: for every end user that has none of its own."""
    tag_budgets: Mapping[str, BudgetSettings] = field(default_factory=dict)
    """`litellm_settings.tag_budget_config`."""
    spend_kept_s: int | None = None
    """`general_settings.maximum_spend_logs_retention_period`: single calls are deleted after it; their sums stay."""
    prompts: PromptSettings = field(default_factory=PromptSettings)
    alert_to_webhook_url: Secret | None = None
    """Where crossed budgets are told: `general_settings.alert_to_webhook_url`, or its `budget_alerts`."""
    cache: CacheSettings | None = None
    """None: there is none."""
    logs: LogSettings = field(default_factory=LogSettings)
    exports: tuple[ExportSettings, ...] = ()
    """`litellm_settings.success_callback`, `failure_callback` and `callbacks`."""
    traces: TraceSettings | None = None
    """The callback `otel`; None: no request is traced."""
    metrics_need_key: bool = False
    """`litellm_settings.require_auth_for_metrics_endpoint`."""
    oidc: OidcSettings | None = None
    """None: people log in to the pages with keys alone."""
    pass_through: tuple[PassThroughSettings, ...] = ()
    files_accounts: tuple[DeploymentSettings, ...] = ()
    """Where files lie that name no model; no model of anybody's."""
    guardrails: tuple[GuardrailSettings, ...] = ()
    routes: tuple[RouteSettings, ...] = ()
    deployments: tuple[DeploymentSettings, ...] = ()
    allow_mock_response: bool = False
    health_checks: HealthCheckSettings | None = None
    """None: deployments are known by traffic alone."""
    warnings: tuple[str, ...] = ()
    """What the start says: keys not supported, deployments without a credential, models without a price."""
    config_path: Path | None = None
    config_files: tuple[Path, ...] = ()
    """It, and what it includes."""

    @property
    def access_groups(self) -> AccessGroups:
        """The models of each group that a key's list may name in place of them."""
        groups: AccessGroups = {}
        for deployment in self.deployments:
            for group in deployment.access_groups:
                members = groups.setdefault(group, [])
                if deployment.model_name not in members:
                    members.append(deployment.model_name)
        return groups
