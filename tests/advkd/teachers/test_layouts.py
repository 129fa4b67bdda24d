"""Forms of teacher folders: what loads gives what diffusers gives, what does not says how it would."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDPMPipeline, UNet2DModel
from safetensors.torch import load_file, save_file

from advkd.teachers import TeacherError, WeightsError, load_teacher, weights_of
from advkd.teachers.families import folder_fingerprint
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.folders import METADATA, STEM, as_root, as_variants, weights_in

ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


def network_of(folder: Path) -> torch.nn.Module:
    return load_teacher(str(folder)).network


def assert_same(found: torch.nn.Module, expected: torch.nn.Module) -> None:
    theirs = expected.state_dict()
    assert found.state_dict().keys() == theirs.keys()
    for name, weight in found.state_dict().items():
        assert weight.dtype == torch.float32
        assert torch.equal(weight, theirs[name].float()), name


def shard(folder: Path, **options: object) -> list[Path]:
    shutil.rmtree(folder / "unet")
    tiny_unet().save_pretrained(folder / "unet", max_shard_size="10KB", **options)
    return sorted((folder / "unet").glob(f"{STEM}-*"))


# -- all at the root --------------------------------------------------------------------------------------------------


def test_everything_may_lie_at_the_root(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    before = folder_fingerprint(folder)
    as_root(folder)
    assert_same(network_of(folder), DDPMPipeline.from_pretrained(folder, local_files_only=True).unet)
    fingerprint = folder_fingerprint(folder)
    assert fingerprint != before
    config = folder / "scheduler_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"note": 1}))
    assert folder_fingerprint(folder) != fingerprint


def test_a_subfolder_goes_before_the_root(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    before = folder_fingerprint(folder)
    other = teacher_folder("other", unet=tiny_unet(seed=1))
    as_root(other)
    for path in other.glob("*.*"):
        if path.name != "model_index.json":
            shutil.copy(path, folder)
    assert folder_fingerprint(folder) == before
    assert_same(network_of(folder), tiny_unet())


# -- shards -----------------------------------------------------------------------------------------------------------


def test_shards_load_and_all_of_them_are_in_the_fingerprint(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    shards = shard(folder)
    assert len(shards) > 2
    assert_same(network_of(folder), tiny_unet())
    fingerprints = {folder_fingerprint(folder)}
    for path in shards:
        tensors = load_file(path)
        save_file({name: tensor + 1 for name, tensor in tensors.items()}, path, METADATA)
        fingerprints.add(folder_fingerprint(folder))
    assert len(fingerprints) == 1 + len(shards)


def test_a_missing_shard_is_named(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    lost = shard(folder)[1]
    lost.unlink()
    with pytest.raises(WeightsError, match=rf"all \d+ shards .*, got none of \['{lost.name}'\] \(1 missing\) in .*"):
        load_teacher(str(folder))


@pytest.mark.parametrize("weight_map", [{}, "x", {"a": "../b.safetensors"}, {"a": "b.bin"}])
def test_an_index_that_leads_elsewhere_is_refused(teacher_folder: FolderMaker, weight_map: object) -> None:
    folder = teacher_folder()
    shard(folder)
    index = folder / "unet" / f"{STEM}.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    with pytest.raises(TeacherError, match="an index of weights must map each tensor to a safetensors file beside it"):
        load_teacher(str(folder))


# -- variants ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", ["fp16", "bf16", "non_ema", "mine"])
@pytest.mark.parametrize("sharded", [False, True])
def test_the_only_variant_loads_in_float32(teacher_folder: FolderMaker, variant: str, sharded: bool) -> None:
    folder = teacher_folder()
    network = tiny_unet().to({"fp16": torch.float16, "bf16": torch.bfloat16}.get(variant, torch.float32))
    shutil.rmtree(folder / "unet")
    network.save_pretrained(folder / "unet", variant=variant, max_shard_size="10KB" if sharded else "1GB")
    assert_same(network_of(folder), network)
    assert weights_of(folder / "unet").variant == variant


def test_of_several_variants_the_plain_goes_first_then_fp16(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    plain = folder_fingerprint(folder)
    as_variants(folder, "bf16", "fp16", "non_ema", keep=True)
    assert folder_fingerprint(folder) == plain
    assert_same(network_of(folder), tiny_unet())
    weights_in(folder).unlink()
    for variant in ("fp16", "bf16", "non_ema"):
        assert weights_of(folder / "unet").variant == variant
        network_of(folder)
        (folder / "unet" / f"{STEM}.{variant}.safetensors").unlink()


def test_variants_without_an_order_are_listed(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    as_variants(folder, "mine", "yours")
    with pytest.raises(WeightsError, match=rf"got \['{STEM}.mine.safetensors', '{STEM}.yours.safetensors'\] in"):
        load_teacher(str(folder))


def test_a_folder_without_weights_lists_what_is_there(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    weights_in(folder).rename(folder / "unet" / "model.safetensors")
    with pytest.raises(WeightsError, match=r"got no .* which holds \['config.json', 'model.safetensors'\];"):
        load_teacher(str(folder))


# -- folders of a training --------------------------------------------------------------------------------------------


def checkpoints(folder: Path, *steps: int) -> Path:
    """As train_unconditional.py of diffusers leaves them."""
    for step in steps:
        for name in ("unet", "unet_ema"):
            tiny_unet().save_pretrained(folder / f"checkpoint-{step}" / name)
    return folder


def test_checkpoints_beside_a_pipeline_change_nothing(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    before = folder_fingerprint(folder)
    checkpoints(folder, 500)
    assert folder_fingerprint(folder) == before
    assert load_teacher(str(folder)).name == "tiny"


def test_checkpoints_alone_name_the_newest_and_the_way(tmp_path: Path) -> None:
    folder = checkpoints(tmp_path / "run", 500, 1000, 9)
    way = rf"the newest of which is checkpoint-1000; .*from_pretrained\('{folder}/checkpoint-1000/unet_ema'\)"
    with pytest.raises(TeacherError, match=way):
        load_teacher(str(folder))


def test_a_pipeline_in_a_checkpoint_is_named(tmp_path: Path, teacher_folder: FolderMaker) -> None:
    folder = checkpoints(tmp_path / "run", 500)
    shutil.copytree(teacher_folder(), folder / "checkpoint-90")
    with pytest.raises(TeacherError, match=rf"but checkpoints of a training; give the newest: {folder}/checkpoint-90"):
        load_teacher(str(folder))
    load_teacher(str(folder / "checkpoint-90"))


@pytest.mark.parametrize(
    ("inside", "fact"),
    [("", r"the networks \['unet', 'unet_ema'\]; .*/unet_ema'"), ("unet_ema", "but one network; .*/unet_ema'")],
)
def test_a_checkpoint_says_how_it_becomes_a_teacher(tmp_path: Path, inside: str, fact: str) -> None:
    place = checkpoints(tmp_path, 500) / "checkpoint-500" / inside
    with pytest.raises(TeacherError, match=rf"got no model_index\.json at .*{fact}\), scheduler\)\.save_pretrained"):
        load_teacher(str(place))


# -- old names of weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("root", [False, True])
def test_old_names_of_attention_weights_load(teacher_folder: FolderMaker, root: bool) -> None:
    network = tiny_unet(
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        add_attention=True,
        attention_head_dim=4,
    )
    folder = teacher_folder(unet=network)
    tensors = load_file(weights_in(folder))
    old = {_old(name): tensor for name, tensor in tensors.items()}
    assert len(old) == len(tensors)
    assert sum(name not in tensors for name in old) == 8 * len([name for name in tensors if name.endswith("to_q.bias")])
    save_file(old, weights_in(folder), METADATA)
    if root:
        as_root(folder)
    assert_same(network_of(folder), network)


def _old(name: str) -> str:
    for before, now in ATTENTION.items():
        name = name.replace(f".{now}.", f".{before}.") if ".attentions." in name else name
    return name


def test_the_network_is_the_one_that_diffusers_loads(teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    assert_same(network_of(folder), UNet2DModel.from_pretrained(folder / "unet", local_files_only=True))
