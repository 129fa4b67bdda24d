// Small charts: errors along the timesteps, and a histogram that filters by brushing.

import { brief, make, timeText } from "./page.js";

const [LEFT, RIGHT, TOP, BELOW] = [48, 16, 8, 16];
const HUES = ["var(--student)", "#a07cf0", "#3aa7a0", "#c9a227"];
const most = (numbers) => numbers.reduce((a, b) => Math.max(a, b), -Infinity);
const least = (numbers) => numbers.reduce((a, b) => Math.min(a, b), Infinity);

// Between which timesteps an error `[[t, rms], ...]` grows most; null where it does not.
function growth(errors) {
  const steps = errors.slice(1).map((to, k) => ({ from: errors[k], to, by: to[1] - errors[k][1] }));
  const [largest] = steps.sort((a, b) => b.by - a.by);
  return largest && largest.by > 0 ? largest : null;
}

export function growthText(errors) {
  const step = growth(errors);
  if (!step) return "its error grows nowhere";
  const [[before, low], [after, high]] = [step.from, step.to];
  return `its error grows most from ${timeText(before)} to ${timeText(after)}, ${brief(low)} → ${brief(high)}`;
}

// `series`: [{ name, errors: [[t, rms], ...] }]; a click on a timestep calls `choose`. The largest step is thick.
export function errorChart(series, now, choose) {
  const [width, height] = [300, 74];
  const points = series.flatMap(({ errors }) => errors);
  const times = [...new Set(points.map(([t]) => t))].sort((a, b) => b - a);
  const greatest = most(points.map(([, rms]) => rms)) || 1;
  const x = (t) => LEFT + ((width - LEFT - RIGHT) * times.indexOf(t)) / Math.max(1, times.length - 1);
  const y = (rms) => TOP + (height - TOP - BELOW) * (1 - rms / greatest);
  const path = (errors) => `M${errors.map(([t, rms]) => `${x(t)} ${y(rms)}`).join(" L")}`;
  const svg = make("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.setAttribute("aria-label", series.map(({ name, errors }) => `${name}: ${growthText(errors)}`).join("; "));
  for (const tick of [greatest, 0]) {
    svg.append(make("line", { class: "rule", x1: LEFT, x2: width - RIGHT, y1: y(tick), y2: y(tick) }));
    svg.append(make("text", { class: "tick end", x: LEFT - 5, y: y(tick) + 4 }, brief(tick)));
  }
  // With many timesteps only some have room for their name.
  const [every, last] = [Math.ceil(times.length / 6), times.length - 1];
  times.forEach((t, k) => {
    if (k !== last && (k % every || last - k < every)) return;
    svg.append(make("text", { class: "tick middle", x: x(t), y: height - 2 }, t === 0 ? "clean" : String(t)));
  });
  series.forEach(({ name, errors }, k) => {
    const [stroke, step] = [HUES[k % HUES.length], growth(errors)];
    svg.append(make("path", { d: path(errors), fill: "none", stroke, "stroke-width": 1.5 }));
    if (step) svg.append(make("path", { class: "growth-step", d: path([step.from, step.to]), stroke }));
    for (const [t, rms] of errors) {
      const title = make("title", {}, `${name} at ${timeText(t)}: RMSE ${brief(rms)}`);
      svg.append(make("circle", { cx: x(t), cy: y(rms), r: t === now ? 4 : 2.5, fill: stroke }, title));
    }
  });
  for (const t of times) {
    const room = make("rect", { class: "pick", x: x(t) - 10, y: 0, width: 20, height, "data-t": t });
    room.addEventListener("click", () => choose(t));
    svg.append(room);
  }
  return svg;
}

const BINS = 48;

// Counts in bins as bars; those whose middle lies outside of `chosen`, [from, to] or null, are faint.
export function bars(counts, low, high, chosen) {
  const [top, height] = [Math.max(1, ...counts), 46];
  const svg = make("svg", { class: "bars", viewBox: `0 0 ${counts.length * 6} ${height}`, preserveAspectRatio: "none" });
  counts.forEach((count, k) => {
    const middle = low + ((high - low) * (k + 0.5)) / counts.length;
    const out = chosen && (middle < chosen[0] || middle > chosen[1]);
    const size = (height * count) / top;
    svg.append(make("rect", { class: out ? "out" : "", x: k * 6, y: height - size, width: 5, height: size }));
  });
  return svg;
}

// How often `values` lie in each of equal bins of [low, high].
export function counted(values, low, high) {
  const counts = new Array(BINS).fill(0);
  for (const value of values) {
    counts[Math.min(BINS - 1, Math.max(0, Math.floor((BINS * (value - low)) / (high - low || 1))))] += 1;
  }
  return counts;
}

// A histogram over which a range is drawn with the pointer; `tell([from, to])`, or `tell(null)` by a click.
export function brushed(values, chosen, tell) {
  const [low, high] = [least(values), most(values)];
  const shade = make("i");
  const title = "Draw a range to filter; click to show all";
  const box = make("div", { class: "brush", title }, bars(counted(values, low, high), low, high, chosen), shade);
  const within = (share) => Math.max(0, Math.min(1, share));
  const place = (event) => within((event.clientX - box.getBoundingClientRect().left) / box.clientWidth);
  const show = (from, to) => Object.assign(shade.style, { left: `${100 * from}%`, width: `${100 * (to - from)}%` });
  if (chosen) show(...chosen.map((value) => within((value - low) / (high - low || 1))));
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
  return make("div", {}, box, make("p", { class: "range" }, make("span", {}, brief(low)), make("span", {}, brief(high))));
}
