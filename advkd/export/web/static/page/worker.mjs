// The worker: opens the student, and makes images of starts, one request after the other, while the page stays free.

import { openConditions } from "./conditions.mjs";
import { startingNoise } from "./noise_space.mjs";
import { openSession, readMetadata } from "./session.mjs";

const FOLDER = new URL("../", import.meta.url);
const asked = new URLSearchParams(location.search); // ?backend=wasm and ?threads=1, to compare.
const threads = Number(asked.get("threads")) || (crossOriginIsolated ? Math.min(4, navigator.hardwareConcurrency) : 1);
const opened = open({ backend: asked.get("backend"), threads });
opened.catch(() => null); // Whoever asks is told.
let last = Promise.resolve();

onmessage = ({ data }) => {
  last = last.then(() => answer(data));
};

async function answer({ id, kind, ...request }) {
  try {
    const result = kind === "open" ? told(await opened) : await make(await opened, request);
    const buffers = Object.values(result).flat().filter(ArrayBuffer.isView).map((array) => array.buffer);
    postMessage({ id, result }, buffers);
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
  }
}

async function open(options) {
  const reading = readMetadata(FOLDER);
  const [metadata, running, conditions] = await Promise.all([
    reading,
    openSession(FOLDER, reading, options),
    reading.then((metadata) => openConditions(FOLDER, metadata)),
  ]);
  const shape = metadata.inputs.find(({ name }) => name === "noise").shape.slice(1);
  return { ...running, metadata, conditions, shape, size: shape.reduce((a, b) => a * b) };
}

function told({ metadata, conditions, kind: backend, threads }) {
  const files = performance.getEntriesByType("resource").map(({ name, encodedBodySize }) => [name, encodedBodySize]);
  const { kind, texts } = conditions;
  return { metadata, condition: { kind, texts }, backend, threads, files };
}

// Images [B, *shape] of starts and, where they are asked for, their noises and the states of all submodules.
async function make({ ort, session, metadata, conditions, shape, size }, { starts, condition, states }) {
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
