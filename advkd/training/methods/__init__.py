"""Ways of training a student, one table: ours (`layerwise`), the paper's, and those of installed packages."""

from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper_spec import PaperSpec
from advkd.training.methods.protocol import Comparison, Comparisons, Method, StepLosses
from advkd.training.methods.spec_json import any_spec, train_spec_from_json
from advkd.training.methods.table import METHODS, MethodRow, build_method

__all__ = [
    "METHODS",
    "Comparison",
    "Comparisons",
    "Method",
    "MethodRow",
    "PaperSpec",
    "StepLosses",
    "TrainSpec",
    "any_spec",
    "build_method",
    "train_spec_from_json",
]
