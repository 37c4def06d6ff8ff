"""Bounds of size and shape: tokens of a request, and the JSON of an answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from routewright.guardrails.contract import Blocked, Guardrail, Seen, Window
from routewright.guardrails.finders import Scanner
from routewright.guardrails.finding import refuse_others, take
from routewright.wire.schema import conforms

_decode = msgspec.json.Decoder().decode


class MaxTokens(Guardrail):
    """`max_tokens`: `max_input_tokens` of a prompt, by our estimate, and `max_output_tokens` that may be asked for."""

    for_answers = False

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "max_input_tokens", "max_output_tokens")
        super().__init__(name, {})
        self._most_in = take(params, "max_input_tokens", int, None)
        self._most_out = take(params, "max_output_tokens", int, None)
        if self._most_in is None and self._most_out is None:
            raise ValueError("max_input_tokens: neither it nor max_output_tokens is given")

    def look(self, seen: Seen) -> None:
        if self._most_in is not None and seen.prompt_tokens > self._most_in:
            raise Blocked(f"the prompt has some {seen.prompt_tokens} tokens, more than {self._most_in}")
        if self._most_out is not None and seen.max_tokens is not None and seen.max_tokens > self._most_out:
            raise Blocked(f"{seen.max_tokens} tokens are asked for, more than {self._most_out}")


class JsonSchema(Guardrail):
    """`json_schema`: an answer has to be JSON that keeps `schema`, or, without one, the schema that its request asks
    for; answers to requests that ask for no JSON pass."""

    for_requests = False

    def __init__(self, name: str, params: Mapping[str, Any]) -> None:
        refuse_others(params, "schema")
        super().__init__(name, {})
        self._schema = take(params, "schema", dict, None)

    def look(self, seen: Seen) -> None:
        schema = self._schema if self._schema is not None else seen.schema
        if schema is None and not seen.wants_json:
            return
        for text in seen.texts:
            try:
                value = _decode(text)
            except (msgspec.DecodeError, RecursionError):
                raise Blocked("the answer is not JSON") from None
            if schema is not None and not conforms(value, schema):
                raise Blocked("the answer does not keep the JSON schema")

    def follow(self, seen: Seen) -> Window | None:
        """A stream that need not be JSON is let through."""
        is_free = self._schema is None and seen.schema is None and not seen.wants_json
        return Scanner((), lambda finder, found: found) if is_free else None
