"""Reading the configuration again."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from routewright.admin.control import Control


def add_config(app: FastAPI, control: Control, prefix: str) -> None:
    @app.post(
        prefix + "/config/reload",
        summary="Read the configuration again",
        tags=["config"],
        include_in_schema=not prefix,
    )
    async def config_reload() -> Any:
        """All of the file or nothing of it: 400 names its faults. No connection is dropped."""
        found = await control.reload_config()
        return {"status": "reloaded", "changed": found.changed, "needs_restart": found.needs_restart}
