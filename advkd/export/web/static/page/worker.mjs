// The worker: opens the student, and makes images of starts, one request after the other, while the page stays free.

import { openConditions } from "./conditions.mjs";
import { startingNoise } from "./noise_space.mjs";
import { openSession, readMetadata } from "./session.mjs";

const FOLDER = new URL("../", import.meta.url);
let student = null;
let last = Promise.resolve();

onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};

async function answer({ id, kind, ...request }) {
  try {
    const result = kind === "open" ? await open(request) : await make(request);
    const buffers = Object.values(result).flat().filter(ArrayBuffer.isView).map((array) => array.buffer);
    postMessage({ id, result }, buffers);
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
}

async function open(options) {
  const metadata = await readMetadata(FOLDER);
  const [running, conditions] = await Promise.all([
    openSession(FOLDER, metadata, options),
    openConditions(FOLDER, metadata),
  ]);
  const shape = metadata.inputs.find(({ name }) => name === "noise").shape.slice(1);
  student = { ...running, metadata, conditions, shape, size: shape.reduce((a, b) => a * b) };
  const files = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
  const { kind, texts } = conditions;
  return { metadata, condition: { kind, texts }, backend: running.kind, threads: running.threads, files };
}

// Images [B, *shape] of starts and, where they are asked for, their noises and the states of all submodules.
async function make({ starts, condition, states }) {
  const { ort, session, metadata, conditions, shape, size } = student;
  if (starts.length < 1) throw new RangeError("a batch must hold at least one image, got none; ask for some");
  const noise = new Float32Array(starts.length * size);
  starts.forEach((start, k) => noise.set(startingNoise(start, size), k * size));
  const feeds = { noise: new ort.Tensor("float32", noise, [starts.length, ...shape]) };
  for (const [name, [type, values, dims]] of Object.entries(await conditions.inputs(starts, condition))) {
    feeds[name] = new ort.Tensor(type, values, dims);
  }
  const names = metadata.outputs.map(({ name }) => name).filter((name) => states || name === "images");
  const outputs = await session.run(feeds, names);
  const [images, ...predicted] = names.map((name) => outputs[name].data);
  return states ? { images, noise, states: predicted } : { images };
}
