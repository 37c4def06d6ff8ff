"""Who may do what: roles, endpoints, and whose things they reach. What is not in the table is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from routewright.errors import PermissionDenied
from routewright.management.fields import ADMIN, CUSTOMER, ORG_ADMIN, TEAM, TEAM_ADMIN, USER, USER_VIEWER, VIEWER

ALL, OWN = "all", "own"
"""Everything; what belongs to the caller, to a team that the caller leads, or to an organization that it governs."""

_ADMIN_ONLY = {ADMIN: ALL}
_READ_ALL = {ADMIN: ALL, VIEWER: ALL}
_READ_OWN = {**_READ_ALL, ORG_ADMIN: OWN, USER: OWN, USER_VIEWER: OWN}
_READ_SELF = {**_READ_OWN, TEAM: OWN, CUSTOMER: OWN}
_WRITE_OWN = {ADMIN: ALL, USER: OWN, ORG_ADMIN: OWN}
_GOVERN = {ADMIN: ALL, ORG_ADMIN: OWN}

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
    "team_new": _GOVERN,
    "team_update": _WRITE_OWN,
    "team_delete": _GOVERN,
    "team_block": _GOVERN,
    "team_unblock": _GOVERN,
    "team_member_add": _WRITE_OWN,
    "team_member_update": _WRITE_OWN,
    "team_member_delete": _WRITE_OWN,
    "team_model_add": _GOVERN,
    "team_model_delete": _GOVERN,
    "team_info": _READ_OWN,
    "team_list": _READ_OWN,
    "organization_new": _ADMIN_ONLY,
    "organization_update": _GOVERN,
    "organization_delete": _ADMIN_ONLY,
    "organization_member_add": _GOVERN,
    "organization_member_update": _GOVERN,
    "organization_member_delete": _GOVERN,
    "organization_info": _READ_OWN,
    "organization_list": _READ_OWN,
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
    "organization_daily_activity": _READ_OWN,
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
    organization_id: str | None = None
    """What the caller's key is bound to, where it belongs to no team."""
    leads: frozenset[str] = frozenset()
    """Teams among whose members the user is `admin`, and those of `governs`."""
    teams: frozenset[str] = frozenset()
    """Teams that the user is a member of."""
    governs: frozenset[str] = frozenset()
    """Organizations among whose members the user is `org_admin`."""
    governed_teams: frozenset[str] = frozenset()
    """Teams of those."""
    organizations: frozenset[str] = frozenset()
    """Organizations that the user is a member of."""

    @property
    def is_admin(self) -> bool:
        return self.role == ADMIN

    @property
    def is_bound(self) -> bool:
        """The key is for one team or one organization, and speaks for nothing else."""
        return self.team_id is not None or self.organization_id is not None

    def reach(self, endpoint: str) -> str:
        """ALL or OWN. Raises PermissionDenied where the role may not call the endpoint at all."""
        found = MAY[endpoint].get(self.role)
        if found is None and self.governs:
            found = MAY[endpoint].get(ORG_ADMIN)
        if found is None:
            raise PermissionDenied("your role may not do this")
        return found

    def towards_key(self, row: Mapping[str, Any]) -> frozenset[str]:
        """What the actor is towards a key: the names that `Field.writers` holds; empty: it is not the actor's."""
        if self.is_admin:
            return frozenset({ADMIN})
        if self._governs(row):
            return frozenset({ORG_ADMIN, TEAM_ADMIN, USER})
        if row.get("team_id") in self.leads:
            return frozenset({TEAM_ADMIN, USER})
        return frozenset({USER}) if self._is_of_own_user(row) else frozenset()

    def _governs(self, row: Mapping[str, Any]) -> bool:
        """A key's team says whose it is; where there is none, the key itself does."""
        team_id = row.get("team_id")
        return team_id in self.governed_teams if team_id is not None else row.get("organization_id") in self.governs

    def _is_of_own_user(self, row: Mapping[str, Any]) -> bool:
        """A key for one team, or one organization, reaches its user's other keys there, and no more: others may have
        made it."""
        if self.user_id is None or row.get("user_id") != self.user_id:
            return False
        if self.organization_id is not None:
            return bool(row.get("organization_id") == self.organization_id)
        return self.team_id is None or row.get("team_id") == self.team_id

    def towards_team(self, team_id: str) -> frozenset[str]:
        if self.is_admin:
            return frozenset({ADMIN})
        if team_id in self.governed_teams:
            return frozenset({ORG_ADMIN, TEAM_ADMIN})
        return frozenset({TEAM_ADMIN}) if team_id in self.leads else frozenset()

    def towards_organization(self, organization_id: str | None) -> frozenset[str]:
        if self.is_admin:
            return frozenset({ADMIN})
        return frozenset({ORG_ADMIN}) if organization_id in self.governs else frozenset()

    def sees_key(self, row: Mapping[str, Any]) -> bool:
        """Whether the actor may read a key: an admin's every one, else its own, its user's, its teams' it leads, its
        organizations' it governs."""
        if self.role in (ADMIN, VIEWER) or row["key_hash"] == self.key_hash:
            return True
        if row.get("team_id") in self.leads or self._governs(row):
            return True
        return self._is_of_own_user(row)


MASTER = Actor(name="master", role=ADMIN)
CLI = Actor(name="cli", role=ADMIN)
