"""Parameters that are one of two dataclasses: the schema that a server checks, and the values that a flow is given."""

import jsonschema
import pytest
from prefect.exceptions import ParameterTypeError

from advkd.presets import PRESETS
from advkd.training.methods.layerwise_spec import TrainSpec
from advkd.training.methods.paper_spec import PaperSpec
from flows.distill import distill

GOOD = [
    ({}, TrainSpec()),
    ({"samples": 512, "student": {"width": 16}}, None),
    ({"method": "layerwise"}, TrainSpec()),
    ({"method": "paper"}, PaperSpec()),
    ({"method": "paper", "weight_clip": 0.1}, PaperSpec(weight_clip=0.1)),
]
BAD = [
    ({"students": 3}, "train.layerwise.students: Unexpected keyword argument"),
    ({"student": {"depth": 3}}, "train.layerwise.student.depth: Unexpected keyword argument"),
    ({"method": "paper", "warmup": 0.4}, "train.paper.warmup: Unexpected keyword argument"),
    ({"method": "paper", "student": {}}, "train.paper.student: Unexpected keyword argument"),
    ({"method": "other"}, "train: Input tag 'other' .* expected tags: 'layerwise', 'paper'"),
]


@pytest.mark.parametrize(("given", "expected"), GOOD)
def test_a_spec_of_either_method_is_accepted(given, expected):
    jsonschema.validate({"train": given}, distill.parameters.model_dump())
    found = distill.validate_parameters({"train": given})["train"]
    assert type(found) is type(expected or TrainSpec())
    assert expected is None or found == expected


@pytest.mark.parametrize(("given", "message"), BAD)
def test_unknown_keys_are_refused_by_the_server_and_by_the_flow(given, message):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"train": given}, distill.parameters.model_dump())
    with pytest.raises(ParameterTypeError, match=message):
        distill.validate_parameters({"train": given})


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_s_own_spec_goes_through(name):
    assert distill.validate_parameters({"train": PRESETS[name].train, "preset": name})["train"] == PRESETS[name].train
