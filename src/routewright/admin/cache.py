"""What operators ask of the response cache, under LiteLLM's names; for the master key."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from routewright.admin.control import Control
from routewright.caching.cache import Cache
from routewright.errors import NotFound


class CacheKeys(BaseModel):
    """Which answers are to be forgotten."""

    keys: list[str] = Field(max_length=1000, description="as `x-litellm-cache-key` told them")


def add_cache(app: FastAPI, control: Control, prefix: str) -> None:
    def cache() -> Cache:
        found = control.cache()
        if found is None:
            raise NotFound("no cache is configured")
        return found

    shown = {"tags": ["cache"], "include_in_schema": not prefix}

    @app.get(prefix + "/cache/ping", summary="Is there a cache, and does it answer", **shown)  # type: ignore[arg-type]
    async def ping() -> Any:
        """404 where none is configured. Figures are those of the worker that answers."""
        await cache().ping()
        info = cache().info()
        return {"status": "healthy", "cache_type": info["type"], "ping_response": True, "set_cache_response": "success",
                "cache": info}  # fmt: skip

    @app.get(prefix + "/cache/redis/info", summary="Figures of the cache", **shown)  # type: ignore[arg-type]
    async def redis_info() -> Any:
        """Answers kept, their bytes, hits and misses, of the worker that answers."""
        return {"num_clients": 0, "info": cache().info(), "clients": []}

    @app.post(prefix + "/cache/delete", summary="Forget some answers", **shown)  # type: ignore[arg-type]
    async def delete(body: CacheKeys) -> Any:
        """By their keys. Where several workers keep answers each for itself, the others forget all of theirs."""
        deleted = await cache().delete(body.keys)
        if cache().shared is None:
            control.spread_flush()
        return {"status": "success", "deleted": deleted}

    @app.post(prefix + "/cache/flushall", summary="Forget all answers", **shown)  # type: ignore[arg-type]
    async def flushall() -> Any:
        """In every worker."""
        await cache().flush()
        control.spread_flush()
        return {"status": "success"}
