// The map: samples as points, a student's beside its teacher's; drag pans, the wheel zooms, shift and drag selects.

import { Flags, exports } from "./flags.js";
import { Player, bound } from "./controls.js";
import { UrlState, byId, colour, drawn, fitted, json, keys, make, nearest, page, thousands, trouble } from "./page.js";

const clean = page.timesteps[page.timesteps.length - 1];
const url = new UrlState({ t: String(clean), student: "", seed: "0", flags: "", x: "0", y: "0", zoom: "0" });
const [canvas, tip, names] = [byId("map"), byId("tip"), [...(byId("label-names")?.options ?? [])].map((one) => one.text)];
let found = { samples: [], teacher: [], student: [], labels: [] };
// The middle of the window in the map's units, and pixels to a unit.
let [middle, zoom] = [[Number(url.get("x")), Number(url.get("y"))], Number(url.get("zoom"))];
let [lasso, hovered, frame] = [null, -1, null];
const flags = new Flags(url, () => draw());
const player = new Player(page.timesteps, (t) => { url.set({ t }); load(); });
const room = canvas.parentElement;
const shade = (label) => `hsl(${(label * 137.5) % 360} 65% 52%)`;
const hue = (k) => (found.labels.length ? shade(found.labels[k]) : colour("teacher"));
const screen = ([x, y]) => [room.clientWidth / 2 + (x - middle[0]) * zoom, room.clientHeight / 2 - (y - middle[1]) * zoom];
const unit = ([x, y]) => [(x - room.clientWidth / 2) / zoom + middle[0], (room.clientHeight / 2 - y) / zoom + middle[1]];

function draw() {
  frame ??= requestAnimationFrame(paint);
}

function paint() {
  frame = null;
  const [width, height] = [room.clientWidth, room.clientHeight];
  const pen = fitted(canvas, width, height);
  const [line, student, ink] = [colour("line"), colour("student"), colour("ink")];
  const size = Math.max(3, Math.min(7, zoom / 12));
  if (found.student.length) {
    pen.strokeStyle = line;
    pen.beginPath();
    found.student.forEach((place, k) => { pen.moveTo(...screen(found.teacher[k])); pen.lineTo(...screen(place)); });
    pen.stroke();
  }
  const one = found.labels.length === 0;
  pen.fillStyle = hue(0);
  found.teacher.forEach((place, k) => {
    const [x, y] = screen(place);
    if (x < 0 || y < 0 || x > width || y > height) return;
    if (!one) pen.fillStyle = hue(k);
    pen.fillRect(x - size / 2, y - size / 2, size, size);
  });
  found.student.forEach((place, k) => {
    const [x, y] = screen(place);
    pen.strokeStyle = one ? student : hue(k);
    pen.beginPath();
    pen.arc(x, y, size / 2, 0, 7);
    pen.stroke();
  });
  pen.strokeStyle = ink;
  pen.lineWidth = 1.5;
  found.samples.forEach((sample, k) => {
    if (!flags.has(sample) && k !== hovered) return;
    const [x, y] = screen(found.teacher[k]);
    pen.strokeRect(x - size, y - size, 2 * size, 2 * size);
  });
  if (lasso) {
    pen.beginPath();
    lasso.forEach((place, k) => (k ? pen.lineTo(...place) : pen.moveTo(...place)));
    pen.stroke();
  }
  window.advkdMap.painted += 1;
}

// Everything in the window, a little smaller than it.
function fit() {
  const all = [...found.teacher, ...found.student];
  const ends = [0, 1].map((axis) => all.reduce(([a, b], place) => [Math.min(a, place[axis]), Math.max(b, place[axis])], [Infinity, -Infinity]));
  middle = ends.map(([a, b]) => (a + b) / 2);
  zoom = 0.92 * Math.min(...ends.map(([a, b], axis) => [room.clientWidth, room.clientHeight][axis] / (b - a || 1)));
  moved();
}

function moved() {
  url.set({ x: middle[0].toFixed(3), y: middle[1].toFixed(3), zoom: zoom.toFixed(3) });
  draw();
}

const turn = { now: 0 };
async function load() {
  const mine = (turn.now += 1);
  const student = page.students.find((one) => String(one.number) === url.get("student"));
  const t = student ? nearest(student.timesteps, player.t) : player.t;
  byId("status").textContent ||= "Placing samples …";
  try {
    const query = new URLSearchParams({ t, seed: url.get("seed") || "0", student: url.get("student") });
    const made = await json(`/api/stores/${page.store}/map?${query}`);
    if (mine !== turn.now) return;
    found = made;
    trouble("map", null);
    byId("status").textContent = `Of ${found.what}: ${found.how}`;
    legend();
    if (!(zoom > 0)) fit();
    else draw();
  } catch (error) {
    byId("status").textContent = "";
    trouble("map", error);
  }
}

function legend() {
  const labels = [...new Set(found.labels)].sort((a, b) => a - b).slice(0, 16);
  const entries = [["■ teacher", labels.length ? "" : colour("teacher")]];
  if (found.student.length) entries.push(["○ student", labels.length ? "" : colour("student")]);
  entries.push(...labels.map((label) => [names[label] ?? String(label), shade(label)]));
  byId("legend").replaceChildren(...entries.map(([text, color]) => {
    const entry = make("span", {}, text);
    entry.style.color = color;
    return entry;
  }));
}

function under([x, y]) {
  let [best, least] = [-1, 144];
  for (const places of [found.teacher, found.student]) {
    places.forEach((place, k) => {
      const [across, down] = screen(place);
      const far = (across - x) ** 2 + (down - y) ** 2;
      if (far < least) [best, least] = [k, far];
    });
  }
  return best;
}

const shown = { timer: 0 };
function hover(event) {
  const k = under([event.offsetX, event.offsetY]);
  if (k === hovered) return;
  hovered = k;
  draw();
  tip.hidden = k < 0;
  if (k < 0) return;
  const sample = found.samples[k];
  const sides = [page.store, ...(found.student.length ? [`${page.store}~${url.get("student")}`] : [])];
  clearTimeout(shown.timer);
  shown.timer = setTimeout(() => {
    const pictures = sides.map((side) => make("img", { class: "pixels", alt: "", src: `/api/sheet/${side}?samples=${sample}&t=${player.t}` }));
    const told = found.labels.length ? `, ${names[found.labels[k]] ?? found.labels[k]}` : "";
    tip.replaceChildren(...pictures, `sample ${thousands(sample)}${told}`);
  }, 40);
  Object.assign(tip.style, { left: `${Math.min(event.offsetX + 16, room.clientWidth - 170)}px`, top: `${Math.min(event.offsetY + 16, room.clientHeight - 150)}px` });
}

// Even-odd rule.
function inside([x, y], edge) {
  return edge.reduce((odd, [ax, ay], k) => {
    const [bx, by] = edge[(k + edge.length - 1) % edge.length];
    return (ay > y) !== (by > y) && x < ((bx - ax) * (y - ay)) / (by - ay) + ax ? !odd : odd;
  }, false);
}

let held = null;
canvas.addEventListener("pointerdown", (event) => {
  canvas.setPointerCapture(event.pointerId);
  held = [event.offsetX, event.offsetY];
  if (event.shiftKey || byId("lasso").getAttribute("aria-pressed") === "true") lasso = [held];
  held.moved = false;
});
canvas.addEventListener("pointermove", (event) => {
  const now = [event.offsetX, event.offsetY];
  if (!held) return hover(event);
  if (Math.hypot(now[0] - held[0], now[1] - held[1]) < 3 && !held.moved) return undefined;
  if (lasso) lasso.push(now);
  else middle = [middle[0] - (now[0] - held[0]) / zoom, middle[1] + (now[1] - held[1]) / zoom];
  held = Object.assign(now, { moved: true });
  tip.hidden = true;
  return draw();
});
canvas.addEventListener("pointerup", () => {
  if (lasso && lasso.length > 2) choose(found.samples.filter((_, k) => inside(screen(found.teacher[k]), lasso)));
  else if (held && !held.moved && hovered >= 0) location.href = `/s/${page.store}/sample/${found.samples[hovered]}?t=${player.t}`;
  [lasso, held] = [null, null];
  moved();
});
canvas.addEventListener("pointerleave", () => { tip.hidden = true; hovered = -1; draw(); });
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const at = unit([event.offsetX, event.offsetY]);
  zoom *= Math.exp(-event.deltaY / 400);
  const after = unit([event.offsetX, event.offsetY]);
  middle = middle.map((value, axis) => value + at[axis] - after[axis]);
  moved();
}, { passive: false });

function choose(samples) {
  byId("chosen").replaceChildren();
  if (!samples.length) return;
  const flag = make("button", { type: "button" }, "flag them");
  flag.addEventListener("click", () => flags.set(samples, true));
  byId("chosen").append(`${thousands(samples.length)} selected `, flag, " ", ...exports(samples).flatMap((link) => [link, " "]));
}

byId("lasso").addEventListener("click", ({ target }) => target.setAttribute("aria-pressed", target.getAttribute("aria-pressed") !== "true"));
byId("fit").addEventListener("click", fit);
for (const id of ["student", "seed"]) bound(url, id, load);
player.put(url.get("t"));
drawn(room, draw);
keys({ ...player.keys, x: () => hovered >= 0 && flags.toggle(found.samples[hovered]), f: fit });
window.advkdMap = { painted: 0, screen: (k) => screen(found.teacher[k]), get found() { return found; } };
load();
