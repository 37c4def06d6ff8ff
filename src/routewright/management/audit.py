"""`/audit`: who changed what."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select

from routewright.management import views
from routewright.management.request import Request
from routewright.store import schema


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
