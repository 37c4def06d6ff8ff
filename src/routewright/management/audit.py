"""`/audit`: who changed what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Connection, func, select

from routewright.grants import AuditNote
from routewright.management import views
from routewright.management.request import Request
from routewright.store import schema
from routewright.store.rows import Writer


def list_audit(request: Request) -> dict[str, Any]:
    """Newest first; by `kind`, `object_id`, `actor` or `action`."""
    table = schema.audit
    number, size = request.page(50)
    where = []
    for name, column in (("kind", table.c.kind), ("object_id", table.c.object_id), ("actor", table.c.actor),
                         ("action", table.c.action)):  # fmt: skip
        value = request.asked(name)
        if value is not None:
            where.append(column == value)
    total = request.connection.scalar(select(func.count()).select_from(table).where(*where)) or 0
    wanted = select(table).where(*where).order_by(table.c.audit_id.desc()).limit(size).offset((number - 1) * size)
    rows = [views.audit(dict(row)) for row in request.connection.execute(wanted).mappings()]
    return {"audit_logs": rows, "total": total, "page": number, "page_size": size, "total_pages": -(-total // size)}


def note(connection: Connection, note: AuditNote) -> None:
    """Keep what was done beside the store: a router put back, a prompt read."""
    writer = Writer(connection, note.actor, note.role, note.request_id)
    writer.tell(note.action, note.kind, note.object_id, before=note.before, after=note.after)


def note_readings(connection: Connection, request: Request) -> None:
    """The same for what a request of the management API has read."""
    actor = request.actor
    writer = Writer(connection, actor.name, actor.role, request.request_id)
    for kind, object_id in request.readings:
        writer.tell("read", kind, object_id)
