// Numbers to pixels: a state `[C, H, W]` on a canvas, as values or as differences, and the value under a place.

const COLD = [47, 100, 200];
const WARM = [196, 87, 27];

class Plane {
  constructor({ row, kind, t, shape, at }, floats) {
    Object.assign(this, { row, kind, t });
    [this.channels, this.height, this.width] = shape;
    this.values = floats.subarray(at, at + shape[0] * shape[1] * shape[2]);
  }

  // How a tile of this state is laid out: latents are shown channel by channel.
  get mosaic() {
    const columns = this.channels === 1 || this.channels === 3 ? 1 : Math.ceil(Math.sqrt(this.channels));
    const rows = this.channels === 1 || this.channels === 3 ? 1 : Math.ceil(this.channels / columns);
    return { columns, rows, width: columns * this.width, height: rows * this.height };
  }

  // One channel of a state.
  only(channel) {
    const size = this.height * this.width;
    const values = this.values.subarray(channel * size, (channel + 1) * size);
    return Object.assign(Object.create(Plane.prototype), this, { channels: 1, values });
  }

  minus(other) {
    const found = Object.create(Plane.prototype);
    Object.assign(found, { row: this.row, kind: "difference", t: this.t });
    Object.assign(found, { channels: this.channels, height: this.height, width: this.width });
    found.values = this.values.map((value, place) => value - other.values[place]);
    return found;
  }

  sameShape(other) {
    return other && this.channels === other.channels && this.height === other.height && this.width === other.width;
  }

  get rms() {
    return Math.sqrt(this.values.reduce((sum, value) => sum + value * value, 0) / this.values.length);
  }

  // The pixel of a tile at fractions of its width and height.
  cell(across, down) {
    const { width, height } = this.mosaic;
    return { x: Math.min(width - 1, Math.floor(across * width)), y: Math.min(height - 1, Math.floor(down * height)) };
  }

  // The values of all channels at fractions of width and height of a tile.
  at(across, down) {
    const { columns } = this.mosaic;
    const { x, y } = this.cell(across, down);
    const size = this.height * this.width;
    if (this.channels === 1 || this.channels === 3) {
      const place = y * this.width + x;
      return { x, y, values: Array.from({ length: this.channels }, (_, c) => this.values[c * size + place]) };
    }
    const channel = Math.floor(y / this.height) * columns + Math.floor(x / this.width);
    const inner = [x % this.width, y % this.height];
    if (channel >= this.channels) return { x: inner[0], y: inner[1], values: [] };
    return { x: inner[0], y: inner[1], channel, values: [this.values[channel * size + inner[1] * this.width + inner[0]]] };
  }

  // Greys or colours between low and high.
  draw(canvas, low, high) {
    this.paint(canvas, (pixels, at, ...values) => {
      for (let k = 0; k < 3; k += 1) {
        const value = values.length === 3 ? values[k] : values[0];
        pixels[at + k] = Math.max(0, Math.min(255, (255 * (value - low)) / (high - low) + 0.5));
      }
    });
  }

  // Blue below zero, orange above, black at zero; `most` is as bright as it gets.
  drawDifference(canvas, most) {
    this.paint(canvas, (pixels, at, ...values) => {
      const value = values.reduce((sum, each) => sum + each, 0) / values.length;
      const share = Math.min(1, Math.abs(value) / most);
      const hue = value < 0 ? COLD : WARM;
      for (let k = 0; k < 3; k += 1) pixels[at + k] = Math.min(255, hue[k] * share * 1.25);
    });
  }

  paint(canvas, colour) {
    const { columns, width, height } = this.mosaic;
    canvas.width = width;
    canvas.height = height;
    const pen = canvas.getContext("2d");
    const image = pen.createImageData(width, height);
    const size = this.height * this.width;
    const colours = this.channels === 3;
    for (let channel = 0; channel < (colours ? 1 : this.channels); channel += 1) {
      const [left, top] = [(channel % columns) * this.width, Math.floor(channel / columns) * this.height];
      for (let place = 0; place < size; place += 1) {
        const x = left + (place % this.width);
        const y = top + Math.floor(place / this.width);
        const at = 4 * (y * width + x);
        if (colours) colour(image.data, at, this.values[place], this.values[size + place], this.values[2 * size + place]);
        else colour(image.data, at, this.values[channel * size + place]);
        image.data[at + 3] = 255;
      }
    }
    pen.putImageData(image, 0, 0);
  }
}

// The body of `/api/stores/../values/..`: a length, JSON, then all numbers.
export async function planes(answer) {
  const body = await answer.arrayBuffer();
  const length = new DataView(body).getUint32(0, true);
  const facts = JSON.parse(new TextDecoder().decode(new Uint8Array(body, 4, length)));
  const floats = new Float32Array(body, 4 + length);
  return facts.planes.map((one) => new Plane(one, floats));
}
