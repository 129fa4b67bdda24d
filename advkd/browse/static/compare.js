// Two walls on the same samples: one slider, one scroll, the largest disagreements first.

import { Player } from "./player.js";
import { UrlState, byId, get, keys, page, thousands, timeText, trouble, watch } from "./page.js";
import { ORDER, linked, listed, natural, ordered } from "./order.js";
import { Sheets } from "./sheets.js";
import { Wall } from "./wall.js";

const SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256];

if (page.sides?.left) begin(page.sides.left, page.sides.right);

function begin(left, right) {
  const clean = left.timesteps[left.timesteps.length - 1];
  const url = new UrlState({
    ...ORDER, t: String(clean), at: "0", by: page.subtracted ? "disagreement" : "number", size: "64", smooth: "", bt: String(clean),
    most: "0.5",
  });
  Object.assign(url.values, { left: left.side, right: right.side });
  const nearest = (grid, t) => grid.reduce((best, each) => (Math.abs(each - t) < Math.abs(best - t) ? each : best));
  const player = new Player(left.timesteps, (t) => {
    choose(t);
    url.set({ t });
  });
  const chunk = Math.min(left.chunk, right.chunk);
  // The third wall is |left - right|; white from `most` on, which its title says.
  const apart = () => `/api/difference?${new URLSearchParams({ left: left.side, right: right.side, most: url.get("most") })}`;
  const shown = [["left", left], ["right", right], ...(page.subtracted ? [["apart", left, apart]] : [])];
  const walls = shown.map(([name, side, path]) => {
    const sheets = new Sheets(side.side, () => wall.draw(), path);
    const wall = new Wall(byId(`${name}-wall`), {
      sheets,
      chunk,
      tile: side.tile,
      timesteps: side.timesteps,
      href: (number, t, rank) => linked(url, number, natural(url) ? "" : rank, side.store, {
        t: t === clean ? "" : t, ...(natural(url) ? { bt: "", left: "", right: "" } : {}),
      }),
    });
    return Object.assign(wall, { side, title: byId(`${name}-time`) });
  });

  for (const wall of walls) wall.linked = walls.filter((other) => other !== wall);

  function choose(t) {
    for (const wall of walls) {
      const here = nearest(wall.side.timesteps, t);
      wall.setTime(here);
      wall.title.textContent = timeText(here);
    }
  }

  function look() {
    for (const wall of walls) {
      wall.size = Number(url.get("size"));
      wall.smooth = url.get("smooth") === "1";
      wall.layout();
    }
  }

  async function reorder(first = 0) {
    const by = url.get("by");
    byId("seed").closest("label").hidden = by === "number";
    const count = Math.min(left.samples, right.samples);
    let source = { count, natural: true, number: (rank) => rank };
    let text = `${thousands(count)} numbers that both have`;
    if (by === "disagreement") {
      byId("status").textContent = "Comparing …";
      try {
        const found = await ordered(left.store, url, url.get("bt"));
        trouble("order", null);
        source = listed(found, false, url);
        text = `RMSE at ${timeText(Number(url.get("bt")))}, of ${found.what}`;
      } catch (refused) {
        text = refused.message;
        if (refused.passing) trouble("order", refused);
      }
    }
    byId("status").textContent = text;
    for (const wall of walls) {
      wall.show(source);
      wall.layout(first);
    }
  }

  // A wall that is scrolled takes the others along, to the same part of the same row.
  for (const wall of walls) wall.onscroll = (first) => {
    if (wall.root.scrollTop === wall.put) return;
    for (const other of wall.linked) other.goRow(wall.row);
    url.set({ at: first });
  };

  function resize(by) {
    const now = SIZES.findIndex((size) => size >= Number(url.get("size")));
    url.set({ size: SIZES[Math.max(0, Math.min(SIZES.length - 1, now + by))] });
    look();
  }

  const bind = (id, event, change) => byId(id)?.addEventListener(event, (happened) => change(happened.target));
  for (const id of ["left", "right"]) bind(id, "change", () => {
    const next = new URL(url.url(), location);
    next.searchParams.set("left", byId("left").value);
    next.searchParams.set("right", byId("right").value);
    next.searchParams.delete("at");
    location.href = next;
  });
  bind("by", "change", (field) => { url.set({ by: field.value, bt: player.t }); reorder(); });
  bind("seed", "change", (field) => { url.set({ seed: field.value.replace(/\D/g, "") || "0", bt: player.t }); reorder(); });
  bind("smooth", "change", (box) => { url.set({ smooth: box.checked ? "1" : "" }); look(); });
  bind("most", "change", (field) => {
    url.set({ most: field.value });
    look();
  });
  bind("smaller", "click", () => resize(-1));
  bind("larger", "click", () => resize(1));

  byId("by").value = url.get("by");
  byId("seed").value = url.get("seed");
  if (byId("most")) byId("most").value = url.get("most");
  byId("smooth").checked = url.get("smooth") === "1";
  player.put(url.get("t"));
  choose(player.t);
  look();
  reorder(Number(url.get("at")));
  keys({
    ArrowLeft: () => player.step(-1),
    ArrowRight: () => player.step(1),
    ArrowUp: () => walls[0].root.scrollBy({ top: -walls[0].rowHeight }),
    ArrowDown: () => walls[0].root.scrollBy({ top: walls[0].rowHeight }),
    PageUp: () => walls[0].root.scrollBy({ top: -walls[0].root.clientHeight * 0.9 }),
    PageDown: () => walls[0].root.scrollBy({ top: walls[0].root.clientHeight * 0.9 }),
    " ": () => player.toggle(),
    "+": () => resize(1),
    "=": () => resize(1),
    "-": () => resize(-1),
  });
  walls.forEach((wall) => watch(`store ${wall.side.store}`, async () => {
    const found = await (await get(`/api/stores/${wall.side.store}/shards`)).json();
    if (wall.stamp !== undefined && wall.stamp !== found.stamp) wall.sheets.refresh();
    wall.stamp = found.stamp;
    return found.state === "growing" ? 3 : 10;
  }, 10));
  window.advkdWall = walls[walls.length - 1];
}
