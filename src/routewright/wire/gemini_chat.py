"""Gemini's `generateContent` as a client dialect: the same request in OpenAI's form, for providers of other dialects.

Source: Gemini API reference, "Generating content", "Function calling", "Structured outputs", as of 2026-11.
"""

from __future__ import annotations

from typing import Any

from routewright.dialect import Chat
from routewright.errors import InvalidRequest, UnsupportedField
from routewright.wire.json import encode

_CARRIED = frozenset(
    {"model", "contents", "systemInstruction", "generationConfig", "tools", "toolConfig", "safetySettings", "labels"}
)
"""Carried over, or hints about how Gemini should work."""
_SETTINGS = {
    "temperature": "temperature", "topP": "top_p", "topK": "top_k", "maxOutputTokens": "max_tokens",
    "stopSequences": "stop", "seed": "seed", "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}  # fmt: skip
_READ_APART = frozenset(
    {"responseMimeType", "responseSchema", "responseJsonSchema", "thinkingConfig", "candidateCount",
     "responseModalities", "mediaResolution"}
)  # fmt: skip


def as_chat(body: dict[str, Any], *, is_stream: bool, plain: bool, is_dropped: bool) -> Chat:
    """The request as OpenAI's. Raises UnsupportedField for what has no place there, unless that `is_dropped`."""
    made = _AsChat(is_dropped=is_dropped)
    for name in body.keys() - _CARRIED:
        if body[name] is not None:
            made.lost(name)
    chat: Chat = {"model": body["model"], "messages": made.messages(body)}
    if is_stream:
        chat["stream"] = True
    made.add_config(chat, mapping(body.get("generationConfig"), "generationConfig"))
    made.add_tools(chat, body.get("tools"), mapping(body.get("toolConfig"), "toolConfig"))
    return chat


def mapping(value: Any, where: str) -> dict[str, Any]:
    """An object, or an empty one where there is none. Raises InvalidRequest."""
    if value is None:
        return {}
    if type(value) is not dict:
        raise InvalidRequest("expected an object", param=where)
    return value


def parts_of(content: Any, where: str) -> list[dict[str, Any]]:
    """The parts of a content. Raises InvalidRequest."""
    parts = content.get("parts") if type(content) is dict else None
    if parts is None and type(content) is dict:
        return []
    if type(parts) is not list or any(type(part) is not dict for part in parts):
        raise InvalidRequest("expected parts, a list of objects", param=f"{where}.parts")
    return parts


class _AsChat:
    """One request's way into OpenAI's form."""

    def __init__(self, *, is_dropped: bool) -> None:
        self.is_dropped = is_dropped
        self._open_calls: list[tuple[str, str]] = []
        """(id, name) of calls whose results have still to come: Gemini's clients mostly tell them by name."""

    def lost(self, param: str) -> None:
        if not self.is_dropped:
            raise UnsupportedField(f"{param} can't be carried over to this model's provider", param=param)

    def messages(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        made: list[dict[str, Any]] = []
        if body.get("systemInstruction") is not None:
            parts = parts_of(body["systemInstruction"], "systemInstruction")
            text = "\n".join([part["text"] for part in parts if type(part.get("text")) is str])
            made.append({"role": "system", "content": text})
        for index, content in enumerate(body["contents"]):
            where = f"contents[{index}]"
            parts = parts_of(content, where)
            if content.get("role") == "model":
                made.append(self._model(parts, index, where))
            else:
                made += self._user(parts, where)
        return made

    def _model(self, parts: list[dict[str, Any]], turn: int, where: str) -> dict[str, Any]:
        texts: list[str] = []
        calls: list[dict[str, Any]] = []
        for index, part in enumerate(parts):
            if part.get("thought") is True:
                continue
            if type(part.get("text")) is str:
                texts.append(part["text"])
            elif type(part.get("functionCall")) is dict:
                call = part["functionCall"]
                name = call.get("name")
                if type(name) is not str:
                    raise InvalidRequest("a function call needs a name", param=f"{where}.parts[{index}]")
                given = call.get("id")
                call_id = given if type(given) is str and given else f"call_{turn}_{len(calls)}"
                self._open_calls.append((call_id, name))
                function = {"name": name, "arguments": encode(call.get("args") or {}).decode()}
                calls.append({"id": call_id, "type": "function", "function": function})
            elif part.keys() - {"thoughtSignature"}:
                self.lost(f"{where}.parts[{index}]")
        message: dict[str, Any] = {"role": "assistant", "content": "".join(texts) if texts or not calls else None}
        if calls:
            message["tool_calls"] = calls
        return message

    def _user(self, parts: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
        results: list[dict[str, Any]] = []
        said: list[dict[str, Any]] = []
        for index, part in enumerate(parts):
            at = f"{where}.parts[{index}]"
            if type(part.get("functionResponse")) is dict:
                results.append(self._result(part["functionResponse"], at))
            elif type(part.get("text")) is str:
                said.append({"type": "text", "text": part["text"]})
            else:
                media = _media(part)
                if media is None:
                    self.lost(at)
                else:
                    said.append(media)
        if said:
            is_text = len(said) == 1 and said[0]["type"] == "text"
            results.append({"role": "user", "content": said[0]["text"] if is_text else said})
        return results

    def _result(self, response: dict[str, Any], where: str) -> dict[str, Any]:
        given, name = response.get("id"), response.get("name")
        for place, (call_id, called) in enumerate(self._open_calls):
            if call_id == given or (not given and called == name):
                del self._open_calls[place]
                break
        else:
            raise InvalidRequest("answers no function call before it", param=where)
        if response.get("parts"):
            self.lost(f"{where}.functionResponse.parts")
        said = response.get("response")
        only = said.get("result") if type(said) is dict and len(said) == 1 else None
        return {"role": "tool", "tool_call_id": call_id,
                "content": only if type(only) is str else encode(said).decode()}  # fmt: skip

    def add_config(self, chat: Chat, config: dict[str, Any]) -> None:
        for name, value in config.items():
            if value is None:
                continue
            if name in _SETTINGS:
                chat[_SETTINGS[name]] = value
            elif name not in _READ_APART:
                self.lost(f"generationConfig.{name}")
        if config.get("candidateCount") not in (None, 1):
            self.lost("generationConfig.candidateCount")
        if config.get("responseModalities") not in (None, ["TEXT"], ["text"]):
            self.lost("generationConfig.responseModalities")
        schema = config.get("responseJsonSchema") or config.get("responseSchema")
        if type(schema) is dict:
            about = {"name": "answer", "schema": json_schema(schema)}
            chat["response_format"] = {"type": "json_schema", "json_schema": about}
        elif config.get("responseMimeType") == "application/json":
            chat["response_format"] = {"type": "json_object"}
        effort = _effort(mapping(config.get("thinkingConfig"), "generationConfig.thinkingConfig"))
        if effort is not None:
            chat["reasoning_effort"] = effort

    def add_tools(self, chat: Chat, tools: Any, config: dict[str, Any]) -> None:
        if tools is None:
            return
        if type(tools) is not list or any(type(tool) is not dict for tool in tools):
            raise InvalidRequest("tools must be a list of objects", param="tools")
        made: list[dict[str, Any]] = []
        for index, tool in enumerate(tools):
            for name in tool.keys() - {"functionDeclarations"}:
                self.lost(f"tools[{index}].{name}")
            for declared in tool.get("functionDeclarations") or ():
                if type(declared) is not dict or type(declared.get("name")) is not str:
                    raise InvalidRequest("a function needs a name", param=f"tools[{index}].functionDeclarations")
                given = declared.get("parametersJsonSchema") or declared.get("parameters")
                function: dict[str, Any] = {"name": declared["name"]}
                if type(declared.get("description")) is str:
                    function["description"] = declared["description"]
                schema = json_schema(given) if type(given) is dict else {"type": "object"}
                if schema.get("type") == "object" and "properties" not in schema:
                    schema["properties"] = {}  # OpenAI refuses an object without
                function["parameters"] = schema
                made.append({"type": "function", "function": function})
        if not made:
            return
        calling = mapping(config.get("functionCallingConfig"), "toolConfig.functionCallingConfig")
        mode, names = calling.get("mode"), calling.get("allowedFunctionNames")
        if mode == "ANY" and type(names) is list and names:
            made = [tool for tool in made if tool["function"]["name"] in names] or made
        chat["tools"] = made
        if mode == "ANY":
            only = {"type": "function", "function": {"name": made[0]["function"]["name"]}}
            chat["tool_choice"] = only if len(made) == 1 else "required"
        elif mode == "NONE":
            chat["tool_choice"] = "none"


def _media(part: dict[str, Any]) -> dict[str, Any] | None:
    inline, file = part.get("inlineData"), part.get("fileData")
    if type(inline) is dict:
        kind, data = inline.get("mimeType"), inline.get("data")
        if type(kind) is not str or type(data) is not str:
            return None
        if kind.startswith("image/"):
            return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}"}}
        if kind in ("audio/wav", "audio/x-wav", "audio/mp3", "audio/mpeg"):
            audio_format = "wav" if "wav" in kind else "mp3"
            return {"type": "input_audio", "input_audio": {"data": data, "format": audio_format}}
        return {"type": "file", "file": {"filename": "document", "file_data": f"data:{kind};base64,{data}"}}
    uri = file.get("fileUri") if type(file) is dict else None
    kind = file.get("mimeType") if type(file) is dict else None
    if type(uri) is str and uri.startswith("https://") and str(kind).startswith("image/"):
        return {"type": "image_url", "image_url": {"url": uri}}
    return None


def _effort(thinking: dict[str, Any]) -> str | None:
    level, budget = thinking.get("thinkingLevel"), thinking.get("thinkingBudget")
    if type(level) is str and level.lower() in ("minimal", "low", "medium", "high"):
        return level.lower()
    if type(budget) is not int or budget < 0:
        return None
    if budget == 0:
        return "none"
    return "high" if budget >= 10_000 else "medium" if budget >= 5000 else "low"


def json_schema(schema: Any, depth: int = 0) -> Any:
    """Gemini's own schemas are OpenAPI's, with types in capitals; JSON Schema passes as it is."""
    if depth > 60:
        return {}
    if type(schema) is list:
        return [json_schema(item, depth + 1) for item in schema]
    if type(schema) is not dict:
        return schema
    made = {name: json_schema(value, depth + 1) for name, value in schema.items() if name != "propertyOrdering"}
    if type(made.get("type")) is str and made["type"].isupper():
        made["type"] = made["type"].lower()
    if made.pop("nullable", None) is True and type(made.get("type")) is str:
        made["type"] = [made["type"], "null"]
    return made
