"""Which guardrails there are, and one of them on a text; under LiteLLM's names."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from routewright.admin.control import Control, request_of
from routewright.errors import NotFound
from routewright.guardrails.contract import Seen

MAX_TEXT_CHARS = 1_000_000


class Text(BaseModel):
    """What is to be looked at, and by which guardrail."""

    guardrail_name: str = Field(max_length=256)
    text: str = Field(max_length=MAX_TEXT_CHARS)
    language: str | None = None
    entities: list[str] | None = None


def add_guardrails(app: FastAPI, control: Control, prefix: str) -> None:
    for version in ("", "/v2"):

        @app.get(
            f"{prefix}{version}/guardrails/list",
            summary="The guardrails that are configured",
            tags=["guardrails"],
            include_in_schema=not prefix,
        )
        async def list_guardrails() -> Any:
            """Their names, kinds and modes; no parameter, which may hold addresses and words."""
            rails = control.rails()
            return {
                "guardrails": [
                    {
                        "guardrail_name": rail.name,
                        "litellm_params": {"mode": sorted(rail.modes), "default_on": rail.is_default_on},
                        "guardrail_info": None,
                    }
                    for rail in (() if rails is None else rails.rails)
                ]
            }

    @app.post(
        prefix + "/guardrails/apply_guardrail",
        summary="One guardrail on a text",
        tags=["guardrails"],
        include_in_schema=not prefix,
    )
    async def apply_guardrail(body: Text, request: Request) -> Any:
        """The text as the guardrail lets it pass; 400 `guardrail_blocked` where it does not."""
        rails = control.rails()
        rail = None if rails is None else rails.get(body.guardrail_name)
        if rail is None:
            raise NotFound("no guardrail has this name")
        caller = request_of(request).caller
        seen = Seen([body.text], not rail.guardrail.for_requests, "apply_guardrail", "", caller.alias, caller.team_id)
        await rail.look(seen)
        return {"response_text": seen.texts[0]}
