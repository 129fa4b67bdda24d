"""Teachers of prompts at tiny size, with random weights, as diffusers and transformers save them."""

import json
from pathlib import Path
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler as DPMSolver
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    PNDMScheduler,
    SanaPipeline,
    SanaTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    Gemma2Config,
    Gemma2Model,
    GemmaTokenizer,
    T5Config,
    T5EncoderModel,
    T5TokenizerFast,
)

from tests.advkd.teachers.latents import tiny_dc, tiny_kl

PROMPTS = ("a red square", "a blue circle", "the sea at night", "<b>ten & one</b>")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789&<>/,.-:;'\"()"


def prompt_file(folder: Path, prompts: tuple[str, ...] = PROMPTS, name: str = "prompts.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(f"{prompt}\n" for prompt in prompts), encoding="utf-8")
    return path


def clip_tokenizer(folder: Path, length: int = 12) -> CLIPTokenizer:
    """A tokenizer of letters."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["<|startoftext|>", "<|endoftext|>", *LETTERS, *(f"{letter}</w>" for letter in LETTERS)]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=length)


def clip_text(kind: Any = CLIPTextModel, seed: int = 0, hidden: int = 16, length: int = 12) -> Any:
    torch.manual_seed(seed)
    return kind(
        CLIPTextConfig(
            vocab_size=2 + 2 * len(LETTERS), hidden_size=hidden, intermediate_size=32, num_hidden_layers=2,
            num_attention_heads=2, max_position_embeddings=length, projection_dim=hidden, bos_token_id=0,
            eos_token_id=1, pad_token_id=1,
        )
    ).eval()  # fmt: skip


def fast_tokenizer(kind: Any, **special: str) -> Any:
    """A tokenizer of letters by the library of tokenizers: T5's or Gemma's."""
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("<bos>", 0.0), ("\u2581", -1.0)]
    return kind(vocab=[*pieces, *((letter, -2.0) for letter in LETTERS)], **special)


def t5_text(seed: int = 0) -> T5EncoderModel:
    torch.manual_seed(seed)
    return T5EncoderModel(T5Config(vocab_size=160, d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)).eval()


def tiny_unet(seed: int = 0) -> UNet2DConditionModel:
    torch.manual_seed(seed)
    return UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=(8, 16), norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=16, attention_head_dim=2,
    )  # fmt: skip


def stable_diffusion_folder(folder: Path, scheduler: Any = None) -> Path:
    """Saves a `StableDiffusionPipeline`, with the scheduler of the first ones on the hub."""
    own = scheduler or PNDMScheduler(
        beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, skip_prk_steps=True, steps_offset=1,
        set_alpha_to_one=False,
    )  # fmt: skip
    StableDiffusionPipeline(
        vae=tiny_kl(), text_encoder=clip_text(), tokenizer=clip_tokenizer(folder.with_name(f"{folder.name}-words")),
        unet=tiny_unet(), scheduler=own, safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    ).save_pretrained(folder)  # fmt: skip
    return folder


def stable_diffusion_3_folder(folder: Path, **scheduler: Any) -> Path:
    """Saves a `StableDiffusion3Pipeline`."""
    torch.manual_seed(0)
    transformer = SD3Transformer2DModel(
        sample_size=8, patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=4, caption_projection_dim=32, joint_attention_dim=32, pooled_projection_dim=32,
        pos_embed_max_size=16,
    )  # fmt: skip
    words = folder.with_name(f"{folder.name}-words")
    StableDiffusion3Pipeline(
        transformer=transformer, scheduler=FlowMatchEulerDiscreteScheduler(**({"shift": 3.0} | scheduler)),
        vae=tiny_kl(shift_factor=0.1), text_encoder=clip_text(CLIPTextModelWithProjection),
        text_encoder_2=clip_text(CLIPTextModelWithProjection, seed=1), text_encoder_3=t5_text(),
        tokenizer=clip_tokenizer(words), tokenizer_2=clip_tokenizer(words), tokenizer_3=fast_tokenizer(T5TokenizerFast),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def flux_folder(folder: Path, *, guidance: bool = True, **scheduler: Any) -> Path:
    """Saves a `FluxPipeline`."""
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1, in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=16, guidance_embeds=guidance, axes_dims_rope=(4, 4, 8),
    )  # fmt: skip
    settings = {"shift": 3.0, "use_dynamic_shifting": True} | scheduler
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(**settings), vae=tiny_kl(shift_factor=0.1), transformer=transformer,
        text_encoder=clip_text(), tokenizer=clip_tokenizer(folder.with_name(f"{folder.name}-words")),
        text_encoder_2=t5_text(), tokenizer_2=fast_tokenizer(T5TokenizerFast),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def sana_folder(folder: Path) -> Path:
    """Saves a `SanaPipeline`."""
    torch.manual_seed(0)
    transformer = SanaTransformer2DModel(
        patch_size=1, in_channels=4, out_channels=4, num_layers=1, num_attention_heads=2, attention_head_dim=4,
        num_cross_attention_heads=2, cross_attention_head_dim=4, cross_attention_dim=8, caption_channels=8,
        sample_size=16,
    )  # fmt: skip
    vae = tiny_dc()
    text = Gemma2Model(
        Gemma2Config(
            vocab_size=160, hidden_size=8, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, head_dim=4, max_position_embeddings=2048, pad_token_id=0, eos_token_id=1,
            bos_token_id=2,
        )
    ).eval()  # fmt: skip
    SanaPipeline(
        tokenizer=gemma_tokenizer(), text_encoder=text, vae=vae, transformer=transformer,
        scheduler=DPMSolver(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def gemma_tokenizer() -> GemmaTokenizer:
    words = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "\u2581", *LETTERS]
    return GemmaTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[])
