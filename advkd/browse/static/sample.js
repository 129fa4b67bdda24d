// One trajectory: its strip, what it implies, the students beside it, and numbers under the pointer.

import { Player } from "./player.js";
import { UrlState, byId, get, keys, make, page, timeText, trouble } from "./page.js";
import { planes } from "./pixels.js";

const clean = page.timesteps[page.timesteps.length - 1];
const url = new UrlState({ t: String(clean), smooth: "" });
const students = page.students.filter((one) => one.refused === null);
const player = new Player(page.timesteps, (t) => {
  choose(t);
  url.set({ t });
});
let found = [];
let last = [0.5, 0.5];
let rows = [];

const find = (row, kind, t) => found.find((one) => one.row === row && one.kind === kind && one.t === t);

function range(plane) {
  if (!page.latent) return [-1, 1];
  const values = [...plane.values].sort((a, b) => a - b);
  const [low, high] = [values[Math.floor(values.length * 0.01)], values[Math.floor(values.length * 0.99)]];
  return [low, high > low ? high : low + 1];
}

// Each row: what it is called, a plane per timestep, how it is drawn, and a number below, if there is one.
function arrange() {
  const over = (make) => new Map(page.timesteps.map((t) => [t, make(t)]).filter(([, plane]) => plane));
  rows = [
    { kind: "teacher", name: "teacher", note: "state", planes: over((t) => find("teacher", "state", t)) },
    { kind: "teacher", name: "", note: "implied clean", planes: over((t) => find("teacher", "clean", t)) },
    { kind: "difference", name: "", note: "implied, less final", planes: over((t) => {
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
      { kind: "student", name: "", note: "implied clean", planes: over((t) => find(row, "clean", t)) },
      { kind: "difference", name: "", note: "state error", planes: less("state"), errors: true },
      { kind: "difference", name: "", note: "clean error", planes: less("clean"), errors: true },
    );
  }
  rows = rows.filter((row) => row.planes.size);
}

function draw(plane, canvas, row) {
  if (row.kind === "difference") {
    const most = Math.max(...[...row.planes.values()].map((one) => one.values.reduce((m, v) => Math.max(m, Math.abs(v)), 0)));
    plane.drawDifference(canvas, most || 1);
  } else plane.draw(canvas, ...range(plane));
}

function strip() {
  const head = make("tr", {}, make("td"), ...page.timesteps.map((t) => {
    const pick = make("button", { type: "button", class: "link", "data-t": t }, timeText(t));
    pick.addEventListener("click", () => { player.stop(); player.put(t); player.tell(); });
    return make("th", { scope: "col", "data-t": t }, pick);
  }));
  const body = rows.map((row) => {
    const title = row.name ? [make("b", {}, row.name), make("br"), row.note] : [row.note];
    const cells = page.timesteps.map((t) => {
      const plane = row.planes.get(t);
      const cell = make("td", { "data-t": t });
      if (!plane) return cell;
      const canvas = make("canvas", { class: "pixels cell", role: "img" });
      canvas.setAttribute("aria-label", `${row.name || row.kind} ${row.note} at ${timeText(t)}`);
      draw(plane, canvas, row);
      canvas.addEventListener("pointermove", (event) => point(event, canvas));
      canvas.addEventListener("click", () => { player.stop(); player.put(t); player.tell(); });
      cell.append(canvas);
      if (row.errors) cell.append(error(plane, row));
      return cell;
    });
    return make("tr", { class: row.kind }, make("th", { scope: "row" }, ...title), ...cells);
  });
  const table = byId("strip");
  table.replaceChildren(table.caption ?? "", make("thead", {}, head), make("tbody", {}, ...body));
  table.removeAttribute("aria-busy");
}

// RMSE of a difference, with a bar against the greatest of its row.
function error(plane, row) {
  const most = Math.max(...[...row.planes.values()].map((one) => one.rms)) || 1;
  const bar = make("rect", { x: 0, y: 0, width: (96 * plane.rms) / most, height: 3 });
  const svg = make("svg", { class: "bar", viewBox: "0 0 96 3", "aria-hidden": "true" }, bar);
  return make("span", { class: "rmse" }, svg, make("span", { title: "root mean square error" }, plane.rms.toFixed(4)));
}

function choose(t) {
  const plane = find("teacher", "state", t);
  const stage = byId("stage");
  if (plane) {
    plane.draw(stage, ...range(plane));
    stage.setAttribute("aria-label", `Sample ${page.sample} at ${timeText(t)}`);
  }
  for (const each of document.querySelectorAll("#strip [data-t]")) each.classList.toggle("now", each.dataset.t === String(t));
  under(last);
}

function point(event, canvas) {
  const box = canvas.getBoundingClientRect();
  last = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  under(last);
}

// The same by keyboard: from pixel to pixel of what the stage shows.
function step(across, down) {
  const plane = find("teacher", "state", player.t);
  if (!plane) return;
  const { width, height } = plane.mosaic;
  const { x, y } = plane.cell(...last);
  const [column, row] = [Math.max(0, Math.min(width - 1, x + across)), Math.max(0, Math.min(height - 1, y + down))];
  last = [(column + 0.5) / width, (row + 0.5) / height];
  under(last);
}

const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

function read(event) {
  const way = STEPS[event.key];
  if (event.key === "Escape") byId("stage").blur();
  if (!way || event.ctrlKey || event.metaKey || event.altKey) return;
  // Elsewhere the arrows go through time.
  event.preventDefault();
  event.stopPropagation();
  step(...way.map((one) => one * (event.shiftKey ? 8 : 1)));
}

// A frame around the pixel that is read, for those who came by keyboard.
function frame(place) {
  const plane = find("teacher", "state", player.t);
  if (!plane) return;
  const { width, height } = plane.mosaic;
  const { x, y } = plane.cell(...place);
  const { style } = byId("spot");
  for (const [side, share] of [["left", x / width], ["top", y / height], ["width", 1 / width], ["height", 1 / height]]) {
    style[side] = `${100 * share}%`;
  }
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
  frame(place);
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

function smooth() {
  const on = byId("smooth").checked;
  document.body.classList.toggle("smooth", on);
  url.set({ smooth: on ? "1" : "" });
}

// To another sample with everything else as it is.
function go(link) {
  if (link) location.href = link.pathname + new URL(url.url(), location).search;
}

function random() {
  const number = Math.floor(Math.random() * page.samples);
  location.href = `/s/${page.store}/sample/${number}${new URL(url.url(), location).search}`;
}

byId("smooth").checked = url.get("smooth") === "1";
byId("smooth").addEventListener("change", smooth);
document.body.classList.toggle("smooth", byId("smooth").checked);
byId("stage").addEventListener("pointermove", (event) => point(event, byId("stage")));
byId("stage").addEventListener("keydown", read);
byId("random").addEventListener("click", random);
for (const id of ["previous", "next"]) {
  byId(id)?.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(byId(id));
  });
}
keys({
  ArrowLeft: () => player.step(-1),
  ArrowRight: () => player.step(1),
  ArrowUp: () => go(byId("previous")),
  ArrowDown: () => go(byId("next")),
  k: () => go(byId("previous")),
  j: () => go(byId("next")),
  " ": () => player.toggle(),
  r: random,
  v: () => byId("stage").focus(),
});
player.put(url.get("t"));
load();
