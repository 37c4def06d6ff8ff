"""What OpenAI's Responses API sends: responses, typed events and errors, made by hand from its reference."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.dialect import CREATED, to_json

SEALED = "gAAAAABo-sealed=="
CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "weather", "status": "completed",
        "arguments": '{"city":"Zürich","unit":"°C"}'}  # fmt: skip
CITATION = {"type": "url_citation", "start_index": 0, "end_index": 3, "url": "https://e.com/a", "title": "A"}


def usage(prompt: int = 9, output: int = 3, cached: int = 0, reasoned: int = 0, written: int = 0) -> dict[str, Any]:
    return {
        "input_tokens": prompt,
        "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written},
        "output_tokens": output,
        "output_tokens_details": {"reasoning_tokens": reasoned},
        "total_tokens": prompt + output,
    }


def text(words: str, *notes: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "output_text", "text": words, "annotations": list(notes), "logprobs": []}


def refusal(words: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": words}


def message(*parts: Mapping[str, Any], item_id: str = "msg_1", status: str = "completed") -> dict[str, Any]:
    return {"type": "message", "id": item_id, "role": "assistant", "status": status, "content": list(parts)}


def reasoning(*told: str, sealed: str | None = SEALED, item_id: str = "rs_1") -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": words} for words in told]
    item = {"type": "reasoning", "id": item_id, "summary": summary, "status": "completed"}
    return item if sealed is None else {**item, "encrypted_content": sealed}


def response(*output: Mapping[str, Any], model: str = "upstream-model", **changed: Any) -> dict[str, Any]:
    """A whole response; a key changed to `...` is left out."""
    body = {
        "id": "resp_upstream1",
        "object": "response",
        "created_at": CREATED,
        "status": "completed",
        "background": False,
        "completed_at": CREATED + 1,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "model": model,
        "output": list(output),
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "service_tier": "default",
        "store": False,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage(),
        "user": None,
        **changed,
    }
    return {name: value for name, value in body.items() if value is not ...}


class Told:
    """Events, numbered as they are made."""

    def __init__(self) -> None:
        self.events: list[bytes] = []
        self.output: list[Any] = []

    def say(self, kind: str, **fields: Any) -> None:
        value = {"type": kind, "sequence_number": len(self.events), **fields}
        self.events.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), to_json(value)))

    def begin(self, *, is_queued: bool = False, **changed: Any) -> None:
        whole = response(status="in_progress", usage=None, completed_at=None, **changed)
        self.say("response.created", response=whole)
        if is_queued:
            self.say("response.queued", response={**whole, "status": "queued"})
        self.say("response.in_progress", response=whole)

    def item(self, item: Mapping[str, Any], begun: Mapping[str, Any], *deltas: tuple[str, Mapping[str, Any]]) -> None:
        """An item from its start to its end; `deltas` are what is said of it."""
        index = len(self.output)
        shown = {**item, **begun, **({"status": "in_progress"} if "status" in item else {})}
        self.say("response.output_item.added", output_index=index, item=shown)
        for kind, fields in deltas:
            where = {"item_id": item["id"], "output_index": index}
            self.say(f"response.{kind}", **where, **fields)
        self.say("response.output_item.done", output_index=index, item=item)
        self.output.append(item)

    def text(self, *pieces: str, item_id: str = "msg_1", notes: Iterable[Mapping[str, Any]] = ()) -> None:
        part = text("".join(pieces), *notes)
        at = {"content_index": 0}
        annotated = [("output_text.annotation.added", {**at, "annotation_index": place, "annotation": note})
                     for place, note in enumerate(notes)]  # fmt: skip
        self.item(
            message(part, item_id=item_id), {"content": []},
            ("content_part.added", {**at, "part": text("")}),
            *[("output_text.delta", {**at, "delta": piece, "logprobs": [], "obfuscation": "x"}) for piece in pieces],
            *annotated,
            ("output_text.done", {**at, "text": "".join(pieces), "logprobs": []}),
            ("content_part.done", {**at, "part": part}),
        )  # fmt: skip

    def refusal(self, *pieces: str) -> None:
        part, at = refusal("".join(pieces)), {"content_index": 0}
        self.item(
            message(part, item_id="msg_9"), {"content": []},
            ("content_part.added", {**at, "part": refusal("")}),
            *[("refusal.delta", {**at, "delta": piece}) for piece in pieces],
            ("refusal.done", {**at, "refusal": "".join(pieces)}),
            ("content_part.done", {**at, "part": part}),
        )  # fmt: skip

    def thinking(self, *parts: Iterable[str], sealed: str | None = SEALED, item_id: str = "rs_1") -> None:
        said = []
        for place, pieces in enumerate(parts):
            at, whole = {"summary_index": place}, "".join(pieces)
            part = {"type": "summary_text", "text": whole}
            said += [
                ("reasoning_summary_part.added", {**at, "part": {**part, "text": ""}}),
                *[("reasoning_summary_text.delta", {**at, "delta": piece}) for piece in pieces],
                ("reasoning_summary_text.done", {**at, "text": whole}),
                ("reasoning_summary_part.done", {**at, "part": part}),
            ]
        self.item(reasoning(*map("".join, parts), sealed=sealed, item_id=item_id), {"summary": []}, *said)

    def call(self, *pieces: str, name: str = "weather", number: int = 1, call_id: str = "") -> None:
        item = {**CALL, "id": f"fc_{number}", "call_id": call_id or f"call_{number}", "name": name,
                "arguments": "".join(pieces)}  # fmt: skip
        self.item(
            item, {"arguments": ""},
            *[("function_call_arguments.delta", {"delta": piece}) for piece in pieces],
            ("function_call_arguments.done", {"name": name, "arguments": "".join(pieces)}),
        )  # fmt: skip

    def end(self, status: str = "completed", **changed: Any) -> list[bytes]:
        self.say(f"response.{status}", response=response(*self.output, status=status, **changed))
        return self.events


def text_events(pieces: Iterable[str]) -> list[bytes]:
    told = Told()
    told.begin()
    told.text(*pieces)
    return told.end(usage=usage(output=len(list(pieces))))


def every_event() -> list[bytes]:
    """A stream with each kind of event that the reference names, but for those that end it otherwise."""
    told = Told()
    told.begin(is_queued=True)
    told.thinking(["Let me", " see … ja"], ["Then"])
    told.thinking(item_id="rs_2")
    told.item(
        {**reasoning(item_id="rs_3", sealed=None), "content": [{"type": "reasoning_text", "text": "Raw"}]},
        {"content": []},
        ("reasoning_text.delta", {"content_index": 0, "delta": "Raw"}),
        ("reasoning_text.done", {"content_index": 0, "text": "Raw"}),
    )
    search = {
        "type": "web_search_call",
        "id": "ws_1",
        "status": "completed",
        "action": {"type": "search", "query": "q"},
    }
    told.item(search, {}, *[(f"web_search_call.{step}", {}) for step in ("in_progress", "searching", "completed")])
    files = {"type": "file_search_call", "id": "fs_1", "status": "completed", "queries": ["q"], "results": None}
    told.item(files, {}, *[(f"file_search_call.{step}", {}) for step in ("in_progress", "searching", "completed")])
    code = {"type": "code_interpreter_call", "id": "ci_1", "status": "completed", "code": "1+1", "outputs": [],
            "container_id": "cntr_1"}  # fmt: skip
    told.item(
        code, {"code": ""}, ("code_interpreter_call.in_progress", {}),
        ("code_interpreter_call_code.delta", {"delta": "1+1"}), ("code_interpreter_call_code.done", {"code": "1+1"}),
        ("code_interpreter_call.interpreting", {}), ("code_interpreter_call.completed", {}),
    )  # fmt: skip
    picture = {"type": "image_generation_call", "id": "ig_1", "status": "completed", "result": "AA=="}
    told.item(
        picture, {"result": None}, ("image_generation_call.in_progress", {}), ("image_generation_call.generating", {}),
        ("image_generation_call.partial_image", {"partial_image_index": 0, "partial_image_b64": "AA=="}),
        ("image_generation_call.completed", {}),
    )  # fmt: skip
    tools = {"type": "mcp_list_tools", "id": "mcpl_1", "server_label": "s", "tools": []}
    told.item(tools, {}, *[(f"mcp_list_tools.{step}", {}) for step in ("in_progress", "completed", "failed")])
    far = {"type": "mcp_call", "id": "mcp_1", "server_label": "s", "name": "n", "arguments": "{}", "output": "o",
           "error": None, "status": "completed"}  # fmt: skip
    told.item(
        far, {}, ("mcp_call.in_progress", {}), ("mcp_call_arguments.delta", {"delta": "{}"}),
        ("mcp_call_arguments.done", {"arguments": "{}"}), ("mcp_call.completed", {}), ("mcp_call.failed", {}),
    )  # fmt: skip
    custom = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_9", "name": "sql", "input": "SELECT 1"}
    told.item(
        custom, {"input": ""}, ("custom_tool_call_input.delta", {"delta": "SELECT 1"}),
        ("custom_tool_call_input.done", {"input": "SELECT 1"}),
    )  # fmt: skip
    shell = {"type": "shell_call", "id": "sh_1", "call_id": "call_8", "status": "completed",
             "environment": None,
             "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}}  # fmt: skip
    at = {"command_index": 0}
    told.item(
        shell, {}, ("shell_call_command.added", {**at, "command": ""}),
        ("shell_call_command.delta", {**at, "delta": "ls"}),
        ("shell_call_command.done", {**at, "command": "ls"}),
        ("shell_call_output_content.delta", {**at, "delta": {"stdout": "a"}}),
        ("shell_call_output_content.done", {**at, "output": []}),
    )  # fmt: skip
    squeezed = {"type": "compaction", "id": "cmp_1", "encrypted_content": "x"}
    told.item(squeezed, {}, ("compaction.compacting", {}))
    for kind, more in (("audio.delta", {"delta": "AA=="}), ("audio.done", {}), ("audio.transcript.done", {}),
                       ("audio.transcript.delta", {"delta": "a"}), ("something.new", {"output_index": 3})):  # fmt: skip
        told.say(f"response.{kind}", **more)
    told.text("Grüezi", " 🐕", notes=[CITATION])
    told.refusal("No,", " not that")
    told.call('{"city":', '"Zürich"}')
    told.call("{}", name="now", number=2)
    return told.end(usage=usage(100, 40, cached=80, reasoned=12, written=10))


def failed(code: str = "server_error", words: str = "It broke") -> bytes:
    told = Told()
    told.say("response.failed", response=response(status="failed", usage=None, error={"code": code, "message": words}))
    return told.events[0]


def error_event(code: str | None = "server_error", words: str = "It broke") -> bytes:
    told = Told()
    told.say("error", code=code, message=words, param=None)
    return told.events[0]
