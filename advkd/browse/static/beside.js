// Walls beside a store's own: what it is compared with, and how far both are apart; one slider, one scroll.

import { byId, nearest, page, timeText } from "./page.js";
import { Sheets } from "./sheets.js";
import { Wall } from "./wall.js";

// All walls of the page, the store's own first; `own` names what that shows.
export function walls(wall, url, own) {
  const { beside } = page;
  if (!beside) return [wall];
  const right = new Sheets(beside.side, () => made[1].draw());
  right.how = beside.how;
  const less = () => `/api/sheet/${own()}?${new URLSearchParams({ less: beside.side, most: url.get("most") })}`;
  const apart = new Sheets("difference", () => made[2].draw(), less);
  const { timesteps, href } = wall;
  const made = [
    wall,
    new Wall(byId("right-wall"), { ...beside, sheets: right, href }),
    ...(beside.refused ? [] : [new Wall(byId("apart-wall"), { ...page.looks[""], timesteps, sheets: apart, href })]),
  ];
  for (const each of made) {
    each.linked = made.filter((other) => other !== each);
    // A wall that is scrolled takes the others along, to the same part of the same row.
    each.onscroll = (first) => {
      if (each.root.scrollTop === each.put) return;
      for (const other of each.linked) other.goRow(each.row);
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
