// Try a prompt: the server tells once what each position of the dial would choose, the slider only redraws.
"use strict";

const tryForm = document.querySelector("[data-try]");
const tried = document.getElementById("tried");
const dial = document.getElementById("dial");
const svgNames = "http://www.w3.org/2000/svg";
let dials = [];

function part(tag, attributes, text) {
  const made = document.createElementNS(svgNames, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.append(Object.assign(document.createElementNS(svgNames, "title"), {textContent: text}));
  return made;
}

function cell(label, text, kind) {
  const made = document.createElement("td");
  made.dataset.label = label;
  made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

function dollars(value) {
  if (value === null || value === undefined) return "–";
  return value === 0 ? "$0" : `$${Number(value.toPrecision(3)).toLocaleString("en", {maximumFractionDigits: 9})}`;
}

function candidates(found) {
  return [{model: found.selected_model, score: found.score, cost_usd: found.cost_usd}, ...found.alternatives];
}

function redraw() {
  const at = Number(dial.value), found = dials[Math.round(at * (dials.length - 1))];
  tried.querySelector(".dial-value").textContent = at.toFixed(2);
  tried.querySelector(".verdict").textContent = `${found.reason}.`;
  const rows = candidates(found).sort((a, b) => a.model.localeCompare(b.model));
  const colours = new Map(rows.map((row, place) => [row.model, `c${place % 8}`]));
  const body = tried.querySelector("tbody");
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr"), name = document.createElement("th"), bar = document.createElement("td");
    name.scope = "row";
    bar.className = "full";
    const dot = document.createElement("i");
    dot.className = `dot ${colours.get(row.model)}`;
    name.append(dot, row.model);
    if (row.model === found.selected_model) {
      name.append(" ", Object.assign(document.createElement("span"), {className: "tag", textContent: "chosen"}));
    }
    const svg = part("svg", {class: "meter wide-meter", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true"});
    svg.append(part("rect", {class: "track", width: 100, height: 8}), part("rect", {class: colours.get(row.model), width: (100 * row.score).toFixed(1), height: 8}));
    bar.append(svg);
    line.append(name, bar, cell("Score", row.score.toFixed(3), "n"), cell("Expected cost", dollars(row.cost_usd), "n"),
      cell("Tokens out", String(found.output_tokens[row.model] ?? "–"), "n"), cell("Stands for it", found.profiles[row.model] ?? "–"));
    return line;
  }));
  const strip = tried.querySelector(".strip-svg");
  const wide = 100 / dials.length;
  strip.replaceChildren(...dials.map((each, place) => part("rect", {class: colours.get(each.selected_model), x: (place * wide).toFixed(2), width: (wide + 0.1).toFixed(2), height: 8}, each.selected_model)));
  const near = found.neighbours?.ids?.length ? ` Nearest training prompts: ${found.neighbours.ids.slice(0, 5).join(", ")}.` : "";
  tried.querySelector(".facts-line").textContent =
    `Confidence ${(100 * found.confidence).toFixed(0)} %. Margin ${found.margin.toFixed(4)}. Decided in ${found.decision_ms.toFixed(2)} ms by ${found.strategy}.${near}`;
}

tryForm?.addEventListener("submit", (event) => {
  event.preventDefault();
  whileBusy(tryForm, async () => {
    const told = await post("/ui/router/try", {query: document.getElementById("prompt").value, route: tryForm.dataset.route});
    dials = told.dials;
    tried.hidden = false;
    redraw();
  });
});
dial?.addEventListener("input", redraw);
