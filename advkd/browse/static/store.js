// A store's page: how its values are spread, and whether it grows.

import { bars } from "./chart.js";
import { brief, byId, json, make, page, thousands, timeText, trouble, watchStore } from "./page.js";

async function histograms() {
  const place = byId("histograms");
  try {
    const spread = await json(`/api/stores/${page.store}/histograms`);
    trouble("histograms", null);
    const figures = page.timesteps.filter((t) => spread.timesteps[t]).map((t) => histogram(t, spread.timesteps[t]));
    place.replaceChildren(...figures, make("p", { class: "soft" }, `Over ${spread.what}.`));
    if (spread.beyond < 1e-3) return;
    const { low, high } = spread.timesteps[page.timesteps[page.timesteps.length - 1]];
    byId("beyond").textContent = `${brief(100 * spread.beyond)} % of clean values beyond [−1, 1], ${brief(low)} to ${brief(high)}`;
    byId("beyond").classList.toggle("refused", Math.max(-low, high) > 2);
  } catch (error) {
    trouble("histograms", error);
    setTimeout(histograms, 4000);
  } finally {
    place.removeAttribute("aria-busy");
  }
}

function histogram(t, { low, high, counts }) {
  const [svg, range] = [bars(counts, low, high), `${brief(low)} to ${brief(high)}`];
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Histogram at ${timeText(t)}, values ${range}`);
  return make("figure", {}, svg, make("figcaption", {}, make("b", {}, timeText(t)), ` ${range}`));
}

watchStore(page.store, (now, changed) => {
  byId("state").textContent = now.state;
  byId("state").className = `state ${now.state}`;
  byId("samples").textContent = `${thousands(now.samples)} samples`;
  // What else is on this page comes from the server: when the store is sealed, or has its first shard.
  if ((now.state === "sealed") !== page.sealed || (changed && !page.samples && now.samples)) location.reload();
});
histograms();
