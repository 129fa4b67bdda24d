"""The residual block against its formula, at its beginning and after training has moved it."""

import torch
from torch import nn

from advkd.students.blocks import ResidualBlock


def test_a_fresh_block_is_the_identity() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(2, 4, 5, 5)
    assert torch.equal(ResidualBlock(4)(hidden), hidden)


def test_a_moved_block_adds_its_two_convolutions_to_what_it_was_given() -> None:
    torch.manual_seed(0)
    block, hidden = ResidualBlock(4).double(), torch.randn(2, 4, 5, 5, dtype=torch.float64)
    nn.init.normal_(block.conv2.weight)
    first = nn.functional.conv2d(hidden * torch.sigmoid(hidden), block.conv1.weight, block.conv1.bias, padding=1)
    second = nn.functional.conv2d(first * torch.sigmoid(first), block.conv2.weight, block.conv2.bias, padding=1)
    torch.testing.assert_close(block(hidden), hidden + second, rtol=1e-12, atol=1e-12)
