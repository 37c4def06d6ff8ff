// What every page does: writes to the server, forms, dialogs, copying, times in words.
"use strict";

const csrf = document.querySelector('meta[name="csrf-token"]')?.content ?? "";

async function post(path, body, headers) {
  const sent = {"x-csrf-token": csrf, ...headers};
  if (body !== undefined) sent["content-type"] = "application/json";
  const reply = await fetch(path, {method: "POST", headers: sent, body: body === undefined ? undefined : JSON.stringify(body)});
  let told = {};
  try { told = await reply.json(); } catch { /* no JSON: the status says it */ }
  // The page leads to the login, or on to the identity provider, and back here.
  if (reply.status === 401 && path !== "/ui/login") { location.reload(); }
  if (!reply.ok) throw new Error(told.error?.message ?? `The server answered ${reply.status}.`);
  return told;
}

function say(text) {
  const toast = document.getElementById("toast");
  if (!toast) return;
  toast.textContent = text;
  toast.classList.add("on");
  clearTimeout(say.timer);
  say.timer = setTimeout(() => toast.classList.remove("on"), 4000);
}

// A field says by data-as what it means; what is left empty is left out, or null where data-clear says so.
function valueOf(field) {
  if (field.type === "checkbox") return field.checked;
  const text = field.value.trim();
  if (text === "") return field.dataset.clear === undefined ? undefined : null;
  switch (field.dataset.as) {
    case "number": return Number(text);
    case "list": return text.split(",").map((each) => each.trim()).filter(Boolean);
    case "per-million": return Number(text) / 1e6;
    default: return text;
  }
}

function bodyOf(form) {
  const body = {};
  for (const field of form.elements) {
    if (!field.name) continue;
    const value = valueOf(field);
    if (value === undefined) continue;
    const path = field.name.split(".");
    let place = body;
    for (const step of path.slice(0, -1)) place = place[step] ??= {};
    place[path.at(-1)] = value;
  }
  return body;
}

function problemOf(form) {
  let problem = form.querySelector(".problem");
  if (!problem) {
    problem = document.createElement("p");
    problem.className = "problem";
    problem.setAttribute("role", "alert");
    form.append(problem);
  }
  return problem;
}

async function whileBusy(form, work) {
  const problem = problemOf(form), buttons = form.querySelectorAll("button");
  problem.hidden = true;
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (error) {
    problem.textContent = error.message;
    problem.hidden = false;
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

function showKey(told) {
  const dialog = document.getElementById("made-key");
  dialog.querySelector("code").textContent = told.key;
  document.querySelector("dialog[open]")?.close();
  dialog.addEventListener("close", () => location.assign(`/ui/keys/${encodeURIComponent(told.token)}`));
  dialog.showModal();
}

function afterwards(form, told) {
  const then = form.dataset.then ?? "reload";
  if (then === "show-key") showKey(told);
  else if (then === "reload") location.reload();
  else location.assign(then);
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.matches("[data-login]")) {
    event.preventDefault();
    whileBusy(form, async () => {
      await post("/ui/login", undefined, {authorization: `Bearer ${form.elements.key.value.trim()}`});
      const next = new URLSearchParams(location.search).get("next") ?? "";
      location.assign(/^\/ui(\/[A-Za-z0-9._~%-]+)*$/.test(next) ? next : "/ui");
    });
  } else if (form.matches("[data-post]")) {
    event.preventDefault();
    whileBusy(form, async () => afterwards(form, await post(form.dataset.post, bodyOf(form))));
  }
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (!button) return;
  if (button.dataset.logout !== undefined) {
    let then;
    try { then = (await post("/ui/logout")).then; } finally { location.assign(then ?? "/ui/login"); }
  } else if (button.dataset.open) {
    document.getElementById(button.dataset.open).showModal();
  } else if (button.dataset.close !== undefined) {
    button.closest("dialog").close();
  } else if (button.dataset.copy) {
    const source = document.querySelector(button.dataset.copy);
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      const range = document.createRange();
      range.selectNodeContents(source);
      getSelection().removeAllRanges();
      getSelection().addRange(range);
      document.execCommand("copy");
    }
    button.textContent = "Copied";
    say("Copied.");
  } else if (button.dataset.act) {
    if (button.dataset.sure && !confirm(button.dataset.sure)) return;
    button.disabled = true;
    try {
      const told = await post(button.dataset.act, JSON.parse(button.dataset.body ?? "{}"));
      afterwards(button, told);
    } catch (error) {
      say(error.message);
    } finally {
      button.disabled = false;
    }
  }
});

function inWords(root) {
  const now = Date.now();
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const seconds = Math.max(0, Math.round((now - Date.parse(time.dateTime)) / 1000));
    time.title ||= time.textContent;
    time.textContent = seconds < 60 ? `${seconds} s ago` : seconds < 3600 ? `${Math.floor(seconds / 60)} min ago`
      : seconds < 86400 ? `${Math.floor(seconds / 3600)} h ago` : `${Math.floor(seconds / 86400)} d ago`;
  }
}

inWords(document);
// On a phone the names of the pages are wider than it is.
document.querySelector("nav [aria-current]")?.scrollIntoView({block: "nearest", inline: "center"});
