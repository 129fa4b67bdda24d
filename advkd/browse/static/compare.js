// Two walls on the same samples: one slider, one scroll, the largest disagreements first.

import { bound, sized } from "./controls.js";
import { Player } from "./player.js";
import { UrlState, byId, keys, nearest, page, thousands, timeText, trouble, watchShards } from "./page.js";
import { ORDER, linked, listed, natural, ordered } from "./order.js";
import { Sheets } from "./sheets.js";
import { Wall } from "./wall.js";

if (page.sides?.left) begin(page.sides.left, page.sides.right);

function begin(left, right) {
  const clean = left.timesteps[left.timesteps.length - 1];
  const url = new UrlState({
    ...ORDER, t: String(clean), at: "0", by: page.subtracted ? "disagreement" : "number", size: "64", bt: String(clean),
    most: "0.5",
  });
  Object.assign(url.values, { left: left.side, right: right.side });
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
    sheets.how = side.how;
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

  for (const wall of walls) {
    wall.linked = walls.filter((other) => other !== wall);
    // A wall that is scrolled takes the others along, to the same part of the same row.
    wall.onscroll = (first) => {
      if (wall.root.scrollTop === wall.put) return;
      for (const other of wall.linked) other.goRow(wall.row);
      url.set({ at: first });
    };
    watchShards(wall.side.store, (_, changed) => changed && wall.sheets.refresh());
  }

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
      wall.layout();
    }
  }

  function resort() {
    url.set({ bt: player.t });
    reorder();
  }

  async function reorder(first = 0) {
    byId("seed").closest("label").hidden = url.get("by") === "number";
    const count = Math.min(left.samples, right.samples);
    let source = { count, natural: true, number: (rank) => rank };
    let text = `${thousands(count)} numbers that both have`;
    if (url.get("by") === "disagreement") {
      byId("status").textContent = "Comparing …";
      try {
        const order = await ordered(left.store, url, url.get("bt"));
        trouble("order", null);
        source = listed(order, url);
        text = `RMSE at ${timeText(Number(url.get("bt")))}, of ${order.what}`;
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

  for (const id of ["left", "right"]) byId(id).addEventListener("change", () => {
    const next = new URL(url.url(), location);
    next.searchParams.set(id, byId(id).value);
    next.searchParams.delete("at");
    location.href = next;
  });
  for (const id of ["by", "seed"]) bound(url, id, resort);
  bound(url, "most", look);
  const sizes = sized(url, look);
  player.put(url.get("t"));
  choose(player.t);
  look();
  reorder(Number(url.get("at")));
  keys({ ...player.keys, ...walls[0].keys, ...sizes });
  window.advkdWall = walls[walls.length - 1];
}
