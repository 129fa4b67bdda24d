"""DINOv2 and CLIP of random weights: the model's own output for what its own processor gives, and refusals."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPConfig, CLIPModel, Dinov2Config, Dinov2Model
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from advkd.features import FeatureError, TextExtractor, chosen_features
from advkd.features.pictures import whole_numbers
from advkd.features.processing import Processing
from advkd.features.transformers_models import clip_extractor, dinov2_extractor
from tests.advkd.features.parts import asked, noise_images
from tests.advkd.teachers.text_folders import clip_tokenizer

_LAYERS: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
BIT: dict[str, Any] = {"size": {"shortest_edge": 20}, "crop_size": {"height": 14, "width": 14}}
CLIP_SIZES: dict[str, Any] = {"size": {"shortest_edge": 16}, "crop_size": 16}


@pytest.fixture
def dinov2(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "dinov2"
    Dinov2Model(Dinov2Config(**_LAYERS, image_size=14, patch_size=7)).save_pretrained(folder)
    BitImageProcessorPil(**BIT).save_pretrained(folder)
    return folder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    folder = tmp_path / "clip"
    tokenizer = clip_tokenizer(folder)
    text = {**_LAYERS, "intermediate_size": 16, "vocab_size": len(tokenizer), "max_position_embeddings": 12}
    text |= {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id, "pad_token_id": 0}
    vision = {**_LAYERS, "intermediate_size": 16, "image_size": 16, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(folder)
    CLIPImageProcessorPil(**CLIP_SIZES).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def own(processor: Any, images: torch.Tensor) -> torch.Tensor:
    """What transformers' own processor makes of the pictures."""
    pictures = [np.asarray(image.permute(1, 2, 0)) for image in whole_numbers(images)]
    return torch.from_numpy(np.stack(processor(pictures, input_data_format="channels_last")["pixel_values"]))


@pytest.mark.parametrize(
    "make",
    [
        lambda: BitImageProcessorPil(**BIT),
        lambda: CLIPImageProcessorPil(**CLIP_SIZES),
        lambda: CLIPImageProcessorPil(size={"shortest_edge": 11}, crop_size=16, resample=2),
        lambda: CLIPImageProcessorPil(size={"height": 9, "width": 17}, do_center_crop=False, rescale_factor=1 / 127.5),
        lambda: CLIPImageProcessorPil(do_resize=False, do_center_crop=False, do_normalize=False),
        lambda: CLIPImageProcessorPil(do_resize=False, crop_size={"height": 15, "width": 18}),
    ],
    ids=["bit", "clip", "framed", "both sides", "as it is", "odd"],
)
@pytest.mark.parametrize("shape", [(3, 24, 33), (3, 31, 16)])
def test_images_are_processed_as_the_preprocessor_states(
    make: Callable[[], Any], shape: tuple[int, ...], tmp_path: Path
) -> None:
    processor, images = make(), noise_images(2, *shape)
    processor.save_pretrained(tmp_path)
    processed = Processing.of(tmp_path)(images)
    torch.testing.assert_close(processed, own(processor, images).float(), rtol=0, atol=1e-5)


def test_dinov2_gives_its_class_token(dinov2: Path) -> None:
    extractor, images = dinov2_extractor(asked(weights=str(dinov2))), noise_images(3, 3, 24, 30)
    with torch.no_grad():
        hidden = Dinov2Model.from_pretrained(dinov2)(own(BitImageProcessorPil(**BIT), images)).last_hidden_state
    torch.testing.assert_close(extractor(images), hidden[:, 0], rtol=0, atol=1e-5)
    assert (extractor.name, extractor.dims) == ("dinov2", 16)
    assert extractor.rule.words.startswith(
        "RGB (grey images repeated), 14x14 (the shorter side to 20 by PIL, bicubic, antialiased, the middle cut out), "
    )
    assert not isinstance(extractor, TextExtractor)


def test_clip_has_features_of_images_and_of_texts(clip: Path) -> None:
    from transformers import CLIPTokenizer

    extractor, images = clip_extractor(asked(weights=str(clip))), noise_images(3, 3, 24, 30)
    model, texts = CLIPModel.from_pretrained(clip), ["a", "a b a", "b " * 40]
    tokens = CLIPTokenizer.from_pretrained(clip)(
        texts, padding="max_length", truncation=True, max_length=12, return_tensors="pt"
    )
    with torch.no_grad():
        seen = own(CLIPImageProcessorPil(**CLIP_SIZES), images)
        output = model(input_ids=tokens.input_ids, attention_mask=tokens.attention_mask, pixel_values=seen)
    assert isinstance(extractor, TextExtractor)
    for ours, theirs in (
        (extractor(images), output.image_embeds),
        (extractor.text_features(texts), output.text_embeds),
    ):
        # The model returns them normalised.
        unit = ours / ours.norm(dim=-1, keepdim=True)
        torch.testing.assert_close(unit, theirs, rtol=0, atol=1e-5)
    assert extractor.text_features([]).shape == (0, extractor.dims) == (0, 8)
    torch.testing.assert_close(
        extractor.text_features(texts * 30)[-3:], extractor.text_features(texts), rtol=0, atol=1e-5
    )


def test_weights_and_processing_are_in_the_sha256(dinov2: Path) -> None:
    seen = {dinov2_extractor(asked(weights=str(dinov2))).sha256}
    BitImageProcessorPil(**BIT, resample=2).save_pretrained(dinov2)
    seen.add(dinov2_extractor(asked(weights=str(dinov2))).sha256)
    torch.manual_seed(1)
    Dinov2Model(Dinov2Config(**_LAYERS, image_size=14, patch_size=7)).save_pretrained(dinov2)
    seen.add(dinov2_extractor(asked(weights=str(dinov2))).sha256)
    assert len(seen) == 3


def without(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).unlink()


def other_config(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "vit"}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without("preprocessor_config.json"), r"must have a preprocessor_config\.json, got FileNotFoundError in"),
        (without("model.safetensors"), "a model's weights must be safetensors, got none in .*; save it with"),
        (other_config, r"'dinov2' must be one of \['dinov2', 'dinov2_with_registers'\], got 'vit' in"),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text('{"image_processor_type": "OwnProcessor"}'),
            r"a preprocessor must be one of \['CLIPImageProcessor', .*\], got 'OwnProcessor' in",
        ),
        (
            lambda folder: (folder / "preprocessor_config.json").write_text(
                '{"image_processor_type": "BitImageProcessor", "size": 9}'
            ),
            r"must say size, crop_size, image_mean and image_std, got KeyError\('crop_size'\) in",
        ),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(b"no"),
            r"must fit its config, got \w+ while loading",
        ),
    ],
    ids=["no processor", "no weights", "another model", "another processor", "half a processor", "broken"],
)
def test_a_folder_that_is_none_is_refused_by_name(spoil: Callable[[Path], object], message: str, dinov2: Path) -> None:
    spoil(dinov2)
    with pytest.raises(FeatureError, match=message):
        dinov2_extractor(asked(weights=str(dinov2)))


def test_a_model_that_is_not_there_is_said_with_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    teacher = asked().teacher
    with pytest.raises(
        FeatureError,
        match=r"'clip' needs a model, got none of openai/clip-vit-large-patch14-336 in the hub's cache; let it",
    ):
        chosen_features("clip", teacher)
    with pytest.raises(FeatureError, match=r"must be reached to be fetched, got \w+ for owner/name@v1; fetch it on"):
        chosen_features("dinov2", teacher, weights="owner/name@v1")
    with pytest.raises(FeatureError, match="must be a folder or a hub id owner/name, got 'nowhere'; correct it"):
        chosen_features("dinov2", teacher, weights="nowhere")


def test_without_transformers_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(FeatureError, match=r"'dinov2' needs the package transformers, .*'advkd\[text\]'"):
        dinov2_extractor(asked(weights="facebook/dinov2-large"))
