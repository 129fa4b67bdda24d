"""Muon: directions without lengths, the library's arithmetic for matrices and for biases, kernels as matrices."""

import pytest
import torch
from torch import Tensor, nn

from advkd.optimizers.muon import Muon, kernels_and_rows, orthogonalised


def gradients(weight: Tensor, steps: int, seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    return [torch.randn(weight.shape) for _ in range(steps)]


@pytest.mark.parametrize("shape", [(3, 8, 40), (2, 40, 8), (1, 5, 5)])
def test_singular_values_come_near_one_and_directions_stay(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    matrices = torch.randn(shape) * torch.tensor([1e-3, 1.0, 1e3])[: shape[0], None, None]
    found = orthogonalised(matrices)
    left, _, right = torch.linalg.svd(matrices, full_matrices=False)
    inner = left.mT @ found @ right.mT
    values = torch.diagonal(inner, dim1=1, dim2=2)
    assert ((values > 0.6) & (values < 1.25)).all()
    torch.testing.assert_close(inner, torch.diag_embed(values), atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(6, 20), (20, 6)])
def test_matrices_move_as_with_the_librarys_muon(shape: tuple[int, int]) -> None:
    """Which computes in bfloat16, so a weight may be off by a few per cent of what it moved."""
    start = torch.randn(shape)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    library = torch.optim.Muon([theirs], lr=0.02, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    own = Muon([ours], lr=0.02)
    for gradient in gradients(start, 6, seed=1):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        own.step()
        library.step()
    moved = (theirs - start).norm()
    assert moved > 0.1
    assert (ours - theirs).norm() < 0.03 * moved


def test_biases_move_as_with_adam() -> None:
    start = torch.randn(7)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    own, library = Muon([ours], lr=0.01), torch.optim.Adam([theirs], lr=0.01, betas=(0.9, 0.99))
    for gradient in gradients(start, 5, seed=2):
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        own.step()
        library.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_kernel_is_a_matrix_of_one_row_per_output_whatever_its_layout(layout: torch.memory_format) -> None:
    start = torch.randn(4, 3, 3, 3)
    kernel = nn.Parameter(start.clone(memory_format=layout))
    matrix = nn.Parameter(start.flatten(1).clone())
    of_kernel, of_matrix = Muon([kernel], lr=0.02), Muon([matrix], lr=0.02)
    for gradient in gradients(start, 3, seed=3):
        kernel.grad, matrix.grad = gradient.clone(memory_format=layout), gradient.flatten(1)
        of_kernel.step()
        of_matrix.step()
    torch.testing.assert_close(kernel.flatten(1), matrix, rtol=0, atol=1e-6)
    assert kernel.is_contiguous(memory_format=layout)


def test_equal_shapes_do_not_mix() -> None:
    """They are stacked, and each gets what it would get alone."""
    start = [torch.randn(5, 9) for _ in range(3)]
    together, alone = ([nn.Parameter(one.clone()) for one in start] for _ in range(2))
    stacked, single = Muon(together, lr=0.1), [Muon([weight], lr=0.1) for weight in alone]
    for weight, other, gradient in zip(together, alone, gradients(torch.zeros(3, 5, 9), 1, seed=4)[0], strict=True):
        weight.grad, other.grad = gradient.clone(), gradient.clone()
    stacked.step()
    for optimizer in single:
        optimizer.step()
    for weight, other in zip(together, alone, strict=True):
        torch.testing.assert_close(weight, other)


def test_a_weight_without_a_gradient_stays() -> None:
    kernel, bias = nn.Parameter(torch.randn(4, 4)), nn.Parameter(torch.randn(4))
    before = (kernel.detach().clone(), bias.detach().clone())
    optimizer = Muon([kernel, bias], lr=0.1)
    optimizer.step()
    assert torch.equal(kernel, before[0])
    assert torch.equal(bias, before[1])
    assert not optimizer.state


def test_kernels_decay_by_the_rate_and_biases_do_not() -> None:
    kernel, bias = nn.Parameter(torch.randn(4, 6)), nn.Parameter(torch.randn(4))
    before = kernel.detach().clone(), bias.detach().clone()
    kernel.grad, bias.grad = torch.zeros_like(kernel), torch.zeros_like(bias)
    Muon([kernel, bias], lr=0.02, weight_decay=0.5).step()
    torch.testing.assert_close(kernel, 0.99 * before[0])
    torch.testing.assert_close(bias, before[1])


def test_rows_of_embeddings_move_as_with_adam_and_only_where_they_were_looked_up() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Embedding(6, 4), nn.Linear(4, 3))
    start = network[0].weight.detach().clone()
    twin = nn.Parameter(start.clone())
    own = Muon(kernels_and_rows(network), lr=0.01)
    library = torch.optim.Adam([twin], lr=0.01, betas=(0.9, 0.99))
    for _ in range(3):
        own.zero_grad()
        network(torch.tensor([1, 4])).square().sum().backward()
        twin.grad = network[0].weight.grad.clone()
        own.step()
        library.step()
    torch.testing.assert_close(network[0].weight, twin, rtol=1e-5, atol=1e-6)
    moved = (network[0].weight != start).any(dim=1)
    assert moved.tolist() == [False, True, False, False, True, False]
    plain = kernels_and_rows(nn.Linear(2, 2))
    assert len(plain) == 1
    assert len(plain[0]["params"]) == 2
