// Noises between those of seeds: on the sphere, because a straight line would leave the noises that a student knows.
//
// A start is { seed, index, towards: [{ seed, part }, ...] }: from the noise of (seed, index) a part of the way to that of
// each other seed, one after the other. Part 0 is the noise itself, bit for bit.

import { noise } from "../advkd_noise.mjs";

export function startingNoise({ seed, index, towards = [] }, length) {
  return towards.reduce((from, { seed: other, part }) => {
    return part > 0 ? between(from, noise(other, index, length), part) : from;
  }, noise(seed, index, length));
}

// Shoemake 1985, equation of slerp, over the angle between both vectors.
export function between(from, to, part) {
  if (part >= 1) return Float32Array.from(to);
  let [product, left, right] = [0, 0, 0];
  for (let k = 0; k < from.length; k++) {
    product += from[k] * to[k];
    left += from[k] ** 2;
    right += to[k] ** 2;
  }
  const cosine = product / Math.sqrt(left * right);
  const angle = Math.acos(Math.min(1, Math.max(-1, cosine)));
  const sine = Math.sin(angle);
  if (!(sine > 1e-6)) return from.map((value, k) => value + part * (to[k] - value));
  const [a, b] = [Math.sin((1 - part) * angle) / sine, Math.sin(part * angle) / sine];
  return from.map((value, k) => a * value + b * to[k]);
}
