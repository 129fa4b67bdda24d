// What every page does: its facts, keys, link, and trouble with the server or a store.

export const page = JSON.parse(document.body.dataset.page);

export const byId = (id) => document.getElementById(id);

export const thousands = (number) => number.toLocaleString("en-US");

// A number in at most seven characters: 0.031, -65.8k, 1e+38.
export function brief(value) {
  const size = Math.abs(value);
  if (size >= 1e15 || (size > 0 && size < 5e-4)) return value.toExponential(size >= 1e15 ? 0 : 1);
  const [scale, unit] = [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]].find(([least]) => size >= least) ?? [1, ""];
  return `${Number((value / scale).toPrecision(3))}${unit}`;
}

// The timestep of a grid that is nearest to another.
export const nearest = (grid, t) => grid.reduce((best, each) => (Math.abs(each - t) < Math.abs(best - t) ? each : best));

export const timeText = (t) => (t === 0 ? "clean" : `t = ${t}`);

export function make(name, attributes = {}, ...children) {
  const svg = ["svg", "path", "line", "text", "rect", "g", "circle", "title"].includes(name);
  const made = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export class Refused extends Error {
  constructor(found) {
    super(found.message);
    Object.assign(this, found);
  }
}

// The answer to a GET, or to what `request` says (see `fetch`); `Refused` with the server's own words, or with ours
// where it does not answer at all.
export async function get(url, request) {
  let answer;
  try {
    answer = await fetch(url, request);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused({ kind: "server", title: "advkd browse does not answer", message: "Is it still running?", passing: true });
  }
  if (answer.ok) return answer;
  let found = { kind: "failed", status: answer.status, title: `Error ${answer.status}`, message: answer.statusText, passing: answer.status >= 500 };
  try {
    found = { ...found, ...(await answer.json()).error };
  } catch {
    // A proxy between answered in its own way.
  }
  throw new Refused(found);
}

export const json = async (url) => (await get(url)).json();

const troubles = new Map();

// One line below the bar for as long as something does not work; `null` when it does again.
export function trouble(source, error) {
  if (error) troubles.set(source, error);
  else if (!troubles.delete(source)) return;
  const shown = byId("trouble");
  const [first] = troubles.values();
  shown.hidden = !first;
  if (!first) return;
  shown.querySelector("b").textContent = first.title || "Something went wrong";
  shown.querySelector("span").textContent = first.message;
  shown.querySelector("small").hidden = first.passing === false;
}

// Tells now and then, later while the page is hidden, how far a store has grown, and whether it has changed.
export function watchStore(store, tell) {
  let [timer, stamp] = [0, null];
  const again = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(step, (document.hidden ? 10 : 1) * 1000 * pause);
  };
  async function step() {
    try {
      const now = await json(`/api/stores/${store}/state`);
      tell(now, stamp !== null && stamp !== now.stamp);
      stamp = now.stamp;
      trouble(`store ${store}`, null);
      again(now.state === "growing" ? 1.5 : 8);
    } catch (error) {
      trouble(`store ${store}`, error);
      again(2);
    }
  }
  document.addEventListener("visibilitychange", () => !document.hidden && again(0));
  step();
}

// The state of a page lives in its URL: read once, written whenever it changes, without the defaults.
export class UrlState {
  constructor(defaults) {
    this.defaults = defaults;
    const found = new URLSearchParams(location.search);
    this.values = { ...defaults };
    for (const name of Object.keys(defaults)) if (found.has(name)) this.values[name] = found.get(name);
    this.fixed = [...found].filter(([name]) => !(name in defaults));
  }

  get(name) {
    return this.values[name];
  }

  set(changes) {
    for (const [name, value] of Object.entries(changes)) this.values[name] = String(value);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => history.replaceState(null, "", this.url()), 120);
  }

  url() {
    const query = new URLSearchParams(this.fixed);
    for (const [name, value] of Object.entries(this.values)) if (value !== this.defaults[name]) query.set(name, value);
    const text = query.toString();
    return location.pathname + (text ? `?${text}` : "");
  }
}

// Keys, unless somebody types or means the browser.
export function keys(actions) {
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { target } = event;
    const typing = target.matches("input:not([type=range], [type=checkbox]), textarea, select");
    if (typing || document.querySelector("dialog[open]")) {
      if (event.key === "Escape") target.blur();
      return;
    }
    if (target.matches("input[type=range]") && ["Home", "End", "PageUp", "PageDown"].includes(event.key)) return;
    if (event.key === " " && target.matches("button, a, input[type=checkbox], summary")) return;
    const action = actions[event.key];
    if (!action) return;
    event.preventDefault();
    action(event);
  });
}

// A canvas's pen, for a room of some size in CSS pixels.
export function fitted(canvas, width, height) {
  const ratio = devicePixelRatio || 1;
  const [across, down] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== across || canvas.height !== down) Object.assign(canvas, { width: across, height: down });
  Object.assign(canvas.style, { width: `${width}px`, height: `${height}px` });
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  return pen;
}

// Calls `draw` when a room has another size, or the browser another colour scheme.
export function drawn(room, draw) {
  new ResizeObserver(draw).observe(room);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
}

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

byId("help")?.addEventListener("click", () => byId("keys").showModal());
keys({
  "?": () => byId("keys").showModal(),
  "/": () => {
    const jump = byId("jump");
    jump?.focus();
    jump?.select();
  },
});
