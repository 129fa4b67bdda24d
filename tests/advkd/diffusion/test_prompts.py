"""Prompts as conditions: the prompt of a sample follows from seed and number alone, facts do not grow with the list."""

import json

import pytest
import torch

from advkd.diffusion import Prompts, conditions_of, drawn_condition, prompts_facts
from storage.records import condition_generator

SHAPES = {"encoder_hidden_states": (3, 4), "pooled_projections": (4,)}


def facts(*prompts: str) -> dict[str, object]:
    return prompts_facts(prompts, pipeline="StableDiffusionPipeline", encoder="0" * 64, tensors=SHAPES)


def test_the_prompt_of_a_sample_follows_from_seed_and_number_alone() -> None:
    conditions = Prompts(facts("a", "b", "c"))
    whole = drawn_condition(conditions, 7, range(600))["prompt"]
    assert torch.equal(drawn_condition(conditions, 7, range(500, 520))["prompt"], whole[500:520])
    assert whole[3] == int(condition_generator(7, 3).integers(3))
    counts = torch.bincount(whole, minlength=3)
    assert bool(((counts - 200).abs() < 60).all()), counts
    assert not torch.equal(drawn_condition(conditions, 8, range(600))["prompt"], whole)


def test_facts_are_bounded_and_tell_lists_apart() -> None:
    many = facts(*(f"{'long ' * 200}{number}" for number in range(1000)))
    assert len(json.dumps(many)) < 2000
    assert many["count"] == 1000
    ours = conditions_of(json.loads(json.dumps(many)))
    assert ours.facts == many
    assert facts("a", "b") != facts("b", "a")
    assert facts("a", "b")["sha256"] != facts("a", "c")["sha256"]


@pytest.mark.parametrize("changes", [{"count": 0}, {"distribution": "zipf"}, {"tensors": {}}, {"more": 1}])
def test_facts_that_are_not_whole_are_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="prompts must be described by"):
        conditions_of(facts("a") | changes)


def test_numbers_are_embedded_by_a_table_alone() -> None:
    with pytest.raises(ValueError, match="must be embedded before networks take them"):
        Prompts(facts("a")).embedded({"prompt": torch.tensor([0])})
