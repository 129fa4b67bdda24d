// One pass, layer by layer: noise, the clean estimates of all submodules side by side, and the teacher's image.

import { paint, pixels } from "./paint.mjs";

const ROWS = 4;

export class Layers {
  #page;
  #turn = 0;

  constructor(root, page) {
    this.root = root;
    this.#page = page;
  }

  async draw() {
    const turn = ++this.#turn;
    const { student, state, teacher } = this.#page;
    const starts = Array.from({ length: ROWS }, (_, k) => ({ seed: state.seed, index: state.index + k }));
    const made = await student.make(starts, state.condition, true);
    if (turn !== this.#turn) return;
    this.estimates = Array.from({ length: student.submodules }, (_, k) => student.estimate(k, made));
    const latent = student.stateShape.join() !== student.imageShape.join();
    const columns = [
      { title: "noise", note: latent ? "latent" : "", ...{ values: made.noise, shape: student.stateShape, a: 1 / 6, b: 0.5 } },
      ...this.estimates.map((values, k) => ({
        title: String(k + 1),
        note: `${latent ? "latent, " : ""}t = ${student.metadata.student.timesteps[k + 1]}`,
        ...{ values, shape: student.stateShape, a: 0.5, b: 0.5 },
      })),
      ...(latent ? [{ title: "image", note: "decoded", values: made.images, shape: student.imageShape, a: 1, b: 0 }] : []),
    ];
    const shown = teacher.known && starts.some((start) => teacher.has({ ...state, ...start }));
    const head = row("th", columns.map(({ title, note }) => heading(title, note)));
    if (shown) head.append(Object.assign(heading("teacher", teacher.text), { className: "teacher" }));
    const rows = starts.map((start, n) => {
      const line = row("td", columns.map((column) => cell(column, n, start)));
      if (shown) line.append(document.createElement("td"));
      if (shown && teacher.has({ ...state, ...start })) teacher.paint(line.lastChild.appendChild(canvas()), start.index);
      return line;
    });
    const table = this.root.querySelector("table");
    table.style.setProperty("--columns", head.childElementCount);
    table.replaceChildren(head, ...rows);
    this.#page.firstImage();
    this.#page.say("");
  }
}

function row(kind, cells) {
  const line = document.createElement("tr");
  line.append(...cells.map((each) => (each.nodeName === kind.toUpperCase() ? each : wrapped(kind, each))));
  return line;
}

function wrapped(kind, child) {
  const element = document.createElement(kind);
  element.append(child);
  return element;
}

function heading(title, note) {
  const element = document.createElement("th");
  element.scope = "col";
  element.append(title, Object.assign(document.createElement("small"), { textContent: note }));
  return element;
}

function cell({ values, shape, a, b, title }, n, { index }) {
  const drawn = canvas();
  drawn.setAttribute("role", "img");
  drawn.setAttribute("aria-label", `image ${index}: ${/^\d/.test(title) ? `submodule ${title}` : title}`);
  paint(drawn, pixels(values, shape, n * shape.reduce((x, y) => x * y), a, b));
  return drawn;
}

const canvas = () => document.createElement("canvas");
