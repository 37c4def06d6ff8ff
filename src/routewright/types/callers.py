"""Who asks, by which door, and what they may use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Secret:
    """Text that must not be printed. `reveal` gives it to the one place that sends it."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return "Secret('***')"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __reduce__(self) -> Any:
        raise TypeError("a Secret is not serialised")


class Access(IntEnum):
    """What an endpoint asks of its caller."""

    OPEN = 0
    KEY = 1
    MASTER = 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An HTTP path we serve."""

    name: str
    methods: tuple[str, ...]
    access: Access
    is_proxied: bool
    """Goes to the gateway; everything else goes to the control plane."""
    takes_body: bool = True
    speaks: str = "openai"
    """The client dialect in which its errors are told."""
    is_kept: bool = False
    """Has to do with responses that are kept: `keeping.py` answers, or hands on to the gateway."""
    is_carried: bool = False
    """Its body is handed on as it comes, and never held whole."""
    is_owned: bool = False
    """Has to do with what lies at a provider and belongs to somebody here: files, batches and their like."""
    is_stored: bool = False
    """Speaks of what is stored: the store's process answers. Who may do what is decided there."""

    @property
    def name_to_read(self) -> str:
        """By which a key may be let in to look and no more; `name` lets in to all of its methods."""
        return self.name if set(self.methods) <= {"GET", "HEAD"} else f"{self.name}:read"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What one owner may use; None is no limit. Its counts are found by `scope` and `owner`, whatever the rest says."""

    scope: str
    """`key`, `team`, `user`, `team_member`, `organization`, `organization_member`, `customer`, `tag`, `model_per_key`,
    `model_per_team`, `model_per_user`, `model_per_organization`, `deployment`."""
    owner: str
    """Unique in its scope: a key's hash, a team's id; `team/user`, `key/model` where it belongs to two."""
    rpm: int | None = None
    tpm: int | None = None
    parallel: int | None = None
    budget_nusd: int | None = None
    soft_budget_nusd: int | None = None
    """Crossing it raises an alert and stops nobody."""
    budget_duration: str | None = None
    """Length of the budget's window, `30d`; None: it is never reset."""
    spent_before_nusd: int = 0
    """Spend that the ledger does not know, such as what was imported; counts where the budget is never reset."""
    extra_nusd: int = 0
    """A temporary increase of the budget, until `extra_until_ms` (wall clock)."""
    extra_until_ms: int = 0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the holder of a virtual key, or of the master key."""

    key_hash: str
    """SHA-256 of the key, hex; `""` where no key was asked for."""
    alias: str | None
    is_master: bool
    models: frozenset[str] | None
    """Names and wildcards the key may use; None is all."""
    dial: tuple[float, float] | None = None
    """Least and most quality that the key may ask of a route; None: 0..1."""
    limits: Any = None
    """What admission keeps for this key; opaque to everybody else."""
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    endpoints: frozenset[str] | None = None
    """Names of the endpoints that the key may call; None is all that need no master."""
    aliases: Mapping[str, str] | None = None
    """Names of the key's own for models."""
    tags: tuple[str, ...] = ()
    """Of the key and its team: its requests go where they lead, where deployments are chosen by tags. Each call has
    them beside its own."""
    cache_controls: frozenset[str] | None = None
    """Names of the cache controls that the key may use; None is all."""
    guardrails: tuple[str, ...] = ()
    """Names of guardrails that look at all of the key's requests."""
    stores_prompts: bool = False
    """What is asked with it, and answered, is to be kept."""
