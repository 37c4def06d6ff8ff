// Keeps the overview fresh: the server sends its middle again every few seconds, made by the page's own template.
"use strict";

const state = document.getElementById("live-state");
const place = document.getElementById("live");
const source = new EventSource(`/ui/live?span=${encodeURIComponent(state.dataset.span)}`);

function show(text, kind) {
  state.textContent = text;
  state.className = `live ${kind}`;
}

source.addEventListener("message", (event) => {
  show("live", "on");
  const selection = getSelection();
  // Neither what is being read with the keyboard nor what is being copied is taken away.
  if (place.contains(document.activeElement) || (!selection.isCollapsed && place.contains(selection.anchorNode))) return;
  const wasOpen = place.querySelector("details")?.open ?? false;
  place.innerHTML = JSON.parse(event.data).html;
  if (wasOpen) place.querySelector("details").open = true;
  inWords(place);
});
source.addEventListener("trouble", (event) => show(JSON.parse(event.data).message, "off"));
source.addEventListener("over", () => { source.close(); location.reload(); });
source.addEventListener("error", () => show("connecting again", "off"));
addEventListener("pagehide", () => source.close());
