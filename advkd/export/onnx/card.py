"""The page of an export: how to run it elsewhere, how close to torch it is, and what it costs."""

from collections.abc import Mapping
from typing import Any

from advkd.export.cost_card import CostCard, cost_lines

PYTHON = """from advkd_onnx import Student, png

student = Student(".", threads=1)  # this folder
images = student.images(4, seed=0{condition})  # float32 {shape} in [0, 1]
open("0.png", "wb").write(png(images[0]))"""

_RUN = """import {{ noises }} from "./advkd_noise.mjs";

const [count, seed, shape] = [4, 0, {shape}];
const session = await InferenceSession.create("{file}");
const {{ images }} = await session.run({{
  noise: new Tensor("float32", noises(seed, 0, count, shape), [count, ...shape]),{condition}
}});
"""

NODE = (
    """import {{ writeFileSync }} from "node:fs";
import {{ InferenceSession, Tensor }} from "onnxruntime-node";
"""
    + _RUN
    + """writeFileSync("images.f32", images.data); // float32 {images} in [0, 1]"""
)

BROWSER = (
    """import {{ InferenceSession, Tensor }} from "./runtime/ort.wasm.min.mjs";
"""
    + _RUN
    + """export {{ images }}; // images.data: float32 {images} in [0, 1]"""
)


def export_card(facts: Mapping[str, Any], models: Mapping[str, Mapping[str, Any]], cost: CostCard) -> str:
    """Returns the page as Markdown.

    Args:
        facts: of the network, see `network_facts`.
        models: of each precision, see `Exported.facts`.
        cost: of them.
    """
    shape = facts["outputs"][0]["shape"][1:]
    condition = facts["condition"] or {}
    given = {"labels": ", label=0", "prompts": ""}.get(condition.get("kind", ""), "")
    snippet = PYTHON.format(condition=given, shape=[4, *shape])
    labels = condition.get("kind") == "labels"
    given_in_javascript = {
        "shape": facts["inputs"][0]["shape"][1:],
        "file": next(iter(models.values()))["file"],
        "images": [4, *shape],
        "condition": '\n  class_labels: new Tensor("int64", new BigInt64Array(count), [count]),' if labels else "",
    }
    node, browser = (snippet.format(**given_in_javascript) for snippet in (NODE, BROWSER))
    inputs = "\n".join(f"| {_row(entry)} |" for entry in (*facts["inputs"], *facts["outputs"]))
    return f"""# A one-pass student as ONNX

From noise to {" x ".join(map(str, shape))} images in one pass, for ONNX Runtime (opset {facts["opset"]}). The number of
images in a batch is free.

## Use
With `onnxruntime` and `numpy`, and neither torch nor this package's maker:
```python
{snippet}
```
In Node, with `onnxruntime-node`:
```javascript
{node}
```
In a browser, as a module of a page that is served from this folder, with `ort.wasm.min.mjs` and
`ort-wasm-simd-threaded.*` of npm's `onnxruntime-web` in `runtime/`:
```javascript
{browser}
```
Image i depends on (seed, i) alone, and is that of `advkd sample` with the same seed. The rule is in `metadata.json`.

| name | type | shape | range |
|---|---|---|---|
{inputs}

## Parity
{_parity(models)}

## Cost
{chr(10).join(cost_lines(cost))}
"""


def _row(entry: Mapping[str, Any]) -> str:
    shape = ", ".join(map(str, entry["shape"]))
    return f"`{entry['name']}` | {entry['dtype']} | [{shape}] | {entry['range']}"


def _parity(models: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| | file | largest difference to torch | root mean square | distance to the teacher |",
        "|---|---|---:|---:|---|",
    ]
    for precision, model in models.items():
        parity, distance = model["parity"], model["distance_to_teacher"]
        far = "not measured" if distance is None else _distance(distance)
        lines.append(f"| {precision} | `{model['file']}` | {parity['largest']:.2g} | {parity['rmse']:.2g} | {far} |")
    noises = next(iter(models.values()))["parity"]["noises"]
    lines += ["", f"Images in [0, 1] of {noises} noises, against torch in float32."]
    if quantized := models.get("int8", {}).get("quantized"):
        kept = ", ".join(f"`{name}`" for name in quantized["in_float"]) or "none"
        lines.append(
            f"int8: {quantized['layers'] - len(quantized['in_float'])} of {quantized['layers']} layers are quantized; "
            f"in float, because they hurt most: {kept}."
        )
    return "\n".join(lines)


def _distance(distance: Mapping[str, Any]) -> str:
    worth = distance["worth"]
    passes = "" if worth is None else f", worth {'more than ' * worth['clamped']}{worth['passes']:.1f} passes"
    return f"FD({distance['extractor']}) {distance['fd']:.3g} to {distance['target']}{passes}"
