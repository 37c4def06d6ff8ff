"""`/config/update`, `/config/list`, `/config/field/*` and `/fallback`: settings that are changed while serving, in
LiteLLM's shapes. Which those are stands in `config.overrides`; who may do it, the store's process looks at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI, Request

from routewright.admin.control import Control, Values, request_of
from routewright.errors import InvalidRequest, MissingField, NotFound, clean_text
from routewright.wire.json import decode_object

SECTIONS = ("general_settings", "litellm_settings", "router_settings")
DONE = {"message": "Config updated successfully"}
_FALLBACKS = {
    "general": "fallbacks", "context_window": "context_window_fallbacks", "content_policy": "content_policy_fallbacks",
}  # fmt: skip
_ROUTER = "router_settings"
Lists = dict[str, list[str]]


def add_config_values(app: FastAPI, control: Control, prefix: str) -> None:
    told: dict[str, Any] = {"tags": ["config"], "include_in_schema": not prefix}

    async def set_values(request: Request, writes: list[tuple[str, str, Any]]) -> Values:
        """The changed values as they are then."""
        front = request_of(request)
        _, changed = await control.config.look(front.caller)
        await control.config.write(front.caller, front.request_id, changed, writes)
        return (await control.config.look(front.caller))[1]

    @app.post(prefix + "/config/update", summary="Change settings while serving; all or none", **told)
    async def config_update(request: Request) -> Any:
        """Sections as in the file, with the settings to change; null: as the file has it. What can't be changed is
        refused by its name, and `/config/list` names what can."""
        writes = []
        for section, values in _body(request).items():
            if not isinstance(values, dict):
                if values in (None, []):
                    continue
                raise InvalidRequest(f"{clean_text(section)}: can't be changed while serving", param="config")
            writes += [(section, name, value) for name, value in values.items()]
        if not writes:
            raise MissingField("expected a section with settings to change")
        await set_values(request, writes)
        return DONE

    @app.get(prefix + "/config/list", summary="Settings that may be changed while serving", **told)
    async def config_list(request: Request, config_type: str = SECTIONS[0]) -> Any:
        """Each one's value, and whether it was changed (`stored_in_db`) or is the file's."""
        of_file, changed = await control.config.look(request_of(request).caller)
        section = _section(config_type)
        found = []
        for name, about in control.config.changeable[section].items():
            is_changed = name in changed.get(section, {})
            value = changed[section][name] if is_changed else of_file.get(section, {}).get(name)
            found.append({
                "field_name": name, "field_type": type(value).__name__ if value is not None else None,
                "field_description": about, "field_value": value,
                "stored_in_db": is_changed if value is not None else None, "field_default_value": None,
                "premium_field": False, "nested_fields": None,
            })  # fmt: skip
        return found

    @app.post(prefix + "/config/field/update", summary="Change one setting while serving", **told)
    async def config_field_update(request: Request) -> Any:
        """`{"field_name", "field_value", "config_type"}`."""
        body = _body(request)
        if body.get("field_value") is None:
            raise MissingField("field_value is required", param="field_value")
        section = _section(body.get("config_type"))
        changed = await set_values(request, [(section, _name(body), body["field_value"])])
        return {"param_name": section, "param_value": changed.get(section, {})}

    @app.get(prefix + "/config/field/info", summary="One setting that may be changed", **told)
    async def config_field_info(request: Request, field_name: str = "", config_type: str = SECTIONS[0]) -> Any:
        of_file, changed = await control.config.look(request_of(request).caller)
        section = _section(config_type)
        name = _name({"field_name": field_name})
        if name not in control.config.changeable[section]:
            raise InvalidRequest(f"{section}.{clean_text(name)} is none of the settings that may be changed",
                                 param="field_name")  # fmt: skip
        both = {**of_file.get(section, {}), **changed.get(section, {})}
        if name not in both:
            raise NotFound(f"{section}.{name} is not set", param="field_name")
        return {"field_name": name, "field_value": both[name], "stored_in_db": name in changed.get(section, {})}

    @app.post(prefix + "/config/field/delete", summary="Have the file decide a setting again", **told)
    async def config_field_delete(request: Request) -> Any:
        """`{"field_name", "config_type"}`."""
        body = _body(request)
        section = _section(body.get("config_type"))
        changed = await set_values(request, [(section, _name(body), None)])
        return {"param_name": section, "param_value": changed.get(section, {})}

    # --- fallbacks ------------------------------------------------------------------------------------------------

    @app.post(prefix + "/fallback", summary="Set the models asked in place of one that fails", **told)
    async def fallback_create(request: Request) -> Any:
        """`{"model", "fallback_models", "fallback_type"}`; the type is general, context_window or content_policy."""
        front, body = request_of(request), _body(request)
        kind = body.get("fallback_type") or "general"
        name, model, others = _kind(kind), _model(body.get("model")), _models(body.get("fallback_models"))
        of_file, changed = await control.config.look(front.caller)
        unknown = [each for each in (model, *others) if not control.catalog.has(each, front.caller)]
        if model in unknown:
            raise NotFound(f'no model is called "{clean_text(model)}"', param="model")
        if unknown:
            raise InvalidRequest(f"no model is called {clean_text(', '.join(unknown))}", param="fallback_models")
        if model in others:
            raise InvalidRequest("a model can't be asked in its own place", param="fallback_models")
        before = _lists(of_file, changed, name)
        after = {**before, model: others}
        await control.config.write(front.caller, front.request_id, changed, [(_ROUTER, name, _listed(after))])
        did = "updated" if model in before else "created"
        return {"model": model, "fallback_models": others, "fallback_type": kind,
                "message": f"Fallback configuration {did} successfully"}  # fmt: skip

    @app.get(prefix + "/fallback/{model:path}", summary="The models asked in place of one that fails", **told)
    async def fallback_get(request: Request, model: str, fallback_type: str = "general") -> Any:
        of_file, changed = await control.config.look(request_of(request).caller)
        model = _model(model)
        found = _all_lists(of_file, changed, _kind(fallback_type)).get(model)
        if not found:
            raise NotFound(f'no {fallback_type} fallbacks are set for "{clean_text(model)}"', param="model")
        return {"model": model, "fallback_models": found, "fallback_type": fallback_type}

    @app.delete(prefix + "/fallback/{model:path}", summary="Ask no other model in place of one", **told)
    async def fallback_delete(request: Request, model: str, fallback_type: str = "general") -> Any:
        front, name, model = request_of(request), _kind(fallback_type), _model(model)
        of_file, changed = await control.config.look(front.caller)
        lists = _lists(of_file, changed, name)
        if model not in lists:
            if model in _all_lists(of_file, changed, name):
                raise InvalidRequest(f"they stand in litellm_settings.{name}; change them there", param="model")
            raise NotFound(f'no {fallback_type} fallbacks are set for "{clean_text(model)}"', param="model")
        del lists[model]
        await control.config.write(front.caller, front.request_id, changed, [(_ROUTER, name, _listed(lists))])
        return {
            "model": model,
            "fallback_type": fallback_type,
            "message": "Fallback configuration deleted successfully",
        }


def _body(request: Request) -> Mapping[str, Any]:
    return decode_object(request_of(request).body)


def _section(value: Any) -> str:
    if value is None:
        return SECTIONS[0]
    if value not in SECTIONS:
        raise InvalidRequest(f"config_type: expected {', '.join(SECTIONS)}", param="config_type")
    return str(value)


def _name(body: Mapping[str, Any]) -> str:
    name = body.get("field_name")
    if not isinstance(name, str) or not name:
        raise MissingField("field_name is required", param="field_name")
    return name


def _kind(value: Any) -> str:
    if not isinstance(value, str) or value not in _FALLBACKS:
        raise InvalidRequest(f"fallback_type: expected {', '.join(_FALLBACKS)}", param="fallback_type")
    return _FALLBACKS[value]


def _model(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise MissingField("model is required", param="model")
    return unquote(value)


def _models(value: Any) -> list[str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) and each for each in value):
        raise InvalidRequest("fallback_models: expected a list of models", param="fallback_models")
    return value


def _lists(of_file: Values, changed: Values, name: str) -> Lists:
    """Of `router_settings` alone: what a change here takes the place of."""
    return _read(changed.get(_ROUTER, {}).get(name, of_file.get(_ROUTER, {}).get(name)))


def _all_lists(of_file: Values, changed: Values, name: str) -> Lists:
    """With those of `litellm_settings`, which hold where `router_settings` says nothing of a model."""
    below = changed.get("litellm_settings", {}).get(name, of_file.get("litellm_settings", {}).get(name))
    return {**_read(below), **_lists(of_file, changed, name)}


def _read(value: Any) -> Lists:
    """`[{model: [others]}]`, or the mapping without its list."""
    entries = value if isinstance(value, list) else [value] if isinstance(value, dict) else []
    return {name: list(others) for entry in entries if isinstance(entry, dict) for name, others in entry.items()}


def _listed(lists: Lists) -> list[Lists]:
    return [{name: others} for name, others in lists.items()]
