"""Teachers whose passes are tried before anything is computed: no text encoder is loaded for that."""

import copy
from typing import Any

import torch

from advkd.diffusion import MASK, Prompts, prompts_facts
from advkd.networks import StoredPrompts
from advkd.teachers.base import Teacher
from advkd.teachers.precision import PreciseTeacher


def rehearsing(teacher: Teacher) -> Teacher:
    """Returns the teacher for passes whose results nobody keeps; it shares the network.

    Embedding all prompts may take minutes, and is not yet due. So a teacher of prompts is told a single one, of unit
    normal embeddings, which the empty prompt has too: guidance then changes nothing but the cost. Any other teacher is
    returned as it is.
    """
    if not isinstance(teacher.conditions, Prompts):
        return teacher
    other: Any = copy.copy(teacher)
    other.conditions = _single(teacher.conditions)
    if isinstance(teacher, PreciseTeacher):
        other.inner = copy.copy(teacher.inner)
        other.inner.conditions = other.conditions
    return other  # type: ignore[no-any-return]


def _single(conditions: Prompts) -> Prompts:
    text, told = "any", conditions.facts
    facts = prompts_facts([text], pipeline=told["pipeline"], encoder=told["encoder"], tensors=conditions.shapes)
    table: Any = StoredPrompts(prompts=[text], conditioning=facts)
    generator = torch.Generator().manual_seed(0)
    for name, values in table.named_buffers():
        drawn = torch.randn(values.shape[1:], generator=generator)
        values.copy_(torch.ones_like(drawn) if name == MASK else drawn)
    single = Prompts(facts)
    single.adopt(table)
    return single
