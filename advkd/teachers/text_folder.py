"""Text encoders and tokenizers in a teacher's folder: which files there are, their sha256, loading them.

Only classes of a fixed table are built, from safetensors, without code of the folder. They are transformers' own, which
the extra `text` installs (`pip install advkd[text]`); looking at files needs none.
"""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from advkd.files import files_sha256
from advkd.teachers.errors import TeacherError
from advkd.teachers.folder import read_json
from advkd.teachers.weights import weights_of

TOKENIZER_FILES = (
    "added_tokens.json",
    "merges.txt",
    "special_tokens_map.json",
    "spiece.model",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
)
"""What a tokenizer may consist of; anything else in its folder is left alone."""
_CONFIG = "tokenizer_config.json"
_MOST_TOKENS = 100_000


@dataclass(frozen=True, kw_only=True)
class TextParts:
    """The parts of a pipeline that embed prompts.

    Attributes:
        encoders: classes of transformers that a text encoder may be of, by the name of its part.
        tokenizers: the same of tokenizers.
    """

    encoders: Mapping[str, Sequence[str]]
    tokenizers: Mapping[str, Sequence[str]]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all parts."""
        return *self.tokenizers, *self.encoders


CLIP_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
T5_TOKENIZERS = ("T5Tokenizer", "T5TokenizerFast")
GEMMA_TOKENIZERS = ("GemmaTokenizer", "GemmaTokenizerFast")


def require_transformers(folder: Path) -> None:
    """Raises `TeacherError` if transformers is not installed."""
    if importlib.util.find_spec("transformers") is None:
        raise TeacherError(
            f"a teacher of prompts needs the package transformers, got {folder} and no such package; install it: "
            "pip install 'advkd[text]'"
        )


def check_text_parts(folder: Path, parts: TextParts) -> None:
    """Refuses text encoders and tokenizers of unknown classes, or missing ones; weights may be missing yet.

    Raises:
        TeacherError: see above.
    """
    index = read_json(folder / "model_index.json")
    for part, classes in {**parts.tokenizers, **parts.encoders}.items():
        named = index.get(part)
        if named not in [["transformers", name] for name in classes]:
            raise TeacherError(
                f"the {part} of a {index.get('_class_name')} must be transformers' {' or '.join(classes)}, got "
                f"{named!r} in {folder}; save the pipeline with it, or choose another teacher"
            )
    for part in parts.encoders:
        read_json(folder / part / "config.json")
    for part in parts.tokenizers:
        if not (folder / part / _CONFIG).is_file():
            raise TeacherError(
                f"a teacher of prompts needs its tokenizers, got no {_CONFIG} in {folder / part}; save the pipeline "
                "with pipeline.save_pretrained(folder)"
            )


def text_files(folder: Path, parts: TextParts) -> tuple[Path, ...]:
    """Returns the files that decide how prompts are embedded; raises `WeightsError` if weights are missing."""
    tokenizers = (
        folder / part / name
        for part in parts.tokenizers
        for name in TOKENIZER_FILES
        if (folder / part / name).is_file()
    )
    encoders = (
        folder / part / name for part in parts.encoders for name in ("config.json", *weights_of(folder / part).names)
    )
    return *tokenizers, *encoders


def text_sha256(folder: Path, parts: TextParts) -> str:
    """Returns the sha256 over text encoders and tokenizers."""
    return files_sha256(folder, text_files(folder, parts))


def token_limit(folder: Path, part: str) -> int:
    """Returns the number of tokens that a tokenizer gives of every prompt; raises `TeacherError` if it is not said."""
    limit = read_json(folder / part / _CONFIG).get("model_max_length")
    if not isinstance(limit, int) or not 0 < limit <= _MOST_TOKENS:
        raise TeacherError(
            f"a tokenizer must say its model_max_length, got {limit!r} in {folder / part / _CONFIG}; write the one "
            "there that the teacher was trained with, such as 77"
        )
    return limit


def encoder_number(folder: Path, part: str, key: str) -> int:
    """Returns a number in a text encoder's config; raises `TeacherError` if it is none."""
    config = read_json(folder / part / "config.json")
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise TeacherError(
            f"a text encoder's config must say its {key}, got {value!r} in {folder / part}; save the pipeline again"
        )
    return value


def load_text_parts(folder: Path, parts: TextParts) -> dict[str, Any]:
    """Loads tokenizers and text encoders on the CPU, in float32 and without gradients, by the names of their parts.

    Raises:
        TeacherError: transformers is not installed, or files do not fit each other.
    """
    require_transformers(folder)
    import torch
    import transformers

    index = read_json(folder / "model_index.json")
    loaded: dict[str, Any] = {}
    # Its bars would be in logs and JSON.
    transformers.utils.logging.disable_progress_bar()
    for part in parts.names:
        kind = getattr(transformers, index[part][1])
        try:
            if part in parts.tokenizers:
                loaded[part] = kind.from_pretrained(folder / part, local_files_only=True)
                continue
            network, told = kind.from_pretrained(
                folder / part,
                local_files_only=True,
                use_safetensors=True,
                variant=weights_of(folder / part).variant,
                dtype=torch.float32,
                output_loading_info=True,
            )
        except Exception as error:
            raise TeacherError(
                f"text encoders must be whole, got {type(error).__name__} while loading {folder / part}; save the "
                "pipeline again"
            ) from error
        wrong = sorted(map(str, told["missing_keys"]))
        if wrong:
            raise TeacherError(
                f"a text encoder's weights must fit its config, got none for {wrong[:3]} in {folder / part}; save the "
                "pipeline again"
            )
        loaded[part] = network.eval().requires_grad_(False)
    return loaded
