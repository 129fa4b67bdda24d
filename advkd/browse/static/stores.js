// The list of stores, as it is read and as it changes: sorted, filtered, two of them compared.

import { UrlState, byId, thousands, trouble } from "./page.js";

const url = new UrlState({ filter: "", sort: "" });
const rows = () => [...document.querySelectorAll("#stores tbody tr")];
const NUMBERS = ["samples", "bytes", "written"];

// What a row shows, age aside.
const of = (row) => `${row.dataset.store} ${row.dataset.samples} ${row.querySelector(".state").className} ${row.dataset.store ? row.dataset.bytes : row.textContent}`;

// All words of the filter stand in a row; the link says them.
function arrange() {
  const wanted = url.get("filter").toLowerCase().split(/\s+/);
  for (const row of rows()) {
    const text = row.textContent.replace(/\s+/g, " ").toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
  }
  const [key, down] = [url.get("sort").replace("-", ""), url.get("sort").startsWith("-")];
  for (const head of document.querySelectorAll("[data-sort]")) {
    head.setAttribute("aria-sort", head.dataset.sort !== key ? "none" : down ? "descending" : "ascending");
  }
  if (!key) return;
  const value = (row) => (NUMBERS.includes(key) ? Number(row.dataset[key] ?? -1) : row.dataset[key] ?? "");
  const sorted = rows().map((row) => [value(row), row]).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (down) sorted.reverse();
  byId("stores").tBodies[0].append(...sorted.map(([, row]) => row));
}

// Two that are ticked; a third takes the place of the first.
const ticked = [];
function compare() {
  for (const box of document.querySelectorAll("#stores input")) box.checked = ticked.includes(box.value);
  byId("compare").hidden = ticked.length < 2;
  byId("compare").href = `/s/${ticked[0]}/gallery?with=${ticked[1]}`;
}

// The page itself holds the rows: it is asked for again, and what changed takes its place.
async function look() {
  let pause = 10;
  try {
    const answer = await fetch("/?all", { headers: { Accept: "text/html" } });
    if (!answer.ok) throw Object.assign(new Error(answer.statusText), { title: `Error ${answer.status}` });
    const next = new DOMParser().parseFromString(await answer.text(), "text/html");
    const [held, changed] = [new Map(rows().map((row) => [of(row), row])), []];
    for (const row of next.querySelectorAll("#stores tbody tr")) {
      const same = held.get(of(row));
      if (same?.dataset.store) same.lastElementChild.textContent = row.lastElementChild.textContent;
      changed.push(same ?? row);
    }
    const focused = document.activeElement?.closest?.("tr")?.dataset.store;
    if (changed.length !== held.size || changed.some((row) => !held.has(of(row)))) byId("stores").tBodies[0].replaceChildren(...changed);
    arrange();
    compare();
    if (focused && document.activeElement === document.body) document.querySelector(`tr[data-store="${focused}"] .open`)?.focus();
    const reading = next.getElementById("reading") !== null;
    byId("count").textContent = thousands(rows().length) + (reading ? ", reading more …" : "");
    byId("none").hidden = rows().length > 0 || reading;
    byId("list").hidden = rows().length === 0;
    pause = reading ? 0.7 : next.querySelector(".state.growing") || rows().length === 0 ? 3 : 10;
    trouble("stores", null);
  } catch (error) {
    trouble("stores", { title: error.title ?? "advkd browse does not answer", message: "Is it still running?" });
    pause = 2;
  }
  setTimeout(look, 1000 * pause * (document.hidden ? 10 : 1));
}

byId("filter").addEventListener("input", ({ target }) => { url.set({ filter: target.value }); arrange(); });
byId("filter").value = url.get("filter");
byId("stores").addEventListener("change", ({ target }) => {
  const at = ticked.indexOf(target.value);
  if (at >= 0) ticked.splice(at, 1);
  else ticked.push(target.value);
  if (ticked.length > 2) ticked.shift();
  compare();
});
for (const head of document.querySelectorAll("[data-sort] button")) head.addEventListener("click", () => {
  const key = head.closest("th").dataset.sort;
  const first = NUMBERS.includes(key) ? `-${key}` : key;
  url.set({ sort: url.get("sort") === first ? (first === key ? `-${key}` : key) : first });
  arrange();
});

arrange();
setTimeout(look, byId("reading") ? 300 : 3000);
