// One trajectory: its strip, what it implies, and the students beside it.

import { errorChart, growthText } from "./chart.js";
import { Player, bound } from "./controls.js";
import { Flags, exports } from "./flags.js";
import { ORDER, listed, natural, ordered, words } from "./order.js";
import { UrlState, brief, byId, json, keys, make, page, thousands, timeText, trouble } from "./page.js";

const clean = page.timesteps[page.timesteps.length - 1];
const url = new UrlState({ ...ORDER, t: String(clean), own: "", as: "", flags: "" });
const students = page.students.filter((one) => one.refused === null);
const player = new Player(page.timesteps, (t) => {
  url.set({ t });
  choose(t);
  aim();
});
const everything = { count: page.samples, number: (rank) => rank };
let source = everything;
// The rank of this sample, -1 until it is known.
let here = natural(url) ? page.sample : -1;
// Each: what it is called, a picture with a tile for each of its timesteps, and for differences their scale and RMSE.
let rows = [];
// Number of the newest request: an answer that an older one gets later is left.
let newest = 0;

async function load() {
  const number = ++newest;
  const query = new URLSearchParams({ own: url.get("own"), as: url.get("as") });
  for (const student of students) query.append("student", student.number);
  try {
    const found = (await json(`/api/stores/${page.store}/strip/${page.sample}?${query}`)).rows;
    for (const row of found) {
      row.image = await createImageBitmap(new Blob([Uint8Array.from(atob(row.png), (letter) => letter.charCodeAt(0))]));
    }
    if (number !== newest) return;
    rows = found;
    trouble("sample", null);
    strip();
    choose(player.t);
  } catch (refused) {
    if (number !== newest) return;
    const table = byId("strip");
    table.removeAttribute("aria-busy");
    table.replaceChildren(make("tbody", {}, make("tr", {}, make("td", { class: "refused" }, refused.message))));
    if (refused.passing || refused.kind === "corrupt") setTimeout(load, 4000);
    if (refused.kind !== "corrupt") trouble("sample", refused);
  }
}

// The tile of a timestep; false where the row has none.
function draw(canvas, { image, times, columns, width, height }, t) {
  const place = times.indexOf(t);
  if (place < 0) return false;
  Object.assign(canvas, { width, height });
  const [x, y] = [(place % columns) * width, Math.floor(place / columns) * height];
  canvas.getContext("2d").drawImage(image, x, y, width, height, 0, 0, width, height);
  return true;
}

function strip() {
  const head = make("tr", {}, make("td"), ...page.timesteps.map((t) => {
    const pick = make("button", { type: "button", class: "link" }, timeText(t));
    pick.addEventListener("click", () => player.choose(t));
    return make("th", { scope: "col", "data-t": t }, pick);
  }));
  const body = rows.map((row) => {
    const title = row.name ? [make("b", {}, row.name), make("br"), row.note] : [row.note];
    const colours = { class: "signed", title: "blue is below zero, black is zero, orange above" };
    if (row.scale) title.push(make("span", colours, `−${brief(row.most)}`, make("i"), `+${brief(row.most)}`));
    const cells = page.timesteps.map((t) => cell(row, t));
    return make("tr", { class: row.kind }, make("th", { scope: "row" }, ...title), ...cells);
  });
  const table = byId("strip");
  table.replaceChildren(table.caption ?? "", make("thead", {}, head), make("tbody", {}, ...body));
  table.removeAttribute("aria-busy");
}

function cell(row, t) {
  const label = `${row.name || row.kind} ${row.note} at ${timeText(t)}`;
  // Pixels are squares, but an image that is shown smaller than it is has none.
  const canvas = make("canvas", { class: row.width <= 96 ? "cell pixels" : "cell", role: "img", "aria-label": label });
  if (!draw(canvas, row, t)) return make("td", { "data-t": t });
  canvas.addEventListener("click", () => player.choose(t));
  return make("td", { "data-t": t }, canvas, ...(row.scale === "error" ? [rmse(row, t)] : []));
}

// RMSE of a difference, with a bar against the greatest of the rows that share its scale.
function rmse({ times, rms, longest }, t) {
  const [bar, value] = [make("i"), rms[times.indexOf(t)]];
  bar.style.width = `${(100 * value) / longest}%`;
  return make("span", { class: "rmse" }, bar, make("span", { title: "root mean square error" }, value.toFixed(4)));
}

// Where students part from their teacher: their errors as a chart, and the largest step of growth in words.
function parting() {
  const names = rows.filter(({ kind, name }) => kind === "student" && name).map(({ name }) => name);
  const series = rows.filter(({ note }) => note === "state error")
    .map(({ times, rms }, k) => ({ name: names[k], errors: times.map((t, place) => [t, rms[place]]) }));
  const lines = series.map(({ name, errors }) => make("li", {}, make("b", {}, name), `: ${growthText(errors)}`));
  const chart = series.length ? [make("li", {}, errorChart(series, player.t, (t) => player.choose(t)))] : [];
  byId("growth").replaceChildren(...lines, ...chart);
}

// The stage shows the image that a latent is decoded to, unless one channel was chosen.
function choose(t) {
  const teacher = rows.filter((row) => row.kind === "teacher");
  const decoded = url.get("as") === "" ? teacher.filter((row) => row.note === "decoded") : [];
  const [stage, shown] = [byId("stage"), [...decoded, ...teacher].find((row) => row.times.includes(t))];
  if (shown) {
    draw(stage, shown, t);
    stage.classList.toggle("pixels", shown.width <= stage.clientWidth);
    stage.setAttribute("aria-label", `Sample ${page.sample} at ${timeText(t)}`);
  }
  for (const each of document.querySelectorAll("#strip [data-t]")) each.classList.toggle("now", each.dataset.t === String(t));
  parting();
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

byId("flag").addEventListener("click", () => flags.toggle(page.sample));
byId("downloads").append(...exports([page.sample], ["PNG", "GIF", "npz", "CSV"]));
for (const id of ["own", "as"]) bound(url, id, load);
keys({
  ...player.keys,
  ArrowUp: () => go(-1),
  ArrowDown: () => go(1),
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
