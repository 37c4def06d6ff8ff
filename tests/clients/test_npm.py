"""Real clients from npm, unmodified, at models of every dialect: openai, Anthropic's, Google's, and Vercel's AI SDK.

Where node is not installed they are skipped by name; packages are installed once and kept in the cache folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import dialect
from harness.agents import AGENTS
from harness.gateway import TEAM_KEY, Gateway
from harness.models import Model

NODE_SCRIPT = """
import OpenAI from "openai";
import assert from "node:assert/strict";

const client = new OpenAI({baseURL: process.env.GATEWAY + "/v1", apiKey: process.env.GATEWAY_KEY, maxRetries: 0});
const messages = [{role: "user", content: "Say hello"}];

const whole = await client.chat.completions.create({model: "gpt-4o", messages});
assert.equal(whole.choices[0].message.content, "Hello from gpt-4o");
assert.ok(whole._request_id);

let text = "", last;
const stream = await client.chat.completions.create({
  model: "gpt-4o", messages, stream: true, stream_options: {include_usage: true},
});
for await (const chunk of stream) { text += chunk.choices[0]?.delta?.content ?? ""; last = chunk; }
assert.equal(text, "Hello from gpt-4o");
assert.equal(last.usage.completion_tokens, 3);

const runner = client.chat.completions.stream({model: "gpt-4o", messages});
assert.equal(await runner.finalContent(), "Hello from gpt-4o");

const tools = [{type: "function", function: {name: "weather", parameters: {type: "object", properties: {}}}}];
const tooled = await client.chat.completions.create({model: process.env.TOOL_MODEL, messages, tools});
assert.equal(JSON.parse(tooled.choices[0].message.tool_calls[0].function.arguments).city, "Zürich");

const embedded = await client.embeddings.create({model: "embed", input: ["a", "b"]});
assert.deepEqual(Array.from(embedded.data[0].embedding), JSON.parse(process.env.VECTOR));

const {data, response} = await client.chat.completions.create({model: "auto", messages}).withResponse();
assert.ok(response.headers.get("x-routewright-model"));
assert.equal(data.model, response.headers.get("x-routewright-model"));

const names = [];
for await (const model of client.models.list()) names.push(model.id);
assert.ok(names.includes("auto"));

await assert.rejects(client.chat.completions.create({model: "nothing", messages}), OpenAI.NotFoundError);
const stranger = client.withOptions({apiKey: "sk-wrong"});
await assert.rejects(stranger.chat.completions.create({model: "gpt-4o", messages}), OpenAI.AuthenticationError);
await assert.rejects(client.chat.completions.create({model: "gpt-4o", messages: []}), OpenAI.BadRequestError);
console.log("all good");
"""


PACKAGES = ("openai@6", "@anthropic-ai/sdk@1", "ai@6", "@ai-sdk/openai@3", "@ai-sdk/anthropic@3", "@ai-sdk/google@3",
            "@google/genai@2", "zod@4")  # fmt: skip


@pytest.fixture(scope="module")
def node_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where the npm package is installed; kept between runs where the cache folder is."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed: the npm client is not tried")
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        / "routewright-tests"
        / f"node-{hashlib.sha256(repr(PACKAGES).encode()).hexdigest()[:12]}"
    )
    is_whole = all((cache / "node_modules" / name.rpartition("@")[0]).is_dir() for name in PACKAGES)
    folder = cache if is_whole else tmp_path_factory.mktemp("node")
    if folder != cache:
        command = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--silent",
            "--prefix",
            str(folder),
            *PACKAGES,
        ]
        installed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if installed.returncode:
            pytest.skip(f"the npm package could not be installed: {installed.stderr[-300:]}")
        cache.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(folder, cache, dirs_exist_ok=True)
    return folder


ANTHROPIC_SCRIPT = """
import Anthropic from "@anthropic-ai/sdk";
import assert from "node:assert/strict";

const client = new Anthropic({baseURL: process.env.GATEWAY, apiKey: process.env.GATEWAY_KEY, maxRetries: 0});
const asked = {max_tokens: 100, messages: [{role: "user", content: "Say hello"}]};

const whole = await client.messages.create({model: "gpt-4o", ...asked});
assert.equal(whole.content[0].text, "Hello from gpt-4o");
assert.equal(whole.usage.output_tokens, 3);

const streamed = await client.messages.stream({model: "gpt-4o", ...asked}).finalMessage();
assert.equal(streamed.content[0].text, "Hello from gpt-4o");
assert.equal(streamed.stop_reason, "end_turn");

const tools = [{name: "weather", input_schema: {type: "object", properties: {city: {type: "string"}}}}];
const tooled = await client.messages.create({model: process.env.TOOL_MODEL, ...asked, tools});
assert.equal(tooled.content[0].input.city, "Zürich");
assert.equal(tooled.stop_reason, "tool_use");

const counted = await client.messages.countTokens({model: "gpt-4o", messages: asked.messages});
assert.ok(counted.input_tokens > 0);
await assert.rejects(client.messages.create({model: "nothing", ...asked}), Anthropic.NotFoundError);
console.log("all good");
"""

AI_SDK_SCRIPT = """
import {createAnthropic} from "@ai-sdk/anthropic";
import {createOpenAI} from "@ai-sdk/openai";
import {generateText, streamText, embedMany, tool} from "ai";
import {z} from "zod";
import assert from "node:assert/strict";

globalThis.AI_SDK_LOG_WARNINGS = false;
const baseURL = process.env.GATEWAY + "/v1", apiKey = process.env.GATEWAY_KEY;
const openai = createOpenAI({baseURL, apiKey}), anthropic = createAnthropic({baseURL, apiKey});
const models = {chat: openai.chat("gpt-4o"), responses: openai.responses("gpt-4o"), messages: anthropic("gpt-4o")};
for (const [kind, model] of Object.entries(models)) {
  const whole = await generateText({model, prompt: "Say hello", maxRetries: 0});
  assert.equal(whole.text, "Hello from gpt-4o", kind);
  assert.equal(whole.usage.outputTokens, 3, kind);
  let text = "";
  const stream = streamText({model, prompt: "Say hello", maxRetries: 0});
  for await (const piece of stream.textStream) text += piece;
  assert.equal(text, "Hello from gpt-4o", kind);
  assert.equal(await stream.finishReason, "stop", kind);
}
const tools = {weather: tool({description: "now", inputSchema: z.object({city: z.string(), unit: z.string()})})};
const named = process.env.TOOL_MODEL;
for (const model of [openai.chat(named), openai.responses(named), anthropic(named)]) {
  const called = await generateText({model, prompt: "weather?", tools, maxRetries: 0});
  assert.equal(called.toolCalls[0].input.city, "Zürich");
}
const embedded = await embedMany({model: openai.textEmbeddingModel("embed"), values: ["a", "b"]});
assert.deepEqual(embedded.embeddings[0], JSON.parse(process.env.VECTOR));
await assert.rejects(generateText({model: openai.chat("nothing"), prompt: "x", maxRetries: 0}), /not served/);
console.log("all good");
"""


AGENTS_BEGIN = """
import assert from "node:assert/strict";
const models = JSON.parse(process.env.AGENTS), root = process.env.GATEWAY, apiKey = process.env.GATEWAY_KEY;
const asked = "What is the weather in Zürich?", told = "It is 12 °C there.";
const schema = {type: "object", properties: {city: {type: "string"}}, required: ["city"], additionalProperties: false};
function weather({city}) { assert.equal(city, "Zürich"); return "12 °C"; }
"""

OPENAI_AGENT = """
import OpenAI from "openai";
const client = new OpenAI({baseURL: root + "/v1", apiKey, maxRetries: 0});
const messages = [{role: "user", content: asked}];
for (const model of models) {
  const run = {name: "weather", parameters: schema, function: weather, parse: JSON.parse};
  const tools = [{type: "function", function: run}];
  assert.equal(await client.chat.completions.runTools({model, messages, tools}).finalContent(), told, model);
  assert.equal(await client.chat.completions.runTools({model, messages, tools, stream: true}).finalContent(), told);
  const items = [...messages], functions = [{type: "function", name: "weather", parameters: schema, strict: false}];
  let text = "";
  while (!text) {
    const response = await client.responses.create({model, input: items, tools: functions});
    items.push(...response.output);
    const calls = response.output.filter(item => item.type === "function_call");
    if (!calls.length) text = response.output_text;
    for (const call of calls) {
      const output = weather(JSON.parse(call.arguments));
      items.push({type: "function_call_output", call_id: call.call_id, output});
    }
  }
  assert.equal(text, told);
  const streamed = await client.responses.stream({model, input: "Say hello"}).finalResponse();
  assert.equal(streamed.output_text, "Hello from " + model);
}
console.log("all good");
"""

ANTHROPIC_AGENT = """
import Anthropic from "@anthropic-ai/sdk";
import {betaTool} from "@anthropic-ai/sdk/helpers/beta/json-schema";
const client = new Anthropic({baseURL: root, apiKey, maxRetries: 0});
const messages = [{role: "user", content: asked}];
for (const model of models) {
  const tool = betaTool({name: "weather", description: "now", inputSchema: schema, run: weather});
  for (const stream of [false, true]) {
    const runner = client.beta.messages.toolRunner({model, max_tokens: 100, messages, tools: [tool], stream});
    const last = await runner.runUntilDone();
    assert.equal(last.content.at(-1).text, told, model);
  }
  assert.ok((await client.messages.countTokens({model, messages})).input_tokens > 0);
}
console.log("all good");
"""

GOOGLE_AGENT = """
import {GoogleGenAI} from "@google/genai";
const client = new GoogleGenAI({apiKey, httpOptions: {baseUrl: root}});
const config = {tools: [{functionDeclarations: [{name: "weather", parametersJsonSchema: schema}]}]};
for (const model of models) {
  const contents = [{role: "user", parts: [{text: asked}]}];
  const first = await client.models.generateContent({model, contents, config});
  const [call] = first.functionCalls;
  const response = {id: call.id, name: call.name, response: {result: weather(call.args)}};
  contents.push(first.candidates[0].content, {role: "user", parts: [{functionResponse: response}]});
  assert.equal((await client.models.generateContent({model, contents, config})).text, told, model);
  let text = "";
  const stream = await client.models.generateContentStream({model, contents, config});
  for await (const piece of stream) text += piece.text ?? "";
  assert.equal(text, told);
  assert.ok((await client.models.countTokens({model, contents})).totalTokens > 0);
}
console.log("all good");
"""

AI_SDK_AGENT = r"""
import {createAnthropic} from "@ai-sdk/anthropic";
import {createGoogleGenerativeAI} from "@ai-sdk/google";
import {createOpenAI} from "@ai-sdk/openai";
import {generateObject, generateText, stepCountIs, streamText, tool} from "ai";
import {z} from "zod";
globalThis.AI_SDK_LOG_WARNINGS = false;
const openai = createOpenAI({baseURL: root + "/v1", apiKey});
const anthropic = createAnthropic({baseURL: root + "/v1", apiKey});
const google = createGoogleGenerativeAI({baseURL: root + "/v1beta", apiKey});
const place = z.object({city: z.string()});
const tools = {weather: tool({description: "now", inputSchema: place, execute: async given => weather(given)})};
for (const name of models) {
  for (const model of [openai.chat(name), openai.responses(name), anthropic(name), google(name)]) {
    const providerOptions = {openai: {store: false}};  // else it names what it believes to be kept
    const options = {model, tools, prompt: asked, stopWhen: stepCountIs(3), maxRetries: 0, providerOptions};
    const where = `${name} by ${model.provider}`;
    const expected = model.provider.startsWith("google") ? /12 °C/ : /^It is 12 °C there\.$/;  // a JSON object there
    assert.match((await generateText(options)).text, expected, where);
    assert.match(await streamText(options).text, expected, where);
    const {object} = await generateObject({model, schema: place, prompt: "Where?", maxRetries: 0});
    assert.deepEqual(object, {city: "Zürich"}, where);
  }
}
console.log("all good");
"""


def run(source: str, project: Path, gateway: Gateway, **more: str) -> None:
    script = project / "client.mjs"
    script.write_text(source)
    environment = {**os.environ, "GATEWAY": gateway.url, "GATEWAY_KEY": TEAM_KEY, **more}
    command = ["node", str(script)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)
    assert (ended.returncode, ended.stdout.strip()) == (0, "all good"), ended.stderr[-3000:]


@pytest.mark.parametrize(
    "source", [NODE_SCRIPT, ANTHROPIC_SCRIPT, AI_SDK_SCRIPT], ids=["openai", "anthropic", "vercel ai"]
)
def test_npm(source: str, gateway: Gateway, one: Model, node_project: Path) -> None:
    one.first.answers(200, dialect.chat_completion(None, tool_calls=[dialect.TOOL_CALL]))
    run(source, node_project, gateway, TOOL_MODEL=one.name, VECTOR=json.dumps(dialect.vector(0)))


@pytest.mark.parametrize(
    "source",
    [OPENAI_AGENT, ANTHROPIC_AGENT, GOOGLE_AGENT, AI_SDK_AGENT],
    ids=["openai", "anthropic", "google", "vercel ai"],
)
def test_agents_at_every_dialect(source: str, spoken: Gateway, node_project: Path) -> None:
    run(AGENTS_BEGIN + source, node_project, spoken, AGENTS=json.dumps(list(AGENTS)))
