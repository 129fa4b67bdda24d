"""Each family of teachers with prompts: its states are those of its own pipeline, bit for bit."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DiffusionPipeline,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
)
from diffusers.utils import logging

from advkd.diffusion import Start
from advkd.teachers import SolverSpec, Teacher, TeacherError, check_folder, load_teacher
from advkd.teachers.needed import needed_files
from tests.advkd.teachers.text_folders import (
    PROMPTS,
    flux_folder,
    prompt_file,
    sana_folder,
    stable_diffusion_3_folder,
    stable_diffusion_folder,
)

MAKE: dict[str, Callable[[Path], Path]] = {
    "stable-diffusion": stable_diffusion_folder,
    "stable-diffusion-3": stable_diffusion_3_folder,
    "shifted": lambda folder: stable_diffusion_3_folder(folder, use_dynamic_shifting=True),
    "flux": flux_folder,
    "flux-schnell": lambda folder: flux_folder(folder, guidance=False, use_dynamic_shifting=False, shift=1.0),
    "sana": sana_folder,
}
SIZES = {"flux": (24, 32), "flux-schnell": (24, 32), "sana": (32, 32)}
WITHOUT_GUIDANCE = {"flux": 1.0, "flux-schnell": 0.0}
# SANA's pipeline hands its embeddings over in other memory: the last bits of some states are others.
TOLERANCE = {"sana": 5e-6}


pytestmark = pytest.mark.thorough


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("text")


@pytest.fixture(scope="module")
def folders(root: Path) -> Callable[[str], Path]:
    def made(name: str) -> Path:
        return root / name if (root / name).exists() else MAKE[name](root / name)

    return made


@pytest.fixture(scope="module")
def prompts(root: Path) -> Path:
    return prompt_file(root)


def own_states(folder: Path, name: str, noise: torch.Tensor, scale: float) -> list[torch.Tensor]:
    """What the family's pipeline passes through with the scheduler of the solver, the noise in our memory format."""
    logging.set_verbosity_error()
    pipe: Any = DiffusionPipeline.from_pretrained(folder)
    pipe.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {}
    latents = noise.contiguous(memory_format=torch.channels_last)
    if name == "stable-diffusion":
        own = {"timestep_spacing": "trailing", "set_alpha_to_one": True, "clip_sample": False}
        pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config, **own)
    if name == "sana":
        pipe.scheduler = FlowMatchEulerDiscreteScheduler(shift=3.0)
        settings = {"use_resolution_binning": False}
    count, channels, rows, columns = noise.shape
    if isinstance(pipe, FluxPipeline):
        latents = pipe._pack_latents(latents.contiguous(), count, channels, rows, columns)
    found = []

    def look(_: Any, step: int, time: Any, seen: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        found.append(seen["latents"])
        return seen

    pipe(
        PROMPTS[2], num_images_per_prompt=count, latents=latents, height=2 * rows, width=2 * columns,
        num_inference_steps=4, guidance_scale=scale, output_type="latent", callback_on_step_end=look, **settings,
    )  # fmt: skip
    if isinstance(pipe, FluxPipeline):
        return [pipe._unpack_latents(state, 2 * rows, 2 * columns, 2) for state in found]
    return found


def states_of(teacher: Teacher, noise: torch.Tensor, number: int = 2) -> list[torch.Tensor]:
    solver = SolverSpec(kind="flow-euler" if "flow" in str(teacher.scheduler).lower() else "ddim", steps=4)  # type: ignore[attr-defined]
    start = Start(noise, {"prompt": torch.full((len(noise),), number)})
    return list(teacher.states(start, solver, teacher.grid(solver).labels))


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize("name", MAKE)
def test_states_are_those_of_the_familys_own_pipeline(
    name: str, guided: bool, folders: Callable[[str], Path], prompts: Path
) -> None:
    folder = folders(name)
    size = "#size={}x{}".format(*SIZES[name]) if name in SIZES else ""
    source = f"{folder}#prompts={prompts}{size}" + ("#guidance=4.5" if guided else "")
    if guided and name == "flux-schnell":
        with pytest.raises(TeacherError, match=r"trained to take it .guidance_embeds., got 4.5"):
            load_teacher(source)
        return
    teacher = load_teacher(source)
    noise = torch.randn(2, *teacher.space.shape, generator=torch.Generator().manual_seed(1))
    states = states_of(teacher, noise)
    expected = own_states(folder, name, noise, 4.5 if guided else WITHOUT_GUIDANCE.get(name, 1.0))
    assert len(states) == 1 + len(expected)
    for ours, theirs in zip(states[1:], expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=TOLERANCE.get(name, 0))
    assert bool(torch.isfinite(states[-1]).all())
    # Another prompt is another image.
    assert not torch.allclose(states_of(teacher, noise, 0)[-1], states[-1], atol=1e-4)


def test_the_shift_of_the_size_is_in_the_identity(folders: Callable[[str], Path], prompts: Path) -> None:
    folder, solver = folders("shifted"), SolverSpec(kind="flow-euler", steps=4)
    small, large = (load_teacher(f"{folder}#prompts={prompts}#size={size}") for size in (16, 24))
    # diffusers' line from 256 positions (0.5) to 4096 (1.15), at 16 and 36 positions.
    slope = (1.15 - 0.5) / (4096 - 256)
    assert small.solver_config(solver)["mu"] == pytest.approx(0.5 - 240 * slope)
    assert large.solver_config(solver)["mu"] == pytest.approx(0.5 - 220 * slope)
    assert small.grid(solver).sigma != large.grid(solver).sigma
    assert small.fingerprint != large.fingerprint


def test_facts_name_the_list_the_encoder_and_the_shapes(folders: Callable[[str], Path], root: Path) -> None:
    folder = folders("stable-diffusion")
    one, other = (prompt_file(root, texts, name) for texts, name in ((PROMPTS, "a.txt"), (PROMPTS[:2], "b.txt")))
    teacher, fewer = (load_teacher(f"{folder}#prompts={file}") for file in (one, other))
    facts = teacher.conditions.facts
    assert facts is not None
    assert fewer.conditions.facts is not None
    assert facts["count"] == 4
    assert facts["first"] == list(PROMPTS)
    assert facts["tensors"] == {"encoder_hidden_states": [12, 16], "pooled_projections": [16]}
    assert facts["encoder"] == fewer.conditions.facts["encoder"]
    assert facts["sha256"] != fewer.conditions.facts["sha256"]
    # A list of prompts makes another teacher, so a pin holds it too.
    assert teacher.fingerprint != fewer.fingerprint
    guided = load_teacher(f"{folder}#prompts={one}#guidance=7.5")
    assert load_teacher(f"{folder}#guidance=7.5#prompts={one}#sha256={guided.fingerprint}").conditions.facts == facts
    with pytest.raises(TeacherError, match="must still be what it was"):
        load_teacher(f"{folder}#prompts={other}#guidance=7.5#sha256={guided.fingerprint}")


def test_what_the_embeddings_say_does_not_depend_on_other_prompts(folders: Callable[[str], Path], root: Path) -> None:
    folder = folders("sana")
    one, two = (
        load_teacher(f"{folder}#prompts={prompt_file(root, texts, 'c.txt')}").conditions
        for texts in (PROMPTS, PROMPTS[::-1][:2])
    )
    rows = [conditions.embedded({"prompt": torch.tensor([k])}) for conditions, k in ((one, 3), (two, 0))]  # type: ignore[attr-defined]
    assert set(rows[0]) == {"encoder_hidden_states", "pooled_projections", "encoder_attention_mask"}
    for name in rows[0]:
        assert torch.equal(rows[0][name], rows[1][name]), name


def test_solver_settings_that_replace_the_folders_are_said(folders: Callable[[str], Path], prompts: Path) -> None:
    teacher = load_teacher(f"{folders('stable-diffusion')}#prompts={prompts}")
    for kind in ("ddim", "unipc"):
        replaced = teacher.solver_config(SolverSpec(kind=kind, steps=4))["replaced"]
        assert replaced["timestep_spacing"] == ["leading", "trailing"]
        assert replaced["steps_offset"] == [1, 0]
        assert replaced["set_alpha_to_one"][0] is False
        assert replaced["skip_prk_steps"][0] is True


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "must hold at least one, got none"),
        (b"\n\n", "must hold at least one, got none"),
        (b"one\n\ntwo\n", "each line must be a prompt .* got line 2"),
        (b"one\ntwo\none\n", "must be there once .it is on line 1., got line 3"),
        (b"x" * 2001, "may have 2000 characters, not 2001"),
        (b"one\x07two", "without control characters"),
        (b"\xff\xfe", "text in UTF-8"),
        (None, "file that can be read, got StoreNotFoundError"),
    ],
)
def test_prompts_that_are_none_are_refused_before_the_teacher_is_looked_for(
    content: bytes | None, message: str, tmp_path: Path
) -> None:
    file = tmp_path / "prompts.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(TeacherError, match=message):
        load_teacher(f"nobody/knows-this#prompts={file}")


def test_a_teacher_of_prompts_needs_them_and_others_take_none(
    folders: Callable[[str], Path], prompts: Path, tmp_path: Path
) -> None:
    folder = folders("stable-diffusion")
    with pytest.raises(TeacherError, match=r"must be told them, got none .*#prompts=FILE"):
        load_teacher(str(folder))
    with pytest.raises(TeacherError, match="prompts are said of teachers with a text encoder"):
        load_teacher(f"mixture#prompts={prompts}")
    with pytest.raises(TeacherError, match="must be said once each, got prompts="):
        load_teacher(f"{folder}#prompts={prompts}#prompts={prompts}")
    with pytest.raises(TeacherError, match=r"got no name; write `mixture#prompts=prompts.txt`"):
        load_teacher("mixture#prompts=")
    with pytest.raises(TeacherError, match="must be multiples of 4, got 18 x 18"):
        load_teacher(f"{folder}#prompts={prompts}#size=18")
    with pytest.raises(TeacherError, match="a size must be the side of the images"):
        load_teacher(f"{folder}#prompts={prompts}#size=big")


def test_missing_parts_are_named(prompts: Path, tmp_path: Path) -> None:
    folder = stable_diffusion_folder(tmp_path / "sd")
    (folder / "tokenizer" / "tokenizer_config.json").rename(tmp_path / "kept.json")
    with pytest.raises(TeacherError, match=r"needs its tokenizers, got no tokenizer_config.json in"):
        load_teacher(f"{folder}#prompts={prompts}")
    (tmp_path / "kept.json").rename(folder / "tokenizer" / "tokenizer_config.json")
    weights = folder / "text_encoder" / "model.safetensors"
    weights.rename(tmp_path / "weights")
    with pytest.raises(TeacherError, match=r"needs weights, got no .*text_encoder"):
        load_teacher(f"{folder}#prompts={prompts}")
    (tmp_path / "weights").rename(weights)
    index = folder / "model_index.json"
    for part, named, message in (
        ("text_encoder", [None, None], "the text_encoder of a StableDiffusionPipeline must be transformers' CLIPText"),
        ("text_encoder", ["remote", "CLIPTextModel"], "the text_encoder of"),
        ("tokenizer", ["transformers", "BertTokenizer"], "the tokenizer of a StableDiffusionPipeline must be"),
        ("unet", ["diffusers", "UNet3DConditionModel"], "the unet of a StableDiffusionPipeline must be"),
    ):
        whole = index.read_text()
        index.write_text(json.dumps(json.loads(whole) | {part: named}))
        with pytest.raises(TeacherError, match=message):
            check_folder(folder)
        index.write_text(whole)
    config = folder / "unet" / "config.json"
    for changes, message in (
        ({"addition_embed_type": "text_time"}, "a state, a time and a prompt alone"),
        ({"cross_attention_dim": 24}, "cross_attention_dim 24 for hidden_size 16"),
        ({"sample_size": None}, "sample_size null"),
    ):
        whole = config.read_text()
        config.write_text(json.dumps(json.loads(whole) | changes))
        with pytest.raises(TeacherError, match=message):
            check_folder(folder)
        config.write_text(whole)
    check_folder(folder)


@pytest.mark.parametrize("make", [stable_diffusion_3_folder, flux_folder, sana_folder])
def test_a_scheduler_of_another_training_does_not_fit_a_flow(make: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = make(tmp_path / "flow")
    check_folder(folder)
    DDPMScheduler().save_pretrained(folder / "scheduler")
    with pytest.raises(TeacherError, match=r"must be one of flow matching, .* got a variance preserving one in .*flow"):
        check_folder(folder)


def test_without_the_extra_it_is_named(
    folders: Callable[[str], Path], prompts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = folders("stable-diffusion")
    monkeypatch.setattr("advkd.teachers.text_folder.importlib.util.find_spec", lambda name: None)
    with pytest.raises(TeacherError, match=r"pip install 'advkd\[text\]'"):
        load_teacher(f"{folder}#prompts={prompts}")


def test_only_what_is_needed_is_fetched(folders: Callable[[str], Path], tmp_path: Path) -> None:
    folder = folders("stable-diffusion")
    there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    more = [
        "tokenizer/merges.txt", "tokenizer/code.py", "text_encoder/pytorch_model.bin",
        "text_encoder/flax_model.msgpack", "text_encoder/model.fp16.safetensors",
        "safety_checker/model.safetensors", "v1-5-pruned.safetensors",
    ]  # fmt: skip
    names, fetched = [*there, *more], set[str]()
    while wanted := needed_files(tmp_path, names):
        for name in wanted:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes((folder / name).read_bytes() if name in there else b"")
        fetched |= set(wanted)
    assert fetched == {*there, "tokenizer/merges.txt"}
