// A store's page: the shard map that lives, and how values are spread.

import { bars, spreadChart } from "./chart.js";
import { brief, byId, colour, drawn, fitted, json, keys, make, page, thousands, timeText, trouble, watchShards } from "./page.js";

const CELL = 9;
const map = byId("map");
// From the least to the worst, and their colours.
const STATES = { present: "good", missing: "line", writing: "student", corrupt: "bad" };
const ORDER = Object.keys(STATES);
let shards = { runs: [], apart: {}, shards: 0, problems: {} };
let layout = { columns: 1, per: 1 };

function paint() {
  const width = map.parentElement.clientWidth;
  const columns = Math.max(1, Math.floor(width / CELL));
  const per = Math.max(1, Math.ceil(shards.shards / (columns * 24)));
  const states = new Array(Math.ceil(shards.shards / per)).fill("present");
  const worsen = (cell, state) => { if (ORDER.indexOf(state) > ORDER.indexOf(states[cell])) states[cell] = state; };
  for (const [first, stop, state] of shards.runs) {
    if (state === "present") continue;
    for (let cell = Math.floor(first / per); cell < Math.ceil(stop / per); cell += 1) worsen(cell, state);
  }
  for (const [shard, state] of Object.entries(shards.apart)) {
    if (per === 1) states[shard] = state;
    else worsen(Math.floor(shard / per), state);
  }
  layout = { columns, per };
  const pen = fitted(map, width, CELL * Math.max(1, Math.ceil(states.length / columns)));
  states.forEach((state, cell) => {
    pen.fillStyle = colour(STATES[state]);
    pen.fillRect((cell % columns) * CELL, Math.floor(cell / columns) * CELL, CELL - 2, CELL - 2);
  });
}

function stateOf(shard) {
  return shards.apart[shard] ?? shards.runs.find(([first, stop]) => first <= shard && shard < stop)?.[2];
}

function shardAt(event) {
  const cell = Math.floor(event.offsetY / CELL) * layout.columns + Math.floor(event.offsetX / CELL);
  const first = cell * layout.per;
  return first < shards.shards ? first : null;
}

map.addEventListener("pointermove", (event) => {
  const first = shardAt(event);
  const last = Math.min(first + layout.per, shards.shards) - 1;
  const name = layout.per > 1 ? `shards ${thousands(first ?? 0)} to ${thousands(last)}` : `shard ${thousands(first ?? 0)}`;
  byId("map-under").textContent = first === null ? "" : `${name}: ${stateOf(first)}`;
});
map.addEventListener("pointerleave", () => { byId("map-under").textContent = ""; });
map.addEventListener("click", (event) => {
  const shard = shardAt(event);
  if (shard === null || stateOf(shard) === "missing") return;
  location.href = `/s/${page.store}/gallery?at=${shard * shards.shard_samples}`;
});

function tell() {
  const parts = ORDER.filter((state) => state === "present" || shards.counts[state])
    .map((state) => `${thousands(shards.counts[state])} ${state === "writing" ? "being written" : state}`);
  byId("map-count").textContent = parts.join(", ") + (layout.per > 1 ? `; ${layout.per} to a square` : "");
  map.setAttribute("aria-label", `State of every shard: ${parts.join(", ")}`);
  const problems = Object.entries(shards.problems);
  byId("problems").replaceChildren(...problems.map(([shard, told]) => make("li", {}, make("b", {}, `Shard ${shard}`), " ", told)));
}

async function histograms() {
  const place = byId("histograms");
  try {
    const spread = await json(`/api/stores/${page.store}/histograms`);
    trouble("histograms", null);
    const figures = page.timesteps.filter((t) => spread.timesteps[t]).map((t) => histogram(t, spread.timesteps[t]));
    place.replaceChildren(...figures, make("p", { class: "soft" }, `Over ${spread.what}.`));
    if (spread.beyond < 1e-3) return;
    const { low, high } = spread.timesteps[page.timesteps[page.timesteps.length - 1]];
    byId("beyond").textContent = `${brief(100 * spread.beyond)} % of clean values beyond [−1, 1], ${brief(low)} to ${brief(high)}`;
    byId("beyond").classList.toggle("refused", Math.max(-low, high) > 2);
  } catch (error) {
    trouble("histograms", error);
    setTimeout(histograms, 4000);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function histogram(t, { low, high, counts }) {
  const [svg, range] = [bars(counts, low, high), `${brief(low)} to ${brief(high)}`];
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histogram at ${timeText(t)}, values ${range}`);
  return make("figure", {}, svg, make("figcaption", {}, make("b", {}, timeText(t)), ` ${range}`));
}

watchShards(page.store, (now, changed) => {
  shards = now;
  paint();
  tell();
  byId("state").textContent = now.state;
  byId("state").className = `state ${now.state}`;
  // What else is on this page comes from the server: when the store is sealed, or has its first shard.
  if ((now.state === "sealed") !== page.sealed || (changed && !page.samples && now.samples)) location.reload();
});
drawn(map.parentElement, paint);
keys({ g: () => { location.href = `/s/${page.store}/gallery`; } });
if (page.spread.length) byId("spread").append(spreadChart(page.spread));
histograms();
