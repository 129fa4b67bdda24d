"""A student with prompts: it begins as one without, padding does not count, others keep their weights."""

import pytest
import torch

from advkd.discriminators import DiscriminatorSpec, ProjectionDiscriminator
from advkd.students import LayerwiseStudent

GRID = ((4, 8, 8), (999, 500, 0), (0.01, 0.5, 1.0), (0.99, 0.8, 0.0))
FACTS = {
    "kind": "prompts",
    "tensors": {"encoder_hidden_states": [5, 12], "pooled_projections": [6], "encoder_attention_mask": [5]},
}


def student(facts: dict[str, object] | None, width: int = 8) -> LayerwiseStudent:
    torch.manual_seed(0)
    return LayerwiseStudent(*GRID, width=width, blocks=1, conditioning=facts)


def text(count: int = 2) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    mask = torch.ones(count, 5)
    mask[:, 3:] = 0
    return {
        "encoder_hidden_states": torch.randn(count, 5, 12, generator=generator),
        "pooled_projections": torch.randn(count, 6, generator=generator),
        "encoder_attention_mask": mask,
    }


def trained(facts: dict[str, object]) -> LayerwiseStudent:
    made = student(facts)
    with torch.no_grad():
        for weight in made.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    return made


@pytest.mark.parametrize("width", [8, 6, 5])
def test_it_begins_as_an_unconditional_student(width: int) -> None:
    plain, told = student(None, width), student(FACTS, width)
    noise = torch.randn(2, 4, 8, 8)
    for ours, theirs in zip(told.predictions(noise, **text()), plain.predictions(noise), strict=True):
        assert torch.equal(ours, theirs)
    assert {name: value for name, value in told.state_dict().items() if name.startswith("reader.")}
    for name, value in plain.state_dict().items():
        assert torch.equal(told.state_dict()[name], value), name
    assert "conditioning" not in plain.config


def test_every_embedding_but_padding_counts() -> None:
    made, noise, told = trained(FACTS), torch.ones(2, 4, 8, 8), text()
    images = made(noise, **told)
    for name, place, counts in (
        ("encoder_hidden_states", (0, 1), True),
        ("encoder_hidden_states", (0, 4), False),
        ("pooled_projections", (0, 2), True),
    ):
        changed = {key: value.clone() for key, value in told.items()}
        changed[name][place] = -changed[name][place] + 1
        other = made(noise, **changed)
        assert torch.equal(images[1], other[1])
        assert torch.equal(images[0], other[0]) is not counts, name


def test_the_scale_of_an_encoder_does_not_count() -> None:
    made, noise, told = trained(FACTS), torch.ones(2, 4, 8, 8), text()
    large = told | {name: 1000 * told[name] for name in ("encoder_hidden_states", "pooled_projections")}
    torch.testing.assert_close(made(noise, **large), made(noise, **told), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", list(FACTS["tensors"]))
def test_missing_embeddings_and_other_shapes_are_refused(name: str) -> None:
    made, noise = student(FACTS), torch.ones(2, 4, 8, 8)
    told = text()
    with pytest.raises(ValueError, match="needs the embeddings of one for each image"):
        made(noise, **{key: value for key, value in told.items() if key != name})
    with pytest.raises(ValueError, match="needs the embeddings of one for each image"):
        made(noise, **told | {name: told[name][:1]})
    with pytest.raises(ValueError, match="takes no prompts, got "):
        student(None)(noise, **{name: told[name]})


def test_facts_without_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="prompts must be described by"):
        student({"kind": "prompts", "tensors": {"encoder_hidden_states": [5, 12]}})


def test_the_discriminator_begins_without_prompts_and_learns_of_them() -> None:
    torch.manual_seed(0)
    plain = ProjectionDiscriminator(DiscriminatorSpec(width=8), (4, 8, 8), 2)
    torch.manual_seed(0)
    told = ProjectionDiscriminator(DiscriminatorSpec(width=8), (4, 8, 8), 2, pooled=6)
    images, which, pooled = torch.randn(3, 4, 8, 8), torch.tensor([0, 1, 1]), torch.randn(3, 6)
    assert torch.equal(told(images, which, pooled_projections=pooled), plain(images, which))
    told(images, which, pooled_projections=pooled).sum().backward()
    assert told.prompts.weight.grad is not None
    assert bool(told.prompts.weight.grad.any())
