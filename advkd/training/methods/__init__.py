"""Ways of training a student, one table: ours (`layerwise`) and the paper's."""

from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.methods.protocol import Comparison, Method
from advkd.training.methods.spec_json import train_spec_from_json
from advkd.training.methods.table import build_method

__all__ = [
    "Comparison",
    "Method",
    "PaperSpec",
    "TrainSpec",
    "build_method",
    "train_spec_from_json",
]
