// The gallery: order, timestep, look, and how they are kept in the URL.

import { Player } from "./player.js";
import { UrlState, byId, get, keys, page, thousands, trouble, watch } from "./page.js";
import { ORDER, linked, listed, natural, ordered } from "./order.js";
import { Sheets } from "./sheets.js";
import { Wall } from "./wall.js";

const SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256];
const clean = page.timesteps[page.timesteps.length - 1];
// Large images and latents begin at a size that shows what they are.
const START = [128, 48].map((least, k) => Math.max(...page.tile) >= least && [192, 128][k]).find(Boolean) || 64;
const url = new UrlState({
  ...ORDER, t: String(clean), at: "0", size: String(START), smooth: "", contrast: "", show: "", bt: String(clean),
});
let samples = page.samples;
let order = null;

const sheets = new Sheets(side(), () => wall.draw());
const wall = new Wall(byId("wall"), {
  sheets,
  tile: page.tile,
  chunk: page.chunk,
  timesteps: page.timesteps,
  href: (number, t, rank) => linked(url, number, natural(url) ? "" : rank, page.store, {
    t: t === clean ? "" : t, bt: natural(url) ? "" : orderTime(),
  }),
  onscroll: (first) => url.set({ at: first }),
});
const player = new Player(page.timesteps, (t) => {
  wall.setTime(shownTime(t));
  url.set({ t });
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

function everything() {
  return { count: samples, natural: true, number: (rank) => rank };
}

const least = () => url.get("least") === "1";

function status(text) {
  byId("status").textContent = text;
}

// Asked for by hand: in the order of the timestep that is shown now, which the link then says.
function resort() {
  url.set({ bt: player.t });
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
    return wall.layout(first);
  }
  status("Looking through samples …");
  const t = orderTime();
  try {
    const found = await ordered(page.store, url, t);
    trouble("order", null);
    order = found;
    wall.show(listed(found, least()));
    const missing = found.unreadable ? `, ${thousands(found.unreadable)} could not be read` : "";
    const at = by === "random" ? "" : ` at ${t === 0 ? "the clean state" : `t = ${t}`}`;
    status(`${by === "random" ? "" : "Of "}${found.what}${by === "number" ? "" : at}${missing}`);
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
  if (order) wall.show(listed(order, least()));
});
bind("show", "change", (field) => {
  url.set({ show: field.value });
  look();
  wall.setTime(shownTime(player.t));
});
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
if (byId("show")) byId("show").value = url.get("show");
byId("smooth").checked = url.get("smooth") === "1";
byId("contrast").checked = url.get("contrast") === "1";
direction(byId("least"));
player.swiped(wall.root);
player.put(url.get("t"));
wall.t = shownTime(player.t);
const start = Number(url.get("at"));
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
