// An order of samples, as links tell it: by what, of which timestep, seed and label; least first, and the rank in it.

import { json, timeText } from "./page.js";

export const ORDER = {
  by: "number", bt: "", least: "", seed: "0", label: "", q: "", from: "", to: "", rank: "", show: "", with: "",
};

// Whether it is the order of all numbers, which needs no list.
export const natural = (url) => ["label", "q"].every((name) => !url.get(name)) && url.get("by") === "number";

// The server's list, largest first, at timestep `t`.
export async function ordered(store, url, t) {
  const [by, student] = url.get("by").split(":");
  const query = new URLSearchParams({ by, t, seed: url.get("seed") || "0" });
  for (const name of ["label", "q"]) if (url.get(name)) query.set(name, url.get(name));
  if (student !== undefined) query.set("to", `${store}~${student}`);
  if (by !== "disagreement") return json(`/api/stores/${store}/order?${query}`);
  query.set("by", "distance");
  query.set("to", url.get("with"));
  return json(`/api/stores/${side(store, url)}/order?${query}`);
}

// What a store's own wall shows, as the server calls it: the store, or a student on its noise.
export const side = (store, url) => (url.get("show") === "" ? store : `${store}~${url.get("show")}`);

// What a wall shows of a list: numbers below `end` whose values lie in the range that was brushed, from either end.
export function listed({ samples, values }, url, end = Infinity) {
  const [from, to] = [url.get("from"), url.get("to")].map(Number);
  const ranged = url.get("from") && values.length;
  const within = (k) => samples[k] < end && (!ranged || (values[k] >= from && values[k] <= to));
  const kept = samples.map((_, k) => k).filter(within);
  if (url.get("least") === "1") kept.reverse();
  return {
    count: kept.length,
    number: (rank) => samples[kept[rank]],
    value: values.length ? (rank) => values[kept[rank]] : undefined,
  };
}

// "by distance to tiny at t = 500"
export function words(url, students) {
  const [by, number] = url.get("by").split(":");
  const name = students.find((one) => String(one.number) === (number ?? "0"))?.name;
  const least = url.get("least") === "1" ? ", least first" : "";
  return `by ${by}${by === "distance" ? ` to ${name}` : ""}${by === "number" ? "" : ` at ${timeText(Number(url.get("bt")))}`}${least}`;
}

// The parameters of a link to the sample of a rank; `changes` are what the page knows better than its own link.
export function linked(url, number, rank, store, changes) {
  const query = new URLSearchParams();
  const told = Object.fromEntries(Object.keys(ORDER).map((name) => [name, url.get(name) ?? ORDER[name]]));
  const whole = { ...told, rank, ...changes };
  for (const [name, value] of Object.entries(whole)) if (value !== "" && String(value) !== ORDER[name]) query.set(name, value);
  const text = query.toString();
  return `/s/${store}/sample/${number}${text ? `?${text}` : ""}`;
}
