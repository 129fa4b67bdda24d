"""The files by which MLflow runs an artifact, or shows it: what the model takes, gives and needs.

They are written as MLflow's own `save_model` writes a model from code; that needs pandas, which nothing else here does.
"""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from advkd.diffusion import LABELS, PROMPTS

MODEL = "mlflow_model.py"
RECORD = "MLmodel"
SERVER_FILES = (RECORD, MODEL, "python_env.yaml", "requirements.txt")


def shown_files(config: Mapping[str, Any], image_shape: Sequence[int]) -> dict[str, str]:
    """Returns the file of an artifact that no server runs, from which MLflow's page shows a signature.

    Args:
        config: the student's.
        image_shape: `[C, H, W]` of its images.
    """
    kind = str((config.get("conditioning") or {}).get("kind"))
    conditions = {
        LABELS: [_tensor("class_labels", "int64", [-1])],
        PROMPTS: [{"type": "string", "name": "prompt", "required": True}],
    }
    inputs = [_tensor("noise", "float32", [-1, *config["sample_shape"]]), *conditions.get(kind, [])]
    outputs = [_tensor("images", "float32", [-1, *image_shape])]
    record = {
        "flavors": {"diffusers": {"custom_pipeline": "."}},
        "signature": {"inputs": json.dumps(inputs), "outputs": json.dumps(outputs)},
    }
    return {RECORD: json.dumps(record, indent=1) + "\n"}


def _tensor(name: str, dtype: str, shape: list[int]) -> dict[str, Any]:
    return {"type": "tensor", "name": name, "tensor-spec": {"dtype": dtype, "shape": shape}}


def server_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the files of an artifact with an ONNX export, by name.

    Args:
        config: the student's.
    """
    kind = (config.get("conditioning") or {}).get("kind")
    optional = {"seed": "long", **{LABELS: {"label": "long"}, PROMPTS: {"prompt": "string"}}.get(str(kind), {})}
    columns = [
        {"type": "long", "name": "n", "required": True},
        *({"type": each, "name": name, "required": False} for name, each in optional.items()),
    ]
    params = [{"name": "format", "type": "string", "default": "png", "shape": None}]
    model = {
        "flavors": {
            "python_function": {
                "artifacts": {"onnx": {"path": "onnx", "uri": "onnx"}},
                "env": {"virtualenv": "python_env.yaml"},
                "loader_module": "mlflow.pyfunc.model",
                "model_code_path": MODEL,
                "python_version": platform.python_version(),
                "streamable": False,
            }
        },
        "mlflow_version": version("mlflow-skinny"),
        "signature": {"inputs": json.dumps(columns), "outputs": None, "params": json.dumps(params)},
    }
    packages = ("onnxruntime", "numpy")
    needed = [f"mlflow=={version('mlflow-skinny')}", *(f"{name}=={version(name)}" for name in packages)]
    python = {
        "python": platform.python_version(),
        "build_dependencies": ["pip"],
        "dependencies": ["-r requirements.txt"],
    }
    return {
        # JSON is YAML.
        RECORD: json.dumps(model, indent=1) + "\n",
        MODEL: Path(__file__).with_name("server_model.py").read_text(encoding="utf-8"),
        "python_env.yaml": json.dumps(python, indent=1) + "\n",
        "requirements.txt": "\n".join(needed) + "\n",
    }
