"""Faults of teachers: guidance, prompts, EDM, sizes."""

from benchmarks.mutant_rows.mutant import Mutant

_TEXT = "tests/advkd/teachers/test_text_teachers.py"
_STATES = f"{_TEXT}::test_states_are_those_of_the_familys_own_pipeline"

TEACHERS = (
    Mutant(
        "guidance leads away from the told half instead of the free one",
        "advkd/teachers/guidance.py",
        "return free + scale * (told - free)",
        "return told + scale * (told - free)",
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
    Mutant(
        "a fitted classifier reads the images that it has seen",
        "advkd/evaluation/fitted_classifier.py",
        "seen, unseen = parity != half, parity == half",
        "seen, unseen = parity == half, parity == half",
        ("tests/advkd/evaluation/test_fidelity.py",),
    ),
    Mutant(
        "classes in turns are in one half each",
        "advkd/evaluation/fitted_classifier.py",
        "parity[labels.argsort(stable=True)] = torch.arange(len(labels)) % 2",
        "parity[:] = torch.arange(len(labels)) % 2",
        ("tests/advkd/evaluation/test_fidelity.py",),
    ),
)
