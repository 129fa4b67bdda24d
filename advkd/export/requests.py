"""What is asked of an export: a format of the table, and its settings."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from advkd.files import refuse_credentials
from storage.records import make_plain

DEFAULT = "onnx"
PRECISIONS = ("fp32", "fp16", "int8")
PARITY_NOISES = 256


class ExportError(ValueError):
    """A student cannot be exported as it was asked for; the message says why and what can be done."""


class ParityError(ExportError):
    """An export does not compute what the student computes; it is not written."""


@dataclass(frozen=True, kw_only=True)
class ExportSpec:
    """Settings of an export.

    Attributes:
        student: folder or URI of the student, as in `EvaluateSpec`.
        out: folder or URI to write it to; in an object store it is published whole.
        format: name of a row of `advkd.export.EXPORTS`.
        precisions: of the numbers that the exported networks compute with, names in `PRECISIONS`, a network for each.
        optional: those of them that are left out, with the reason noted, where they fail their parity.
        states: whether to give the states that all submodules predict, besides images.
        noises: number of noises on which an export is compared with torch.
        teacher: the student's teacher, as in `EvaluateSpec`, so that distances to it and its cost are measured; None:
            they are not.
        references: root URI of the teacher's references, as in `EvaluateSpec`.
        features: extractors of the evaluation, as in `EvaluateSpec`; the first one counts.
        weights: weights of an extractor, as in `EvaluateSpec`.
        samples: noises on which distances to the teacher are measured.
        seconds: time for each figure of latency; at least three repeats are measured.
        memory: whether to measure peak memory, in a process for each row of the cost card.
        report: folder or URI of the student's evaluation, to whose page costs are added; None: to none.
        beside: of the format web: a teacher whose images are shown beside the student's; None: `teacher`, if any.
        runtime: of the format web: ONNX Runtime for browsers, as npm packs it or as a folder; None: npm fetches it.
    """

    student: str
    out: str
    format: str = DEFAULT
    precisions: tuple[str, ...] = ("fp32",)
    optional: tuple[str, ...] = ()
    states: bool = False
    noises: int = PARITY_NOISES
    teacher: str | None = None
    references: str = "runs"
    features: str = "auto"
    weights: str | None = None
    samples: int = 2048
    seconds: float = 0.3
    memory: bool = True
    report: str | None = None
    beside: str | None = None
    runtime: str | None = None

    def __post_init__(self) -> None:
        make_plain(self)
        for uri in (self.student, self.out, self.references, self.report or ""):
            refuse_credentials(uri)
        wrong = [name for name in self.precisions if name not in PRECISIONS]
        if wrong or not self.precisions or len(set(self.precisions)) < len(self.precisions):
            raise ValueError(
                f"ExportSpec.precisions must be some of {', '.join(PRECISIONS)}, each once, got "
                f"{', '.join(self.precisions) or 'none'}; choose fp32 where in doubt"
            )
        for name in ("noises", "samples"):
            if getattr(self, name) < 2:
                raise ValueError(f"ExportSpec.{name} must be at least 2, got {getattr(self, name)}; leave it out")
        if self.seconds < 0.0:
            raise ValueError(f"ExportSpec.seconds must not be negative, got {self.seconds}; leave it out")


@dataclass(frozen=True, kw_only=True)
class Format:
    """A row of the table of exports.

    Attributes:
        write: from a student's folder, where to write and the settings to what was written: a file or a folder, whole
            or not there.
        precisions: those that the format can have.
        states: whether it can give the states of all submodules.
        page: whether it is a page, which has a runtime and shows a teacher.
    """

    write: Callable[[Path, Path, ExportSpec], Path]
    precisions: tuple[str, ...] = ("fp32",)
    states: bool = False
    page: bool = False

    def check(self, spec: ExportSpec) -> None:
        """Refuses settings that the format cannot have.

        Raises:
            ValueError: it has no such precision, gives no states, or is no page.
        """
        if wrong := [precision for precision in spec.precisions if precision not in self.precisions]:
            raise ValueError(
                f"--precision of the format {spec.format!r} must be one of {', '.join(self.precisions)}, got "
                f"{', '.join(wrong)}; choose one of them, or --format onnx"
            )
        if spec.states and not self.states:
            raise ValueError(
                f"--states is for formats whose outputs are fixed, got the format {spec.format!r}; leave it out, or "
                "use --format onnx"
            )
        if not self.page and (spec.runtime or spec.beside):
            raise ValueError(
                f"--runtime is for a page, got the format {spec.format!r}; leave it out, or use --format web"
            )
