"""Small untrained students of every kind, saved as training saves them."""

from pathlib import Path

import torch

from advkd.diffusion import linear_schedule
from advkd.diffusion.prompts import prompts_facts
from advkd.networks import AutoencoderSpace
from advkd.networks.stored_prompts import StoredPrompts
from advkd.students import LayerwiseStudent, ProgressiveStudent
from advkd.teachers.text import ENCODE
from tests.advkd.teachers.latents import tiny_kl

GRID = (999, 799, 399, 0)
LABELS = {"kind": "labels", "names": ["cat", "dog", "fox"], "distribution": "uniform"}
TEXTS = ("a red square", "a blue circle", "the sea")


def save_layerwise(folder: Path, shape: tuple[int, int, int] = (1, 8, 8), **changes: object) -> Path:
    torch.manual_seed(0)
    schedule = linear_schedule()
    levels = ([schedule.signal(t) for t in GRID], [schedule.sigma(t) for t in GRID])
    student = LayerwiseStudent(shape, GRID, *levels, **({"width": 8, "blocks": 1} | changes))
    with torch.no_grad():
        # Also those that start as zeros: a test must see every weight.
        for weight in student.parameters():
            weight.add_(0.05 * torch.randn(weight.shape))
    student.save_pretrained(folder)
    return folder


def save_labelled(folder: Path) -> Path:
    return save_layerwise(folder, conditioning=LABELS)


def save_levels(folder: Path) -> Path:
    return save_layerwise(folder, (3, 16, 16), levels=2, attention=True)


def save_progressive(folder: Path) -> Path:
    torch.manual_seed(0)
    schedule = linear_schedule()
    levels = ([schedule.signal(t) for t in GRID], [schedule.sigma(t) for t in GRID])
    student = ProgressiveStudent((1, 16, 16), GRID, *levels, width=4)
    # Statistics that training would have left.
    student.train()
    for _ in range(3):
        student.predictions(torch.randn(8, 1, 16, 16))
    student.eval().save_pretrained(folder)
    return folder


def save_latent(folder: Path) -> Path:
    tiny_kl(shift_factor=0.1).save_pretrained(folder / "decoder")
    space = AutoencoderSpace.of(folder / "decoder", (4, 8, 8))
    return save_layerwise(folder, (4, 8, 8), space=space.facts)


def save_prompted(folder: Path) -> Path:
    shapes = {"encoder_hidden_states": (5, 12), "pooled_projections": (6,), "encoder_attention_mask": (5,)}
    facts = prompts_facts(TEXTS, pipeline=next(iter(ENCODE)), encoder="e" * 64, tensors=shapes)
    table = StoredPrompts(prompts=list(TEXTS), conditioning=facts)
    torch.manual_seed(1)
    for name, values in table.named_buffers():
        values.copy_((torch.rand(values.shape) > 0.3).float() if "mask" in name else torch.randn(values.shape))
    table.encoder_attention_mask[:, 0] = 1
    table.save_pretrained(folder / "prompts", safe_serialization=True)
    weights = folder / "prompts" / "diffusion_pytorch_model.safetensors"
    from advkd.files import file_sha256

    (folder / "prompts" / "weights.sha256").write_text(file_sha256(weights) + "\n")
    return save_layerwise(folder, conditioning=facts)
