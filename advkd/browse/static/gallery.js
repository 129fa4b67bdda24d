// The gallery: order, timestep, look, filters and flags, and how they are kept in the URL.

import { bars, brushed, errorChart, growthText } from "./chart.js";
import { Flags, exports } from "./flags.js";
import { Player } from "./player.js";
import { UrlState, byId, get, keys, make, page, thousands, trouble, watch } from "./page.js";
import { ORDER, linked, listed, natural, ordered } from "./order.js";
import { Sheets } from "./sheets.js";
import { Wall } from "./wall.js";

const SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const clean = page.timesteps[page.timesteps.length - 1];
const way = (how) => page.looks[how] ?? { tile: page.tile, chunk: page.chunk };
// A size at which the samples fill the window: all of few, else fewer the larger their images are.
const START = (() => {
  const side = Math.max(...way(page.ways).tile);
  const wanted = Math.min(Math.max(1, page.samples), side >= 128 ? 12 : side >= 48 ? 40 : side >= 24 ? 90 : 160);
  const [width, height] = [byId("wall").clientWidth, byId("wall").clientHeight];
  const holds = (size) => Math.floor(width / (size + 3)) * Math.floor(height / (size + 3)) >= wanted;
  return Math.max(64, [...SIZES].reverse().find(holds) ?? 64);
})();
const url = new UrlState({
  ...ORDER, t: String(clean), at: "0", size: String(START), smooth: "", contrast: "", show: "", bt: String(clean), as: page.ways, flags: "",
});
let samples = page.samples;
let order = null;

const sheets = new Sheets(side(), () => wall.draw());
const wall = new Wall(byId("wall"), {
  sheets,
  ...way(url.get("as")),
  timesteps: page.timesteps,
  href: (number, t, rank) => linked(url, number, natural(url) ? "" : rank, page.store, {
    t: t === clean ? "" : t, bt: natural(url) ? "" : orderTime(),
  }),
  onscroll: (first) => url.set({ at: first }),
});
const player = new Player(page.timesteps, (t) => {
  wall.setTime(shownTime(t));
  url.set({ t });
  parting.draw?.();
});

function side() {
  const show = url.get("show");
  return show === "" ? page.store : `${page.store}~${show}`;
}

function student() {
  return page.students.find((one) => String(one.number) === url.get("show"));
}

// A student may predict fewer timesteps than the store has: the nearest is shown, and said.
function shownTime(t) {
  const one = student();
  if (!one || t === page.timesteps[0]) return t;
  return one.timesteps.reduce((best, each) => (Math.abs(each - t) < Math.abs(best - t) ? each : best));
}

function orderTime() {
  return url.get("by").startsWith("distance") ? shownTime(Number(url.get("bt"))) : Number(url.get("bt"));
}

const flags = new Flags(url, () => wall.draw());
wall.flagged = (number) => flags.has(number);
// The sample under the pointer, or else the focused one.
const meant = () => document.querySelector(".tile:hover, .tile:focus")?.dataset.sample;

// What the teacher was told of each sample, asked for in hundreds as they are shown.
if (page.conditioned) {
  const [texts, asked] = [new Map(), new Set()];
  wall.told = { get: (number) => {
    const first = number - (number % 100);
    if (!asked.has(first)) {
      asked.add(first);
      get(`/api/stores/${page.store}/conditions?samples=${first}-${Math.min(first + 99, samples - 1)}`).then((answer) => answer.json())
        .then(({ texts: told }) => { told.forEach((text, k) => texts.set(first + k, text.replace(/^class \d+ /, ""))); wall.draw(); }, () => asked.delete(first));
    }
    return texts.get(number);
  } };
}

// Above the wall: how the values of the order are spread, per class too, and where students part from the teacher.
function panel() {
  const values = order?.values ?? [];
  const chosen = url.get("from") ? [Number(url.get("from")), Number(url.get("to"))] : null;
  byId("spread").replaceChildren();
  byId("classes").replaceChildren();
  byId("exports").replaceChildren(...(wall.source.count ? [`export ${wall.source.count > 256 ? "the first 256" : ""}`, ...exports(Array.from({ length: Math.min(256, wall.source.count) }, (_, rank) => wall.source.number(rank)))] : []));
  if (!values.length) return;
  byId("spread").append(brushed(values, chosen, (range) => {
    url.set({ from: range?.[0] ?? "", to: range?.[1] ?? "", at: 0 });
    wall.show(listed(order, least(), url));
    wall.go(0);
    panel();
  }));
  const [low, high] = [values[values.length - 1], values[0]];
  const classes = new Map();
  (order.labels ?? []).forEach((label, k) => classes.set(label, [...(classes.get(label) ?? []), values[k]]));
  const most = [...classes].sort(([, a], [, b]) => b.length - a.length).slice(0, 16).sort(([a], [b]) => a - b);
  if (most.length < 2) return;
  const names = [...byId("label").options].map((one) => one.text);
  byId("classes").append(...most.map(([label, theirs]) => {
    const pick = make("button", { type: "button", class: "link", title: "Show this one alone" }, bars(theirs, low, high, chosen, 30), `${names[label + 1] ?? label} (${theirs.length})`);
    pick.addEventListener("click", () => { byId("label").value = label; url.set({ label }); resort(); });
    return pick;
  }));
}

async function parting() {
  if (parting.asked) return;
  parting.asked = true;
  const students = page.students.filter((one) => one.refused === null);
  const series = [];
  for (const { number, name } of students) {
    try {
      const curve = await (await get(`/api/stores/${page.store}/errors?student=${number}`)).json();
      if (curve.errors.length) series.push({ name, ...curve });
    } catch (error) {
      trouble("errors", error);
    }
  }
  if (!series.length) return;
  const draw = () => byId("errors").replaceChildren(
    errorChart(series, player.t, (t) => { player.stop(); player.put(t); player.tell(); }),
    make("p", { class: "soft" }, ...series.flatMap(({ name, errors }) => [make("b", {}, name), `: ${growthText(errors)}. `]), `Of ${series[0].what}.`),
  );
  parting.draw = draw;
  draw();
}

function everything() {
  return { count: samples, natural: true, number: (rank) => rank };
}

const least = () => url.get("least") === "1";

function status(text) {
  byId("status").textContent = text;
}

// Asked for by hand: in the order of the timestep that is shown now, which the link then says.
function resort() {
  url.set({ bt: player.t, from: "", to: "" });
  return reorder();
}

async function reorder(first = 0) {
  const [by] = url.get("by").split(":");
  byId("seed").closest("label").hidden = natural(url);
  byId("least").hidden = by === "number" || by === "random";
  if (natural(url)) {
    order = null;
    wall.show(everything());
    status(samples ? `${thousands(samples)} samples` : "No samples yet: they show up as shards are committed.");
    panel();
    return wall.layout(first);
  }
  status("Looking through samples …");
  const t = orderTime();
  try {
    const found = await ordered(page.store, url, t);
    trouble("order", null);
    order = found;
    wall.show(listed(found, least(), url));
    const missing = found.unreadable ? `, ${thousands(found.unreadable)} could not be read` : "";
    const at = by === "random" ? "" : ` at ${t === 0 ? "the clean state" : `t = ${t}`}`;
    status(`${by === "random" ? "" : "Of "}${found.what}${by === "number" ? "" : at}${missing}`);
    panel();
    return wall.layout(first);
  } catch (error) {
    status("");
    return trouble("order", error);
  }
}

function look() {
  wall.size = Number(url.get("size"));
  wall.smooth = url.get("smooth") === "1";
  sheets.contrast = url.get("contrast") === "1" ? "auto" : "fixed";
  sheets.side = side();
  sheets.how = page.looks[url.get("as")] ? url.get("as") : "";
  Object.assign(wall, way(url.get("as")), { texts: undefined });
  wall.layout();
}

function resize(by) {
  const now = SIZES.findIndex((size) => size >= Number(url.get("size")));
  url.set({ size: SIZES[Math.max(0, Math.min(SIZES.length - 1, now + by))] });
  look();
}

function bind(id, event, change) {
  byId(id)?.addEventListener(event, (happened) => change(happened.target));
}

bind("by", "change", (field) => { url.set({ by: field.value }); resort(); });
bind("seed", "change", (field) => { url.set({ seed: field.value.replace(/\D/g, "") || "0" }); resort(); });
bind("label", "change", (field) => { url.set({ label: field.value }); resort(); });
bind("least", "click", (button) => {
  url.set({ least: url.get("least") === "1" ? "" : "1" });
  direction(button);
  if (order) wall.show(listed(order, least(), url));
});
bind("show", "change", (field) => {
  url.set({ show: field.value });
  look();
  wall.setTime(shownTime(player.t));
});
bind("find", "change", (field) => { url.set({ q: field.value.trim() }); resort(); });
bind("as", "change", (field) => { url.set({ as: field.value }); look(); });
byId("panel").addEventListener("toggle", () => byId("panel").open && parting());
bind("smooth", "change", (box) => { url.set({ smooth: box.checked ? "1" : "" }); look(); });
bind("contrast", "change", (box) => { url.set({ contrast: box.checked ? "1" : "" }); look(); });
bind("smaller", "click", () => resize(-1));
bind("larger", "click", () => resize(1));
byId("jump").form.addEventListener("submit", (event) => {
  // In the order of numbers a jump scrolls there; in any other it opens the sample.
  const wanted = Number(byId("jump").value.replace(/\D/g, ""));
  if (order || !(wanted < samples)) return;
  event.preventDefault();
  wall.go(wanted);
  url.set({ at: wanted });
  wall.root.focus();
});

function direction(button) {
  button.setAttribute("aria-pressed", least());
  button.textContent = least() ? "↑" : "↓";
}

byId("by").value = url.get("by");
byId("seed").value = url.get("seed");
if (byId("label")) byId("label").value = url.get("label");
if (byId("find")) byId("find").value = url.get("q");
if (byId("as")) byId("as").value = url.get("as");
if (byId("show")) byId("show").value = url.get("show");
byId("smooth").checked = url.get("smooth") === "1";
byId("contrast").checked = url.get("contrast") === "1";
direction(byId("least"));
player.swiped(wall.root);
player.put(url.get("t"));
wall.t = shownTime(player.t);
const start = Number(url.get("at"));
if (byId("panel").open) parting();
look();
reorder(start);

keys({
  ArrowLeft: () => player.step(-1),
  ArrowRight: () => player.step(1),
  ArrowUp: () => wall.root.scrollBy({ top: -wall.rowHeight }),
  ArrowDown: () => wall.root.scrollBy({ top: wall.rowHeight }),
  PageUp: () => wall.root.scrollBy({ top: -wall.root.clientHeight * 0.9 }),
  PageDown: () => wall.root.scrollBy({ top: wall.root.clientHeight * 0.9 }),
  Home: () => wall.go(0),
  End: () => wall.go(wall.source.count - 1),
  " ": () => player.toggle(),
  x: () => meant() !== undefined && flags.toggle(Number(meant())),
  "+": () => resize(1),
  "=": () => resize(1),
  "-": () => resize(-1),
  r: () => {
    byId("by").value = "random";
    byId("seed").value = Number(url.get("by") === "random" ? url.get("seed") : -1) + 1;
    url.set({ by: "random", seed: byId("seed").value });
    reorder();
  },
});

let stamp = null;
watch("store", async () => {
  const found = await (await get(`/api/stores/${page.store}/shards`)).json();
  if (stamp !== null && stamp !== found.stamp) {
    samples = found.samples;
    sheets.refresh();
    if (!order) {
      const first = wall.first();
      wall.show(everything());
      wall.layout(first);
      status(`${thousands(samples)} samples${found.state === "growing" ? ", growing" : ""}`);
    }
  }
  stamp = found.stamp;
  return found.state === "growing" ? 2 : 8;
}, 8);
window.advkdWall = wall;
