// Chat through the gateway as any client does; and the test calls of the models' page.
"use strict";

async function* events(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const {value, done} = await reader.read();
    if (done) return;
    held += value;
    const parts = held.split("\n\n");
    held = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6)).join("\n");
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

async function ask(model, messages, onText, more) {
  const started = performance.now();
  const reply = await fetch("/ui/chat", {
    method: "POST",
    headers: {"content-type": "application/json", "x-csrf-token": csrf},
    body: JSON.stringify({model, messages, stream: true, stream_options: {include_usage: true}, ...more}),
  });
  if (!reply.ok) {
    let told = {};
    try { told = await reply.json(); } catch { /* the status says it */ }
    throw new Error(told.error?.message ?? `The server answered ${reply.status}.`);
  }
  const about = {
    model: reply.headers.get("x-routewright-model") ?? model,
    confidence: reply.headers.get("x-routewright-confidence"),
    request: reply.headers.get("x-litellm-call-id") ?? reply.headers.get("x-request-id"),
    first: 0, took: 0, tokens: 0,
  };
  for await (const event of events(reply)) {
    if (event.error) throw new Error(event.error.message);
    const text = event.choices?.[0]?.delta?.content;
    if (text) { about.first ||= performance.now() - started; onText(text); }
    if (event.model) about.answered = event.model;
    if (event.usage) about.tokens = event.usage.total_tokens;
  }
  about.took = performance.now() - started;
  return about;
}

async function costOf(request) {
  for (let tries = 0; tries < 12; tries += 1) {
    await new Promise((done) => setTimeout(done, 400));
    const told = await (await fetch(`/ui/cost.json/${encodeURIComponent(request)}`)).json();
    if (told.is_known) return told;
  }
  return null;
}

function inTime(ms) { return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`; }
function money(told) { return !told ? "cost not known yet" : !told.is_priced ? "no price known" : `$${Number(told.cost_usd.toPrecision(3)).toLocaleString("en", {maximumFractionDigits: 9})}`; }

const talks = [...document.querySelectorAll("[data-talk]")].map((place) => ({place, messages: [], said: place.querySelector(".said"), select: place.querySelector("select")}));

function bubble(talk, kind, text) {
  const made = document.createElement("div");
  made.className = kind;
  made.textContent = text;
  talk.said.append(made);
  talk.said.scrollTop = talk.said.scrollHeight;
  return made;
}

async function speak(talk, text) {
  talk.messages.push({role: "user", content: text});
  bubble(talk, "user", text);
  const answer = bubble(talk, "assistant", "…");
  let whole = "";
  try {
    const about = await ask(talk.select.value, talk.messages, (piece) => { whole += piece; answer.textContent = whole; talk.said.scrollTop = talk.said.scrollHeight; });
    answer.textContent = whole || "(an empty answer)";
    talk.messages.push({role: "assistant", content: whole});
    const meta = bubble(talk, "meta", "");
    const chosen = document.createElement("b");
    chosen.textContent = about.answered ?? about.model;
    const rest = document.createElement("span"), link = document.createElement("a");
    link.href = `/ui/requests/${encodeURIComponent(about.request)}`;
    link.textContent = "the whole story";
    const sure = about.confidence ? `, confidence ${(100 * about.confidence).toFixed(0)} %` : "";
    const timed = ` · first word ${inTime(about.first)}, all ${inTime(about.took)}${sure} · `;
    rest.textContent = `${timed}cost … · `;
    meta.append(chosen, rest, link);
    const cost = await costOf(about.request);
    rest.textContent = `${timed}${money(cost)}${cost ? `, ${cost.tokens} tokens` : ""} · `;
  } catch (error) {
    answer.className = "failed";
    answer.textContent = error.message;
    talk.messages.pop();
  }
}

const chat = document.querySelector("[data-chat]");
chat?.addEventListener("submit", (event) => {
  event.preventDefault();
  const field = document.getElementById("say"), text = field.value.trim();
  if (!text) return;
  field.value = "";
  whileBusy(chat, () => Promise.all(talks.filter((talk) => !talk.place.hidden).map((talk) => speak(talk, text))));
});
document.getElementById("say")?.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); chat.requestSubmit(); }
});
document.getElementById("two")?.addEventListener("change", (event) => { talks[1].place.hidden = !event.target.checked; });
document.getElementById("clear")?.addEventListener("click", () => { for (const talk of talks) { talk.messages = []; talk.said.replaceChildren(); } });

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button[data-test]");
  if (!button) return;
  button.disabled = true;
  say(`Asking ${button.dataset.test} …`);
  try {
    const about = await ask(button.dataset.test, [{role: "user", content: "Answer with the word ok."}], () => {}, {max_tokens: 16});
    say(`${button.dataset.test} answered in ${inTime(about.took)}.`);
  } catch (error) {
    say(`${button.dataset.test}: ${error.message}`);
  } finally {
    button.disabled = false;
  }
});
