"""Who may do what: roles, endpoints, and whose things they reach. What is not in the table is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routewright.errors import PermissionDenied
from routewright.management.fields import ADMIN, CUSTOMER, ORG_ADMIN, TEAM, TEAM_ADMIN, USER, USER_VIEWER, VIEWER

ALL, OWN = "all", "own"
"""Everything; what belongs to the caller, or to a team that the caller leads."""

_ADMIN_ONLY = {ADMIN: ALL}
_READ_ALL = {ADMIN: ALL, VIEWER: ALL}
_READ_OWN = {**_READ_ALL, ORG_ADMIN: OWN, USER: OWN, USER_VIEWER: OWN}
_READ_SELF = {**_READ_OWN, TEAM: OWN, CUSTOMER: OWN}
_WRITE_OWN = {ADMIN: ALL, USER: OWN, ORG_ADMIN: OWN}

MAY: dict[str, Mapping[str, str]] = {
    "key_generate": _WRITE_OWN,
    "key_service_account_generate": _WRITE_OWN,
    "key_update": _WRITE_OWN,
    "key_bulk_update": _ADMIN_ONLY,
    "key_delete": _WRITE_OWN,
    "key_regenerate": _WRITE_OWN,
    "key_block": _WRITE_OWN,
    "key_unblock": _WRITE_OWN,
    "key_info": _READ_SELF,
    "key_health": _READ_SELF,
    "key_list": _READ_OWN,
    "key_aliases": _READ_OWN,
    "team_new": _ADMIN_ONLY,
    "team_update": _WRITE_OWN,
    "team_delete": _ADMIN_ONLY,
    "team_block": _ADMIN_ONLY,
    "team_unblock": _ADMIN_ONLY,
    "team_member_add": _WRITE_OWN,
    "team_member_update": _WRITE_OWN,
    "team_member_delete": _WRITE_OWN,
    "team_model_add": _ADMIN_ONLY,
    "team_model_delete": _ADMIN_ONLY,
    "team_info": _READ_OWN,
    "team_list": _READ_OWN,
    "user_new": _ADMIN_ONLY,
    "user_update": _WRITE_OWN,
    "user_delete": _ADMIN_ONLY,
    "user_info": _READ_OWN,
    "user_list": _READ_ALL,
    "customer_new": _ADMIN_ONLY,
    "customer_update": _ADMIN_ONLY,
    "customer_delete": _ADMIN_ONLY,
    "customer_block": _ADMIN_ONLY,
    "customer_unblock": _ADMIN_ONLY,
    "customer_info": _READ_ALL,
    "customer_list": _READ_ALL,
    "budget_new": _ADMIN_ONLY,
    "budget_update": _ADMIN_ONLY,
    "budget_delete": _ADMIN_ONLY,
    "budget_info": _READ_ALL,
    "budget_list": _READ_ALL,
    "model_new": _ADMIN_ONLY,
    "model_update": _ADMIN_ONLY,
    "model_patch": _ADMIN_ONLY,
    "model_delete": _ADMIN_ONLY,
    "audit": _READ_ALL,
    "user_daily_activity": _READ_OWN,
    "team_daily_activity": _READ_OWN,
    "global_spend": _READ_ALL,
    "global_spend_logs": _READ_ALL,
    "global_spend_keys": _READ_ALL,
    "global_spend_teams": _READ_ALL,
    "global_spend_models": _READ_ALL,
    "global_spend_provider": _READ_ALL,
    "global_activity": _READ_ALL,
    "global_activity_model": _READ_ALL,
    "spend_logs": _READ_SELF,
    "spend_keys": _READ_OWN,
    "spend_users": _READ_ALL,
    "spend_teams": _READ_ALL,
    "spend_tags": _READ_ALL,
    "spend_report": _READ_ALL,
}
"""Endpoint -> role -> how far it reaches."""


@dataclass(frozen=True, slots=True)
class Actor:
    """Who calls the management API."""

    name: str
    """For the audit: `master`, `cli`, a user's id or a key's hash."""
    role: str
    key_hash: str = ""
    user_id: str | None = None
    team_id: str | None = None
    key: Mapping[str, Any] = field(default_factory=dict)
    """The row of the caller's own key; empty for the master."""
    leads: frozenset[str] = frozenset()
    """Teams among whose members the user is `admin`."""
    teams: frozenset[str] = frozenset()
    """Teams that the user is a member of."""

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    def reach(self, endpoint: str) -> str:
        """ALL or OWN. Raises PermissionDenied where the role may not call the endpoint at all."""
        found = MAY[endpoint].get(self.role)
        if found is None:
            raise PermissionDenied("your role may not do this")
        return found

    def towards_key(self, row: Mapping[str, Any]) -> frozenset[str]:
        """What the actor is towards a key: the names that `Field.writers` holds; empty: it is not the actor's."""
        if self.is_admin:
            return frozenset({ADMIN})
        if row.get("team_id") in self.leads:
            return frozenset({TEAM_ADMIN, USER})
        return frozenset({USER}) if self._is_of_own_user(row) else frozenset()

    def _is_of_own_user(self, row: Mapping[str, Any]) -> bool:
        """A key for one team reaches its user's other keys in that team, and no more: others may have made it."""
        if self.user_id is None or row.get("user_id") != self.user_id:
            return False
        return self.team_id is None or row.get("team_id") == self.team_id

    def towards_team(self, team_id: str) -> frozenset[str]:
        if self.is_admin:
            return frozenset({ADMIN})
        return frozenset({TEAM_ADMIN}) if team_id in self.leads else frozenset()

    def sees_key(self, row: Mapping[str, Any]) -> bool:
        """Whether the actor may read a key: an admin's every one, else its own, its user's, its teams' it leads."""
        if self.role in (ADMIN, VIEWER) or row["key_hash"] == self.key_hash:
            return True
        if row.get("team_id") in self.leads:
            return True
        return self._is_of_own_user(row)


MASTER = Actor(name="master", role=ADMIN)
CLI = Actor(name="cli", role=ADMIN)
