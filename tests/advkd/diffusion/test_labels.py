"""Class labels: their facts, how they are drawn, and how people name them."""

import json
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from advkd.diffusion import Labels, conditions_of, drawn_condition, start_of

NAMES = ("tench, Tinca tinca", "crane", "crane, lifting machine", "7")
SEEDS = st.integers(0, 2**63 - 1)


def numbered(classes: int = 5) -> Labels:
    return Labels({"kind": "labels", "classes": classes, "distribution": "uniform"})


def named(*names: str) -> Labels:
    return Labels({"kind": "labels", "names": list(names), "distribution": "uniform"})


@pytest.mark.parametrize("labels", [numbered(), named("a", "b")])
def test_a_row_of_the_table_is_built_from_its_facts_again(labels: Labels) -> None:
    again = conditions_of(json.loads(json.dumps(labels.facts)))
    assert isinstance(again, Labels)
    assert (again.facts, again.names, again.classes) == (labels.facts, labels.names, labels.classes)


@given(seed=SEEDS, indices=st.lists(st.integers(0, 2**50), min_size=1, max_size=6, unique=True))
def test_the_label_of_a_sample_depends_on_its_seed_and_number_alone(seed: int, indices: list[int]) -> None:
    labels = numbered(1000)
    whole = dict(zip(indices, drawn_condition(labels, seed, indices)["class_labels"].tolist(), strict=True))
    for index in indices:
        (alone,) = drawn_condition(labels, seed, [index])["class_labels"].tolist()
        assert alone == whole[index]
    for order in list(permutations(indices))[:4]:
        assert drawn_condition(labels, seed, order)["class_labels"].tolist() == [whole[index] for index in order]


def test_labels_are_int64_and_each_class_is_as_likely() -> None:
    start = start_of(torch.zeros(5000, 1, 1, 1), numbered(), 3, range(5000))
    drawn = start.condition["class_labels"]
    assert (drawn.dtype, drawn.shape) == (torch.int64, (5000,))
    counts = np.bincount(drawn.numpy(), minlength=5)
    # Five standard deviations of a binomial.
    assert np.abs(counts - 1000).max() < 5 * np.sqrt(5000 * 0.2 * 0.8)
    assert not torch.equal(
        drawn, start_of(torch.zeros(5000, 1, 1, 1), numbered(), 4, range(5000)).condition["class_labels"]
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "text"}, "must be described by"),
        ({"distribution": "zipf"}, "must be described by"),
        ({"names": ["a"]}, "must be described by"),
        ({"weights": [1]}, "must be described by"),
        ({"classes": 0}, "must have at least one class, .* got 0"),
        ({"classes": "5"}, "must have at least one class, .* got '5'"),
        ({"classes": True}, "must have at least one class, .* got True"),
        ({"classes": 2.5}, "must have at least one class, .* got 2.5"),
    ],
)
def test_bad_facts_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Labels({**numbered().facts, **changes})


@pytest.mark.parametrize("names", [[], [1, 2], "cat", {"0": "cat"}])
def test_bad_names_are_refused(names: object) -> None:
    with pytest.raises(ValueError, match="must have at least one class, as a list of names"):
        Labels({"kind": "labels", "names": names, "distribution": "uniform"})


@pytest.mark.parametrize(
    ("label", "number"),
    [(0, 0), ("2", 2), ("tench", 0), ("tench, Tinca tinca", 0), ("crane", 1), ("lifting machine", 2), ("7", 3), (3, 3)],
)
def test_a_class_is_named_by_number_name_or_a_part_of_it(label: int | str, number: int) -> None:
    assert named(*NAMES).number(label) == number


@pytest.mark.parametrize("label", [-1, 5, "5", "-1", "cat", "1.5", ""])
def test_what_is_no_class_is_refused_with_those_that_are(label: int | str) -> None:
    with pytest.raises(ValueError, match=f"a label must be one of 0 to 4, got {label!r}; choose one of them"):
        numbered().number(label)


def test_a_name_of_several_classes_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must be that of one class, got 'crane' of \[0, 1\]; give the number"):
        named("crane, bird", "crane, machine").number("crane")


def test_many_names_are_told_in_short() -> None:
    assert named("a", "b").known == "0 'a', 1 'b'"
    assert named(*(f"c{k}" for k in range(1000))).known.endswith("11 'c11' ... up to 999")
