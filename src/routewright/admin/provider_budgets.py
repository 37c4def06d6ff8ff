"""What was spent at each provider that has a budget."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI

from routewright.admin.control import Control
from routewright.types import NUSD_PER_USD
from routewright.windows import Window


def add_provider_budgets(app: FastAPI, control: Control, prefix: str) -> None:
    @app.get(
        prefix + "/provider/budgets",
        summary="Spend of the providers that have budgets",
        tags=["spend"],
        include_in_schema=not prefix,
    )
    async def provider_budgets() -> Any:
        """LiteLLM's list, as far as calls are in the ledger, which is about a second behind."""
        budgets = control.provider_budgets
        now_ms = int(time.time() * 1000)
        bounds = [Window(budget.budget_duration).bounds(now_ms) for budget in budgets.values()]
        questions = [
            ("provider", name, start_ms, min(end_ms, now_ms + 1))
            for name, (start_ms, end_ms) in zip(budgets, bounds, strict=True)
        ]
        spent = await control.spent(questions) if questions else []
        return {
            "providers": {
                name: {
                    "budget_limit": None if budget.max_budget_nusd is None else budget.max_budget_nusd / NUSD_PER_USD,
                    "time_period": budget.budget_duration,
                    "spend": nusd / NUSD_PER_USD,
                    "budget_reset_at": None if budget.budget_duration is None else _moment(end_ms),
                }
                for (name, budget), nusd, (_, end_ms) in zip(budgets.items(), spent, bounds, strict=True)
            }
        }


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
