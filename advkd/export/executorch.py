"""A student for ExecuTorch, PyTorch's runtime of phones: one network from noise to images, by XNNPACK where it can.

Needs the extra `advkd[mobile]`. executorch 1.5.1, with which this is tried, goes with torch 2.13.
"""

import importlib.util
import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from advkd.export.onnx import (
    ImageNetwork,
    Run,
    Subject,
    check_parity,
    expected_of,
    measure_parity,
    named_outputs,
    network_facts,
    open_subject,
)
from advkd.export.requests import ExportError, ExportSpec
from advkd.files import whole_folder

FORMAT = "advkd-executorch-1"
MODEL, METADATA = "model.pte", "metadata.json"
LARGEST_BATCH = 64
"""Of which memory is planned in the file."""
_TRACED_ROWS = 2
_CARD = """# A one-pass student for ExecuTorch

`{model}` makes 1 to {most} images at a time, by XNNPACK: inputs and outputs in the order of `metadata.json`, which also
has the seeding rule. Largest difference to torch on {noises} noises: {largest:.2g}.

```python
from executorch.runtime import Runtime

method = Runtime.get().load_program("{model}").load_method("forward")
images = method.execute([noise])[0]  # float32, in [0, 1]
```
In C++, Swift and Kotlin: `Module("{model}").forward(...)`, with the XNNPACK backend linked.
"""


def export_executorch(folder: Path, out: Path, spec: ExportSpec) -> Path:
    """Writes the folder, whole or not at all (an older one at `out` is replaced), and returns it.

    Raises:
        StudentError: no usable student.
        ExportError: executorch is missing, or cannot express the student, as those with labels or prompts.
        ParityError: the network does not compute what the student computes.
        OSError: it cannot be written; what was begun is removed.
    """
    if importlib.util.find_spec("executorch") is None:
        raise ExportError(
            "--format executorch needs the package executorch, got no such package; install it: pip install "
            "'advkd[mobile]' (1.5.1 goes with torch 2.13), or use --format onnx, which phones run by ONNX Runtime"
        )
    subject = open_subject(folder)
    if len(subject.inputs(0, 0, 1)) > 1:
        raise ExportError(
            "--format executorch is for students that take noise alone, got one with labels or prompts, whose number "
            "executorch 1.5.1 fixes when it is traced; use --format onnx, which phones run by ONNX Runtime"
        )
    with whole_folder(out, "an export") as partial:
        network = ImageNetwork(subject, states=spec.states).eval()
        expected = expected_of(subject, network, spec.noises)
        content = _lowered(subject, network)
        (partial / MODEL).write_bytes(content)
        parity = measure_parity(_run(partial / MODEL), expected, "fp32")
        check_parity(parity, "fp32")
        facts = network_facts(subject, network, named_outputs(subject, network))
        noted = {
            **facts,
            "format": FORMAT,
            "batch": [1, LARGEST_BATCH],
            "models": {"fp32": {"file": MODEL, "bytes": len(content), "parity": asdict(parity)}},
        }
        noted.pop("opset")
        (partial / METADATA).write_text(json.dumps(noted, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        card = _CARD.format(model=MODEL, most=LARGEST_BATCH, noises=parity.noises, largest=parity.largest)
        (partial / "README.md").write_text(card, encoding="utf-8")
    return out


def _lowered(subject: Subject, network: ImageNetwork) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    (noise,) = subject.inputs(0, 0, _TRACED_ROWS).values()
    batch = torch.export.Dim("batch", min=1, max=LARGEST_BATCH)
    try:
        with _portable(), torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(network, (noise,), dynamic_shapes=({0: batch},))
            _forget_memory_format(program.graph_module)
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
            return bytes(lowered.to_executorch().buffer)
    except Exception as error:
        said = next((line.strip() for line in str(error).splitlines() if line.strip()), "")[:200]
        raise ExportError(
            f"--format executorch needs a student that ExecuTorch can express, got {type(error).__name__} for a "
            f"{type(subject.student).__name__} ({said}); use --format onnx"
        ) from error


def _forget_memory_format(graph: torch.fx.GraphModule) -> None:
    """Makes all tensors contiguous: ExecuTorch has no operator that changes the order of dimensions with the batch."""
    for node in graph.graph.nodes:
        if node.kwargs.get("memory_format") is not None:
            node.kwargs = {**node.kwargs, "memory_format": torch.contiguous_format}
        node.args = tuple(
            torch.contiguous_format if isinstance(value, torch.memory_format) else value for value in node.args
        )
    graph.recompile()


@contextmanager
def _portable() -> Iterator[None]:
    """Without this machine's convolutions, whose choice would bind the batch: below 16 where there is one thread."""
    with torch.backends.mkldnn.flags(enabled=False), torch.backends.nnpack.flags(enabled=False):
        yield


def _run(file: Path) -> Run:
    from executorch.runtime import Runtime

    method = Runtime.get().load_program(file).load_method("forward")

    def run(inputs: Mapping[str, Tensor]) -> tuple[Any, ...]:
        return tuple(values.numpy() for values in method.execute([value.contiguous() for value in inputs.values()]))

    return run
