"""What the processes of a distributed run do in tests: train and write down what they saw, or fail alone."""

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import advkd.training.loop as loop
from advkd.training.methods.layerwise_spec import TrainSpec
from tests.advkd.trajectories.forked import command


def record(spec: TrainSpec, store: str, out: Path, records: Path, stop_at: int | None = None) -> None:
    """Trains, to the end or until `stop_at` samples; metrics and a hash of the weights go to `records/<rank>.json`."""
    methods: list[Any] = []
    build = loop.build_method

    def building(*arguments: Any) -> Any:
        methods.append(build(*arguments))
        return methods[-1]

    loop.build_method = building
    steps, found = loop.train(spec, store, out), []
    for step in steps:
        found.append(asdict(step))
        if stop_at is not None and step.samples >= stop_at:
            steps.close()
    sha = hashlib.sha256()
    state = methods[0].state
    for weights in (state.student, state.discriminator):
        for weight in weights.parameters():
            sha.update(weight.detach().contiguous().numpy().tobytes())
    records.mkdir(exist_ok=True, parents=True)
    rank = os.environ.get("RANK", "0")
    (records / f"{rank}.json").write_text(json.dumps({"metrics": found, "weights": sha.hexdigest()}))


def fail_alone(rank: str, samples: int, *arguments: str) -> None:
    """`advkd ARGUMENTS`; process `rank` alone cannot read its batch after so many samples."""
    move, calls = loop.to_torch, []

    def failing(*batch: Any) -> Any:
        calls.append(batch)
        if os.environ["RANK"] == rank and len(calls) > samples // 8:
            raise OSError("a batch must be read, got a broken cable; plug it in")
        return move(*batch)

    loop.to_torch = failing
    command(*arguments)
