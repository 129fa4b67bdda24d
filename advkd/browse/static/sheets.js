// Sprite sheets of one side: fetched in order of need, decoded once, kept while there is room.

import { get, trouble } from "./page.js";

const AT_ONCE = 4;
const MOST_PIXELS = 48e6;
const AGAIN_MS = 2500;

export class Sheets {
  // `side`: what is shown, as the server calls it; `path`: of the requests, up to the samples.
  constructor(side, onload, path = () => `/api/sheet/${this.side}?as=${this.how}`) {
    this.side = side;
    this.path = path;
    this.onload = onload;
    this.how = "";
    this.held = new Map();
    this.pixels = 0;
    this.running = new Map();
    this.wanted = [];
    this.failed = new Map();
  }

  key(samples, t) {
    return `${this.path()} ${t} ${samples}`;
  }

  get(samples, t) {
    const key = this.key(samples, t);
    const found = this.held.get(key);
    if (found) {
      this.held.delete(key);
      this.held.set(key, found);
    }
    return found;
  }

  // What is needed now, most urgent first; what was asked for before and has not begun is forgotten.
  need(list) {
    this.wanted = list;
    const keys = new Set(list.map(({ samples, t }) => this.key(samples, t)));
    for (const [key, control] of this.running) if (!keys.has(key)) control.abort();
    this.start();
  }

  // Whether all that is needed is there.
  get settled() {
    return this.wanted.length > 0 && this.wanted.every(({ samples, t }) => this.held.has(this.key(samples, t)));
  }

  start() {
    for (const { samples, t } of this.wanted) {
      if (this.running.size >= AT_ONCE) return;
      const key = this.key(samples, t);
      const [found, waits] = [this.held.get(key), this.failed.get(key) > performance.now()];
      if ((found && !found.stale) || this.running.has(key) || waits) continue;
      this.fetch(key, samples, t);
    }
  }

  async fetch(key, samples, t) {
    const control = new AbortController();
    this.running.set(key, control);
    try {
      const answer = await get(`${this.path()}&samples=${samples}&t=${t}`, control);
      const facts = JSON.parse(answer.headers.get("X-Advkd-Sheet"));
      const image = await createImageBitmap(await answer.blob());
      this.keep(key, { ...facts, image });
      this.failed.delete(key);
      trouble(`sheets ${this.side}`, null);
      this.onload();
    } catch (error) {
      if (error.name !== "AbortError") {
        this.failed.set(key, performance.now() + AGAIN_MS);
        trouble(`sheets ${this.side}`, error);
        setTimeout(() => this.start(), AGAIN_MS + 50);
      }
    } finally {
      this.running.delete(key);
      this.start();
    }
  }

  keep(key, sheet) {
    if (this.held.has(key)) this.drop(key, this.held.get(key));
    this.held.set(key, sheet);
    this.pixels += sheet.image.width * sheet.image.height;
    for (const [oldest, other] of this.held) {
      if (this.pixels <= MOST_PIXELS || oldest === key) break;
      this.drop(oldest, other);
    }
  }

  drop(key, sheet) {
    this.held.delete(key);
    this.pixels -= sheet.image.width * sheet.image.height;
    sheet.image.close();
  }

  // Sheets with marks may be whole by now: a shard was committed, or repaired. They stay until the new ones are here.
  refresh() {
    for (const sheet of this.held.values()) sheet.stale = Object.keys(sheet.marks).length > 0;
    this.failed.clear();
    this.start();
  }
}
