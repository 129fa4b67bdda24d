import pytest

from advkd.teachers.emoji.groups import GROUPS, group_of, is_held_out, may_be_mirrored, motif_of
from tests.advkd.teachers.emoji.packages import CATEGORIES, entry


def test_every_category_of_pictures_has_a_group_and_every_group_a_category() -> None:
    groups = {category: group_of(entry("1F600", category)) for category in CATEGORIES}
    assert groups.pop("Component") is None
    assert set(groups.values()) == set(GROUPS)
    assert groups["Activities"] == groups["Objects"] == "objects"


@pytest.mark.parametrize("subcategory", ["heart", "emotion"])
def test_signs_of_emotion_are_no_faces(subcategory: str) -> None:
    assert group_of(entry("2764", "Smileys & Emotion", subcategory)) == "symbols"
    assert group_of(entry("1F63A", "Smileys & Emotion", "cat-face")) == "faces"


RUNNERS = (
    "1F3C3",
    "1F3C3-200D-2640-FE0F",
    "1F3C3-200D-2642-FE0F",
    "1F3C3-200D-27A1-FE0F",
    "1F3C3-1F3FD-200D-2640-FE0F-200D-27A1-FE0F",
)
COOKS = ("1F468-200D-1F373", "1F469-200D-1F373", "1F9D1-200D-1F373", "1F9D1-1F3FE-200D-1F373")


@pytest.mark.parametrize("variants", [RUNNERS, COOKS, ("1F468", "1F469", "1F9D1", "1F9D1-1F3FB")])
def test_variants_of_a_motif_are_one(variants: tuple[str, ...]) -> None:
    assert len({motif_of(entry(unified, "People & Body")) for unified in variants}) == 1


def test_motifs_differ_by_what_is_drawn_and_by_subcategory() -> None:
    boy, family = "1F466", "1F468-200D-1F469-200D-1F466"
    runner, cook = (motif_of(entry(variants[0], "People & Body")) for variants in (RUNNERS, COOKS))
    alone = motif_of(entry(boy, "People & Body", "person"))
    together = motif_of(entry(family, "People & Body", "family"))
    assert len({runner, cook, alone, together, motif_of(entry("1F468", "People & Body"))}) == 5


def test_the_halves_are_fixed_and_about_even() -> None:
    motifs = [f"food-fruit/{number:04X}" for number in range(0x1F300, 0x1F300 + 2000)]
    held_out = [is_held_out(motif) for motif in motifs]
    assert 900 < sum(held_out) < 1100
    # Another hash would move emoji from one half to the other, and a teacher would have seen what is held out.
    fixed = ("food-prepared/1F355", "animal-mammal/1F431", "flag/1F3F3")
    assert [is_held_out(motif) for motif in fixed] == [True, True, False]


def test_only_pictures_without_letters_are_mirrored() -> None:
    assert {group for group in GROUPS if not may_be_mirrored(group)} == {"symbols", "flags"}
