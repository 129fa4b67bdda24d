// The seeding rule in JavaScript: image i of a base seed starts from the same noise as in Python, bit for bit.
//
//   noise(seed, i, length)         Float32Array, unit normal: numpy.random.Generator(Philox(key=[seed, 2 * i]))
//                                  .standard_normal(length, float32)
//   noises(seed, i, count, shape)  that of images i to i + count - 1, one after the other
//   drawnNumber(seed, i, count)    whole number in [0, count): a label or a prompt, as `advkd sample` draws it
//
// Philox4x64-10: Salmon et al. 2011. Normal numbers: the ziggurat of Marsaglia and Tsang 2000 with 256 strips, as numpy
// has it for float32. Runs in Node and in browsers, and needs nothing.

// One number in four thousand is made by the logarithm of the C library that Python runs on. "fdlibm": glibc up to 2.38 and
// musl. "rounded": correctly, as glibc from 2.41 on. An export notes that of the machine where it was made.
const LOGARITHM = "fdlibm";

const WORD = (1n << 64n) - 1n;
const MULTIPLIERS = [0xd2e7470ee14c6c93n, 0xca5a826395121157n];
const WEYL = [0x9e3779b97f4a7c15n, 0xbb67ae8584caa73bn];
const STRIPS = 256;
const EDGE = 3.6541528853610087963519472518;
const AREA = 0.004928673233974658; // of each strip

const LN2 = [6.9313812256e-1, 9.0580006145e-6].map(Math.fround); // The high part and the rest.
const POLYNOMIAL = [
  6.6666668653e-1, 4.0000000596e-1, 2.8571429849e-1, 2.2222198546e-1, 1.8183572590e-1, 1.5313838422e-1, 1.4798198640e-1,
].map(Math.fround);

const { starts, widths, heights } = ziggurat();

export function noise(seed, index, length) {
  if (!Number.isInteger(length) || length < 1) {
    throw new RangeError(`a noise must have at least one number, got ${length}; give the product of its shape`);
  }
  const next = words(seed, index, 0n);
  return Float32Array.from({ length }, () => normal(next));
}

export function noises(seed, first, count, shape) {
  const size = shape.reduce((a, b) => a * b, 1);
  if (!Number.isInteger(count) || count < 1) {
    throw new RangeError(`a batch must hold at least one image, got ${count}; ask for some`);
  }
  const all = new Float32Array(count * size);
  for (let k = 0; k < count; k++) all.set(noise(seed, first + k, size), k * size);
  return all;
}

export function drawnNumber(seed, index, count) {
  if (!Number.isInteger(count) || count < 1 || count > 2 ** 32 - 1) {
    throw new RangeError(`a number must be drawn from at least one, got ${count}; give the number of classes`);
  }
  const next = words(seed, index, 1n);
  if (count === 1) return 0;
  const wide = BigInt(count);
  const least = (1n << 32n) % wide;
  for (;;) {
    const product = BigInt(next()) * wide;
    if ((product & 0xffffffffn) >= least) return Number(product >> 32n);
  }
}

// Yields the generator's 32-bit words: the lower half of each 64-bit word first.
function words(seed, index, stream) {
  const start = BigInt(seed);
  if (start < 0n || start >= 1n << 63n || !Number.isSafeInteger(index) || index < 0) {
    throw new RangeError(`a seed must lie in [0, 2**63) and an image's number be whole, got ${seed} and ${index}`);
  }
  const key = [start, 2n * BigInt(index)];
  const counter = [0n, 0n, 0n, stream];
  let block = [];
  let position = 8;
  return () => {
    if (position === 8) {
      for (let k = 0; k < 4; k++) {
        counter[k] = (counter[k] + 1n) & WORD;
        if (counter[k] !== 0n) break;
      }
      block = philox(counter, key);
      position = 0;
    }
    const word = block[position >> 1];
    return Number(position++ & 1 ? word >> 32n : word & 0xffffffffn);
  };
}

function philox(counter, key) {
  let [a, b, c, d] = counter;
  let [left, right] = key;
  for (let round = 0; round < 10; round++) {
    const first = a * MULTIPLIERS[0];
    const second = c * MULTIPLIERS[1];
    [a, b, c, d] = [(second >> 64n) ^ b ^ left, second & WORD, (first >> 64n) ^ d ^ right, first & WORD];
    left = (left + WEYL[0]) & WORD;
    right = (right + WEYL[1]) & WORD;
  }
  return [a, b, c, d];
}

function normal(next) {
  const single = Math.fround;
  const uniform = () => (next() >>> 8) / 2 ** 24;
  for (;;) {
    const word = next();
    const strip = word & 0xff;
    const distance = (word >>> 9) & 0x7fffff;
    const size = single(distance * widths[strip]);
    const x = (word >>> 8) & 1 ? -size : size;
    if (distance < starts[strip]) return x;
    if (strip > 0) {
      const step = single(single(heights[strip - 1] - heights[strip]) * uniform());
      if (single(step + heights[strip]) < Math.exp(-0.5 * x * x)) return x;
      continue;
    }
    for (;;) {
      const beyond = single(-single(1 / EDGE) * log1p(-uniform()));
      const depth = single(-log1p(-uniform()));
      if (single(depth + depth) > single(beyond * beyond)) {
        const far = single(single(EDGE) + beyond);
        return (distance >>> 8) & 1 ? -far : far;
      }
    }
  }
}

// ln(1 + x) in float32 of x in (-1, 0], each operation rounded. fdlibm: s_log1pf.c, Sun Microsystems 1993; of all 2^24 numbers
// that can come, equal to glibc's.
function log1p(x) {
  const single = Math.fround;
  if (LOGARITHM !== "fdlibm" || x > -(2 ** -24)) return single(Math.log1p(x));
  let [f, k, correction, near] = [x, 0, 0, false];
  if (x < -0.2928933799266815) {
    const sum = single(1 + x);
    const bits = new Int32Array(Float32Array.of(sum).buffer)[0];
    const fraction = bits & 0x7fffff;
    const low = fraction < 0x3504f7;
    k = (bits >> 23) - 127 + (low ? 0 : 1);
    correction = single(single(x - single(sum - 1)) / sum);
    f = single(new Float32Array(Int32Array.of(fraction | (low ? 0x3f800000 : 0x3f000000)).buffer)[0] - 1);
    near = (low ? fraction : (0x800000 - fraction) >> 2) === 0;
  }
  const [high, rest] = [single(k * LN2[0]), single(correction + single(k * LN2[1]))];
  if (near && f === 0) return single(high + rest);
  const half = single(single(0.5 * f) * f);
  if (near) return single(high - single(single(single(half * single(1 - single(single(2 / 3) * f))) - rest) - f));
  const s = single(f / single(2 + f));
  const z = single(s * s);
  const series = POLYNOMIAL.reduceRight((sum, factor) => single(z * single(factor + sum)), 0);
  const inner = single(s * single(half + series));
  return k === 0 ? single(f - single(half - inner)) : single(high - single(single(half - single(inner + rest)) - f));
}

// Of each strip: below which 23-bit number a point lies under the curve, its width, and the curve's height at its edge.
function ziggurat() {
  const curve = (x) => Math.exp(-0.5 * x * x);
  const edges = new Array(STRIPS).fill(AREA / curve(EDGE));
  edges[STRIPS - 1] = EDGE;
  for (let k = STRIPS - 2; k > 0; k--) edges[k] = Math.sqrt(-2 * Math.log(curve(edges[k + 1]) + AREA / edges[k + 1]));
  const inner = (k) => (k === 0 ? EDGE : k === 1 ? 0 : edges[k - 1]);
  const scale = 2 ** 23;
  return {
    starts: edges.map((edge, k) => Math.round((inner(k) / edge) * scale)),
    widths: Float32Array.from(edges, (edge) => edge / scale),
    heights: Float32Array.from(edges, (edge, k) => (k ? curve(edge) : 1)),
  };
}
