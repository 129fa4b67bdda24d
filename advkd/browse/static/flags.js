// Flagged samples: in the link, in the browser and, with --notes, in a file; a tray shows and exports them.

import { byId, get, json, make, page, thousands, trouble } from "./page.js";

const KEY = `flags ${page.store}`;
const UNSENT = `unsent ${page.store}`;
const MOST = 200;
const parsed = (text) => (text ?? "").split(",").filter((each) => /^\d+$/.test(each)).map(Number).filter((each) => each < page.samples);
const unsent = () => JSON.parse(localStorage.getItem(UNSENT) ?? "{}");
const present = (texts) => Object.fromEntries(Object.entries(texts).filter(([, text]) => text !== null));

export class Flags {
  // `url`: state with "flags"; `onchange` is told of every change.
  constructor(url, onchange) {
    Object.assign(this, { url, onchange, notes: {} });
    // A link adds its flags; a page that is shown again has those that the browser knows.
    const again = performance.getEntriesByType("navigation")[0]?.type !== "navigate" && localStorage.getItem(KEY) !== null;
    this.samples = new Set([...parsed(localStorage.getItem(KEY)), ...(again ? [] : parsed(url.get("flags")))].slice(0, MOST));
    byId("tray-clear").addEventListener("click", () => this.set([...this.samples], false));
    byId("tray").addEventListener("toggle", () => this.show());
    this.keep();
    // One request after another: an answer never undoes what is changed while it is on its way.
    this.done = page.notes ? this.send().then(() => this.load()) : null;
  }

  has(sample) {
    return this.samples.has(sample);
  }

  toggle(sample) {
    this.set([sample], !this.has(sample));
  }

  set(samples, flagged) {
    const changed = {};
    for (const sample of samples.slice(0, MOST)) {
      if (this.has(sample) === flagged || (flagged && this.samples.size >= MOST)) continue;
      if (flagged) this.samples.add(sample);
      else this.samples.delete(sample);
      changed[sample] = flagged ? this.notes[sample] ?? "" : null;
    }
    this.write(changed);
    this.keep();
  }

  keep() {
    const text = [...this.samples].join(",");
    this.url.set({ flags: text });
    localStorage.setItem(KEY, text);
    this.show();
    this.onchange(this);
  }

  async load() {
    try {
      this.notes = present({ ...(await json(`/api/stores/${page.store}/notes`)).notes, ...unsent() });
      for (const sample of Object.keys(this.notes)) if (this.samples.size < MOST) this.samples.add(Number(sample));
      this.keep();
    } catch (error) {
      trouble("notes", error);
    }
  }

  write(texts) {
    if (!page.notes || !Object.keys(texts).length) return;
    this.notes = present({ ...this.notes, ...texts });
    localStorage.setItem(UNSENT, JSON.stringify({ ...unsent(), ...texts }));
    this.done = this.done.then(() => this.send());
  }

  // Sends what the file does not have yet. The next page sends again what was not taken, unless it is no note at all.
  async send() {
    const texts = {};
    for (const [sample, text] of Object.entries(unsent())) {
      texts[sample] = text;
      // The server takes 16 kB at once.
      if (JSON.stringify(texts).length > 4000) break;
    }
    if (!Object.keys(texts).length) return;
    const headers = { "Content-Type": "application/json" };
    const sent = { method: "POST", headers, body: JSON.stringify(texts), keepalive: true };
    try {
      await (await get(`/api/stores/${page.store}/notes`, sent)).json();
      trouble("notes", null);
    } catch (error) {
      trouble("notes", error);
      if (error.status !== 400) return;
    }
    const later = Object.entries(unsent()).filter(([sample, text]) => text !== texts[sample]);
    localStorage.setItem(UNSENT, JSON.stringify(Object.fromEntries(later)));
    await this.send();
  }

  show() {
    const [tray, samples] = [byId("tray"), [...this.samples].sort((a, b) => a - b)];
    tray.hidden = samples.length === 0;
    byId("tray-count").textContent = `${thousands(samples.length)} flagged`;
    byId("tray-export").replaceChildren(...exports(samples));
    if (!tray.open) return;
    byId("tray-tiles").replaceChildren(...samples.map((sample) => {
      const picture = make("img", { class: "pixels", loading: "lazy", alt: "", src: `/api/sheet/${page.store}?samples=${sample}` });
      const link = make("a", { href: `/s/${page.store}/sample/${sample}` }, picture, thousands(sample));
      if (!page.notes) return link;
      const note = make("input", { "aria-label": `Note on sample ${sample}`, maxlength: 500, placeholder: "note", value: this.notes[sample] ?? "" });
      note.addEventListener("change", () => this.write({ [sample]: note.value }));
      return make("div", {}, link, note);
    }));
  }
}

// Links to files of samples with the outputs and errors of all students that fit.
export function exports(samples, forms = ["npz", "PNG", "CSV"]) {
  const numbers = page.students.filter((one) => one.refused === null).map(({ number }) => `&student=${number}`);
  const query = `?samples=${samples.slice(0, 256).join(",")}${numbers.join("")}`;
  const link = (form) => `/s/${page.store}/export.${form.toLowerCase()}${query}`;
  return forms.map((form) => make("a", { href: link(form), download: "" }, form));
}
