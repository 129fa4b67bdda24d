// Controls: those whose values live in the link, and the slider over timesteps with its play button.

import { byId, timeText } from "./page.js";

const SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

// A control that is set from the link, under its own name or `name`, and sets it; `changed` is told.
export function bound(url, id, changed, name = id) {
  const control = byId(id);
  if (!control) return;
  const box = control.type === "checkbox";
  if (box) control.checked = url.get(name) === "1";
  else control.value = url.get(name);
  control.addEventListener("change", () => {
    const typed = control.inputMode === "numeric" ? control.value.replace(/\D/g, "") || "0" : control.value.trim();
    url.set({ [name]: box ? (control.checked ? "1" : "") : typed });
    changed(control);
  });
}

// The buttons for smaller and larger tiles, and their keys.
export function sized(url, changed) {
  const resize = (by) => {
    const now = SIZES.findIndex((size) => size >= Number(url.get("size")));
    url.set({ size: SIZES[Math.max(0, Math.min(SIZES.length - 1, now + by))] });
    changed();
  };
  byId("smaller").addEventListener("click", () => resize(-1));
  byId("larger").addEventListener("click", () => resize(1));
  return { "+": () => resize(1), "=": () => resize(1), "-": () => resize(-1) };
}

// The largest size at which `wanted` tiles fit into a room.
export function fittingSize({ clientWidth, clientHeight }, wanted) {
  const holds = (size) => Math.floor(clientWidth / (size + 3)) * Math.floor(clientHeight / (size + 3)) >= wanted;
  return Math.max(64, [...SIZES].reverse().find(holds) ?? 64);
}

const STEP_MS = 420;
const HOLD_MS = 1300;

// Plays from noise to clean, waits, and begins again.
export class Player {
  constructor(timesteps, onchange) {
    this.timesteps = timesteps;
    this.onchange = onchange;
    this.slider = byId("time");
    this.text = byId("time-text");
    this.button = byId("play");
    this.slider.addEventListener("input", () => {
      this.stop();
      this.tell();
    });
    this.button.addEventListener("click", () => this.toggle());
  }

  get t() {
    return this.timesteps[Number(this.slider.value)];
  }

  // Without telling: where the page was opened.
  put(t) {
    const position = this.timesteps.indexOf(Number(t));
    this.slider.value = position < 0 ? this.timesteps.length - 1 : position;
    this.label();
  }

  // By hand, to one of the timesteps.
  choose(t) {
    this.stop();
    this.put(t);
    this.tell();
  }

  get keys() {
    return { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1), " ": () => this.toggle() };
  }

  // A swipe to the left on what is shown leads towards noise, as the key does.
  swiped(element) {
    let from = null;
    element.addEventListener("touchstart", ({ touches }) => { from = touches.length === 1 ? touches[0] : null; }, { passive: true });
    element.addEventListener("touchend", ({ changedTouches: [to] }) => {
      const [across, down] = from ? [to.clientX - from.clientX, to.clientY - from.clientY] : [0, 0];
      if (Math.abs(across) > 40 && Math.abs(across) > 2 * Math.abs(down)) this.step(Math.sign(across));
    }, { passive: true });
  }

  step(by) {
    this.stop();
    this.slider.value = Number(this.slider.value) + by;
    this.tell();
  }

  toggle() {
    if (this.timer) this.stop();
    else this.play();
  }

  play() {
    this.button.textContent = "❚❚";
    this.button.setAttribute("aria-label", "Pause");
    const last = this.timesteps.length - 1;
    const next = () => {
      this.slider.value = Number(this.slider.value) === last ? 0 : Number(this.slider.value) + 1;
      this.tell();
      this.timer = setTimeout(next, Number(this.slider.value) === last ? HOLD_MS : STEP_MS);
    };
    this.timer = setTimeout(next, 0);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
    this.button.textContent = "▶";
    this.button.setAttribute("aria-label", "Play the denoising");
  }

  label() {
    this.text.textContent = timeText(this.t);
    this.slider.setAttribute("aria-valuetext", timeText(this.t));
  }

  tell() {
    this.label();
    this.onchange(this.t);
  }
}
