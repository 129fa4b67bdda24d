"""Evaluates students: figures with their protocols, and reports."""

from advkd.evaluation.addition import add_devices
from advkd.evaluation.beside import TeacherImages, teacher_images
from advkd.evaluation.cost import device_name
from advkd.evaluation.curve import passes_per_step, solver_text
from advkd.evaluation.deployed import ImageDistance, TeacherAtHand, teacher_at_hand
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import METRICS, REPORT, evaluate
from advkd.evaluation.pair import check_targets
from advkd.evaluation.pictures import grid_png
from advkd.evaluation.pieces import Piece, missing_pieces, share_piece
from advkd.evaluation.reference import ship_reference
from advkd.evaluation.reference_plan import ReferencePlan, plan_reference
from advkd.evaluation.results import Distances, EvalReport, worth_sentence
from advkd.evaluation.scores import Metric, Scores
from advkd.evaluation.several import Comparison, evaluate_several
from advkd.evaluation.spec import REFERENCE_STAGE, EvaluateSpec, TeacherPasses, protocols
from advkd.evaluation.teacher_states import clean_timesteps, evaluation_start
from advkd.evaluation.wording import number_text
from advkd.evaluation.worth import Worth

__all__ = [
    "METRICS",
    "REFERENCE_STAGE",
    "REPORT",
    "Comparison",
    "Distances",
    "EvalReport",
    "EvaluateSpec",
    "EvaluationError",
    "ImageDistance",
    "Metric",
    "Piece",
    "ReferencePlan",
    "Scores",
    "TeacherAtHand",
    "TeacherImages",
    "TeacherPasses",
    "Worth",
    "add_devices",
    "check_targets",
    "clean_timesteps",
    "device_name",
    "evaluate",
    "evaluate_several",
    "evaluation_start",
    "grid_png",
    "missing_pieces",
    "number_text",
    "passes_per_step",
    "plan_reference",
    "protocols",
    "share_piece",
    "ship_reference",
    "solver_text",
    "teacher_at_hand",
    "teacher_images",
    "worth_sentence",
]
