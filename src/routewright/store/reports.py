"""What was spent, by whom, on what and when: questions to the ledger. Totals come from its sums, never from all rows.

Times are milliseconds since 1970, a call belongs to the moment it ended, and days are those of UTC.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, select, tuple_

from routewright.store.ledger import DAY_MS
from routewright.store.lineage import successors
from routewright.store.schema import spend, spend_days, spend_hours, spend_organizations, spend_tags, spend_texts

FIGURES = (
    "cost_nusd", "baseline_nusd", "prompt_tokens", "completion_tokens", "cached_tokens", "cache_creation_tokens",
    "requests", "failed_requests", "unpriced_requests",
)  # fmt: skip
OWNERS = ("key_hash", "user_id", "team_id", "customer_id", "model", "provider", "organization_id")
EXPORT_BATCH, EXPORT_BATCH_WITH_TEXTS = 2000, 100


def totals(
    connection: Connection,
    by: Sequence[str],
    *,
    from_ms: int = 0,
    to_ms: int | None = None,
    of: Mapping[str, Sequence[str]] | None = None,
) -> list[dict[str, Any]]:
    """The sums of whole days, one for each combination of `by`: names of OWNERS, and `day_at_ms`.

    `of`: only these owners. Dearest first; ties in the order of the names. Raises ValueError for an unknown name, and
    where organizations and end users are asked for together.
    """
    named = {*by, *(of or {})}
    unknown = named - {*OWNERS, "day_at_ms"}
    if unknown or {"customer_id", "organization_id"} <= named:
        raise ValueError(f"no sums by {', '.join(sorted(unknown or named))}")
    # Only the hours know of end users, and organizations have sums of their own.
    table = spend_days
    if "customer_id" in named:
        table = spend_hours
    elif "organization_id" in named:
        table = spend_organizations
    start = table.c.day_at_ms if table is spend_days else table.c.hour_at_ms
    day = start if table is spend_days else (start - start % DAY_MS).label("day_at_ms")
    groups = [day if name == "day_at_ms" else table.c[name] for name in by]
    cost = func.sum(table.c.cost_nusd)
    wanted = select(*groups, *[func.sum(table.c[name]).label(name) for name in FIGURES])
    wanted = wanted.where(*_since(start, from_ms, to_ms))
    wanted = wanted.where(*[table.c[name].in_(ids) for name, ids in (of or {}).items()])
    wanted = wanted.group_by(*groups).order_by(cost.desc(), *groups)
    names, count = (*by, *FIGURES), len(by)
    # Postgres adds whole numbers up to a Decimal.
    return [dict(zip(names, (*row[:count], *map(int, row[count:])), strict=True)) for row in connection.execute(wanted)]


def by_line(connection: Connection, sums: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Sums of keys that were replaced, added to those of the key in their place; dearest first as before."""
    if not sums or "key_hash" not in sums[0]:
        return sums
    successor = successors(connection, {row["key_hash"] for row in sums})
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in sums:
        row["key_hash"] = successor.get(row["key_hash"], row["key_hash"])
        owner = tuple(value for name, value in row.items() if name not in FIGURES)
        known = found.setdefault(owner, row)
        if known is not row:
            for name in FIGURES:
                known[name] += row[name]
    return sorted(found.values(), key=lambda row: -row["cost_nusd"])


def _since(start: ColumnElement[int], from_ms: int, to_ms: int | None) -> list[ColumnElement[bool]]:
    """Of whole days."""
    where: list[ColumnElement[bool]] = []
    if from_ms > 0:
        where.append(start >= from_ms // DAY_MS * DAY_MS)
    if to_ms is not None:
        where.append(start < to_ms)
    return where


def tag_totals(
    connection: Connection, *, from_ms: int = 0, to_ms: int | None = None, tags: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """By tag: cost_nusd, total_tokens, requests. Dearest first."""
    table = spend_tags
    where = _since(table.c.hour_at_ms, from_ms, to_ms)
    if tags:
        where.append(table.c.tag.in_(tags))
    cost = func.sum(table.c.cost_nusd)
    wanted = select(
        table.c.tag,
        cost.label("cost_nusd"),
        func.sum(table.c.total_tokens).label("total_tokens"),
        func.sum(table.c.requests).label("requests"),
    )
    wanted = wanted.where(*where).group_by(table.c.tag).order_by(cost.desc(), table.c.tag)
    return [
        {"tag": row["tag"], **{name: int(row[name]) for name in ("cost_nusd", "total_tokens", "requests")}}
        for row in connection.execute(wanted).mappings()
    ]


def logs(
    connection: Connection,
    *,
    of: Mapping[str, Sequence[str]] | None = None,
    from_ms: int = 0,
    to_ms: int | None = None,
    limit: int,
    before: tuple[int, int] | None = None,
) -> list[dict[str, Any]]:
    """Single rows, newest first. `of`: columns of `spend` and what they may be; `before`: (ended_at_ms, row_id) of the
    last row of the page before, so that a page costs the same wherever it is."""
    wanted = select(spend).where(*[spend.c[name].in_(values) for name, values in (of or {}).items()])
    if from_ms > 0:
        wanted = wanted.where(spend.c.ended_at_ms >= from_ms)
    if to_ms is not None:
        wanted = wanted.where(spend.c.ended_at_ms < to_ms)
    if before is not None:
        wanted = wanted.where(tuple_(spend.c.ended_at_ms, spend.c.row_id) < before)
    wanted = wanted.order_by(spend.c.ended_at_ms.desc(), spend.c.row_id.desc()).limit(limit)
    return [dict(row) for row in connection.execute(wanted).mappings()]


def texts(connection: Connection, call_id: str, attempt: int) -> tuple[str, str] | None:
    """What a call asked and was answered, as JSON, where that was kept and is kept still."""
    wanted = select(spend_texts.c.request, spend_texts.c.response)
    wanted = wanted.where(spend_texts.c.call_id == call_id, spend_texts.c.attempt == attempt)
    found = connection.execute(wanted).first()
    return None if found is None else (found[0], found[1])


def all_rows(
    connection: Connection, *, from_ms: int = 0, to_ms: int | None = None, with_texts: bool = False
) -> Iterator[dict[str, Any]]:
    """Every row in the order of arrival, a batch in memory at a time. `with_texts`: `request` and `response` too."""
    last = 0
    while True:
        wanted: Select[Any] = select(spend)
        if with_texts:
            is_its = (spend.c.call_id == spend_texts.c.call_id) & (spend.c.attempt == spend_texts.c.attempt)
            wanted = select(spend, spend_texts.c.request, spend_texts.c.response).join(
                spend_texts, is_its, isouter=True
            )
        wanted = wanted.where(spend.c.row_id > last)
        if from_ms > 0:
            wanted = wanted.where(spend.c.ended_at_ms >= from_ms)
        if to_ms is not None:
            wanted = wanted.where(spend.c.ended_at_ms < to_ms)
        found = (
            connection.execute(
                wanted.order_by(spend.c.row_id).limit(EXPORT_BATCH_WITH_TEXTS if with_texts else EXPORT_BATCH)
            )
            .mappings()
            .all()
        )
        if not found:
            return
        for row in found:
            yield dict(row)
        last = found[-1]["row_id"]


def delete_before(connection: Connection, before_ms: int, most: int) -> int:
    """Delete at most so many of the rows that ended before a moment; how many that were. The sums stay."""
    oldest = select(spend.c.row_id).where(spend.c.ended_at_ms < before_ms).order_by(spend.c.ended_at_ms).limit(most)
    return connection.execute(spend.delete().where(spend.c.row_id.in_(oldest))).rowcount


def delete_texts_before(connection: Connection, before_ms: int, most: int) -> int:
    """The same of what was said in those calls; the calls stay."""
    oldest = select(spend_texts.c.call_id, spend_texts.c.attempt).where(spend_texts.c.ended_at_ms < before_ms)
    oldest = oldest.order_by(spend_texts.c.ended_at_ms).limit(most)
    theirs = tuple_(spend_texts.c.call_id, spend_texts.c.attempt).in_(oldest)
    return connection.execute(spend_texts.delete().where(theirs)).rowcount
