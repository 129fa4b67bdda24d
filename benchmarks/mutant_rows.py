"""The mutants of `make mutants`: one wrong line each, and the tests that must not let it pass.

A row is data: a repository path, the exact old text (once in that file), the new text, and the narrowest tests that
must fail. Whoever changes a line that a row names changes the row; `tests/test_mutants.py` says which.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One fault."""

    name: str
    """What is wrong in it."""
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    """Arguments of pytest: files, or single tests of them."""


_STEP = "tests/advkd/training/methods/test_layerwise_step.py"
_RUN = f"{_STEP}::test_a_run_is_the_plain_one_whether_the_limit_binds_or_not"
_SETTINGS = f"{_STEP}::test_every_setting_is_the_plain_one"
_MUON = "tests/advkd/optimizers/test_muon_oracle.py"
_AVERAGE = "tests/advkd/training/test_average.py"
_LOSSES = "tests/advkd/losses/test_losses.py"
_PAPER = "tests/advkd/training/methods/test_paper.py"
_PAPER_STEP = "tests/advkd/training/methods/test_paper_step.py"
_CHECKPOINT = "tests/advkd/training/test_checkpoint.py"
_DISTRIBUTED = "tests/advkd/training/test_distributed.py::test_two_processes_see_the_losses_of_one"
_DISTANCES = "tests/advkd/evaluation/test_distances.py"
_GATE = "tests/advkd/registry/test_gate.py"

METHOD = (
    Mutant(
        "the adversarial gradient has no limit",
        "advkd/training/methods/layerwise.py",
        "return scale.clamp_max(self.spec.adversarial_limit)",
        "return scale",
        (_RUN,),
    ),
    Mutant(
        "a lazy penalty does not count for the steps without one",
        "advkd/training/methods/layerwise.py",
        "spec.penalty_weight * spec.penalty_every * penalty",
        "spec.penalty_weight * penalty",
        (_RUN,),
    ),
    Mutant(
        "the average has its whole half-life from the first step",
        "advkd/training/loop.py",
        "min(spec.ema_halflife, 0.1 * state.samples)",
        "spec.ema_halflife",
        (_AVERAGE,),
    ),
    Mutant(
        "Muon's step is 1 % too long",
        "advkd/optimizers/muon.py",
        "_MATCHED_RMS = 0.2",
        "_MATCHED_RMS = 0.202",
        (_MUON,),
    ),
    Mutant(
        "Muon does not look ahead",
        "advkd/optimizers/muon.py",
        'weight.grad.lerp(state["momentum"], group["momentum"]).flatten(1)',
        'state["momentum"].flatten(1)',
        (_MUON,),
    ),
    Mutant(
        "a tall matrix gets a wide one's length",
        "advkd/optimizers/muon.py",
        "max(turned.shape[1:]) ** 0.5",
        "turned.shape[2] ** 0.5",
        (_MUON,),
    ),
    Mutant(
        "biases decay too fast: Adam's second moment forgets",
        "advkd/optimizers/muon.py",
        'beta2=group["betas"][1]',
        'beta2=group["betas"][0]',
        (_MUON,),
    ),
    Mutant(
        "the average's half-life is a time constant",
        "advkd/optimizers/ema.py",
        "0.5 ** (samples / halflife)",
        "2.718281828 ** (-samples / halflife)",
        (_AVERAGE,),
    ),
    Mutant(
        "the learning rate begins its rise a batch late",
        "advkd/training/methods/layerwise.py",
        "min(1.0, (samples + spec.batch_size) / max(",
        "min(1.0, samples / max(",
        (_SETTINGS,),
    ),
    Mutant(
        "every submodule's distillation loss counts alike",
        "advkd/training/methods/layerwise.py",
        "tuple(1.0 / gain for gain in coefficients.gain)",
        "tuple(1.0 for gain in coefficients.gain)",
        (_RUN,),
    ),
    Mutant(
        "R2 is left out",
        "advkd/training/methods/layerwise.py",
        "gradient_penalty(logits_real, real) + gradient_penalty(logits_fake, fake)",
        "gradient_penalty(logits_real, real)",
        (_RUN,),
    ),
    Mutant(
        "the game begins a step late",
        "advkd/training/methods/layerwise.py",
        "self.state.samples >= self.spec.warmup * self.spec.samples",
        "self.state.samples > self.spec.warmup * self.spec.samples",
        (_RUN,),
    ),
    Mutant(
        "parts of a batch give the student their sum",
        "advkd/training/methods/layerwise.py",
        "both = [(d + scale * g) / spec.accumulate for",
        "both = [(d + scale * g) for",
        (_RUN,),
    ),
    Mutant(
        "parts of a batch enlarge the student's pull",
        "advkd/losses/gradient_pulls.py",
        "return self.toward_real(fakes.grad / share)",
        "return self.toward_real(fakes.grad)",
        (_RUN,),
    ),
    Mutant(
        "a decided game pulls no more",
        "advkd/losses/gradient_pulls.py",
        "least = _LEAST / fake.numel()",
        "least = 1e-45",
        ("tests/advkd/losses/test_gradient_pulls.py",),
    ),
    Mutant(
        "pseudo-Huber's c does not grow with the image",
        "advkd/losses/distillation.py",
        "c = 0.00054 * scale",
        "c = 0.00054",
        (_LOSSES,),
    ),
    Mutant(
        "the generator wants what the discriminator wants",
        "advkd/losses/adversarial.py",
        "return softplus(real - fake).mean()",
        "return softplus(fake - real).mean()",
        (_LOSSES,),
    ),
    Mutant(
        "WGAN-GP pulls slopes to zero",
        "advkd/losses/penalties.py",
        "(norms - 1.0).square()",
        "norms.square()",
        (_LOSSES,),
    ),
    Mutant(
        "a state's noise is left in its clean estimate",
        "advkd/diffusion/schedule.py",
        "return (state - skip * noise) / gain",
        "return state / gain",
        (_RUN,),
    ),
    Mutant(
        "the student's gain forgets the signal in x_T",
        "advkd/diffusion/schedule.py",
        "gain = tuple(a - signal[0] * keep for a, keep",
        "gain = tuple(a for a, keep",
        ("tests/advkd/diffusion/test_schedule.py",),
    ),
    Mutant(
        "the paper's phases are all of one length",
        "advkd/training/methods/paper.py",
        "steps * (k + 1) * (k + 2) // (2 * parts)",
        "steps * (k + 1) // submodules",
        (f"{_PAPER}::test_phase_k_lasts_k_parts",),
    ),
    Mutant(
        "the paper's next phase keeps the old moments",
        "advkd/training/methods/paper.py",
        "if state.samples // spec.batch_size in (0, *self.ends):",
        "if state.samples // spec.batch_size == 0:",
        (f"{_PAPER}::test_a_phase_begins_with_a_fresh_optimizer",),
    ),
    Mutant(
        "the paper's lazy penalty does not count for the steps without one",
        "advkd/training/methods/paper.py",
        "spec.penalty_weight * spec.penalty_every * penalty",
        "spec.penalty_weight * penalty",
        (_PAPER_STEP,),
    ),
    Mutant(
        "the paper's discriminator is shown teacher's states unclipped",
        "advkd/training/methods/paper.py",
        "adaptive_avg_pool2d(state, side).clamp(-1.0, 1.0)",
        "adaptive_avg_pool2d(state, side)",
        (_PAPER_STEP,),
    ),
)

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
        "(1 if scale is None else 2)",
        "1",
        ("tests/advkd/cli/test_cache_plan_cli.py::TestTheTeacherItself",),
    ),
    Mutant(
        "a window has as many shards at any size",
        "advkd/presets.py",
        "window=max(1, min(train.window, shards))",
        "window=train.window",
        ("tests/advkd/foresight/test_later_stages.py::test_shards_and_windows_are_bounded_in_bytes",),
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

STORE = (
    Mutant(
        "uint8 codes are cut off instead of rounded",
        "storage/records/encoding.py",
        "scaled = np.rint((reduced",
        "scaled = np.floor((reduced",
        ("tests/storage/records/test_encoding.py",),
    ),
    Mutant(
        "a value outside of its range is clipped",
        "storage/records/encoding.py",
        "or largest > max(high, float(np.float32(high))):",
        "and largest > max(high, float(np.float32(high))):",
        ("tests/storage/records/test_encoding.py",),
    ),
    Mutant(
        "a sample's solver seed is the next one's noise",
        "storage/records/seeding.py",
        "2 * index + stream",
        "index + stream",
        ("tests/storage/records/test_seed_keys.py",),
    ),
    Mutant(
        "a piece of an object is given without its checksum",
        "storage/reading/ranged.py",
        "if crc32(data) != checksums[number]:",
        "if not data:",
        ("tests/storage/reading/test_rereading.py",),
    ),
    Mutant(
        "a batch's noise is not rounded to the store's dtype before the solver",
        "storage/records/unstored_noise.py",
        ".astype(spec.dtype).astype(np.float32)",
        ".astype(np.float32)",
        ("tests/advkd/trajectories/test_filling.py::test_the_pair_is_a_pair",),
    ),
    Mutant(
        "a sample's condition depends on the batch",
        "storage/records/seeding.py",
        "_generator(base_seed, index, _NOISE_STREAM, counter=[0, 0, 0, _CONDITION_COUNTER])",
        "_generator(base_seed, 0, _NOISE_STREAM, counter=[0, 0, 0, _CONDITION_COUNTER])",
        ("tests/storage/records/test_seeding.py",),
    ),
    Mutant(
        "an object is checked once and then trusted",
        "storage/reading/reader.py",
        "if self._known[shard, position] and self._checksums_seen[shard, position] == checksum:",
        "if self._known[shard, position]:",
        ("tests/storage/reading/test_rereading.py",),
    ),
    Mutant(
        "no object's sha256 is compared",
        "storage/records/problems.py",
        "if actual.hexdigest() == entry.sha256:",
        "if actual.hexdigest():",
        ("tests/storage/reading/test_rereading.py",),
    ),
    Mutant(
        "the short shard is thought to be the last one in the order",
        "storage/reading/assignment.py",
        "sizes[order == shards - 1] -=",
        "sizes[-1] -=",
        ("tests/storage/reading/test_assignment.py",),
    ),
    Mutant(
        "every window of an epoch is shuffled alike",
        "storage/reading/assignment.py",
        "_WINDOW_ORDER, rank, window_index)",
        "_WINDOW_ORDER, rank)",
        ("tests/storage/reading/test_window_order.py",),
    ),
    Mutant(
        "a window numbers its samples from each shard's first",
        "storage/reading/windows.py",
        "np.arange(piece.start, piece.stop, dtype=np.int64)",
        "np.arange(len(piece), dtype=np.int64)",
        ("tests/storage/reading/test_windows.py::test_windows_hold_their_pieces_in_order",),
    ),
    Mutant(
        "a resumed loader begins its epoch anew",
        "storage/reading/loader.py",
        "self._epoch, self._batch = epoch, batch\n",
        "self._epoch, self._batch = epoch, 0\n",
        ("tests/storage/reading/test_loader_resume.py::test_again_and_again_from_any_point",),
    ),
    Mutant(
        "a claim that is renewed falls silent all the same",
        "storage/writing/claims.py",
        "since = since if before == data else now",
        "since = since or now",
        ("tests/storage/writing/test_claims.py",),
    ),
    Mutant(
        "a holder that was taken over gives the other's claim back",
        "storage/writing/claims.py",
        "if _is_of(uri, mine):\n                    delete(uri)",
        "if mine:\n                    delete(uri)",
        ("tests/storage/writing/test_claim_taken_over.py",),
    ),
    Mutant(
        "a commit record is written before its data",
        "storage/writing/writer.py",
        "        for entry, data in zip(entries, payloads, strict=True):\n",
        "        write_commit(self.uri, replace(record, objects=entries))\n"
        "        for entry, data in zip(entries, payloads, strict=True):\n",
        ("tests/storage/test_laws_of_writing.py::TestEveryStore::test_law_3_data_first_commit_last",),
    ),
    Mutant(
        "a foreign commit record is sealed",
        "storage/writing/sealing.py",
        "record.digest != identity\n        or tuple",
        "tuple",
        ("tests/storage/layouts/test_contract.py::TestEveryStore::test_a_damaged_or_foreign_commit_is_not_sealed",),
    ),
    Mutant(
        "a store shrinks",
        "storage/writing/sealing.py",
        "if existing is not None and existing.num_samples >= num_samples:\n        return Sealing",
        "if existing is not None and existing.num_samples == num_samples:\n        return Sealing",
        ("tests/storage/writing/test_extension.py::TestEveryStore::test_a_store_never_shrinks",),
    ),
)

_TEXT = "tests/advkd/teachers/test_text_teachers.py"
_STATES = f"{_TEXT}::test_states_are_those_of_the_familys_own_pipeline"

TEACHERS = (
    Mutant(
        "guidance of prompts leads away from the told half instead of the free one",
        "advkd/teachers/text.py",
        "return free + self.guidance * (told - free)",
        "return told + self.guidance * (told - free)",
        (f"{_STATES}[stable-diffusion-True]",),
    ),
    Mutant(
        "guidance of prompts takes the halves for each other",
        "advkd/teachers/text.py",
        "free, told = self.forward(",
        "told, free = self.forward(",
        (f"{_STATES}[stable-diffusion-True]",),
    ),
    Mutant(
        "the shift of an image's size does not reach the schedule",
        "advkd/teachers/sized_flow.py",
        "mu=self.mu, **options",
        "mu=self.mu and 0.5, **options",
        (f"{_STATES}[shifted-False]",),
    ),
    Mutant(
        "Flux's times are not spaced evenly before they are shifted",
        "advkd/teachers/sized_flow.py",
        "np.linspace(1.0, 1 / steps, steps) if self.even else None",
        "None",
        (f"{_STATES}[flux-False]",),
    ),
    Mutant(
        "EDM's states are divided by sigma alone",
        "advkd/teachers/edm.py",
        "return (self.inner.sigmas[self._passed + ahead] ** 2 + 1) ** 0.5",
        "return self.inner.sigmas[self._passed + ahead].clamp_min(1.0)",
        ("tests/advkd/teachers/test_edm.py::test_edm_is_that_of_diffusers_on_the_same_noise",),
    ),
    Mutant(
        "a network is told the numbers of prompts while it is tried",
        "advkd/teachers/prediction_check.py",
        "return dict(embedded(teacher.conditions, start.condition))",
        "return dict(start.condition)",
        ("tests/advkd/teachers/test_rehearsal.py",),
    ),
    Mutant(
        "the key of embeddings forgets the list and the text encoder",
        "storage/care/companions.py",
        "json.dumps(dict(conditioning), sort_keys=True)",
        "json.dumps(sorted(conditioning))",
        ("tests/storage/care/test_companions.py::test_embeddings_of_prompts_go_along_and_are_collected_too",),
    ),
    Mutant(
        "an image is read as the class of its number",
        "advkd/evaluation/fidelity.py",
        "return numbers == wanted[class_labels[: len(features)].cpu()]",
        "return numbers == class_labels[: len(features)].cpu()",
        ("tests/advkd/evaluation/test_fidelity.py",),
    ),
)

MUTANTS = (*METHOD, *RUNS, *JUDGEMENT, *STORE, *TEACHERS)
