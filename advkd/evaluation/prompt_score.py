"""CLIP score: how well images match the prompts that they were asked for. Hessel et al. 2021, arXiv 2104.08718."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import cosine_similarity

from advkd.diffusion import Conditions, Prompts
from advkd.features import TextExtractor


@dataclass(frozen=True, kw_only=True)
class PromptScore:
    """Mean cosine between the features of images and of their prompts, times 100, no less than 0 for each image.

    Attributes:
        student: of the student's images.
        teacher: of the target's, from the same noises and with the same prompts.
        samples: number of images of each.
    """

    student: float
    teacher: float
    samples: int


def prompt_score(
    extractor: object, conditions: Conditions, prompts: Tensor | None, student: Tensor | None, teacher: Tensor | None
) -> PromptScore | None:
    """Returns the score of both; None without prompts, or where the extractor has no features of text.

    Args:
        extractor: extractor of the features.
        conditions: of the teacher.
        prompts: number of each image's prompt, int64, of at least N images.
        student: features `[N, D]` of the student's images.
        teacher: features `[N, D]` of the target's.
    """
    if not isinstance(extractor, TextExtractor) or not isinstance(conditions, Prompts):
        return None
    if prompts is None or student is None or teacher is None:
        return None
    texts: Sequence[str] = tuple(conditions.table.config.prompts)
    numbers = prompts.unique()
    features = extractor.text_features([texts[number] for number in numbers.tolist()])
    count = min(len(student), len(teacher), len(prompts))
    of_each = features[(prompts[:count, None] == numbers[None]).int().argmax(1)]
    ours, theirs = (
        100.0 * cosine_similarity(images[:count], of_each).clamp(min=0.0).mean().item() for images in (student, teacher)
    )
    return PromptScore(student=ours, teacher=theirs, samples=count)
