// Controls whose values live in the link.

import { byId } from "./page.js";

const SIZES = [16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];

// A control that is set from the link, under its own name or `name`, and sets it; `changed` is told.
export function bound(url, id, changed, name = id) {
  const control = byId(id);
  if (!control) return;
  const box = control.type === "checkbox";
  if (box) control.checked = url.get(name) === "1";
  else control.value = url.get(name);
  control.addEventListener("change", () => {
    const typed = control.inputMode === "numeric" ? control.value.replace(/\D/g, "") || "0" : control.value.trim();
    url.set({ [name]: box ? (control.checked ? "1" : "") : typed });
    changed(control);
  });
}

// The buttons for smaller and larger tiles, and their keys.
export function sized(url, changed) {
  const resize = (by) => {
    const now = SIZES.findIndex((size) => size >= Number(url.get("size")));
    url.set({ size: SIZES[Math.max(0, Math.min(SIZES.length - 1, now + by))] });
    changed();
  };
  byId("smaller").addEventListener("click", () => resize(-1));
  byId("larger").addEventListener("click", () => resize(1));
  return { "+": () => resize(1), "=": () => resize(1), "-": () => resize(-1) };
}

// The largest size at which `wanted` tiles fit into a room.
export function fittingSize({ clientWidth, clientHeight }, wanted) {
  const holds = (size) => Math.floor(clientWidth / (size + 3)) * Math.floor(clientHeight / (size + 3)) >= wanted;
  return Math.max(64, [...SIZES].reverse().find(holds) ?? 64);
}
