// Small charts: a student's error along the timesteps, and a histogram that filters by brushing.

import { brief, make, timeText } from "./page.js";

const [WIDTH, HEIGHT, LEFT, TOP, BASE] = [300, 74, 44, 8, 58];
const HUES = ["var(--student)", "#a07cf0", "#3aa7a0", "#c9a227"];

// Between which timesteps an error `[[t, rms], ...]` grows most; null where it does not.
export function growth(errors) {
  const steps = errors.slice(1).map((to, k) => ({ from: errors[k], to, by: to[1] - errors[k][1] }));
  const most = steps.sort((a, b) => b.by - a.by)[0];
  return most && most.by > 0 ? most : null;
}

export function growthText(errors) {
  const most = growth(errors);
  if (!most) return "its error grows nowhere";
  return `its error grows most from ${timeText(most.from[0])} to ${timeText(most.to[0])}, ${brief(most.from[1])} → ${brief(most.to[1])}`;
}

// `series`: [{ name, errors: [[t, rms], ...] }]; a click on a timestep calls `choose`. The largest step is thick.
export function errorChart(series, t, choose) {
  const times = [...new Set(series.flatMap(({ errors }) => errors.map(([each]) => each)))].sort((a, b) => b - a);
  const most = Math.max(...series.flatMap(({ errors }) => errors.map(([, rms]) => rms))) || 1;
  const x = (each) => LEFT + ((WIDTH - LEFT - 14) * times.indexOf(each)) / Math.max(1, times.length - 1);
  const y = (rms) => BASE - ((BASE - TOP) * rms) / most;
  const svg = make("svg", { class: "chart errors", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  svg.setAttribute("aria-label", series.map(({ name, errors }) => `${name}: ${growthText(errors)}`).join("; "));
  for (const [at, text] of [[TOP, brief(most)], [BASE, "0"]]) {
    svg.append(make("line", { class: "rule", x1: LEFT, x2: WIDTH - 14, y1: at, y2: at }), make("text", { class: "tick end", x: LEFT - 5, y: at + 4 }, text));
  }
  series.forEach(({ name, errors }, k) => {
    const [stroke, step] = [HUES[k % HUES.length], growth(errors)];
    const path = (points) => `M${points.map(([each, rms]) => `${x(each)} ${y(rms)}`).join(" L")}`;
    svg.append(make("path", { d: path(errors), fill: "none", stroke, "stroke-width": 1.5 }));
    if (step) svg.append(make("path", { class: "growth-step", d: path([step.from, step.to]), stroke }));
    for (const [each, rms] of errors) {
      const dot = make("circle", { cx: x(each), cy: y(rms), r: each === t ? 4 : 2.5, fill: stroke });
      dot.append(make("title", {}, `${name} at ${timeText(each)}: RMSE ${brief(rms)}`));
      svg.append(dot);
    }
  });
  // With many timesteps only some have room for their name.
  const every = Math.ceil(times.length / 6);
  times.forEach((each, k) => {
    const named = k === times.length - 1 || (k % every === 0 && times.length - 1 - k >= every);
    if (named) svg.append(make("text", { class: "tick middle", x: x(each), y: HEIGHT - 2 }, each === 0 ? "clean" : String(each)));
    const room = make("rect", { class: "pick", x: x(each) - 10, y: 0, width: 20, height: HEIGHT, "data-t": each });
    room.addEventListener("click", () => choose?.(each));
    svg.append(room);
  });
  return svg;
}

const BINS = 48;

// Counts of `values` in equal bins of [low, high], as bars; `chosen`, [from, to] or null, is what a brush kept.
export function bars(values, low, high, chosen, height = 46) {
  const counts = new Array(BINS).fill(0);
  const bin = (value) => Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (value - low)) / (high - low || 1))));
  for (const value of values) counts[bin(value)] += 1;
  const most = Math.max(1, ...counts);
  const svg = make("svg", { class: "bars", viewBox: `0 0 ${BINS * 6} ${height}`, preserveAspectRatio: "none" });
  counts.forEach((count, k) => {
    const middle = low + ((high - low) * (k + 0.5)) / BINS;
    const out = chosen && (middle < chosen[0] || middle > chosen[1]);
    svg.append(make("rect", { class: out ? "out" : "", x: k * 6, y: height - (height * count) / most, width: 5, height: (height * count) / most }));
  });
  return svg;
}

// A histogram over which a range is drawn with the pointer; `tell([from, to])`, or `tell(null)` by a click.
export function brushed(values, chosen, tell) {
  // Not Math.min(...values): a list of thousands is no list of arguments.
  const [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const svg = bars(values, low, high, chosen);
  const box = make("div", { class: "brush", title: "Draw a range to filter; click to show all" }, svg);
  const shade = make("i");
  const place = (event) => Math.max(0, Math.min(1, (event.clientX - box.getBoundingClientRect().left) / box.clientWidth));
  const show = (from, to) => Object.assign(shade.style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
  const share = (value) => Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
  if (chosen) show(share(chosen[0]), share(chosen[1]));
  box.append(shade);
  let start = null;
  box.addEventListener("pointerdown", (event) => { start = place(event); box.setPointerCapture(event.pointerId); });
  box.addEventListener("pointermove", (event) => {
    if (start !== null) show(Math.min(start, place(event)), Math.max(start, place(event)));
  });
  box.addEventListener("pointerup", (event) => {
    const ends = [start, place(event)].sort((a, b) => a - b);
    start = null;
    tell(ends[1] - ends[0] < 0.01 ? null : ends.map((end) => low + end * (high - low)));
  });
  const row = make("p", { class: "range" }, make("span", {}, brief(low)), make("span", {}, brief(high)));
  return make("div", {}, box, row);
}
