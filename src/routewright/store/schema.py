"""The tables, once for SQLite and Postgres.

Money is whole nano-dollars (`_nusd`), time whole milliseconds since 1970 UTC (`_at_ms`), a window a text such as
`30d`. What LiteLLM's clients may set and nothing here acts on is kept in `extra`, so that they read back what they
wrote. No foreign keys: spend and audit outlive what they speak of.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# SQLite counts rows by itself only in a column of exactly this type.
_RowId = BigInteger().with_variant(Integer, "sqlite")


def _text(name: str, *, required: bool = False) -> Column[str]:
    return Column(name, String, nullable=not required)


def _whole(name: str, *, required: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=not required)


def _json(name: str) -> Column[Any]:
    return Column(name, JSON(none_as_null=True))


def _flag(name: str) -> Column[bool]:
    return Column(name, Boolean, nullable=False)


def _limits() -> list[Column[Any]]:
    """Requests and tokens a minute, and requests at one time; NULL is none."""
    return [_whole("rpm_limit"), _whole("tpm_limit"), _whole("max_parallel_requests")]


def _limits_by_model() -> list[Column[Any]]:
    """Name -> limit; a budget by model is `{name: {"max_budget_nusd": ..., "budget_duration": ...}}`."""
    return [_json("model_rpm_limit"), _json("model_tpm_limit"), _json("model_max_budget")]


def _budget() -> list[Column[Any]]:
    """A cap on spend, and the window that it is for; without one it is for good."""
    return [
        _whole("max_budget_nusd"),
        _whole("soft_budget_nusd"),
        _text("budget_duration"),
        _whole("budget_started_at_ms"),
        _text("budget_id"),
    ]


def _spent_before() -> Column[int]:
    """Spend from before the ledger: what an import brought, or an administrator set."""
    return Column("spend_before_nusd", BigInteger, nullable=False, server_default="0")


def _history() -> list[Column[Any]]:
    return [
        _whole("created_at_ms", required=True),
        _text("created_by"),
        _whole("updated_at_ms", required=True),
        _text("updated_by"),
    ]


keys = Table(
    "keys",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("lineage_hash", String(64)),
    _text("key_name", required=True),
    Column("key_alias", String, unique=True),
    _text("user_id"),
    _text("team_id"),
    _text("organization_id"),
    _text("key_type", required=True),
    _flag("blocked"),
    _flag("is_service_account"),
    _whole("expires_at_ms"),
    _json("models"),
    _json("aliases"),
    _json("allowed_routes"),
    *_limits(),
    *_limits_by_model(),
    *_budget(),
    _whole("temp_budget_increase_nusd"),
    _whole("temp_budget_expires_at_ms"),
    _spent_before(),
    _json("metadata"),
    _json("tags"),
    _json("extra"),
    *_history(),
    Index(None, "user_id"),
    Index(None, "team_id"),
    Index(None, "budget_id"),
    Index(None, "lineage_hash"),
)
"""`key_hash`: lower-case hex SHA-256 of the whole key. `models`: NULL or empty is all. `lineage_hash`: hash of the
first key of those that replaced one another, of which this is the last; NULL where it replaced none."""

former_keys = Table(
    "former_keys",
    metadata,
    Column("key_hash", String(64), primary_key=True),
    Column("lineage_hash", String(64), nullable=False),
    _whole("replaced_at_ms", required=True),
    Index(None, "lineage_hash"),
)
"""Keys that were replaced by another one with the same rights. What was spent by them is that one's past."""

teams = Table(
    "teams",
    metadata,
    Column("team_id", String, primary_key=True),
    _text("team_alias"),
    _text("organization_id"),
    _flag("blocked"),
    _json("models"),
    _json("model_aliases"),
    *_limits(),
    *_limits_by_model(),
    *_budget(),
    _spent_before(),
    _whole("team_member_budget_nusd"),
    _whole("team_member_rpm_limit"),
    _whole("team_member_tpm_limit"),
    _text("team_member_key_duration"),
    _json("metadata"),
    _json("tags"),
    _json("extra"),
    *_history(),
    Index(None, "budget_id"),
)

organizations = Table(
    "organizations",
    metadata,
    Column("organization_id", String, primary_key=True),
    _text("organization_alias", required=True),
    _flag("blocked"),
    _json("models"),
    *_limits(),
    *_limits_by_model(),
    *_budget(),
    _spent_before(),
    _json("metadata"),
    _json("extra"),
    *_history(),
    Index(None, "budget_id"),
)
"""Above teams and keys, which name it in `organization_id`: what they use is counted for it too."""

organization_members = Table(
    "organization_members",
    metadata,
    _text("organization_id", required=True),
    _text("user_id", required=True),
    _text("user_role", required=True),
    *_budget(),
    _spent_before(),
    *_history(),
    PrimaryKeyConstraint("organization_id", "user_id"),
    Index(None, "user_id"),
)
"""`user_role`: `org_admin`, `internal_user` or `internal_user_viewer`, in this organization."""

team_members = Table(
    "team_members",
    metadata,
    _text("team_id", required=True),
    _text("user_id", required=True),
    _text("role", required=True),
    *_limits(),
    *_budget(),
    _spent_before(),
    *_history(),
    PrimaryKeyConstraint("team_id", "user_id"),
    Index(None, "user_id"),
)
"""`role`: `admin` or `user`."""

users = Table(
    "users",
    metadata,
    Column("user_id", String, primary_key=True),
    Column("user_email", String, unique=True),
    _text("user_alias"),
    _text("user_role", required=True),
    _json("models"),
    *_limits(),
    *_limits_by_model(),
    *_budget(),
    _spent_before(),
    _json("metadata"),
    _json("extra"),
    *_history(),
    Index(None, "budget_id"),
)

customers = Table(
    "customers",
    metadata,
    Column("customer_id", String, primary_key=True),
    _text("alias"),
    _flag("blocked"),
    _text("default_model"),
    *_limits(),
    *_budget(),
    _spent_before(),
    _json("extra"),
    *_history(),
    Index(None, "budget_id"),
)
"""End users of a key's holder: the `user` of a request."""

budgets = Table(
    "budgets",
    metadata,
    Column("budget_id", String, primary_key=True),
    _whole("max_budget_nusd"),
    _whole("soft_budget_nusd"),
    _text("budget_duration"),
    *_limits(),
    _json("model_max_budget"),
    *_history(),
)
"""Budgets with a name, which keys, teams, users, members and customers point to by `budget_id`."""

models = Table(
    "models",
    metadata,
    Column("model_id", String, primary_key=True),
    _text("model_name", required=True),
    _json("params"),
    _text("sealed"),
    _json("info"),
    *_history(),
    Index(None, "model_name"),
)
"""`params`: `litellm_params` without credentials; `sealed`: those, encrypted."""

config_values = Table(
    "config_values",
    metadata,
    _text("section", required=True),
    _text("name", required=True),
    _json("value"),
    *_history(),
    PrimaryKeyConstraint("section", "name"),
)
"""Settings changed while serving, which stand in the place of the configuration's."""

_FAILED = text("error_code IS NOT NULL")
"""Failures are few among many, and looked for by people; a query has to use these very words."""


def _index_of_owner(owner: str) -> Index:
    """Every row of the ledger pays for every index that it stands in; many have neither team nor user."""
    known = text(f"{owner} IS NOT NULL")
    return Index(None, owner, "ended_at_ms", sqlite_where=known)


spend = Table(
    "spend",
    metadata,
    Column("row_id", _RowId, primary_key=True, autoincrement=True),
    _text("call_id", required=True),
    Column("attempt", Integer, nullable=False),
    _text("request_id", required=True),
    _whole("started_at_ms", required=True),
    _whole("first_byte_at_ms"),
    _whole("ended_at_ms", required=True),
    _text("endpoint", required=True),
    _text("key_hash", required=True),
    _text("key_alias"),
    _text("user_id"),
    _text("team_id"),
    _text("organization_id"),
    _text("customer_id"),
    _text("model_asked"),
    _text("model"),
    _text("deployment_id"),
    _text("provider"),
    _text("route"),
    Column("status", Integer, nullable=False),
    _text("error_code"),
    _text("ended", required=True),
    _flag("is_stream"),
    _whole("prompt_tokens", required=True),
    _whole("completion_tokens", required=True),
    _whole("cached_tokens", required=True),
    _whole("cache_creation_tokens", required=True),
    _whole("reasoning_tokens", required=True),
    _whole("audio_tokens", required=True),
    _flag("is_estimated"),
    _whole("cost_nusd", required=True),
    _whole("baseline_nusd", required=True),
    _flag("is_priced"),
    _text("price_version"),
    _text("session_id"),
    _text("peer"),
    _json("tags"),
    _json("extra"),
    UniqueConstraint("call_id", "attempt"),
    Index(None, "key_hash", "ended_at_ms"),
    *[_index_of_owner(owner) for owner in ("team_id", "user_id", "customer_id", "organization_id")],
    Index(None, "ended_at_ms"),
    Index(None, "request_id"),
    Index("ix_spend_failed", "ended_at_ms", sqlite_where=_FAILED),
    sqlite_autoincrement=True,
)
"""Insert-only: one row per upstream answer that cost something, or per call that ended without one. `baseline_nusd`:
what the same tokens would have cost at the candidate that the router rated best."""


spend_texts = Table(
    "spend_texts",
    metadata,
    _text("call_id", required=True),
    Column("attempt", Integer, nullable=False),
    _whole("ended_at_ms", required=True),
    _text("request", required=True),
    _text("response", required=True),
    PrimaryKeyConstraint("call_id", "attempt"),
    Index(None, "ended_at_ms"),
)
"""What was asked and answered, as JSON, of the few calls for which that is wanted; deleted sooner than their rows."""


def _sums(name: str, start: str, *owners: str, indexed: tuple[str, ...] | None = None) -> Table:
    """`indexed`: the owners that are asked for by themselves; all that are people or keys, where nothing is said."""
    indexed = tuple(each for each in owners if each not in ("model", "provider")) if indexed is None else indexed
    return Table(
        name,
        metadata,
        _whole(start, required=True),
        *[_text(owner, required=True) for owner in owners],
        _whole("cost_nusd", required=True),
        _whole("baseline_nusd", required=True),
        _whole("prompt_tokens", required=True),
        _whole("completion_tokens", required=True),
        _whole("cached_tokens", required=True),
        _whole("cache_creation_tokens", required=True),
        _whole("requests", required=True),
        _whole("failed_requests", required=True),
        _whole("unpriced_requests", required=True),
        PrimaryKeyConstraint(start, *owners),
        *[Index(None, owner, start) for owner in indexed],
    )


spend_hours = _sums("spend_hours", "hour_at_ms", "key_hash", "user_id", "team_id", "customer_id", "model", "provider")
"""Sums of `spend` by the hour that a call ended in; `""` stands for none, since a key column can't be NULL."""

spend_days = _sums("spend_days", "day_at_ms", "key_hash", "user_id", "team_id", "model", "provider")
"""The same by the day in UTC, which reports are made of; without end users, of whom there may be very many."""

spend_organizations = _sums(
    "spend_organizations", "hour_at_ms", "organization_id", "key_hash", "user_id", "team_id", "model", "provider",
    indexed=("organization_id",),
)  # fmt: skip
"""The same by the hour of calls that were made for an organization, and of no others."""

spend_models = _sums("spend_models", "hour_at_ms", "model")
"""By hour and model alone, for the first page: few rows, however many keys there are. Begins 31 days before the table
was made."""

spend_tags = Table(
    "spend_tags",
    metadata,
    _whole("hour_at_ms", required=True),
    _text("tag", required=True),
    _whole("cost_nusd", required=True),
    _whole("total_tokens", required=True),
    _whole("requests", required=True),
    PrimaryKeyConstraint("hour_at_ms", "tag"),
    Index(None, "tag", "hour_at_ms"),
)

imported_sums = Table(
    "imported_sums",
    metadata,
    _text("source", required=True),
    _text("source_id", required=True),
    _whole("cost_nusd", required=True),
    _whole("prompt_tokens", required=True),
    _whole("completion_tokens", required=True),
    _whole("cached_tokens", required=True),
    _whole("cache_creation_tokens", required=True),
    _whole("requests", required=True),
    _whole("failed_requests", required=True),
    PrimaryKeyConstraint("source", "source_id"),
)
"""What was taken over of each row of another gateway's daily sums, so that taking it again adds only what has come."""

journal_positions = Table(
    "journal_positions",
    metadata,
    Column("name", String, primary_key=True),
    _whole("read_bytes", required=True),
)
"""How much of each journal file the ledger holds; written in the transaction that writes the rows."""

sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", String(64), primary_key=True),
    Column("key_hash", String(64), nullable=False),
    _text("role", required=True),
    _whole("created_at_ms", required=True),
    _whole("expires_at_ms", required=True),
    Index(None, "expires_at_ms"),
)
"""Who is logged in to the pages. `token_hash`: SHA-256 of the cookie; `role`: the one that the session began with."""

audit = Table(
    "audit",
    metadata,
    Column("audit_id", _RowId, primary_key=True, autoincrement=True),
    _whole("at_ms", required=True),
    _text("actor", required=True),
    _text("actor_role", required=True),
    _text("request_id"),
    _text("action", required=True),
    _text("kind", required=True),
    _text("object_id", required=True),
    _json("before"),
    _json("after"),
    Index(None, "at_ms"),
    Index(None, "kind", "object_id"),
    sqlite_autoincrement=True,
)
"""Who changed what. `before` and `after` hold no credential."""

schema_floor = Table("schema_floor", metadata, Column("oldest", String(32), primary_key=True))
"""One row: the oldest version of the tables whose programs may work on these. A step that only adds leaves it alone."""

changes = Table(
    "changes",
    metadata,
    Column("change_id", _RowId, primary_key=True, autoincrement=True),
    _whole("at_ms", required=True),
    _text("kind", required=True),
    _text("object_id", required=True),
    Index(None, "at_ms"),
    sqlite_autoincrement=True,
)
"""What the workers of every replica have to look at again, in the order of the commits; kept for a day."""

kept = Table(
    "kept",
    metadata,
    Column("object_id", String, primary_key=True),
    _text("kind", required=True),
    _text("owner", required=True),
    _text("previous_id"),
    _whole("created_at_ms", required=True),
    _whole("expires_at_ms", required=True),
    _whole("size_bytes", required=True),
    _text("body", required=True),
    Index(None, "expires_at_ms"),
    Index(None, "created_at_ms"),
)
"""What callers asked to have kept, such as responses; `owner` is a team, a user or a key."""

owned = Table(
    "owned",
    metadata,
    Column("object_id", String, primary_key=True),
    _text("kind", required=True),
    _text("owner", required=True),
    _whole("created_at_ms", required=True),
    _whole("expires_at_ms"),
    _text("deployment_id", required=True),
    _text("model", required=True),
    _text("provider", required=True),
    _text("key_hash", required=True),
    _text("key_alias"),
    _text("user_id"),
    _text("team_id"),
    _text("organization_id"),
    _text("customer_id"),
    _json("tags"),
    _text("purpose"),
    _json("about"),
    _text("body", required=True),
    _flag("is_open"),
    _whole("held_nusd", required=True),
    _whole("claimed_until_ms", required=True),
    Index(None, "owner", "kind", "created_at_ms"),
    Index(None, "kind", "created_at_ms"),
    Index(None, "is_open"),
    Index(None, "expires_at_ms"),
)
"""Whose an object at a provider is: files, batches and the like, by the provider's id; `body` is how it was seen last.
Of a batch whose cost is not in the ledger yet (`is_open`), `held_nusd` is what it may come to."""


def complete_for_postgres() -> None:
    """Indices of a part of their rows are that on Postgres too. Said where there is one: SQLAlchemy then loads all that
    it knows of Postgres, which an embedded database need not pay."""
    for table in metadata.tables.values():
        for index in table.indexes:
            where = index.dialect_options["sqlite"]["where"]
            if where is not None:
                index.kwargs["postgresql_where"] = where
