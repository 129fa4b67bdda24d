"""How far every submodule of a student is from its teacher: errors between states, distances between images."""

from collections.abc import Sequence

from torch import Tensor

from advkd.diffusion import Space
from advkd.evaluation.pictures import Strips
from advkd.evaluation.results import SubmoduleScores
from advkd.evaluation.scores import Metric, ReferenceSet, frechet_metric
from advkd.features import Extractor, state_features


def submodule_scores(
    strips: Strips, space: Space, device: str, teacher: str, extractors: Sequence[Extractor]
) -> tuple[SubmoduleScores, ...]:
    """The scores of every submodule; distances are between the images that states are decoded to on `device`.

    Args:
        strips: student and teacher along the grid.
        space: of their states.
        device: where states are decoded.
        teacher: and its steps, as metrics name it.
        extractors: of the distances; none of them, no distances.
    """

    def frechet(ours: Tensor, theirs: Tensor, reference: str) -> tuple[Metric, ...]:
        return tuple(
            frechet_metric(
                state_features(extractor, space, ours, device),
                ReferenceSet(reference, state_features(extractor, space, theirs, device)),
                extractor,
            )
            for extractor in extractors
        )

    scores = []
    for k, timestep in enumerate(strips.timesteps[1:]):
        state, clean = f"{teacher}, state at {timestep}", f"{teacher}, clean estimate at {timestep}"
        scores.append(
            SubmoduleScores(
                timestep=timestep,
                fd_state=frechet(strips.student_states[k], strips.teacher_states[k], state),
                fd_clean=frechet(strips.student_clean[k], strips.teacher_clean[k], clean),
                rmse_state=_rmse(strips.student_states[k], strips.teacher_states[k], state),
                rmse_clean=_rmse(strips.student_clean[k], strips.teacher_clean[k], clean),
            )
        )
    return tuple(scores)


def _rmse(ours: Tensor, theirs: Tensor, reference: str) -> Metric:
    value = (ours.double() - theirs.double()).square().mean().sqrt().item()
    return Metric(
        name="paired RMSE",
        value=value,
        n_fake=len(ours),
        n_ref=len(theirs),
        reference=reference,
        extractor="pixels",
        extractor_sha256="",
    )
