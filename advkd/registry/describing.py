"""What MLflow's pages say of models and versions: worth, distance, size and store in words, a picture."""

from typing import Any
from urllib.parse import urlencode

from advkd.evaluation import EvalReport, worth_sentence
from advkd.export import Lineage
from advkd.text import size_text, store_link

_MODEL = "One-pass students of "
"""How the description of a model begins; one that people wrote is left alone."""


def version_text(report: EvalReport, lineage: Lineage, size: int, run_id: str, picture: str | None) -> str:
    """Returns the description of a version, as Markdown.

    Args:
        report: its evaluation.
        lineage: where it comes from.
        size: bytes of its weights.
        run_id: of its MLflow run.
        picture: path of a picture among the run's artifacts, which MLflow's own page shows; None: there is none.
    """
    lines = [f"**{worth_sentence(report.worth, report.not_comparable)}**"]
    if report.headline is not None:
        fd = report.headline.to_teacher.fd
        images = f"{report.samples:,} images" + (", too few for a comparison" if report.not_comparable else "")
        lines.append(f"{fd.name} to {fd.reference}: {fd.value:.3g}, of {images}.")
    lines.append(f"Size: {report.cost.student.params:,} parameters, {size_text(size)}.")
    if lineage.store_digest:
        link = store_link(lineage.store_digest)
        lines.append(f"Trained on the trajectories of [{lineage.store_digest[:16]}]({link}), by `advkd browse`.")
    if picture is not None:
        query = urlencode({"path": picture, "run_uuid": run_id}, safe="/")
        lines.append(f"![Images of the student and its teacher](get-artifact?{query})")
    return "\n\n".join(lines)


def model_text(teacher: str, champion: Any = None) -> str:
    """Returns the description of a model: its champion's, or that it has none yet."""
    if champion is None:
        return f"{_MODEL}{teacher}. There is no champion yet."
    return f"{_MODEL}{teacher}. The champion is version {champion.version}.\n\n{champion.description}"


def renewed(description: str | None, champion: Any) -> str | None:
    """Returns the description of a model with a new champion; None if it is to stay as people wrote it."""
    if not champion.description or not (description or "").startswith(_MODEL):
        return None
    teacher = (description or "").removeprefix(_MODEL).partition(". ")[0]
    return model_text(teacher, champion)
