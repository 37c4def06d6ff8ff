"""What a request names of the account behind our credential: files, which have owners, and what has none.

A provider lets whoever has the credential use any of it, and all callers of a gateway have the same one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from routewright.errors import InvalidRequest

FILES = frozenset({"file_id", "file_ids"})
OTHERS = frozenset({"vector_store_ids", "container_id", "tunnel_id", "skill_id"})
_NAMES = FILES | OTHERS
_SAID = frozenset({"parameters", "output_schema", "format", "description", "arguments"})
"""Of tools and calls: the client's own words, where any name may stand."""
MAX_FILES = 100
MAX_ID = 256


def names_in(value: Any, where: str) -> Iterator[tuple[str, str, Any]]:
    """(field, its place, its value) of whatever names something in the account, anywhere inside a decoded value."""
    if type(value) is dict:
        for name, inner in value.items():
            if name in _NAMES and inner is not None:
                yield name, f"{where}.{name}", inner
            elif name not in _SAID and type(inner) in (dict, list):
                yield from names_in(inner, f"{where}.{name}")
    elif type(value) is list:
        for index, inner in enumerate(value):
            if type(inner) in (dict, list):
                yield from names_in(inner, f"{where}[{index}]")


def file_ids(given: Any, where: str) -> tuple[str, ...]:
    """The ids in a field that names one file or several. Raises InvalidRequest."""
    ids = given if type(given) is list else [given]
    if len(ids) > MAX_FILES or any(type(each) is not str or not 0 < len(each) <= MAX_ID for each in ids):
        raise InvalidRequest(f"expected ids of files, at most {MAX_FILES}", param=where)
    return tuple(ids)


def files_in(value: Any, where: str) -> tuple[str, ...]:
    """The files that are named anywhere inside a decoded value. Raises InvalidRequest."""
    found: tuple[str, ...] = ()
    for name, place, inner in names_in(value, where):
        if name in FILES:
            found += file_ids(inner, place)
    return found


def rename_files(value: Any, names: Mapping[str, str]) -> None:
    """Name files by other ids, in place, anywhere inside a decoded value."""
    if type(value) is dict:
        for name, inner in value.items():
            if name == "file_id" and type(inner) is str:
                value[name] = names.get(inner, inner)
            elif name == "file_ids" and type(inner) is list:
                value[name] = [names.get(each, each) for each in inner]
            elif name not in _SAID and type(inner) in (dict, list):
                rename_files(inner, names)
    elif type(value) is list:
        for inner in value:
            if type(inner) in (dict, list):
                rename_files(inner, names)


def reaches(where: str) -> InvalidRequest:
    """The error for what nobody here owns."""
    return InvalidRequest("names what belongs to the provider's account", param=where)
