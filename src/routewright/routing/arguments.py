"""A constructor's arguments as they are read from a file."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any


def check_arguments(made: Callable[..., Any], arguments: Any, where: str) -> None:
    """Raise ValueError unless each argument is one of the constructor's, and of the type of its default.

    where: the field they were read from, for the message.
    """
    if not isinstance(arguments, dict):
        raise ValueError(f'field "{where}" is no object')
    known = signature(made).parameters
    for name, value in arguments.items():
        if name not in known:
            raise ValueError(f'unknown argument "{name}" in "{where}"')
        default = known[name].default
        right = type(value) is type(default) or (type(default) is float and type(value) is int)
        if not right or (isinstance(value, (int, float)) and not abs(value) < 2**53):
            raise ValueError(f'argument "{name}" in "{where}" must be {type(default).__name__}')
