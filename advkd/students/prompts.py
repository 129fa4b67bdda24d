"""What embeddings of prompts a student may be given, and how it takes them in."""

from collections.abc import Mapping

from torch import Tensor, nn

from advkd.diffusion import MASK, POOLED, TOKENS
from advkd.students.blocks import Attention, Film


def check_prompts(shapes: Mapping[str, tuple[int, ...]] | None, given: Mapping[str, Tensor], count: int) -> None:
    """Checks the embeddings that a student is given for `count` images.

    Args:
        shapes: of one prompt's embeddings by name; None: the student takes no prompts.
        given: embeddings by name.
        count: images.

    Raises:
        ValueError: embeddings are missing, superfluous or not of these shapes.
    """
    if shapes is None:
        if given:
            raise ValueError(f"this student takes no prompts, got {', '.join(sorted(given))}; leave them out")
        return
    wanted = {name: (count, *shape) for name, shape in shapes.items()}
    found = {name: tuple(values.shape) for name, values in given.items()}
    if found != wanted:
        raise ValueError(
            f"a student with prompts needs the embeddings of one for each image, {wanted}, got {found or 'none'}; "
            "embed them by its teacher's text encoder, or take stored ones"
        )


class PromptReader(nn.Module):
    """Embeddings of prompts as features of a student's width, and what each submodule makes of them.

    One projection serves all submodules; each has a film of the pooled embedding and an attention over tokens, which
    start as the identity. Embeddings are normalised, as encoders differ in their scale by orders of magnitude.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], width: int, submodules: int) -> None:
        super().__init__()
        self.tokens = nn.Linear(shapes[TOKENS][1], width)
        self.pooled = nn.Linear(shapes[POOLED][0], width)
        self.films = nn.ModuleList(Film(width, width) for _ in range(submodules))
        self.attentions = nn.ModuleList(Attention(width) for _ in range(submodules))

    def read(self, text: Mapping[str, Tensor]) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns tokens `[B, L, width]`, the pooled embedding `[B, width]` and the mask `[B, L]`, if any."""
        tokens, pooled = (nn.functional.layer_norm(text[name], text[name].shape[-1:]) for name in (TOKENS, POOLED))
        return self.tokens(tokens), self.pooled(pooled), text.get(MASK)

    def forward(self, submodule: int, hidden: Tensor, read: tuple[Tensor, Tensor, Tensor | None]) -> Tensor:
        """Maps `[B, width, H, W]` to the same shape, in front of a submodule."""
        tokens, pooled, mask = read
        return self.attentions[submodule](self.films[submodule](hidden, pooled), tokens, mask)  # type: ignore[no-any-return]
