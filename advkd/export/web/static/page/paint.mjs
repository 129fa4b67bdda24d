// Numbers to pixels: images [C, H, W] on a canvas of their own size, which the page enlarges.

// `values` from `offset` on; each number x is shown as a * x + b in [0, 1]. Of other than 1 or 3 channels, the first ones.
export function pixels(values, [channels, height, width], offset = 0, a = 1, b = 0) {
  const image = new ImageData(width, height);
  const plane = height * width;
  const [green, blue] = channels < 3 ? [0, 0] : [plane, 2 * plane];
  const byte = (value) => 255 * (a * value + b); // The array clamps and rounds.
  for (let n = 0; n < plane; n++) {
    const at = offset + n;
    image.data[4 * n] = byte(values[at]);
    image.data[4 * n + 1] = byte(values[at + green]);
    image.data[4 * n + 2] = byte(values[at + blue]);
    image.data[4 * n + 3] = 255;
  }
  return image;
}

export function paint(canvas, image) {
  if (canvas.width !== image.width || canvas.height !== image.height) {
    [canvas.width, canvas.height] = [image.width, image.height];
  }
  canvas.classList.toggle("crisp", isCrisp(image.width));
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Small images are enlarged pixel by pixel, so that a person sees what the network made.
export function isCrisp(width) {
  return width <= 64;
}

export const nextFrame = () => new Promise((resolve) => requestAnimationFrame(resolve));

// Events in the last second, as a rate.
export class Rate {
  #times = [];

  count(now = performance.now()) {
    this.#times.push(now);
    while (this.#times[0] < now - 1000) this.#times.shift();
    const seconds = (now - this.#times[0]) / 1000;
    return seconds > 0.25 ? (this.#times.length - 1) / seconds : 0;
  }
}
