// The teacher's images of a few noises, which were made when the page was: PNG files named by the image's number.

import { paint } from "./paint.mjs";

export class Teacher {
  #facts;
  #images = new Map();

  constructor(facts) {
    this.#facts = facts;
  }

  get known() {
    return this.#facts !== null;
  }

  get text() {
    return this.#facts.name;
  }

  get range() {
    return `images 0 to ${this.#facts.count - 1} of seed ${this.#facts.seed}`;
  }

  // Whether it made the image of this noise, under the condition that is drawn.
  has({ seed, index, condition }) {
    return this.known && seed === BigInt(this.#facts.seed) && index < this.#facts.count && condition === null;
  }

  async paint(canvas, index) {
    canvas.dataset.index = index;
    if (!this.#images.has(index)) this.#images.set(index, this.#load(index));
    const image = await this.#images.get(index);
    // Meanwhile another image may have been asked for.
    if (image !== null && canvas.dataset.index === String(index)) paint(canvas, image);
  }

  async #load(index) {
    const image = new Image();
    image.src = new URL(`../teacher/${index}.png`, import.meta.url);
    try {
      await image.decode();
    } catch {
      return null;
    }
    const canvas = new OffscreenCanvas(image.width, image.height);
    const pen = canvas.getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, image.width, image.height);
  }
}
