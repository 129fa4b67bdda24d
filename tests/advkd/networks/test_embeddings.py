"""Embeddings of prompts beside stores: made once, found again, on disk and in an object store."""

from pathlib import Path

import pytest
import torch

from advkd.diffusion import Prompts, prompts_facts
from advkd.networks import (
    NetworkError,
    StoredPrompts,
    keep_embeddings,
    kept_embeddings,
    kept_prompts,
    load_embeddings,
)
from storage.objects import join
from tests.storage.conftest import EVERYWHERE, root

__all__ = ["root"]

TEXTS = ("one", "two & <three>")
FACTS = prompts_facts(
    TEXTS,
    pipeline="StableDiffusionPipeline",
    encoder="0" * 64,
    tensors={"encoder_hidden_states": (3, 4), "pooled_projections": (4,)},
)


def table(value: float) -> StoredPrompts:
    made: StoredPrompts = StoredPrompts(prompts=list(TEXTS), conditioning=FACTS, origin="owner/name@abc")
    for values in made.buffers():
        values += value
    return made


@EVERYWHERE
def test_the_first_ones_stay_and_whoever_comes_later_takes_them(
    root: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    store = join(root, "teacher", "0" * 16)
    assert kept_prompts(store, FACTS) == list(TEXTS)
    with pytest.raises(NetworkError, match="needs their embeddings beside it"):
        kept_embeddings(store, FACTS)
    keep_embeddings(root, Prompts(FACTS, lambda: table(1.0)))

    def computed_again() -> StoredPrompts:
        raise AssertionError("a text encoder was asked")

    later = Prompts(FACTS, computed_again)
    keep_embeddings(root, later)
    told = later.embedded({"prompt": torch.tensor([1, 0])})
    assert {name: tuple(values.shape) for name, values in told.items()} == {
        "encoder_hidden_states": (2, 3, 4),
        "pooled_projections": (2, 4),
    }
    assert bool((told["pooled_projections"] == 1).all())
    folder = kept_embeddings(store, FACTS)
    assert folder is not None
    found = load_embeddings(folder, FACTS)
    assert (list(found.config.prompts), found.config.origin, found.empty) == (list(TEXTS), "owner/name@abc", 2)
    assert kept_prompts(store, FACTS) == list(TEXTS)


def test_those_of_other_prompts_are_not_taken_for_them(tmp_path: Path) -> None:
    keep_embeddings(str(tmp_path), Prompts(FACTS, lambda: table(1.0)))
    (folder,) = (tmp_path / "embeddings").iterdir()
    with pytest.raises(NetworkError, match="got those of other prompts or of another text encoder"):
        load_embeddings(folder, FACTS | {"encoder": "1" * 64})
    weights = folder / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    with pytest.raises(NetworkError, match="got damaged ones"):
        load_embeddings(folder, FACTS)


def test_a_prompt_that_is_not_stored_needs_an_encoder() -> None:
    made = table(0.5)
    assert torch.equal(made.embed(["one", ""])["pooled_projections"], torch.full((2, 4), 0.5))
    with pytest.raises(ValueError, match=r"one of the 2 stored ones, .* got 'three' without one"):
        made.embed(["one", "three"])
    with pytest.raises(ValueError, match="got none noted"):
        StoredPrompts(prompts=["one"], conditioning=FACTS).load_text_encoder()
