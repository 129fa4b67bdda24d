// One image, made again at each frame while sliders move its noise towards those of other seeds; the teacher's beside it.

import { beside, SLIDERS } from "./link.mjs";
import { nextFrame, paint, pixels, Rate } from "./paint.mjs";

const PERIOD_MS = 4000; // Of a slider's way there and back.

export class Single {
  #page;
  #sliders = [];
  #wanted = false;
  #drawing = null;
  #rate = new Rate();
  pictures = 0; // Drawn so far.

  constructor(root, page) {
    this.root = root;
    this.#page = page;
    this.#play = root.querySelector("#play");
    this.#play.addEventListener("click", () => this.play());
    const list = root.querySelector(".sliders");
    for (let k = 0; k < SLIDERS; k++) {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "range", min: 0, max: 1, step: "any", value: 0 });
      label.append(document.createElement("span"), input, document.createElement("output"));
      input.addEventListener("input", () => {
        page.change({ parts: page.state.parts.map((part, n) => (n === k ? round(input.valueAsNumber) : part)) });
      });
      this.#sliders.push({ label, input });
      list.append(label);
    }
  }

  #play;

  // Asks for a picture of what the state says; while one is made, further calls ask for one more, not for many.
  draw() {
    this.#show();
    this.#wanted = true;
    this.#drawing ??= this.#pictures().finally(() => (this.#drawing = null));
    return this.#drawing;
  }

  async #pictures() {
    const { student } = this.#page;
    while (this.#wanted && !this.root.hidden) {
      this.#wanted = false;
      const { images } = await student.make([this.start()], this.#page.state.condition);
      await nextFrame();
      this.images = images;
      this.pictures++;
      paint(this.root.querySelector("canvas"), pixels(images, student.imageShape));
      this.#page.firstImage();
      this.framesPerSecond = this.#rate.count();
      if (this.framesPerSecond) this.#page.say(`${Math.round(this.framesPerSecond)} images/s`);
      if (this.#play.getAttribute("aria-pressed") === "true") this.#step();
    }
  }

  start() {
    const { seed, index, parts } = this.#page.state;
    return { seed, index, towards: parts.map((part, k) => ({ seed: beside(seed, k + 1), part })) };
  }

  // Moves the first slider there and back, until it is called again.
  play(on = this.#play.getAttribute("aria-pressed") !== "true") {
    this.#play.setAttribute("aria-pressed", String(on));
    if (!on) return;
    this.#began = performance.now() - (this.#page.state.parts[0] * PERIOD_MS) / 2;
    this.draw();
  }

  #began = 0;

  #step() {
    const turn = ((performance.now() - this.#began) % PERIOD_MS) / PERIOD_MS;
    const [, ...rest] = this.#page.state.parts;
    this.#page.change({ parts: [round(turn < 0.5 ? 2 * turn : 2 - 2 * turn), ...rest] });
  }

  #show() {
    const { state, teacher } = this.#page;
    this.#sliders.forEach(({ label, input }, k) => {
      label.firstChild.textContent = `towards seed ${beside(state.seed, k + 1)}`;
      label.lastChild.textContent = `${Math.round(100 * state.parts[k])} %`;
      if (document.activeElement !== input || input.valueAsNumber !== state.parts[k]) input.valueAsNumber = state.parts[k];
    });
    const figure = this.root.querySelector(".teacher");
    const shown = state.parts.every((part) => part === 0) && teacher.has(state);
    figure.hidden = !teacher.known;
    this.root.querySelector(".pair").classList.toggle("two", teacher.known);
    if (!teacher.known) return;
    figure.querySelector("figcaption").textContent = shown
      ? `${teacher.text}, same noise`
      : `no image of the teacher for this noise: it has ${teacher.range}`;
    if (shown) teacher.paint(figure.querySelector("canvas"), state.index);
    else paint(figure.querySelector("canvas"), new ImageData(1, 1));
  }
}

const round = (part) => Math.round(1000 * part) / 1000;
