"""JavaScript draws the same noise, and the card's snippet makes the same images in Node."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from advkd.export import ExportSpec, export_student
from advkd.export.onnx.noise_module import noise_module
from advkd.students import load_student
from storage.records import condition_generator, initial_noise
from tests.advkd.export.onnx.subjects import save_layerwise

NODE = shutil.which("node")
MODULES = os.environ.get("ADVKD_NODE_MODULES", "")
"""A `node_modules` with onnxruntime-node, which `make test-node` installs."""
DRAW = """
import { writeFileSync } from "node:fs";
import { drawnNumber, noise, noises } from %s;
const parts = [];
parts.push(...noise(0, 22479, 20));
for (const [seed, index] of [[0, 0], [7, 3], [2n ** 63n - 1n, 2 ** 40]]) parts.push(...noise(seed, index, 20000));
writeFileSync("noise.f32", Float32Array.from(parts));
const numbers = [];
for (let i = 0; i < 200; i++) numbers.push(drawnNumber(5, i, 10), drawnNumber(5n, i, 3000000000), drawnNumber(5, i, 1));
for (const wrong of [
  () => noise(-1, 0, 4), () => noise(0, -1, 4), () => noise(0, 0, 0), () => noises(0, 0, 0, [4]),
  () => drawnNumber(0, 0, 0),
]) {
  try { wrong(); numbers.push("no error"); } catch (error) { if (!(error instanceof RangeError)) throw error; }
}
writeFileSync("numbers.json", JSON.stringify(numbers));
"""


@pytest.mark.thorough
@pytest.mark.skipif(NODE is None, reason="needs node")
def test_javascript_draws_the_same_noise_and_numbers(tmp_path: Path) -> None:
    (tmp_path / "noise.mjs").write_text(noise_module())
    (tmp_path / "draw.mjs").write_text(DRAW % '"./noise.mjs"')
    subprocess.run([NODE, "draw.mjs"], cwd=tmp_path, check=True, timeout=120)
    drawn = np.fromfile(tmp_path / "noise.f32", np.float32)
    # Among the first is the number whose last bit says which logarithm the C library has.
    pairs = ((0, 22479, 20), (0, 0, 20000), (7, 3, 20000), (2**63 - 1, 2**40, 20000))
    expected = np.concatenate([initial_noise(seed, index, index + 1, (size,))[0] for seed, index, size in pairs])
    assert (np.abs(expected) > 3.6541).sum() > 5
    assert np.array_equal(drawn, expected)
    counts = (10, 3_000_000_000, 1)
    numbers = [int(condition_generator(5, i).integers(count)) for i in range(200) for count in counts]
    assert json.loads((tmp_path / "numbers.json").read_text()) == numbers


def test_an_export_has_the_logarithm_of_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("advkd.export.onnx.noise_module._BY_FDLIBM", 0.0)
    assert 'const LOGARITHM = "rounded";' in noise_module()


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
    (out / "wrong.mjs").write_text(snippet.replace("[1, 8, 8]", "[1, 8, 9]"))
    refused = subprocess.run(["node", "wrong.mjs"], cwd=out, capture_output=True, text=True, timeout=120)
    assert refused.returncode != 0
    assert "invalid dimensions for input: noise" in refused.stderr
    (out / "model.onnx").write_bytes((out / "model.onnx").read_bytes()[:-100])
    refused = subprocess.run(["node", "snippet.mjs"], cwd=out, capture_output=True, text=True, timeout=120)
    assert refused.returncode != 0
    assert "Protobuf parsing failed" in refused.stderr
