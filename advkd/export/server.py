"""The files by which MLflow's model server runs an artifact: what the model takes, gives and needs.

They are written as MLflow's own `save_model` writes a model from code; that needs pandas, which nothing else here does.
"""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from advkd.diffusion import LABELS, PROMPTS

MODEL = "mlflow_model.py"
SERVER_FILES = ("MLmodel", MODEL, "python_env.yaml", "requirements.txt")


def server_files(config: Mapping[str, Any]) -> dict[str, str]:
    """Returns the files by name.

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
        "MLmodel": json.dumps(model, indent=1) + "\n",
        MODEL: Path(__file__).with_name("server_model.py").read_text(encoding="utf-8"),
        "python_env.yaml": json.dumps(python, indent=1) + "\n",
        "requirements.txt": "\n".join(needed) + "\n",
    }
