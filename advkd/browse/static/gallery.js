// The gallery: order, timestep, look, filters and flags, what stands beside, and how all of it is kept in the URL.

import { bars, brushed, counted, errorChart, growthText } from "./chart.js";
import { Player, bound, fittingSize, sized } from "./controls.js";
import { Flags, exports } from "./flags.js";
import { UrlState, byId, json, keys, make, nearest, page, thousands, timeText, trouble, watchStore } from "./page.js";
import { ORDER, linked, listed, natural, ordered, side } from "./order.js";
import { Sheets } from "./sheets.js";
import { Wall, beside, setTime } from "./wall.js";

const clean = page.timesteps[page.timesteps.length - 1];
const way = () => page.looks[url.get("as")] ?? page.looks[""];
// At first the samples fill the window: all of few, else fewer the larger their images are.
const large = Math.max(...page.looks[""].tile);
const wanted = Math.min(Math.max(1, page.samples), large >= 128 ? 12 : large >= 48 ? 40 : large >= 24 ? 90 : 160);
const url = new UrlState({
  ...ORDER, by: page.beside?.refused === null ? "disagreement" : "number", t: String(clean), at: "0", flags: "",
  size: String(fittingSize(byId("wall"), wanted)), bt: String(clean), as: "", most: "0.5",
});
// Of what stands beside, only numbers that both have are shown.
const end = page.beside?.samples ?? Infinity;
let samples = Math.min(page.samples, end);
let order = null;

const sheets = new Sheets(page.store, () => wall.draw());
const wall = new Wall(byId("wall"), {
  sheets,
  ...way(),
  timesteps: page.timesteps,
  href: (number, t, rank) => linked(url, number, natural(url) ? "" : rank, page.store, {
    t: t === clean ? "" : t, bt: natural(url) ? "" : orderTime(), ...(natural(url) ? { show: "", with: "" } : {}),
  }),
  onscroll: (first) => url.set({ at: first }),
});
const walls = beside(wall, url, () => sheets.side);
const player = new Player(page.timesteps, (t) => {
  setTime(walls, shownTime(t));
  url.set({ t });
  parting.draw?.();
});

// A student may predict fewer timesteps than the store has: the nearest is shown, and said.
function timesOf(number) {
  const student = page.students.find((one) => String(one.number) === number);
  return student ? [page.timesteps[0], ...student.timesteps] : page.timesteps;
}

const shownTime = (t) => nearest(timesOf(url.get("show")), t);

function orderTime() {
  const [[by, number], t] = [url.get("by").split(":"), Number(url.get("bt"))];
  if (by !== "disagreement") return nearest(timesOf(number), t);
  return page.beside?.side.includes("~") ? nearest(page.beside.timesteps, shownTime(t)) : shownTime(t);
}

const flags = new Flags(url, () => wall.draw());
wall.flagged = (number) => flags.has(number);
// The sample under the pointer, or else the focused one.
const meant = () => document.querySelector(".tile:hover, .tile:focus")?.dataset.sample;

// What the teacher was told of each sample, asked for in hundreds as they are shown.
const [texts, asked] = [new Map(), new Set()];
function told(number) {
  const first = number - (number % 100);
  if (!asked.has(first)) {
    asked.add(first);
    json(`/api/stores/${page.store}/conditions?samples=${first}-${Math.min(first + 99, samples - 1)}`).then((answer) => {
      answer.texts.forEach((text, k) => texts.set(first + k, text.replace(/^class (\d+ )?/, "")));
      wall.draw();
    }, () => asked.delete(first));
  }
  return texts.get(number);
}
if (page.conditioned) wall.told = { get: told };

// Above the wall: how the values of the order are spread, per class too.
function panel() {
  const values = order?.values ?? [];
  const chosen = url.get("from") ? [Number(url.get("from")), Number(url.get("to"))] : null;
  const { count, number } = wall.source;
  const first = Array.from({ length: Math.min(256, count) }, (_, rank) => number(rank));
  byId("exports").replaceChildren(...(count ? [`export ${count > 256 ? "the first 256" : ""}`, ...exports(first)] : []));
  byId("spread").replaceChildren();
  byId("classes").replaceChildren();
  if (!values.length) return;
  byId("spread").append(brushed(values, chosen, (range) => {
    url.set({ from: range?.[0] ?? "", to: range?.[1] ?? "", at: 0 });
    show(0);
  }));
  const [low, high] = [values[values.length - 1], values[0]];
  const classes = new Map();
  (order.labels ?? []).forEach((label, k) => classes.set(label, [...(classes.get(label) ?? []), values[k]]));
  const most = [...classes].sort(([, a], [, b]) => b.length - a.length).slice(0, 16).sort(([a], [b]) => a - b);
  if (most.length < 2) return;
  const names = [...byId("label").options].map((one) => one.text);
  byId("classes").append(...most.map(([label, theirs]) => {
    const chart = bars(counted(theirs, low, high), low, high, chosen);
    const title = "Show this one alone";
    const pick = make("button", { type: "button", class: "link", title }, chart, `${names[label + 1] ?? label} (${theirs.length})`);
    pick.addEventListener("click", () => { byId("label").value = label; url.set({ label }); resort(); });
    return pick;
  }));
}

// And where students part from their teacher.
async function parting() {
  if (parting.asked) return;
  parting.asked = true;
  const series = [];
  for (const { number, name } of page.students.filter((one) => one.refused === null)) {
    try {
      const curve = await json(`/api/stores/${page.store}/errors?student=${number}`);
      if (curve.errors.length) series.push({ name, ...curve });
    } catch (error) {
      trouble("errors", error);
    }
  }
  if (!series.length) return;
  const words = series.flatMap(({ name, errors }) => [make("b", {}, name), `: ${growthText(errors)}. `]);
  const text = make("p", { class: "soft" }, ...words, `Of ${series[0].what}.`);
  parting.draw = () => byId("errors").replaceChildren(errorChart(series, player.t, (t) => player.choose(t)), text);
  parting.draw();
}

// Puts a rank of the order into the first row.
function show(first) {
  const everything = { count: samples, natural: true, number: (rank) => rank };
  for (const each of walls) {
    each.show(order ? listed(order, url, end) : everything);
    each.layout(first);
  }
  // All samples are the same ones whatever the seed is.
  byId("seed").closest("label").hidden = order?.whole ?? true;
  panel();
}

// Asked for by hand: in the order of the timestep that is shown now, which the link then says.
function resort() {
  url.set({ bt: player.t, from: "", to: "" });
  return reorder();
}

async function reorder(first = 0) {
  const valued = url.get("by") !== "number";
  byId("least").closest("label").hidden = !valued;
  let text = samples ? count() : "No samples yet: they show up as shards are committed.";
  try {
    if (natural(url)) order = null;
    else {
      byId("status").textContent = "Looking through samples …";
      const t = orderTime();
      order = await ordered(page.store, url, t);
      const missing = order.unreadable ? `, ${thousands(order.unreadable)} could not be read` : "";
      const at = valued ? ` at ${t === 0 ? "the clean state" : timeText(t)}` : "";
      text = `${samples < page.samples ? "What both have of" : "Of"} ${order.what}${at}${missing}`;
    }
    trouble("order", null);
    show(first);
  } catch (error) {
    text = "";
    trouble("order", error);
  }
  byId("status").textContent = text;
}

const count = () => `${thousands(samples)} ${page.beside ? "numbers that both have" : "samples"}`;

function look() {
  sheets.side = side(page.store, url);
  sheets.how = way().how;
  Object.assign(wall, way());
  for (const each of walls) {
    each.size = Number(url.get("size"));
    if (each !== walls[1]) each.timesteps = timesOf(url.get("show"));
    each.layout();
  }
}

for (const id of ["by", "seed", "label"]) bound(url, id, resort);
bound(url, "find", resort, "q");
bound(url, "show", () => {
  look();
  setTime(walls, shownTime(player.t));
  if (url.get("by") === "disagreement") resort();
});
for (const id of ["as", "most"]) bound(url, id, look);
bound(url, "with", () => { location.href = new URL(url.url(), location); });
const sizes = sized(url, look);
byId("panel").addEventListener("toggle", () => byId("panel").open && parting());
bound(url, "least", () => order && show(0));
byId("jump").form.addEventListener("submit", (event) => {
  // In the order of numbers a jump scrolls there; in any other it opens the sample.
  const number = Number(byId("jump").value.replace(/\D/g, ""));
  if (order || !(number < samples)) return;
  event.preventDefault();
  wall.go(number);
  url.set({ at: number });
  wall.root.focus();
});

player.swiped(wall.root);
player.put(url.get("t"));
setTime(walls, shownTime(player.t));
const start = Number(url.get("at"));
if (byId("panel").open) parting();
look();
reorder(start);

keys({
  ...player.keys,
  ...wall.keys,
  ...sizes,
  Home: () => wall.go(0),
  End: () => wall.go(wall.source.count - 1),
  x: () => meant() !== undefined && flags.toggle(Number(meant())),
});

watchStore(page.store, (now, changed) => {
  if (changed || now.state === "sealed") for (const each of walls) each.sheets.refresh();
  if (!changed) return;
  samples = Math.min(now.samples, end);
  if (order) return;
  show(wall.first());
  byId("status").textContent = `${count()}${now.state === "growing" ? ", growing" : ""}`;
});
window.advkdWall = wall;
