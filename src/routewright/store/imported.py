"""Sums that another gateway's ledger tells of: they go into ours, each as far as it is not in there yet.

A source's row is known by its table and id, with the figures that were taken of it so far. What it has gained since is
added, in the transaction that notes it; so an import may be run again, and while the source is still in use.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select

from routewright.store.ledger import add_sums, add_tags
from routewright.store.schema import imported_sums

FIGURES = (
    "cost_nusd", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_creation_tokens", "requests",
    "failed_requests",
)  # fmt: skip
Figures = tuple[int, ...]
"""In the order of FIGURES."""


class Daily(NamedTuple):
    """One row of a source: what was spent on a day. Empty: nobody's."""

    source: str
    source_id: str
    day_at_ms: int
    key_hash: str
    user_id: str
    team_id: str
    organization_id: str
    model: str
    provider: str
    figures: Figures
    tag: str = ""
    """Where there is one, the rest of the owners is not: a call's tags are summed beside its owners."""
    customer_id: str = ""
    """Where there is one, the row is a part of another without: it takes away there what it adds here."""


def take(connection: Connection, rows: Sequence[Daily]) -> int:
    """Add what is new; of how many rows there was any. A figure that has become less is left as it was."""
    known = _known(connection, {row.source for row in rows})
    hours: dict[tuple[object, ...], list[int]] = {}
    organizations: dict[tuple[object, ...], list[int]] = {}
    tags: dict[tuple[object, ...], list[int]] = {}
    noted: dict[tuple[str, str], Figures] = {}
    for row in rows:
        before = known.get((row.source, row.source_id), (0,) * len(FIGURES))
        gained = tuple(max(0, now - then) for now, then in zip(row.figures, before, strict=True))
        if not any(gained):
            continue
        noted[(row.source, row.source_id)] = tuple(max(pair) for pair in zip(row.figures, before, strict=True))
        cost, prompt, completion, cached, creation, requests, failed = gained
        if row.tag:
            _sum(tags, (row.day_at_ms, row.tag), (cost, prompt + completion, requests))
            continue
        # What it would have cost otherwise is not known: nothing was saved.
        sums = (cost, cost, prompt, completion, cached, creation, requests, failed, 0)
        owners = (row.key_hash, row.user_id, row.team_id)
        _sum(hours, (row.day_at_ms, *owners, row.customer_id, row.model, row.provider), sums)
        if row.customer_id:
            _sum(hours, (row.day_at_ms, *owners, "", row.model, row.provider), [-each for each in sums])
        elif row.organization_id:
            _sum(organizations, (row.day_at_ms, row.organization_id, *owners, row.model, row.provider), sums)
    add_sums(connection, hours, organizations)
    add_tags(connection, tags)
    _note(connection, known, noted)
    return len(noted)


def _sum(sums: dict[tuple[object, ...], list[int]], key: tuple[object, ...], values: Iterable[int]) -> None:
    before = sums.get(key)
    sums[key] = list(values) if before is None else [a + b for a, b in zip(before, values, strict=True)]


def is_first(connection: Connection) -> bool:
    """Nothing was ever taken."""
    return connection.execute(select(imported_sums.c.source_id).limit(1)).first() is None


def _known(connection: Connection, sources: Iterable[str]) -> dict[tuple[str, str], Figures]:
    table = imported_sums
    wanted = select(table.c.source, table.c.source_id, *[table.c[name] for name in FIGURES])
    found = connection.execute(wanted.where(table.c.source.in_(sorted(sources))))
    return {(source, source_id): tuple(figures) for source, source_id, *figures in found}


def _note(
    connection: Connection, known: Mapping[tuple[str, str], Figures], noted: Mapping[tuple[str, str], Figures]
) -> None:
    rows = [
        {"source": source, "source_id": source_id, **dict(zip(FIGURES, figures, strict=True))}
        for (source, source_id), figures in noted.items()
    ]
    table = imported_sums
    fresh = [row for row in rows if (row["source"], row["source_id"]) not in known]
    if fresh:
        connection.execute(table.insert(), fresh)
    for row in rows:
        if (row["source"], row["source_id"]) in known:
            is_it = (table.c.source == row["source"]) & (table.c.source_id == row["source_id"])
            connection.execute(table.update().where(is_it).values({name: row[name] for name in FIGURES}))
