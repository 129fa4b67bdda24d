"""Faults of evaluation and of the gate."""

from benchmarks.mutant_rows.mutant import Mutant

_DISTANCES = "tests/advkd/evaluation/test_distances.py"
_GATE = "tests/advkd/registry/test_gate.py"

JUDGEMENT = (
    Mutant(
        "a residual block does not add to what it was given",
        "advkd/students/blocks.py",
        "return hidden + self.conv2(",
        "return self.conv2(",
        ("tests/advkd/students/test_blocks.py",),
    ),
    Mutant(
        "every pass of sampling repeats the first noises",
        "advkd/students/sampling.py",
        "initial_noise(seed, start, min(n, start + rows), shape)",
        "initial_noise(seed, 0, min(n, start + rows) - start, shape)",
        ("tests/advkd/students/test_students.py::test_an_image_depends_on_its_seed_and_its_number_alone",),
    ),
    Mutant(
        "the paper's student sees noise of a mean's variance",
        "advkd/students/progressive.py",
        "adaptive_avg_pool2d(noise, COARSE) * (self.sample_shape[1] / COARSE)",
        "adaptive_avg_pool2d(noise, COARSE)",
        ("tests/advkd/students/test_progressive.py::test_the_input_has_unit_variance",),
    ),
    Mutant(
        "the discriminator does not know which submodule it judges",
        "advkd/discriminators/projection.py",
        "self.psi(features).squeeze(1) + (seen_as * features).sum(1)",
        "self.psi(features).squeeze(1)",
        ("tests/advkd/discriminators/test_discriminators.py::test_conditioning_is_a_projection",),
    ),
    Mutant(
        "a scheduler without clip_sample clips",
        "advkd/teachers/schedulers.py",
        '{"clip_sample": False} | _settings(own)',
        "_settings(own)",
        ("tests/advkd/teachers/test_schedulers.py::test_a_config_is_completed_by_its_own_class",),
    ),
    Mutant(
        "flow matching starts before its noise",
        "advkd/teachers/solvers.py",
        "tuple(1.0 - sigma for sigma in sigmas)",
        "tuple(1.0 - sigma**2 for sigma in sigmas)",
        ("tests/advkd/teachers/test_schedulers.py::test_flow_matching_is_that_of_diffusers",),
    ),
    Mutant(
        "a solver with memory skips its corrector",
        "advkd/teachers/solvers.py",
        '"disable_corrector": ()',
        '"disable_corrector": (0, 1, 2)',
        ("tests/advkd/teachers/test_schedulers.py::test_fast_solvers_are_those_of_diffusers",),
    ),
    Mutant(
        "a sample is its own nearest neighbour",
        "advkd/evaluation/distances.py",
        "kthvalue(neighbours + 1, dim=1)",
        "kthvalue(neighbours, dim=1)",
        (_DISTANCES,),
    ),
    Mutant(
        "worth is interpolated in a straight line",
        "advkd/evaluation/distances.py",
        "share = math.log(worse / fd) / math.log(worse / better)",
        "share = (worse - fd) / (worse - better)",
        (_DISTANCES,),
    ),
    Mutant(
        "features of two extractors are compared",
        "advkd/distances/feature_set.py",
        "if a.dims != b.dims:",
        "if a.dims < b.dims:",
        ("tests/advkd/distances/test_frechet.py::test_features_of_two_extractors_are_refused",),
    ),
    Mutant(
        "merged parts do not know how far apart they are",
        "advkd/distances/moments.py",
        "(self.count * other.count / count)",
        "0.0",
        ("tests/advkd/distances/test_moments.py",),
    ),
    Mutant(
        "noises are left out of one set alone",
        "advkd/distances/frechet.py",
        "len(b.features) == kept",
        "len(b.features) < kept",
        ("tests/advkd/distances/test_frechet.py",),
    ),
    Mutant(
        "a sample is compared with itself in the kernel distance",
        "advkd/distances/kernel.py",
        " - members_a @ _self_kernel(x)",
        "",
        ("tests/advkd/distances/test_kernel.py",),
    ),
    Mutant(
        "precision and recall are swapped",
        "advkd/distances/manifold.py",
        "recalled += int((between <= fake_radii).any(1).sum())",
        "recalled += int(in_reference_ball.any(1).sum())",
        ("tests/advkd/distances/test_manifold.py",),
    ),
    Mutant(
        "features of another extractor are taken from what was kept",
        "advkd/images/streaming.py",
        '        "extractor_sha256": extractor.sha256,\n',
        "",
        ("tests/advkd/images/test_streaming.py::test_features_of_something_else_are_never_taken",),
    ),
    Mutant(
        "pictures are resized without antialiasing",
        "advkd/images/pictures.py",
        "Image.Resampling.LANCZOS",
        "Image.Resampling.NEAREST",
        ("tests/advkd/images/test_pictures.py",),
    ),
    Mutant(
        "kept features are the first of a sorted set",
        "advkd/images/streaming.py",
        "Accumulator(extractor.dims, expected=count)",
        "Accumulator(extractor.dims)",
        ("tests/advkd/images/test_streaming.py::test_kept_features_are_spread_over_a_set_that_is_sorted",),
    ),
    Mutant(
        "a champion of as good a recall cannot be succeeded",
        "advkd/registry/gate.py",
        "if not recall >= champion_recall - margin:",
        "if not recall >= champion_recall:",
        (_GATE,),
    ),
    Mutant(
        "figures of different numbers of samples are compared",
        "advkd/registry/gate.py",
        '    "samples": "evaluate both with the same --samples",\n',
        "",
        (_GATE,),
    ),
    Mutant(
        "figures as bad as those that were rolled back are believed",
        "advkd/registry/promotion.py",
        "figures.fd < theirs.fd:",
        "figures.fd <= theirs.fd:",
        ("tests/advkd/registry/test_promotion.py::test_after_a_roll_back_the_gate_believes_only_better_figures",),
    ),
)
