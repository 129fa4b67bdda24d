"""The projection discriminator: its formula, its conditioning, and what gradient penalties need of it."""

import pytest
import torch

from advkd.discriminators import DISCRIMINATORS, DiscriminatorSpec, ProjectionDiscriminator
from advkd.losses import gradient_penalty


@pytest.mark.parametrize("kind", sorted(DISCRIMINATORS))
def test_every_kind_judges_images_of_a_batch_alone(kind: str) -> None:
    """No normalisation over the batch: a per-sample gradient penalty needs that."""
    torch.manual_seed(0)
    model = DISCRIMINATORS[kind](DiscriminatorSpec(kind=kind, width=8), (1, 16, 16), 3)
    images, which = torch.randn(6, 1, 16, 16), torch.tensor([0, 1, 2, 2, 1, 0])
    with torch.no_grad():
        whole = model(images, which)
        alone = torch.cat([model(images[i : i + 1], which[i : i + 1]) for i in range(6)])
    assert whole.shape == (6,)
    torch.testing.assert_close(whole, alone, rtol=1e-5, atol=1e-6)


def discriminator(
    channels: int = 1, submodules: int = 3, size: tuple[int, int] = (16, 16), **spec: int
) -> ProjectionDiscriminator:
    torch.manual_seed(0)
    model = ProjectionDiscriminator(DiscriminatorSpec(**({"width": 8} | spec)), (channels, *size), submodules)
    torch.nn.init.normal_(model.embedding.weight)
    return model


@pytest.mark.parametrize(("channels", "size", "patch"), [(1, (16, 16), 2), (3, (8, 12), 1), (4, (32, 16), 4)])
def test_one_logit_per_image(channels: int, size: tuple[int, int], patch: int) -> None:
    model = discriminator(channels, size=size, patch=patch)
    logits = model(torch.randn(5, channels, *size), torch.tensor([0, 1, 2, 0, 1]))
    assert logits.shape == (5,)


def test_conditioning_is_a_projection() -> None:
    """D(x, k) - D(x, l) = <e_k - e_l, phi(x)> (Eq. 3): linear in the embedding, so it telescopes and scales."""
    model, images = discriminator(), torch.randn(4, 1, 16, 16)
    with torch.no_grad():
        logits = [model(images, torch.full((4,), k)) for k in range(3)]
        model.embedding.weight[2] = 2 * model.embedding.weight[1] - model.embedding.weight[0]
        extrapolated = model(images, torch.full((4,), 2))
    assert not torch.allclose(logits[0], logits[1])
    torch.testing.assert_close(extrapolated, 2 * logits[1] - logits[0], rtol=1e-4, atol=1e-5)


def test_labels_are_a_projection_beside_the_submodules() -> None:
    """D(x, k, y) - D(x, k, z) = <v_y - v_z, phi(x)>, whatever k is; without classes all is as it was."""
    torch.manual_seed(0)
    model = ProjectionDiscriminator(DiscriminatorSpec(width=8), (1, 16, 16), 3, classes=5)
    plain, images = ProjectionDiscriminator(DiscriminatorSpec(width=8), (1, 16, 16), 3), torch.randn(4, 1, 16, 16)
    own = {name: weight for name, weight in model.state_dict().items() if name != "classes.weight"}
    plain.load_state_dict(own)
    which, labels = torch.tensor([0, 1, 2, 1]), torch.tensor([4, 0, 2, 2])
    with torch.no_grad():
        # A fresh one treats all classes alike.
        assert torch.equal(model(images, which, class_labels=labels), plain(images, which))
        torch.nn.init.normal_(model.classes.weight)
        torch.nn.init.normal_(model.embedding.weight)
        differences = [
            model(images, torch.full((4,), k), class_labels=labels)
            - model(images, torch.full((4,), k), class_labels=torch.zeros(4, dtype=torch.long))
            for k in range(3)
        ]
    for k in (1, 2):
        torch.testing.assert_close(differences[k], differences[0], rtol=1e-4, atol=1e-5)
    assert float(differences[0][1]) == 0.0
    assert float(differences[0].abs().sum()) > 0.01


def test_a_discriminator_without_classes_draws_what_it_drew() -> None:
    torch.manual_seed(0)
    ProjectionDiscriminator(DiscriminatorSpec(width=8), (1, 16, 16), 3)
    plain = torch.rand(1)
    torch.manual_seed(0)
    model = ProjectionDiscriminator(DiscriminatorSpec(width=8), (1, 16, 16), 3, classes=None)
    assert torch.equal(torch.rand(1), plain)
    assert "classes.weight" not in model.state_dict()


def test_a_fresh_discriminator_treats_all_submodules_alike() -> None:
    torch.manual_seed(0)
    model, images = ProjectionDiscriminator(DiscriminatorSpec(width=8), (1, 16, 16), 4), torch.randn(4, 1, 16, 16)
    logits = model(images, torch.arange(4))
    torch.testing.assert_close(logits, model(images, torch.zeros(4, dtype=torch.long)))


def test_second_derivatives_reach_the_weights() -> None:
    model, images = discriminator(), torch.randn(4, 1, 16, 16, requires_grad=True)
    gradient_penalty(model(images, torch.tensor([0, 1, 2, 0])), images).backward()
    assert sum(float(weight.grad.abs().sum()) for weight in model.body.parameters() if weight.grad is not None) > 0


@pytest.mark.parametrize("field", ["width", "patch"])
def test_discriminator_spec_refuses_counts_below_one(field: str) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        DiscriminatorSpec(**{field: 0})
