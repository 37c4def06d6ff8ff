"""What the store says of a virtual key: the value that travels from the store's process to the workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from routewright.types import Allowance

AccessGroups = dict[str, list[str]]
"""`model_info.access_groups`: name of a group -> the models in it, wildcards among them."""


def with_members(models: Iterable[str], groups: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """A list of names and wildcards, with the models of the groups that it names."""
    found = list(models)
    for name in tuple(found):
        found += groups.get(name, ())
    return tuple(dict.fromkeys(found))


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A stored key with everything that its team, its user and its budgets add to it or take from it."""

    key_hash: str
    key_alias: str | None = None
    user_id: str | None = None
    team_id: str | None = None
    organization_id: str | None = None
    refusal: str | None = None
    """Why the key may do nothing, in words for its holder: it or its team is blocked."""
    expires_at_ms: int | None = None
    models: tuple[str, ...] | None = None
    """Names and wildcards that key, team and user all allow; None is all, empty is none."""
    aliases: dict[str, str] = {}
    endpoints: tuple[str, ...] | None = None
    """Names of endpoints; None is all that need no master."""
    tags: tuple[str, ...] = ()
    """The key's and its team's."""
    allowances: tuple[Allowance, ...] = ()
    """Limits and budgets of every owner that a call counts against, the key itself first."""
    model_allowances: dict[str, tuple[Allowance, ...]] = {}
    """The same for calls to one model."""
    cache_controls: tuple[str, ...] | None = None
    """What the key's requests may ask of the cache; None is all."""
    guardrails: tuple[str, ...] = ()
    """Names of the guardrails of key and team."""
    stores_prompts: bool = False
    depends_on: tuple[str, ...] = ()
    """`kind:id` of all that it was made of; when one of them changes, it has to be asked for again."""


class EndUser(msgspec.Struct, frozen=True, kw_only=True):
    """A stored customer: the `user` of a request."""

    customer_id: str
    is_blocked: bool
    allowance: Allowance
    allowed_region: str | None = None
    """Where its requests must be answered: LiteLLM's `allowed_model_region`."""


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """Somebody who is logged in to the pages."""

    token_hash: str
    key_hash: str
    """The key that they logged in with; what it may do, they may do."""
    role: str
    name: str
    """For people: `master`, or the user's id."""
    is_master: bool
    expires_at_ms: int


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Whoever an identity provider vouches for."""

    issuer: str
    subject: str
    """The provider's own name for them, which no one else ever gets."""
    user_id: str
    email: str | None = None
    """Verified by the provider."""
    name: str | None = None
    role: str | None = None
    """None: their claims say nothing, so what is stored of them holds, or `default_role`."""
    default_role: str | None = None
    session_s: int = 12 * 3600
    """How long what the provider says is believed."""


class Login(msgspec.Struct, frozen=True, kw_only=True):
    """What came of an attempt to log in."""

    session: Session | None = None
    refusal: str = ""
    """`key`, `role`, `attempts` or `state`; empty with a session."""
    wait_s: int = 0
    """After too many attempts: until the next one is looked at."""


class AuditNote(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was done and changed no row of the store's."""

    actor: str
    role: str
    action: str
    kind: str
    object_id: str
    request_id: str
    before: dict[str, str] | None = None
    after: dict[str, str] | None = None


class Change(msgspec.Struct, frozen=True, array_like=True):
    """Something stored that is no longer as it was. Kind `all`: look at everything again."""

    kind: str
    object_id: str

    @property
    def name(self) -> str:
        """As in `Grant.depends_on`."""
        return f"{self.kind}:{self.object_id}"


Changes = Sequence[Change]
Grants = Mapping[str, Grant | None]
"""Key hash -> grant; None where there is no such key."""
