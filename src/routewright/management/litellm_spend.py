"""What a LiteLLM database says was spent: its daily sums, as rows of ours.

LiteLLM keeps the same calls in a table for each kind of owner. That by user holds all of them, with the key; a key's
team and organization are looked up, so that every sum is taken once. Rows by end user are parts of those by user, and
what is known by tag stands beside all of that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from routewright.store.imported import Daily
from routewright.types import NUSD_PER_USD

BY_USER, BY_TEAM, BY_TAG = "LiteLLM_DailyUserSpend", "LiteLLM_DailyTeamSpend", "LiteLLM_DailyTagSpend"
BY_CUSTOMER = "LiteLLM_DailyEndUserSpend"
KEYS, DELETED_KEYS, TEAMS = "LiteLLM_VerificationToken", "LiteLLM_DeletedVerificationToken", "LiteLLM_TeamTable"
READ = (BY_USER, BY_TEAM, BY_TAG, BY_CUSTOMER, DELETED_KEYS)
"""What is read for it beside the tables that are taken anyway."""
MOST = 2**53
_FIGURES = ("prompt_tokens", "completion_tokens", "cache_read_input_tokens", "cache_creation_input_tokens",
            "api_requests", "failed_requests")  # fmt: skip
Source = Mapping[str, Any]


class Days:
    """Daily sums of a source. `of(table, identity)` is what they come to for one owner."""

    def __init__(self, tables: Mapping[str, list[Source]]) -> None:
        teams, organizations = _belonging(tables)
        self.rows: list[Daily] = []
        self.left_out: dict[str, int] = defaultdict(int)
        self._totals: dict[tuple[str, tuple[str, ...]], int] = defaultdict(int)
        users: dict[tuple[str, ...], str] = {}
        for source in tables[BY_USER]:
            key_hash = _text(source.get("api_key"))
            team_id = teams.get(key_hash, "")
            user_id = users[_what(source)] = _text(source.get("user_id"))
            self._take(BY_USER, source, key_hash=key_hash, user_id=user_id, team_id=team_id,
                       organization_id=organizations.get(key_hash, ""))  # fmt: skip
        for source in tables[BY_CUSTOMER]:
            key_hash, customer_id = _text(source.get("api_key")), _text(source.get("end_user_id"))
            if customer_id and _what(source) in users:
                self._take(BY_CUSTOMER, source, key_hash=key_hash, user_id=users[_what(source)],
                           team_id=teams.get(key_hash, ""), customer_id=customer_id)  # fmt: skip
            else:
                self.left_out[BY_CUSTOMER] += 1
        for source in tables[BY_TAG]:
            tag = _text(source.get("tag"))
            if tag:
                self._take(BY_TAG, source, tag=tag)
            else:
                self.left_out[BY_TAG] += 1

    def of(self, table: str, identity: tuple[str, ...]) -> int:
        """Nano-dollars; `table` is one of ours, `identity` a row's primary key in it."""
        return self._totals.get((table, identity), 0)

    def _take(self, name: str, source: Source, *, key_hash: str = "", user_id: str = "", team_id: str = "",
              organization_id: str = "", tag: str = "", customer_id: str = "") -> None:  # fmt: skip
        day = _day_ms(source.get("date"))
        source_id = source.get("id")
        if day is None or not source_id:
            self.left_out[name] += 1
            return
        cost = _figure(float(source.get("spend") or 0.0) * NUSD_PER_USD)
        figures = (cost, *[_figure(source.get(each)) for each in _FIGURES])
        model = _text(source.get("model_group")) or _text(source.get("model"))
        provider = _text(source.get("custom_llm_provider"))
        self.rows.append(
            Daily(name, str(source_id), day, key_hash, user_id, team_id, organization_id, model, provider, figures, tag,
                  customer_id)
        )  # fmt: skip
        if customer_id:
            self._totals[("customers", (customer_id,))] += cost
            return
        for table, identity in (
            ("keys", (key_hash,)), ("users", (user_id,)), ("teams", (team_id,)), ("organizations", (organization_id,)),
            ("team_members", (team_id, user_id)), ("organization_members", (organization_id, user_id)),
        ):  # fmt: skip
            if all(identity):
                self._totals[(table, identity)] += cost


def _what(source: Source) -> tuple[str, ...]:
    """By which a row by end user is found to be a part of one by user."""
    return tuple(_text(source.get(name)) for name in ("date", "api_key", "model", "custom_llm_provider"))


def _belonging(tables: Mapping[str, list[Source]]) -> tuple[dict[str, str], dict[str, str]]:
    """(team of each key, organization of each key), keys that were deleted among them as far as that is still known."""
    of_team = {_text(row.get("team_id")): _text(row.get("organization_id")) for row in tables[TEAMS]}
    teams = {_text(row.get("api_key")): _text(row.get("team_id")) for row in tables[BY_TEAM]}
    organizations: dict[str, str] = {}
    for row in (*tables[DELETED_KEYS], *tables[KEYS]):
        key_hash = _text(row.get("token"))
        teams[key_hash] = _text(row.get("team_id"))
        organizations[key_hash] = _text(row.get("organization_id"))
    for key_hash, team_id in teams.items():
        organizations[key_hash] = of_team.get(team_id) or organizations.get(key_hash, "")
    return teams, organizations


def _text(value: Any) -> str:
    return value.replace("\0", "") if isinstance(value, str) else ""


def _figure(value: Any) -> int:
    return max(0, min(MOST, round(float(value or 0))))


def _day_ms(value: Any) -> int | None:
    """The first moment of a day in UTC."""
    try:
        day = value if isinstance(value, date) else date.fromisoformat(str(value)[:10])
        return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    except ValueError:
        return None


def told(days: Days, taken: int, tables: Mapping[str, Iterable[Source]]) -> list[str]:
    """Lines of the report."""
    found = sum(len(list(tables[name])) for name in (BY_USER, BY_CUSTOMER, BY_TAG))
    lines = [f"daily sums: {found} found, {taken} taken or added to, {len(days.rows) - taken} there already"]
    return lines + [f"{name}: {count} left out: no id, day or owner" for name, count in days.left_out.items() if count]
