// The network in ONNX Runtime: by WebGPU where there is one, else in WebAssembly. Runs in a worker.
//
// Nothing is trusted: the files are those that metadata.json describes, or the reason is said.

const FORMAT = "advkd-onnx-1";
const RUNTIME = new URL("../runtime/", import.meta.url);
const BUILDS = {
  webgpu: ["ort.webgpu.min.mjs", "ort-wasm-simd-threaded.asyncify"],
  wasm: ["ort.wasm.min.mjs", "ort-wasm-simd-threaded"],
};

export class Refused extends Error {}

export async function readMetadata(folder) {
  const answer = await fetched(new URL("metadata.json", folder));
  let metadata;
  try {
    metadata = JSON.parse(new TextDecoder().decode(answer));
  } catch {
    throw new Refused("metadata.json must be whole, got a damaged one; export the student again");
  }
  if (metadata?.format !== FORMAT) {
    throw new Refused(
      `an exported student must be of the format ${FORMAT}, got ${metadata?.format}; export it again with this page`,
    );
  }
  return metadata;
}

// Returns the session, what it runs on, and ONNX Runtime's module, once the metadata is read.
export async function openSession(folder, reading, { backend, threads }) {
  const starting = backends(backend, threads);
  const metadata = await reading;
  const model = Object.values(metadata.models)[0];
  const [kinds, content] = await Promise.all([starting, network(folder, model)]);
  const reasons = [];
  for (const kind of kinds) {
    try {
      return await opened(kind, content, kind === "wasm" ? threads : 1);
    } catch (error) {
      reasons.push(`${kind}: ${String(error?.message ?? error).split("\n")[0].slice(0, 200)}`);
    }
  }
  throw new Refused(
    `a network must be one that this page's ONNX Runtime runs, got opset ${metadata.opset} in ${model.file} ` +
      `(${reasons.join("; ")}); use a newer browser, or export the student again`,
  );
}

export async function fetched(address, options) {
  let answer;
  try {
    answer = await fetch(address, options);
  } catch (error) {
    throw new Refused(`${address.pathname} must be served beside this page, got ${error.message}; serve the whole folder`);
  }
  if (!answer.ok) {
    throw new Refused(`${address.pathname} must be served beside this page, got ${answer.status}; copy the whole folder`);
  }
  return new Uint8Array(await answer.arrayBuffer());
}

async function opened(kind, content, threads) {
  const ort = await configured(kind, threads);
  const session = await ort.InferenceSession.create(content, { executionProviders: [kind], graphOptimizationLevel: "all" });
  return { ort, session, kind, threads };
}

async function configured(kind, threads) {
  const [module, build] = BUILDS[kind];
  const ort = await import(new URL(module, RUNTIME));
  ort.env.wasm.wasmPaths = { mjs: new URL(`${build}.mjs`, RUNTIME).href, wasm: new URL(`${build}.wasm`, RUNTIME).href };
  ort.env.wasm.numThreads = threads;
  ort.env.logLevel = "fatal";
  return ort;
}

// What can be tried, the best first. The runtime starts at once, while the network is on its way: no network is refused.
async function backends(asked, threads) {
  const adapter = asked === "wasm" ? null : await navigator.gpu?.requestAdapter().catch(() => null);
  const kinds = adapter ? ["webgpu", "wasm"] : ["wasm"];
  // Whoever opens the network says why it cannot be.
  await configured(kinds[0], threads).then((ort) => ort.InferenceSession.create(new Uint8Array())).catch(() => null);
  return kinds;
}

async function network(folder, model) {
  const content = await fetched(new URL(model.file, folder));
  // Browsers hash only on pages that came over TLS or from this machine.
  const hash = globalThis.crypto?.subtle && (await crypto.subtle.digest("SHA-256", content));
  const sha256 = hash && [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  if (content.length !== model.bytes || (sha256 && sha256 !== model.sha256)) {
    throw new Refused(
      `a network must be the one that metadata.json describes, got ${content.length} bytes of another one in ` +
        `${model.file} (it has ${model.bytes}); copy the folder again`,
    );
  }
  return content;
}
