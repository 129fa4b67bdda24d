// What is shown, as the link says it: the part of the address after "#", which no server sees.

const VIEWS = ["wall", "image", "layers"];
const MOST_SEED = 2n ** 63n - 1n;
export const SLIDERS = 3;

export function readLink(hash) {
  const given = new URLSearchParams(hash.replace(/^#/, ""));
  return {
    view: VIEWS.includes(given.get("view")) ? given.get("view") : VIEWS[0],
    seed: whole(given.get("seed"), MOST_SEED),
    index: Number(whole(given.get("image"), BigInt(Number.MAX_SAFE_INTEGER))),
    condition: given.has("condition") ? Number(whole(given.get("condition"), 2n ** 31n)) : null,
    parts: Array.from({ length: SLIDERS }, (_, k) => share((given.get("mix") ?? "").split(",")[k])),
  };
}

export function writeLink({ view, seed, index, condition, parts }) {
  const said = new URLSearchParams({ view, seed: String(seed), image: String(index) });
  if (condition !== null) said.set("condition", String(condition));
  if (parts.some((part) => part > 0)) said.set("mix", parts.join(","));
  return `#${said.toString().replaceAll("%2C", ",")}`;
}

// A whole number from 0 to `most`; what is none is 0. Seeds have more digits than JavaScript's numbers.
export function whole(text, most = MOST_SEED) {
  if (!/^\d{1,19}$/.test(text ?? "")) return 0n;
  const number = BigInt(text);
  return number > most ? most : number;
}

export function beside(seed, step) {
  const next = seed + BigInt(step);
  return next < 0n ? MOST_SEED : next > MOST_SEED ? next - MOST_SEED - 1n : next;
}

function share(text) {
  const number = Number(text);
  return Number.isFinite(number) ? Math.min(1, Math.max(0, number)) : 0;
}
