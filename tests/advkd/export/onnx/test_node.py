"""JavaScript draws the same noise, and the card's snippet makes the same images in Node."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

import advkd.export.onnx
from advkd.export import ExportSpec, export_student
from advkd.students import load_student
from storage.records import condition_generator, initial_noise
from tests.advkd.export.onnx.subjects import save_layerwise

NODE = shutil.which("node")
MODULES = os.environ.get("ADVKD_NODE_MODULES", "")
"""A `node_modules` with onnxruntime-node, which `make test-node` installs."""
DRAW = """
import { writeFileSync } from "node:fs";
import { drawnNumber, noise } from %s;
const parts = [];
for (const [seed, index] of [[0, 0], [7, 3], [2n ** 63n - 1n, 2 ** 40]]) parts.push(...noise(seed, index, 20000));
writeFileSync("noise.f32", Float32Array.from(parts));
const numbers = [];
for (let i = 0; i < 200; i++) numbers.push(drawnNumber(5, i, 10), drawnNumber(5n, i, 3000000000), drawnNumber(5, i, 1));
for (const wrong of [() => noise(-1, 0, 4), () => noise(0, -1, 4), () => noise(0, 0, 0), () => drawnNumber(0, 0, 0)]) {
  try { wrong(); numbers.push("no error"); } catch (error) { if (!(error instanceof RangeError)) throw error; }
}
writeFileSync("numbers.json", JSON.stringify(numbers));
"""


@pytest.mark.thorough
@pytest.mark.skipif(NODE is None, reason="needs node")
def test_javascript_draws_the_same_noise_and_numbers(tmp_path: Path) -> None:
    module = Path(advkd.export.onnx.__file__).with_name("noise.mjs")
    (tmp_path / "draw.mjs").write_text(DRAW % json.dumps(str(module)))
    subprocess.run([NODE, "draw.mjs"], cwd=tmp_path, check=True, timeout=120)
    drawn = np.fromfile(tmp_path / "noise.f32", np.float32).reshape(3, 20000)
    pairs = ((0, 0), (7, 3), (2**63 - 1, 2**40))
    expected = np.concatenate([initial_noise(seed, index, index + 1, (20000,)) for seed, index in pairs])
    inner = np.abs(expected) < 3.6541
    assert np.array_equal(drawn[inner], expected[inner])
    # Beyond the last strip logarithms decide, whose last bit depends on the library.
    assert 0 < (~inner).sum() < 60
    np.testing.assert_allclose(drawn, expected, rtol=3e-7, atol=0)
    counts = (10, 3_000_000_000, 1)
    numbers = [int(condition_generator(5, i).integers(count)) for i in range(200) for count in counts]
    assert json.loads((tmp_path / "numbers.json").read_text()) == numbers


@pytest.mark.sweep
@pytest.mark.slow
@pytest.mark.skipif(not MODULES, reason="needs onnxruntime-node: `make test-node`")
def test_the_snippet_of_the_card_runs_in_node(tmp_path: Path) -> None:
    save_layerwise(tmp_path / "student")
    out = tmp_path / "out"
    export_student(ExportSpec(student=str(tmp_path / "student"), out=str(out), noises=4, seconds=0.0, memory=False))
    snippet = (out / "README.md").read_text().partition("```javascript\n")[2].partition("```")[0]
    (out / "snippet.mjs").write_text(snippet)
    (out / "node_modules").symlink_to(MODULES)
    subprocess.run(["node", "snippet.mjs"], cwd=out, check=True, timeout=120)
    images = np.fromfile(out / "images.f32", np.float32).reshape(4, 1, 8, 8)
    expected = load_student(tmp_path / "student").sample(4, seed=0).images
    np.testing.assert_allclose(images, (expected / 2 + 0.5).clamp(0, 1).numpy(), rtol=0, atol=1e-5)
