// The slider over timesteps and its play button; plays from noise to clean, waits, and begins again.

import { byId, timeText } from "./page.js";

const STEP_MS = 420;
const HOLD_MS = 1300;

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
