// A wall of samples: one canvas that is drawn from sprite sheets, links over it, endless in both directions. And walls
// beside a store's own: what it is compared with, and how far both are apart; one slider, one scroll.

import { brief, byId, colour, drawn, fitted, make, nearest, page, thousands, timeText } from "./page.js";
import { Sheets } from "./sheets.js";

const TALLEST = 4e6; // browsers give up at about 3e7 pixels; a store of 10^8 samples is shown through a window
const GAP = 3;
const CAPTION = 15;

export class Wall {
  // `source`: { count, number(rank), value(rank) }; `tile`: [width, height] of a state in pixels.
  constructor(root, { sheets, tile, chunk, timesteps, href, onscroll }) {
    Object.assign(this, { root, sheets, tile, chunk, timesteps, href, onscroll });
    this.canvas = make("canvas", { class: "wall-canvas", "aria-hidden": "true" });
    this.links = make("div", { class: "wall-links" });
    this.space = make("div", { class: "wall-space" }, this.canvas, this.links);
    root.replaceChildren(this.space);
    this.source = { count: 0, number: (rank) => rank };
    this.size = 64;
    this.t = timesteps[timesteps.length - 1];
    this.base = 0;
    this.pool = [];
    root.addEventListener("scroll", () => this.scrolled(), { passive: true });
    drawn(root, () => this.layout());
    // The browser takes a canvas's memory away when its graphics process ends, and gives an empty one back.
    this.canvas.addEventListener("contextrestored", () => this.draw());
  }

  show(source) {
    this.source = source;
    for (const link of this.pool) delete link.dataset.shown;
    this.layout();
  }

  // Sizes that show pixels as whole squares where they fit.
  measure() {
    const [width, height] = this.tile;
    const scale = this.size / Math.max(width, height);
    const whole = scale >= 1 ? Math.round(scale) : scale;
    this.tileWidth = Math.max(8, Math.round(width * whole));
    this.tileHeight = Math.max(8, Math.round(height * whole));
    this.caption = this.source.value || this.told ? CAPTION : 0;
    this.rowHeight = this.tileHeight + GAP + this.caption;
    return Math.max(1, Math.floor((this.root.clientWidth - GAP) / (this.tileWidth + GAP)));
  }

  // Walls that are linked have as many columns as the narrowest has room for, so that their rows agree.
  layout(first = this.first()) {
    this.columns = Math.min(...[this, ...(this.linked ?? [])].map((wall) => wall.measure()));
    this.rows = Math.ceil(this.source.count / this.columns);
    this.go(first);
  }

  // Puts a rank into the first row.
  go(rank) {
    this.goRow(Math.floor(Math.max(0, Math.min(rank, this.source.count - 1)) / this.columns));
  }

  // Scrolls to a row, of which a part may be above.
  goRow(row) {
    const fitting = Math.floor(TALLEST / this.rowHeight);
    this.base = this.rows <= fitting ? 0 : Math.max(0, Math.min(Math.floor(row) - (fitting >> 1), this.rows - fitting));
    this.shownRows = Math.min(fitting, this.rows - this.base);
    this.space.style.height = `${Math.max(this.shownRows * this.rowHeight + GAP, this.root.clientHeight)}px`;
    this.root.scrollTop = (row - this.base) * this.rowHeight;
    // Where it was put, to tell what people scroll from what follows them.
    this.put = this.root.scrollTop;
    this.draw();
  }

  get row() {
    return this.base + this.root.scrollTop / this.rowHeight;
  }

  first() {
    if (!this.rowHeight) return 0;
    return (this.base + Math.round(this.root.scrollTop / this.rowHeight)) * this.columns;
  }

  scrolled() {
    const top = this.root.scrollTop;
    const end = this.shownRows * this.rowHeight - this.root.clientHeight;
    const more = this.base > 0 || this.base + this.shownRows < this.rows;
    if (more && ((top < 2000 && this.base > 0) || (top > end - 2000 && this.base + this.shownRows < this.rows))) {
      this.goRow(this.row);
      this.put = null;
    }
    this.draw();
    this.onscroll?.(this.first());
  }

  // Whether what is shown is whole, and drawn.
  get settled() {
    return !this.frame && this.sheets.settled;
  }

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.paint();
    });
  }

  paint() {
    if (!this.rowHeight) return;
    const [width, height] = [this.root.clientWidth, this.root.clientHeight];
    const pen = fitted(this.canvas, width, height);
    pen.imageSmoothingQuality = "high";
    const blank = colour("line");
    const top = this.root.scrollTop;
    const begin = (this.base + Math.floor(top / this.rowHeight)) * this.columns;
    const rows = Math.ceil(height / this.rowHeight) + 1;
    const end = Math.min(this.source.count, begin + rows * this.columns);
    for (let rank = begin; rank < end; rank += 1) this.paintTile(pen, rank, top, blank);
    this.link(begin, end);
    this.ask(begin, end);
    this.painted = (this.painted || 0) + 1;
  }

  get keys() {
    const by = (rows) => () => this.root.scrollBy({ top: rows() });
    return {
      ArrowUp: by(() => -this.rowHeight),
      ArrowDown: by(() => this.rowHeight),
      PageUp: by(() => -0.9 * this.root.clientHeight),
      PageDown: by(() => 0.9 * this.root.clientHeight),
    };
  }

  place(rank) {
    const row = Math.floor(rank / this.columns) - this.base;
    return [GAP + (rank % this.columns) * (this.tileWidth + GAP), GAP + row * this.rowHeight];
  }

  paintTile(pen, rank, top, blank) {
    const [x, down] = this.place(rank);
    const y = down - top;
    const samples = this.samples(Math.floor(rank / this.chunk));
    let sheet = this.sheets.get(samples, this.t);
    if (!sheet) {
      // Until it is there: what was there last, faint.
      sheet = this.lastT !== undefined && this.sheets.get(samples, this.lastT);
      pen.globalAlpha = 0.3;
    }
    if (sheet) {
      const cell = rank % this.chunk;
      const [column, row] = [cell % sheet.columns, Math.floor(cell / sheet.columns)];
      // Pixels are squares, but an image that is shown smaller than it is has none.
      pen.imageSmoothingEnabled = sheet.width > this.tileWidth;
      pen.drawImage(
        sheet.image, column * sheet.width, row * sheet.height, sheet.width, sheet.height,
        x, y, this.tileWidth, this.tileHeight,
      );
    }
    pen.globalAlpha = 1;
    if (sheet) return;
    pen.fillStyle = blank;
    pen.fillRect(x, y, this.tileWidth, this.tileHeight);
  }

  // Samples of a chunk of ranks, as the server wants them.
  samples(chunk) {
    const first = chunk * this.chunk;
    const last = Math.min(first + this.chunk, this.source.count) - 1;
    if (this.source.natural) return `${first}-${last}`;
    const [texts, key] = [(this.source.texts ??= new Map()), `${first} ${last}`];
    if (!texts.has(key)) {
      const numbers = Array.from({ length: last + 1 - first }, (_, k) => this.source.number(first + k));
      texts.set(key, numbers.join(","));
    }
    return texts.get(key);
  }

  // What is seen first, then its other timesteps, nearest first, then the neighbours.
  ask(begin, end) {
    if (end <= begin) return this.sheets.need([]);
    const first = Math.floor(begin / this.chunk);
    const last = Math.floor((end - 1) / this.chunk);
    const most = Math.ceil(this.source.count / this.chunk) - 1;
    const seen = [];
    for (let chunk = first; chunk <= last; chunk += 1) seen.push(chunk);
    const there = [last + 1, first - 1].filter((chunk) => chunk >= 0 && chunk <= most);
    const here = this.timesteps.indexOf(this.t);
    const others = this.timesteps.filter((t) => t !== this.t);
    others.sort((a, b) => Math.abs(this.timesteps.indexOf(a) - here) - Math.abs(this.timesteps.indexOf(b) - here));
    const list = [];
    for (const [chunks, times] of [[seen, [this.t]], [seen, others], [there, [this.t]], [there, others]]) {
      for (const t of times) for (const chunk of chunks) list.push({ samples: this.samples(chunk), t });
    }
    return this.sheets.need(list);
  }

  setTime(t) {
    if (t === this.t) return;
    this.lastT = this.t;
    this.t = t;
    this.draw();
  }

  link(begin, end) {
    while (this.pool.length < end - begin) {
      const made = make("a", { class: "tile" }, make("small"));
      this.pool.push(made);
      this.links.append(made);
    }
    this.pool.forEach((link, position) => {
      const rank = begin + position;
      link.hidden = rank >= end;
      if (link.hidden) return;
      const number = this.source.number(rank);
      const [x, y] = this.place(rank);
      link.style.transform = `translate(${x}px, ${y}px)`;
      link.style.width = `${this.tileWidth}px`;
      link.style.height = `${this.tileHeight}px`;
      const mark = this.sheets.get(this.samples(Math.floor(rank / this.chunk)), this.t)?.marks[number] ?? "";
      const told = this.told?.get(number) ?? "";
      const value = this.source.value?.(rank);
      const [flagged, shown] = [this.flagged?.(number) ?? false, [number, this.t, rank, mark, told, value].join()];
      link.classList.toggle("flagged", flagged);
      if (link.dataset.shown === shown) return;
      Object.assign(link.dataset, { shown, mark, sample: number, t: this.t });
      link.href = this.href(number, this.t, rank);
      const name = `Sample ${thousands(number)}${told ? `, ${told}` : ""}`;
      link.setAttribute("aria-label", mark ? `${name}, ${mark}` : name);
      link.title = name;
      const text = value === undefined ? "" : Math.abs(value) < 100 ? value.toFixed(3) : brief(value);
      const caption = `${text} ${told}`.trim();
      if (link.textContent !== caption) link.firstChild.textContent = caption;
    });
  }
}

// All walls of the page, the store's own first; `own` names what that shows.
export function beside(wall, url, own) {
  const other = page.beside;
  if (!other) return [wall];
  const right = new Sheets(other.side, () => made[1].draw());
  right.how = other.how;
  const less = () => `/api/sheet/${own()}?${new URLSearchParams({ less: other.side, most: url.get("most") })}`;
  const apart = new Sheets("difference", () => made[2].draw(), less);
  const { timesteps, href } = wall;
  const made = [
    wall,
    new Wall(byId("right-wall"), { ...other, sheets: right, href }),
    ...(other.refused ? [] : [new Wall(byId("apart-wall"), { ...page.looks[""], timesteps, sheets: apart, href })]),
  ];
  for (const each of made) {
    each.linked = made.filter((one) => one !== each);
    // A wall that is scrolled takes the others along, to the same part of the same row.
    each.onscroll = (first) => {
      if (each.root.scrollTop === each.put) return;
      for (const one of each.linked) one.goRow(each.row);
      url.set({ at: first });
    };
  }
  return made;
}

// Shows a timestep on every wall, or the nearest that it has; the first shows `t` itself.
export function setTime(made, t) {
  for (const [k, wall] of made.entries()) {
    const here = k === 0 ? t : nearest(wall.timesteps, t);
    wall.setTime(here);
    const title = byId(`${wall.root.id}-time`);
    if (title) title.textContent = timeText(here);
  }
}
