// The student, as the page has it: a worker that answers requests in their order. It starts before the page is there.

class Student {
  #worker = new Worker(new URL(`worker.mjs${location.search}`, import.meta.url), { type: "module" });
  #broken = null;
  #waiting = new Map();
  #count = 0;

  constructor() {
    this.#worker.onmessage = ({ data: { id, result, error } }) => {
      const { resolve, reject } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error === undefined) resolve(result);
      else reject(new Error(error));
    };
    this.#worker.onerror = (event) => {
      event.preventDefault?.();
      this.#broken = new Error(`the page's worker must start, got ${event.message ?? "an error"}; serve the whole folder`);
      for (const { reject } of this.#waiting.values()) reject(this.#broken);
      this.#waiting.clear();
    };
  }

  async open() {
    Object.assign(this, await this.#ask({ kind: "open" }));
    const dims = (wanted) => wanted.shape.slice(1);
    this.stateShape = dims(this.metadata.inputs.find(({ name }) => name === "noise"));
    this.imageShape = dims(this.metadata.outputs.find(({ name }) => name === "images"));
    return this;
  }

  // Images [B, C, H, W] in [0, 1], one float32 after the other; see worker.mjs.
  make(starts, condition = null, states = false) {
    return this.#ask({ kind: "make", starts, condition, states });
  }

  get submodules() {
    return this.metadata.student.timesteps.length - 1;
  }

  // The clean estimate F_k of submodule k: its state is skip_k * noise + gain_k * F_k.
  estimate(k, { noise, states }) {
    const [skip, gain] = [this.metadata.student.skip[k], this.metadata.student.gain[k]];
    if (Math.abs(gain) < 1e-6) return states[k];
    return states[k].map((value, n) => (value - skip * noise[n]) / gain);
  }

  #ask(request) {
    if (this.#broken) return Promise.reject(this.#broken);
    const id = this.#count++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ id, ...request });
    });
  }
}

export const student = new Student();
