// The list of stores, as it changes.

import { UrlState, byId, get, keys, thousands, watch } from "./page.js";

const known = () => [...document.querySelectorAll("[data-store]")];
let first = true;

watch("stores", async () => {
  const { stores } = await (await get("/api/stores")).json();
  const names = stores.filter((one) => one.name).map((one) => one.name).join(" ");
  const shown = known().map((card) => card.dataset.store).join(" ");
  if (names !== shown && !first) location.reload();
  first = false;
  for (const one of stores) {
    const card = known().find((each) => each.dataset.store === one.name);
    if (!card) continue;
    const state = card.querySelector(".state");
    const sealedNow = one.state !== state.textContent;
    card.querySelector(".samples").textContent = thousands(one.samples);
    state.textContent = one.state;
    state.className = `state ${one.state}`;
    if (sealedNow || (one.samples > 0 && card.dataset.samples === "0")) location.reload();
  }
  byId("count").textContent = stores.length;
  return stores.some((one) => one.state === "growing") || stores.length === 0 ? 3 : 10;
}, 10);

// All words of the filter stand in a card; the link says them.
const url = new UrlState({ filter: "" });
function filter() {
  const wanted = url.get("filter").toLowerCase().split(/\s+/);
  for (const card of document.querySelectorAll(".card")) {
    const text = card.textContent.replace(/\s+/g, " ").toLowerCase();
    card.hidden = !wanted.every((word) => text.includes(word));
  }
}
byId("filter")?.addEventListener("input", ({ target }) => { url.set({ filter: target.value }); filter(); });
if (byId("filter")) byId("filter").value = url.get("filter");
filter();

function move(by) {
  const links = [...document.querySelectorAll(".card:not([hidden]) .card-link")];
  const now = links.indexOf(document.activeElement);
  links[Math.max(0, Math.min(links.length - 1, now + by))]?.focus();
}

keys({ ArrowDown: () => move(1), ArrowUp: () => move(-1) });
