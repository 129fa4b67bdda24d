// An order of samples, as links tell it: by what, of which timestep, seed and label; least first, and the rank in it.

import { get, timeText } from "./page.js";

export const ORDER = { by: "number", bt: "", least: "", seed: "0", label: "", q: "", from: "", to: "", rank: "", left: "", right: "" };

// Whether it is the order of all numbers, which needs no list.
export const natural = (url) => ["label", "q"].every((name) => !url.get(name)) && url.get("by") === "number";

// The server's list, largest first, at timestep `t`.
export async function ordered(store, url, t) {
  const [by, student] = url.get("by").split(":");
  const query = new URLSearchParams({ t, seed: url.get("seed") || "0" });
  const among = by === "disagreement" ? ["left", "right"] : ["label", "q"];
  for (const name of among) if (url.get(name)) query.set(name, url.get(name));
  if (by !== "disagreement") query.set("by", by);
  if (student !== undefined) query.set("student", student);
  const route = by === "disagreement" ? "/api/compare/order" : `/api/stores/${store}/order`;
  return (await get(`${route}?${query}`)).json();
}

// The part of a list whose values lie in the range that was brushed.
function between({ samples, values, labels }, url) {
  const [from, to] = [url.get("from"), url.get("to")].map(Number);
  if (!url.get("from") || !values.length) return { samples, values, labels };
  const kept = values.map((_, k) => k).filter((k) => values[k] >= from && values[k] <= to);
  return { samples: kept.map((k) => samples[k]), values: kept.map((k) => values[k]), labels: labels && kept.map((k) => labels[k]) };
}

// What a wall shows of a list.
export function listed(whole, least, url) {
  const { samples, values } = between(whole, url);
  const at = (rank) => (least ? samples.length - 1 - rank : rank);
  return {
    count: samples.length,
    number: (rank) => samples[at(rank)],
    value: values.length ? (rank) => values[at(rank)] : undefined,
  };
}

// "by distance to tiny at t = 500"
export function words(url, students) {
  const [by, number] = url.get("by").split(":");
  const name = students.find((one) => String(one.number) === (number ?? "0"))?.name;
  const least = url.get("least") === "1" ? ", least first" : "";
  if (by === "random") return "at random";
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
