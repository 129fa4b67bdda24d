// A store's page: the shard map that lives, and the histograms.

import { brief, byId, colour, get, keys, make, page, thousands, timeText, trouble, watch } from "./page.js";

const CELL = 9;
const map = byId("map");
let shards = { runs: [], shards: 0, problems: {} };
let layout = { columns: 1, per: 1 };

function paint() {
  const width = map.parentElement.clientWidth;
  const ratio = devicePixelRatio || 1;
  const columns = Math.max(1, Math.floor(width / CELL));
  const most = columns * 24;
  const per = Math.max(1, Math.ceil(shards.shards / most));
  const cells = Math.ceil(shards.shards / per);
  const rows = Math.max(1, Math.ceil(cells / columns));
  layout = { columns, per };
  map.width = width * ratio;
  map.height = rows * CELL * ratio;
  map.style.height = `${rows * CELL}px`;
  const pen = map.getContext("2d");
  pen.scale(ratio, ratio);
  const colours = { present: colour("good"), missing: colour("line"), corrupt: colour("bad"), writing: colour("student") };
  const worst = ["present", "missing", "writing", "corrupt"];
  const states = new Array(cells).fill("present");
  for (const [first, stop, state] of shards.runs) {
    if (state === "present") continue;
    for (let cell = Math.floor(first / per); cell < Math.ceil(stop / per); cell += 1) {
      if (worst.indexOf(state) > worst.indexOf(states[cell])) states[cell] = state;
    }
  }
  states.forEach((state, cell) => {
    pen.fillStyle = colours[state];
    pen.fillRect((cell % columns) * CELL, Math.floor(cell / columns) * CELL, CELL - 2, CELL - 2);
  });
}

function stateOf(shard) {
  return shards.runs.find(([first, stop]) => first <= shard && shard < stop)?.[2];
}

function shardAt(event) {
  const cell = Math.floor(event.offsetY / CELL) * layout.columns + Math.floor(event.offsetX / CELL);
  const first = cell * layout.per;
  return first < shards.shards ? first : null;
}

map.addEventListener("pointermove", (event) => {
  const first = shardAt(event);
  const last = first === null ? null : Math.min(first + layout.per, shards.shards) - 1;
  const name = layout.per > 1 ? `shards ${thousands(first ?? 0)} to ${thousands(last ?? 0)}` : `shard ${thousands(first ?? 0)}`;
  byId("map-under").textContent = first === null ? "" : `${name}: ${stateOf(first)}`;
});
map.addEventListener("pointerleave", () => { byId("map-under").textContent = ""; });
map.addEventListener("click", (event) => {
  const shard = shardAt(event);
  if (shard === null || stateOf(shard) === "missing") return;
  location.href = `/s/${page.store}/gallery?at=${shard * shards.shard_samples}`;
});

function tell() {
  const { counts } = shards;
  const parts = [`${thousands(counts.present)} present`];
  for (const state of ["missing", "writing", "corrupt"]) {
    if (counts[state]) parts.push(`${thousands(counts[state])} ${state === "writing" ? "being written" : state}`);
  }
  byId("map-count").textContent = parts.join(", ") + (layout.per > 1 ? `; ${layout.per} to a square` : "");
  map.setAttribute("aria-label", `State of every shard: ${parts.join(", ")}`);
  const list = Object.entries(shards.problems).map(([shard, message]) =>
    make("li", {}, make("b", {}, `Shard ${shard}`), " ", message));
  byId("problems").replaceChildren(...list);
}

let stamp = null;
watch("store", async () => {
  const found = await (await get(`/api/stores/${page.store}/shards`)).json();
  const grown = stamp !== null && stamp !== found.stamp;
  stamp = found.stamp;
  shards = found;
  paint();
  tell();
  byId("state").textContent = found.state;
  byId("state").className = `state ${found.state}`;
  // What else is on this page comes from the server: when the store is sealed, or has its first shard.
  if ((found.state === "sealed") !== page.sealed || (grown && !page.samples && found.samples)) location.reload();
  return found.state === "growing" ? 1.5 : 8;
}, 8);
new ResizeObserver(paint).observe(map.parentElement);
document.addEventListener("theme", paint);

async function histograms() {
  const place = byId("histograms");
  try {
    const found = await (await get(`/api/stores/${page.store}/histograms`)).json();
    trouble("histograms", null);
    const drawn = Object.entries(found.timesteps).map(([t, one]) => histogram(Number(t), one));
    drawn.sort((a, b) => page.timesteps.indexOf(a.t) - page.timesteps.indexOf(b.t));
    const { low, high } = found.timesteps[page.timesteps[page.timesteps.length - 1]] ?? {};
    byId("beyond").textContent = found.beyond >= 1e-3 ? `${brief(100 * found.beyond)} % of clean values beyond [−1, 1], ${brief(low)} to ${brief(high)}` : "";
    byId("beyond").classList.toggle("refused", Math.max(-low, high) > 2);
    place.replaceChildren(...drawn.map(({ figure }) => figure), make("p", { class: "soft" }, `Over ${found.what}.`));
  } catch (error) {
    trouble("histograms", error);
    setTimeout(histograms, 4000);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function histogram(t, { low, high, counts }) {
  const most = Math.max(...counts);
  const bars = counts.map((count, bin) => {
    const height = (40 * count) / most;
    return make("rect", { x: bin * 3, y: 40 - height, width: 2.4, height });
  });
  const svg = make("svg", { viewBox: `0 0 ${counts.length * 3} 40`, preserveAspectRatio: "none", role: "img" }, ...bars);
  const range = `${brief(low)} to ${brief(high)}`;
  svg.setAttribute("aria-label", `Histogram at ${timeText(t)}, values ${range}`);
  const caption = make("figcaption", {}, make("b", {}, timeText(t)), ` ${range}`);
  return { t, figure: make("figure", {}, svg, caption) };
}

byId("check").addEventListener("click", async (event) => {
  const state = byId("check-state");
  if (event.target.dataset.running) {
    delete event.target.dataset.running;
    return;
  }
  event.target.dataset.running = "1";
  event.target.textContent = "Stop checking";
  let bad = 0;
  let shard = 0;
  const present = shards.runs.filter(([, , kind]) => kind !== "missing" && kind !== "writing");
  const total = present.reduce((sum, [first, stop]) => sum + stop - first, 0);
  try {
    for (const [first, stop] of present) {
      for (let each = first; each < stop && event.target.dataset.running; each += 1) {
        const found = await (await get(`/api/stores/${page.store}/check/${each}`)).json();
        shard += 1;
        bad += found.state === "corrupt" ? 1 : 0;
        state.textContent = `${thousands(shard)} of ${thousands(total)} checked, ${bad} damaged`;
      }
    }
    const rest = await (await get(`/api/stores/${page.store}/shards`)).json();
    shards = rest;
    paint();
    tell();
  } catch (error) {
    trouble("check", error);
  }
  delete event.target.dataset.running;
  event.target.textContent = "Check all shards";
});

keys({ g: () => { location.href = `/s/${page.store}/gallery`; } });
histograms();
