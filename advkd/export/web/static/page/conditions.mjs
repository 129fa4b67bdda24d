// What a student takes besides noise, as inputs of its network: labels, or the embeddings of stored prompts.
//
// Embeddings are read row by row from safetensors (an 8-byte length, a JSON header, then the numbers).

import { drawnNumber } from "../advkd_noise.mjs";
import { fetched, Refused } from "./session.mjs";

const WIDTHS = { F32: 4, F16: 2, BF16: 2 };

export async function openConditions(folder, metadata) {
  const condition = metadata.condition;
  if (condition === null) return { kind: null, texts: [], inputs: async () => ({}) };
  if (condition.kind === "labels") return labels(condition);
  if (condition.kind === "prompts") return prompts(new URL("prompts/", folder));
  throw new Refused(`this page gives labels and prompts, got a student that takes ${condition.kind}; run it elsewhere`);
}

// The number of each start's condition: as it was chosen, or drawn from (seed, index).
function numbers(starts, chosen, count) {
  if (chosen != null && !(chosen < count)) {
    throw new RangeError(`a condition must be one of 0 to ${count - 1}, got ${chosen}; choose one of the list`);
  }
  return starts.map(({ seed, index }) => chosen ?? drawnNumber(seed, index, count));
}

function labels({ classes, names }) {
  const texts = Array.from({ length: classes }, (_, k) => names[k] ?? String(k));
  const inputs = async (starts, chosen) => ({
    class_labels: ["int64", BigInt64Array.from(numbers(starts, chosen, classes), BigInt), [starts.length]],
  });
  return { kind: "label", texts, inputs };
}

async function prompts(folder) {
  const decode = (bytes) => JSON.parse(new TextDecoder().decode(bytes));
  const { prompts: texts } = decode(await fetched(new URL("config.json", folder)));
  const file = new URL("diffusion_pytorch_model.safetensors", folder);
  let whole = null;
  async function read(from, to) {
    if (whole === null) {
      const bytes = await fetched(file, { headers: { Range: `bytes=${from}-${to - 1}` } });
      if (bytes.length === to - from) return bytes;
      whole = bytes; // A server without ranges.
    }
    return whole.slice(from, to);
  }
  const length = Number(new DataView((await read(0, 8)).buffer).getBigUint64(0, true));
  const { __metadata__, ...tensors } = decode(await read(8, 8 + length));
  const rows = new Map();
  async function row(name, number) {
    const key = `${name} ${number}`;
    if (!rows.has(key)) {
      const { dtype, shape, data_offsets: offsets } = tensors[name];
      const size = WIDTHS[dtype] * shape.slice(1).reduce((a, b) => a * b, 1);
      const from = 8 + length + offsets[0] + number * size;
      rows.set(key, floats(dtype, await read(from, from + size)));
    }
    return rows.get(key);
  }
  async function inputs(starts, chosen) {
    const given = {};
    for (const [name, { shape }] of Object.entries(tensors)) {
      const each = [];
      for (const number of numbers(starts, chosen, texts.length)) each.push(await row(name, number));
      const all = new Float32Array(each.length * each[0].length);
      each.forEach((values, k) => all.set(values, k * values.length));
      given[name] = ["float32", all, [starts.length, ...shape.slice(1)]];
    }
    return given;
  }
  return { kind: "prompt", texts, inputs };
}

function floats(dtype, bytes) {
  const buffer = bytes.slice().buffer;
  if (dtype === "F32") return new Float32Array(buffer);
  const halves = new Uint16Array(buffer);
  if (dtype === "BF16") return new Float32Array(Uint32Array.from(halves, (half) => half << 16).buffer);
  return Float32Array.from(halves, (half) => {
    const [sign, exponent, rest] = [half & 0x8000 ? -1 : 1, (half >> 10) & 31, half & 1023];
    if (exponent === 0) return sign * rest * 2 ** -24;
    return exponent === 31 ? (rest ? NaN : sign * Infinity) : sign * (1 + rest / 1024) * 2 ** (exponent - 15);
  });
}
