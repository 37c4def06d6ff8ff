"""Whether JSON conforms to a caller's JSON Schema, as far as can be told at a bounded price.

Source: JSON Schema 2020-12, core and validation. What is not looked at (`pattern`, `format`, `not`, `if`, remote and
dynamic references) never makes a value fail: a conforming value is never refused, a wrong one may pass. Regular
expressions are left out on purpose: a caller's pattern could keep the event loop for minutes.
"""

from __future__ import annotations

import math
from typing import Any, TypeGuard

MAX_STEPS = 20_000
"""Schemas looked at for one value; beyond it the value counts as conforming."""

_TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}


class _TooLong(Exception):
    """The budget of steps is used up."""


def conforms(value: Any, schema: Any) -> bool:
    """Whether `value`, decoded JSON, keeps the rules of `schema` that are looked at here."""
    try:
        return _Check(schema).fits(value, schema)
    except (_TooLong, RecursionError):
        return True


class _Check:
    def __init__(self, root: Any) -> None:
        self._root = root
        self._steps = 0

    def fits(self, value: Any, schema: Any) -> bool:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise _TooLong
        if type(schema) is not dict:
            return schema is not False
        if "$ref" in schema and not self._fits_reference(value, schema["$ref"]):
            return False
        return (
            _has_type(value, schema.get("type"))
            and _is_listed(value, schema)
            and self._fits_combined(value, schema)
            and self._fits_kind(value, schema)
        )

    def _fits_reference(self, value: Any, reference: Any) -> bool:
        if type(reference) is not str or not reference.startswith("#"):
            return True
        found = self._root
        for name in reference[1:].split("/")[1:]:
            name = name.replace("~1", "/").replace("~0", "~")
            if type(found) is not dict or name not in found:
                return True
            found = found[name]
        return self.fits(value, found)

    def _fits_combined(self, value: Any, schema: dict[str, Any]) -> bool:
        every = schema.get("allOf")
        if type(every) is list and not all(self.fits(value, part) for part in every):
            return False
        # Of `oneOf` exactly one should fit; what is not looked at here could tell two apart, so one or more may.
        return all(
            type(some) is not list or not some or any(self.fits(value, part) for part in some)
            for some in (schema.get("anyOf"), schema.get("oneOf"))
        )

    def _fits_kind(self, value: Any, schema: dict[str, Any]) -> bool:
        if type(value) is dict:
            return self._fits_object(value, schema)
        if type(value) is list:
            return self._fits_array(value, schema)
        if type(value) is str:
            return _within(len(value), schema, "minLength", "maxLength")
        if type(value) in (int, float):
            return _fits_number(value, schema)
        return True

    def _fits_object(self, value: dict[str, Any], schema: dict[str, Any]) -> bool:
        required = schema.get("required")
        if type(required) is list and any(type(name) is str and name not in value for name in required):
            return False
        if not _within(len(value), schema, "minProperties", "maxProperties"):
            return False
        properties = schema.get("properties")
        properties = properties if type(properties) is dict else {}
        if any(name in value and not self.fits(value[name], part) for name, part in properties.items()):
            return False
        others = schema.get("additionalProperties", True)
        if others is True or "patternProperties" in schema:
            return True
        return all(name in properties or self.fits(each, others) for name, each in value.items())

    def _fits_array(self, value: list[Any], schema: dict[str, Any]) -> bool:
        if not _within(len(value), schema, "minItems", "maxItems"):
            return False
        first = schema.get("prefixItems")
        first = first if type(first) is list else []
        if not all(self.fits(each, part) for each, part in zip(value, first, strict=False)):
            return False
        items = schema.get("items", True)
        if type(items) is list:  # before 2020-12: what `prefixItems` is now
            return all(self.fits(each, part) for each, part in zip(value, items, strict=False))
        return items is True or all(self.fits(each, items) for each in value[len(first) :])


def _has_type(value: Any, wanted: Any) -> bool:
    if type(wanted) is list:
        return any(_has_type(value, each) for each in wanted)
    if wanted == "number":
        return type(value) in (int, float)
    if wanted == "integer":
        return type(value) is int or (type(value) is float and value.is_integer())
    kind = _TYPES.get(wanted) if type(wanted) is str else None
    return kind is None or type(value) is kind


def _is_listed(value: Any, schema: dict[str, Any]) -> bool:
    if "const" in schema and not _equal(value, schema["const"]):
        return False
    listed = schema.get("enum")
    return type(listed) is not list or any(_equal(value, each) for each in listed)


def _equal(one: Any, other: Any) -> bool:
    """JSON's equality: 1 equals 1.0, and true is no number."""
    if type(one) is bool or type(other) is bool:
        return one is other
    if type(one) is list and type(other) is list:
        return len(one) == len(other) and all(map(_equal, one, other))
    if type(one) is dict and type(other) is dict:
        return one.keys() == other.keys() and all(_equal(one[name], other[name]) for name in one)
    return bool(one == other)


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a decoded value is a JSON number: true is none."""
    return type(value) in (int, float)


def _fits_number(value: float, schema: dict[str, Any]) -> bool:
    if not _within(value, schema, "minimum", "maximum"):
        return False
    over, under, step = (schema.get(name) for name in ("exclusiveMinimum", "exclusiveMaximum", "multipleOf"))
    if (is_number(over) and not value > over) or (is_number(under) and not value < under):
        return False
    if not is_number(step) or step <= 0:
        return True
    if type(step) is int and type(value) is int:
        return value % step == 0
    if abs(value) >= 2**52:
        return True
    share = value / step
    return not math.isfinite(share) or math.isclose(share, round(share), rel_tol=1e-9, abs_tol=1e-9)


def _within(value: float, schema: dict[str, Any], least: str, most: str) -> bool:
    low, high = schema.get(least), schema.get(most)
    return not (is_number(low) and value < low) and not (is_number(high) and value > high)
