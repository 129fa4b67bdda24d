// A wall of images 0, 1, 2, ... of one seed, as many as fit the screen and are made in two seconds.

import { isCrisp, nextFrame, pixels } from "./paint.mjs";

const GAP = 2;
const FIRST = 16; // Images of the second pass, which tells the speed; the first pass makes one, to be seen soon.
const PASS_SECONDS = 0.1; // What one pass may take: a key is heard after it.
const WALL_SECONDS = 2;

export class Wall {
  #canvas;
  #page;
  #turn = 0;
  #speed = 0; // Images per second of the last pass.
  #warm = false;
  #small = document.createElement("canvas");

  constructor(root, page) {
    this.root = root;
    this.#page = page;
    this.#canvas = root.querySelector("canvas");
    this.#canvas.addEventListener("click", (event) => {
      const index = this.#at(event);
      if (index < this.count) page.change({ view: "image", index, parts: page.state.parts.map(() => 0) });
    });
    let before = "";
    new ResizeObserver(() => {
      const now = `${root.clientWidth} ${root.clientHeight}`;
      // The first call tells the size that is there.
      if (before && now !== before && !root.hidden) this.draw();
      before = root.hidden ? before : now;
    }).observe(root);
  }

  // Draws all tiles anew; returns when they are there, or when another call began.
  async draw() {
    const turn = ++this.#turn;
    const { student, state } = this.#page;
    this.#fit(student.imageShape);
    const began = performance.now();
    let made = 0;
    while (made < this.count) {
      const size = Math.min(this.#passSize(), this.count - made);
      const starts = Array.from({ length: size }, (_, k) => ({ seed: state.seed, index: made + k }));
      const before = performance.now();
      const { images } = await student.make(starts, state.condition);
      if (turn !== this.#turn) return;
      // A pass of one image, the first of all, is no measure.
      if (size >= Math.min(FIRST, this.columns)) this.#speed = (1000 * size) / (performance.now() - before);
      starts.forEach(({ index }, k) => this.#tile(index, images, k));
      made += size;
      this.#warm = true;
      this.#page.firstImage();
      if (made < this.count) this.#page.say("making…");
      this.count = Math.min(this.count, this.#most());
      await nextFrame();
    }
    this.#clearFrom(made);
    this.speed = (1000 * made) / (performance.now() - began);
    this.#page.say(`${made} images in ${(made / this.speed).toFixed(2)} s: ${Math.round(this.speed)} images/s`);
    this.drawn = state.seed;
  }

  #passSize() {
    if (!this.#warm) return 1;
    return this.#speed ? Math.max(1, Math.min(64, Math.round(this.#speed * PASS_SECONDS))) : FIRST;
  }

  // Whole rows, as many as are made in two seconds.
  #most() {
    return this.#speed ? this.columns * Math.max(1, Math.round((this.#speed * WALL_SECONDS) / this.columns)) : Infinity;
  }

  #fit([, height, width]) {
    const { clientWidth, clientHeight } = this.root;
    const style = getComputedStyle(this.root);
    const across = clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const down = Math.max(120, clientHeight - parseFloat(style.paddingTop) - parseFloat(style.paddingBottom));
    const wanted = Math.min(Math.max(4 * Math.min(width, 16), width), 192) * (across < 600 ? 0.75 : 1);
    this.columns = Math.max(2, Math.floor(across / (wanted + GAP)));
    this.tile = Math.floor(across / this.columns) - GAP;
    const row = (this.tile * height) / width + GAP;
    const rows = Math.max(1, Math.floor(down / row));
    this.count = Math.min(this.columns * rows, this.#most());
    const ratio = devicePixelRatio;
    const size = [Math.round(across * ratio), Math.round(rows * row * ratio)];
    if (this.#canvas.width !== size[0] || this.#canvas.height !== size[1]) [this.#canvas.width, this.#canvas.height] = size;
    this.#canvas.style.width = `${across}px`;
    this.row = row;
  }

  #tile(index, images, k) {
    const shape = this.#page.student.imageShape;
    const [channels, height, width] = shape;
    [this.#small.width, this.#small.height] = [width, height];
    this.#small.getContext("2d").putImageData(pixels(images, shape, k * channels * height * width), 0, 0);
    const pen = this.#canvas.getContext("2d");
    pen.imageSmoothingEnabled = !isCrisp(width);
    const ratio = devicePixelRatio;
    const [x, y] = this.place(index);
    pen.drawImage(this.#small, x * ratio, y * ratio, this.tile * ratio, (this.row - GAP) * ratio);
  }

  // Tiles of a larger wall that was there before.
  #clearFrom(index) {
    const ratio = devicePixelRatio;
    const [x, y] = this.place(index).map((side) => Math.floor(side * ratio));
    const pen = this.#canvas.getContext("2d");
    pen.clearRect(x, y, this.#canvas.width, Math.ceil(this.row * ratio));
    pen.clearRect(0, y + (x ? Math.ceil(this.row * ratio) : 0), this.#canvas.width, this.#canvas.height);
  }

  // The upper left corner of an image, in the page's pixels.
  place(index) {
    return [(index % this.columns) * (this.tile + GAP), Math.floor(index / this.columns) * this.row];
  }

  #at({ offsetX, offsetY }) {
    return Math.floor(offsetY / this.row) * this.columns + Math.min(this.columns - 1, Math.floor(offsetX / (this.tile + GAP)));
  }
}
