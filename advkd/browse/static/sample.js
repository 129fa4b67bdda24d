// One trajectory: its strip, what it implies, the students beside it, and numbers under the pointer.

import { errorChart, growthText } from "./chart.js";
import { bound } from "./controls.js";
import { Flags, exports } from "./flags.js";
import { Player } from "./player.js";
import { ORDER, listed, natural, ordered, words } from "./order.js";
import { UrlState, brief, byId, get, keys, make, page, thousands, timeText, trouble } from "./page.js";
import { planes } from "./pixels.js";

const clean = page.timesteps[page.timesteps.length - 1];
const url = new UrlState({ ...ORDER, t: String(clean), own: "", as: "", flags: "" });
const students = page.students.filter((one) => one.refused === null);
const player = new Player(page.timesteps, (t) => {
  url.set({ t });
  choose(t);
  aim();
});
let found = [];
const everything = { count: page.samples, number: (rank) => rank };
let source = everything;
// The rank of this sample, -1 until it is known.
let here = natural(url) ? page.sample : -1;
let last = [0.5, 0.5];
let rows = [];

const find = (row, kind, t) => {
  const plane = found.find((one) => one.row === row && one.kind === kind && one.t === t);
  return plane && kind !== "decoded" && url.get("as") !== "" ? plane.only(Number(url.get("as"))) : plane;
};

function range(plane) {
  if (!page.latent || plane.kind === "decoded") return [-1, 1];
  const values = [...plane.values].sort((a, b) => a - b);
  const [low, high] = [values[Math.floor(values.length * 0.01)], values[Math.floor(values.length * 0.99)]];
  return [low, high > low ? high : low + 1];
}

// Each row: what it is called, a plane per timestep, how it is drawn, and a number below, if there is one.
function arrange() {
  const over = (make) => new Map(page.timesteps.map((t) => [t, make(t)]).filter(([, plane]) => plane));
  rows = [
    { kind: "teacher", name: "teacher", note: "state", planes: over((t) => find("teacher", "state", t)) },
    { kind: "teacher", name: "", note: "decoded", planes: over((t) => find("teacher", "decoded", t)) },
    { kind: "teacher", name: "", note: "implied clean", planes: over((t) => find("teacher", "clean", t)) },
    { kind: "difference", name: "", note: "implied, less final", scale: "final", planes: over((t) => {
      const [here, last] = [find("teacher", "clean", t), find("teacher", "state", clean)];
      return t !== clean && here && here.sameShape(last) ? here.minus(last) : null;
    }) },
  ];
  for (const { number, name } of students) {
    const row = `student ${number}`;
    const less = (kind) => over((t) => {
      const [ours, theirs] = [find(row, kind, t), find("teacher", kind, t)];
      return ours && ours.sameShape(theirs) ? ours.minus(theirs) : null;
    });
    rows.push(
      { kind: "student", name, note: "state", planes: over((t) => find(row, "state", t)) },
      { kind: "student", name: "", note: "decoded", planes: over((t) => find(row, "decoded", t)) },
      { kind: "student", name: "", note: "implied clean", planes: over((t) => find(row, "clean", t)) },
      { kind: "difference", name: "", note: "state error", scale: "error", planes: less("state"), errors: true, whose: name },
      { kind: "difference", name: "", note: "clean error", scale: "error", planes: less("clean"), errors: true },
    );
  }
  rows = rows.filter((row) => row.planes.size);
}

const largest = (rows, of) => Math.max(0, ...rows.flatMap((row) => [...row.planes.values()].map(of))) || 1;
const furthest = (plane) => plane.values.reduce((most, value) => Math.max(most, Math.abs(value)), 0);

// The rows that share a scale: all errors, so that two students can be compared; or the row alone.
const alike = (row) => (url.get("own") === "1" ? [row] : rows.filter((other) => other.scale === row.scale));

function draw(plane, canvas, row) {
  // Pixels are squares, but an image that is shown smaller than it is has none.
  canvas.classList.toggle("pixels", plane.mosaic.width <= 96);
  if (row.kind === "difference") plane.drawDifference(canvas, row.most);
  else plane.draw(canvas, ...range(plane));
}

function strip() {
  const head = make("tr", {}, make("td"), ...page.timesteps.map((t) => {
    const pick = make("button", { type: "button", class: "link", "data-t": t }, timeText(t));
    pick.addEventListener("click", () => { player.choose(t); });
    return make("th", { scope: "col", "data-t": t }, pick);
  }));
  for (const row of rows.filter((one) => one.scale)) {
    row.most = largest(alike(row), furthest);
    row.rms = largest(alike(row), (plane) => plane.rms);
  }
  const body = rows.map((row) => {
    const title = row.name ? [make("b", {}, row.name), make("br"), row.note] : [row.note];
    if (row.most) title.push(make("span", { class: "signed", title: "blue is below zero, black is zero, orange above" }, `−${brief(row.most)}`, make("i"), `+${brief(row.most)}`));
    const cells = page.timesteps.map((t) => {
      const plane = row.planes.get(t);
      const cell = make("td", { "data-t": t });
      if (!plane) return cell;
      const canvas = make("canvas", { class: "cell", role: "img" });
      canvas.setAttribute("aria-label", `${row.name || row.kind} ${row.note} at ${timeText(t)}`);
      draw(plane, canvas, row);
      canvas.addEventListener("pointermove", (event) => point(event, canvas));
      canvas.addEventListener("click", () => { player.choose(t); });
      cell.append(canvas);
      if (row.errors) cell.append(error(plane, row));
      return cell;
    });
    return make("tr", { class: row.kind }, make("th", { scope: "row" }, ...title), ...cells);
  });
  const table = byId("strip");
  table.replaceChildren(table.caption ?? "", make("thead", {}, head), make("tbody", {}, ...body));
  table.removeAttribute("aria-busy");
  parting();
}

// Where students part from their teacher: their errors as a chart, and the largest step of growth in words.
function parting() {
  const series = rows.filter((row) => row.whose).map(({ whose, planes }) => ({
    name: whose, errors: [...planes].filter(([t]) => t !== page.timesteps[0]).map(([t, plane]) => [t, plane.rms]),
  }));
  const lines = series.map(({ name, errors }) => make("li", {}, make("b", {}, name), `: ${growthText(errors)}`));
  const chart = series.length ? [make("li", {}, errorChart(series, player.t, (t) => { player.choose(t); }))] : [];
  byId("growth").replaceChildren(...lines, ...chart);
}

// RMSE of a difference, with a bar against the greatest of the rows that share its scale.
function error(plane, row) {
  const bar = make("i");
  bar.style.width = `${(100 * plane.rms) / row.rms}%`;
  return make("span", { class: "rmse" }, bar, make("span", { title: "root mean square error" }, plane.rms.toFixed(4)));
}

// What the stage shows: the image that a latent is decoded to, unless one channel was chosen.
function shown(t) {
  return (url.get("as") === "" && find("teacher", "decoded", t)) || find("teacher", "state", t);
}

function choose(t) {
  const plane = shown(t);
  const stage = byId("stage");
  if (plane) {
    plane.draw(stage, ...range(plane));
    stage.classList.toggle("pixels", plane.mosaic.width <= stage.clientWidth);
    stage.setAttribute("aria-label", `Sample ${page.sample} at ${timeText(t)}`);
  }
  for (const each of document.querySelectorAll("#strip [data-t]")) each.classList.toggle("now", each.dataset.t === String(t));
  under(last);
  if (rows.length) parting();
}

function point(event, canvas) {
  const box = canvas.getBoundingClientRect();
  last = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  under(last);
}

// The same place in every row, at the chosen timestep.
function under(place) {
  if (!place || !rows.length) return;
  const t = player.t;
  const body = [];
  let whose = "";
  for (const row of rows) {
    whose = row.name || whose;
    const plane = row.planes.get(t);
    if (!plane) continue;
    const { x, y, channel, values } = plane.at(...place);
    const where = channel === undefined ? `x ${x}, y ${y}` : `channel ${channel}, x ${x}, y ${y}`;
    if (!body.length) byId("where").textContent = `${where}, ${timeText(t)}: ${values.map((value) => value.toFixed(4)).join(" ")}`;
    const cells = values.map((value) => make("td", {}, value.toFixed(4)));
    body.push(make("tr", { class: row.kind }, make("th", { scope: "row" }, `${whose} ${row.note}`), ...cells));
  }
  byId("under").replaceChildren(make("tbody", {}, ...body));
}

async function load() {
  try {
    const query = students.map(({ number }) => `student=${number}`).join("&");
    found = await planes(await get(`/api/stores/${page.store}/values/${page.sample}?${query}`));
    trouble("sample", null);
    arrange();
    strip();
    choose(player.t);
  } catch (refused) {
    const table = byId("strip");
    table.removeAttribute("aria-busy");
    table.replaceChildren(make("tbody", {}, make("tr", {}, make("td", { class: "refused" }, refused.message))));
    if (refused.passing || refused.kind === "corrupt" || refused.kind === "pending") setTimeout(load, 4000);
    if (refused.kind !== "corrupt") trouble("sample", refused);
  }
}

// The address of a rank of the order, with everything else as it is.
function address(rank) {
  const next = new URL(url.url(), location);
  next.pathname = `/s/${page.store}/sample/${source.number(rank)}`;
  if (natural(url)) next.searchParams.delete("rank");
  else next.searchParams.set("rank", rank);
  return next.pathname + next.search;
}

async function go(by) {
  await placed;
  if (here + by >= 0 && here + by < source.count) location.href = address(here + by);
}

function random() {
  location.href = address(Math.floor(Math.random() * source.count));
}

function rankOf(sample) {
  if (natural(url)) return sample;
  const told = Number(url.get("rank"));
  if (source.number(told) === sample) return told;
  return Array.from({ length: source.count }, (_, rank) => source.number(rank)).indexOf(sample);
}

// Finds the sample in the order that the link tells; one that is not in it has its neighbours by number.
async function place() {
  if (!natural(url)) {
    try {
      const list = await ordered(page.store, url, url.get("bt") || clean);
      source = listed(list, url);
      byId("rank").title = list.what;
    } catch (refused) {
      trouble("order", refused);
    }
    if (rankOf(page.sample) < 0) {
      Object.assign(url.values, { by: ORDER.by, label: ORDER.label, q: ORDER.q, from: "", to: "" });
      source = everything;
    }
  }
  here = rankOf(page.sample);
  if (!natural(url)) {
    const text = `${thousands(here + 1)} of ${thousands(source.count)} ${words(url, page.students)}`;
    byId("rank").textContent = text;
    document.title = `${text} · sample ${thousands(page.sample)} · advkd browse`;
  }
  aim();
}

// Links to the neighbours, as the page is now.
function aim() {
  for (const [id, by, arrow] of [["previous", -1, "↑"], ["next", 1, "↓"]]) {
    const [link, rank] = [byId(id), here + by];
    link.hidden = here < 0 || rank < 0 || rank >= source.count;
    if (link.hidden) continue;
    link.textContent = `${arrow} ${thousands(source.number(rank))}`;
    link.href = address(rank);
  }
}

byId("stage").addEventListener("pointermove", (event) => point(event, byId("stage")));
byId("random").addEventListener("click", random);
byId("flag").addEventListener("click", () => flags.toggle(page.sample));
byId("downloads").append(...exports([page.sample], ["PNG", "GIF", "npz", "CSV"]));
for (const id of ["own", "as"]) bound(url, id, () => { arrange(); strip(); choose(player.t); });
keys({
  ...player.keys,
  ArrowUp: () => go(-1),
  ArrowDown: () => go(1),
  r: random,
  x: () => flags.toggle(page.sample),
});
const flags = new Flags(url, (held) => {
  const on = held.has(page.sample);
  byId("flag").setAttribute("aria-pressed", on);
  byId("flag").textContent = on ? "⚑ flagged" : "⚐ flag";
  aim();
});
player.swiped(byId("stage"));
player.put(url.get("t"));
const placed = place();
load();
