"""A small npm package of emoji, made on the spot: the layout of the real one, with a few drawn pictures."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image

CATEGORIES = {
    "Smileys & Emotion": "face-smiling",
    "People & Body": "person-sport",
    "Animals & Nature": "animal-bird",
    "Food & Drink": "food-fruit",
    "Travel & Places": "place-other",
    "Activities": "game",
    "Objects": "tool",
    "Symbols": "arrow",
    "Flags": "flag",
    "Component": "skin-tone",
}


def entry(unified: str, category: str, subcategory: str | None = None, tones: tuple[str, ...] = ()) -> dict[str, Any]:
    """An entry of emoji.json, with the fields that are read."""
    return {
        "unified": unified,
        "image": f"{unified.lower()}.png",
        "short_name": unified.lower(),
        "category": category,
        "subcategory": subcategory or CATEGORIES[category],
        "sort_order": int(unified.split("-")[0], 16),
        **({"skin_variations": {tone: {"image": f"{unified.lower()}-{tone.lower()}.png"} for tone in tones}}),
    }


def small_package(folder: Path, each: int = 6) -> Path:
    """Writes a package with `each` emoji of every category, the first person in two skin tones more."""
    entries = [
        entry(f"{16 * row + column + 0x100:04X}", category, tones=("1F3FB", "1F3FF") if (row, column) == (1, 0) else ())
        for row, category in enumerate(CATEGORIES)
        for column in range(each)
    ]
    names = [variant["image"] for one in entries for variant in (one, *dict(one.get("skin_variations", {})).values())]
    return package_of(folder / "package.tgz", entries, {name: coloured(number) for number, name in enumerate(names)})


def package_of(file: Path, entries: list[dict[str, Any]], pictures: dict[str, bytes]) -> Path:
    """Writes a package with these entries and PNGs."""
    with tarfile.open(file, "w:gz") as archive:
        for name, content in {
            **{f"package/img/google/64/{name}": png for name, png in pictures.items()},
            "package/emoji.json": json.dumps(entries).encode(),
        }.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


def coloured(number: int) -> bytes:
    """A PNG of 64x64: an opaque square of a colour of its own, on nothing."""
    picture = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    picture.paste((37 * number % 256, 91 * number % 256, 53 * number % 256, 255), (16, 16, 48, 48))
    return png_of(picture)


def png_of(picture: Image.Image) -> bytes:
    """A picture as PNG."""
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
