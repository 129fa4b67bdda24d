"""Folders that are no teacher, and names that are none: every one is refused with what is wrong with it."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from advkd.teachers import TeacherError, load_teacher
from tests.advkd.conftest import FolderMaker, tiny_unet

WEIGHTS = "diffusion_pytorch_model.safetensors"


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def drop_weights(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()


def pickle_only(folder: Path) -> None:
    (folder / "unet" / WEIGHTS).unlink()
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"not to be opened")


def truncate_weights(folder: Path) -> None:
    path = folder / "unet" / WEIGHTS
    path.write_bytes(path.read_bytes()[:-100])


def lose_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "unet" / WEIGHTS)
    del tensors["conv_in.weight"]
    save_file(tensors, folder / "unet" / WEIGHTS)


def gain_a_tensor(folder: Path) -> None:
    save_file(load_file(folder / "unet" / WEIGHTS) | {"extra": torch.zeros(1)}, folder / "unet" / WEIGHTS)


BROKEN = {
    "no model_index": (
        lambda f: (f / "model_index.json").unlink(),
        "must be a diffusers pipeline folder, got no model",
    ),
    "no scheduler": (lambda f: shutil.rmtree(f / "scheduler"), "got no scheduler_config.json"),
    "no weights": (drop_weights, "needs weights, got no diffusion_pytorch_model.safetensors"),
    "pickle only": (pickle_only, r"must be safetensors, got only pickle files \['diffusion_pytorch_model.bin'\]"),
    "truncated weights": (truncate_weights, "weights must fit its config"),
    "missing tensor": (lose_a_tensor, r"weights must fit its config, got .*missing.*conv_in\.weight"),
    "foreign tensor": (gain_a_tensor, "weights must fit its config, got .*extra"),
    "other network": (lambda f: edit(f / "unet" / "config.json", block_out_channels=[16, 8]), "weights must fit"),
    "wrong pipeline": (
        lambda f: edit(f / "model_index.json", _class_name="StableDiffusionXLPipeline"),
        r"must be one of .*, got 'StableDiffusionXLPipeline'",
    ),
    "wrong network": (
        lambda f: edit(f / "model_index.json", unet=["diffusers", "UNet2DConditionModel"]),
        "a DDPMPipeline must have a diffusers UNet2DModel, got .*UNet2DConditionModel",
    ),
    "remote code": (lambda f: edit(f / "model_index.json", unet=["my_module", "UNet2DModel"]), "my_module"),
    "classes by their times": (
        lambda f: edit(f / "unet" / "config.json", class_embed_type="timestep"),
        "must embed the numbers of its classes .* got class_embed_type 'timestep'",
    ),
    "classes as they are": (
        lambda f: edit(f / "unet" / "config.json", class_embed_type="identity"),
        "must embed the numbers of its classes .* got class_embed_type 'identity'",
    ),
    "no classes at all": (
        lambda f: edit(f / "unet" / "config.json", num_class_embeds=0),
        "must have at least one class, .* got 0",
    ),
    "names of other classes": (
        lambda f: (
            edit(f / "unet" / "config.json", num_class_embeds=3),
            edit(f / "model_index.json", id2label={"0": "dark", "1": "bright"}),
        ),
        "id2label must name its 3 classes by their numbers, got .*'1': 'bright'",
    ),
    "learned variance": (lambda f: None, "must map images to images, .* got 1 channels in, 2 out"),
    "unknown prediction": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", prediction_type="score"),
        "prediction_type of a variance preserving teacher must be one of .* got 'score'",
    ),
    "unknown schedule": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", beta_schedule="odd"),
        "must be one that diffusers builds, got NotImplementedError for the config",
    ),
    "steps that are no number": (
        lambda f: edit(f / "scheduler" / "scheduler_config.json", num_train_timesteps="many"),
        "must be one that diffusers builds, got TypeError for the config",
    ),
    "broken JSON": (lambda f: (f / "unet" / "config.json").write_text("{"), r"config\.json must be JSON"),
    "JSON of another kind": (lambda f: (f / "model_index.json").write_text("[]"), "must be a JSON object"),
    "a byte order mark": (
        lambda f: (f / "unet" / "config.json").write_bytes(b"\xef\xbb\xbf{}"),
        r"config\.json must be JSON in UTF-8, got a byte order mark before it",
    ),
    "binary JSON": (lambda f: (f / "model_index.json").write_bytes(b"\xff\xfe\x00"), "must be JSON"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_folders_are_refused_clearly(teacher_folder: FolderMaker, case: str) -> None:
    unet = tiny_unet(out_channels=2) if case == "learned variance" else None
    folder = teacher_folder(unet=unet)
    breakage, message = BROKEN[case]
    breakage(folder)
    with pytest.raises(TeacherError, match=message) as caught:
        load_teacher(str(folder))
    assert str(folder) in str(caught.value) or case == "learned variance"


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
def test_attention_without_heads_is_refused(teacher_folder: FolderMaker) -> None:
    unet = tiny_unet(block_out_channels=(4, 4), norm_num_groups=2, add_attention=True, attention_head_dim=8)
    folder = teacher_folder(unet=unet)
    with pytest.raises(TeacherError, match=r"attention needs one head or more, got none in mid_block\.attentions\.0"):
        load_teacher(str(folder))


@pytest.mark.parametrize("source", ["no-such-teacher", "./nowhere", "/nowhere/at/all", "a/b/c"])
def test_unknown_names_list_the_embedded_ones(source: str) -> None:
    with pytest.raises(
        TeacherError, match=r"got .* which is none of them; .*\['digits', 'digits-classes', 'emoji', 'mixture'\]"
    ):
        load_teacher(source)


def test_a_hub_id_that_cannot_be_fetched_says_so() -> None:
    with pytest.raises(TeacherError, match=r"a hub id must be reachable or cached, got 'nobody/nothing'"):
        load_teacher("nobody/nothing")
