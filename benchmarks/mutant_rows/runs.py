"""Faults of runs: training, checkpoints, presets, precompute."""

from benchmarks.mutant_rows.mutant import Mutant

_CHECKPOINT = "tests/advkd/training/test_checkpoint.py"
_DISTRIBUTED = "tests/advkd/training/test_distributed.py::test_two_processes_see_the_losses_of_one"

RUNS = (
    Mutant(
        "processes add their gradients",
        "advkd/training/distributed.py",
        "flat /= self.count",
        "flat /= 1",
        (_DISTRIBUTED,),
    ),
    Mutant(
        "every process judges the first one's choice of submodules",
        "advkd/training/methods/layerwise.py",
        "drawn[self.processes.share(count)]",
        "drawn[: count // self.processes.count]",
        (_DISTRIBUTED,),
    ),
    Mutant(
        "a resumed run forgets where its lazy penalties were",
        "advkd/training/checkpoint.py",
        'state.adversarial_steps = record["adversarial_steps"]',
        "state.adversarial_steps = 0",
        (f"{_CHECKPOINT}::test_a_checkpoint_holds_all_of_the_state",),
    ),
    Mutant(
        "a resumed run draws what it drew before",
        "advkd/training/checkpoint.py",
        'state.generator.set_state(parts["randomness"]["generator"])',
        "state.generator.manual_seed(0)",
        (f"{_CHECKPOINT}::test_a_checkpoint_holds_all_of_the_state",),
    ),
    Mutant(
        "a checkpoint's content is not checked",
        "advkd/training/checkpoint.py",
        ' or file_sha256(path) != facts["sha256"]',
        "",
        (f"{_CHECKPOINT}::test_a_damaged_checkpoint_is_refused",),
    ),
    Mutant(
        "a restored moment lies in memory as it was saved",
        "advkd/training/checkpoint.py",
        "torch.empty_like(weight).copy_(value) if value.shape == weight.shape else value",
        "value",
        (f"{_CHECKPOINT}::test_moments_lie_in_memory_as_their_weights_do",),
    ),
    Mutant(
        "one bad observation in a row less stops a run",
        "advkd/training/alarms.py",
        "bad = exploding(observations, bounds)\n    if len(bad) >= bounds.in_a_row:",
        "bad = exploding(observations, bounds)\n    if len(bad) >= bounds.in_a_row - 1:",
        ("tests/advkd/training/test_alarms.py::test_two_in_a_row_stop_nothing_and_three_do",),
    ),
    Mutant(
        "guidance is planned as one pass per step",
        "advkd/trajectories/identity.py",
        "(1 if identity.guidance_scale is None else 2)",
        "1",
        ("tests/advkd/cli/test_cache_plan_cli.py::TestTheTeacherItself",),
    ),
    Mutant(
        "a window has as many shards at any size",
        "advkd/presets/fitting.py",
        "return max(1, min(preset.train.window, shards))",
        "return preset.train.window",
        ("tests/advkd/foresight/test_later_stages.py::test_shards_and_windows_are_bounded_in_bytes",),
    ),
    Mutant(
        "levels stop at twice as many positions",
        "advkd/presets/grids.py",
        "max(grid) > min(_COARSEST, reach + 1)",
        "max(grid) > 2 * min(_COARSEST, reach + 1)",
        ("tests/advkd/presets/test_grids.py",),
    ),
    Mutant(
        "a target's last bound decides alone",
        "advkd/presets/targets.py",
        "if not above:",
        "if len(above) < len(bounds):",
        ("tests/advkd/presets/test_targets.py",),
    ),
    Mutant(
        "a budget is measured anew by every run",
        "advkd/presets/choice.py",
        "return Bought(**read_json(kept))",
        "return buy(wish.budget, teacher, precompute, train, store)",
        ("tests/advkd/presets/test_targets.py",),
    ),
    Mutant(
        "a level adds what is coarse twice",
        "advkd/students/levels.py",
        "hidden = hidden + nn.functional.pixel_shuffle",
        "hidden = hidden + 2 * nn.functional.pixel_shuffle",
        ("tests/advkd/students/test_levels.py",),
    ),
    Mutant(
        "a decoder that a store has come to name goes",
        "storage/care/garbage.py",
        "removed = list(garbage.old) if is_unused(garbage.uri) else []",
        "removed = list(garbage.old)",
        ("tests/storage/care/test_companions.py::test_one_that_a_store_has_come_to_name_stays",),
    ),
    Mutant(
        "a block begins with the noise of the shard's first",
        "advkd/trajectories/shard.py",
        "states = _batch(teacher, identity, first + row, samples)",
        "states = _batch(teacher, identity, first, samples)",
        ("tests/advkd/trajectories/test_filling.py::test_a_store_holds_the_teachers_states",),
    ),
)
