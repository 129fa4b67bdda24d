import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from advkd.diffusion import Start
from advkd.evaluation.errors import EvaluationError
from advkd.evaluation.evaluation import check_pair, evaluate
from advkd.evaluation.results import EvalReport
from advkd.evaluation.spec import EvaluateSpec
from advkd.evaluation.student_images import StudentImages, student_images
from advkd.evaluation.student_states import student_strips
from advkd.evaluation.teacher_states import evaluation_noise, evaluation_start, teacher_trajectory
from advkd.features import FeatureError, digits_extractor
from advkd.students.loading import StudentError, load_student
from advkd.teachers import EMBEDDED, SolverSpec
from storage import StoreError
from tests.advkd.evaluation.parts import GRID, Evaluated, gaussian_teacher, make_student, save_tiny_pipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"


class Perfect(torch.nn.Module):
    """The oracle: a student that gives the teacher's own states."""

    def __init__(self) -> None:
        super().__init__()
        self.real = make_student(gaussian_teacher())
        self.timesteps, self.coefficients = self.real.timesteps, self.real.coefficients
        self.teacher = gaussian_teacher()

    def predictions(self, noise: torch.Tensor) -> list[torch.Tensor]:
        return list(self.teacher.states(Start(noise), SolverSpec(steps=20), GRID))[1:]


def test_a_perfect_student_has_the_teacher_s_states_and_clean_estimates(tmp_path: Path) -> None:
    teacher = gaussian_teacher()
    trajectory = teacher_trajectory(
        teacher, solver=SolverSpec(steps=20), timesteps=GRID, seed=0, rows=range(40), root=str(tmp_path)
    )
    strips = student_strips(Perfect(), evaluation_start(teacher, 0, 60), trajectory, "cpu")
    torch.testing.assert_close(strips.student_states, strips.teacher_states, rtol=0, atol=1e-5)
    torch.testing.assert_close(strips.student_clean, strips.teacher_clean, rtol=0, atol=1e-5)


def test_the_report_carries_every_metric_s_protocol(evaluated: Evaluated) -> None:
    report, distances = evaluated.report, evaluated.report.headline
    assert distances is not None
    metrics = [*distances.to_teacher.metrics()]
    metrics += [metric for part in report.submodules for metric in part.metrics()]
    metrics += [metric for point in distances.curve for metric in point.to_target.metrics()]
    for metric in metrics:
        assert metric.n_fake in (160, 96)
        assert metric.n_ref in (160, 96)
        assert metric.reference
        assert len(metric.extractor_sha256) == (0 if metric.extractor == "pixels" else 64)
    assert distances.to_teacher.fd.name == "FD(digits)"
    assert [part.timestep for part in report.submodules] == list(GRID[1:])
    assert {point.solver for point in distances.curve} == {"ddim", "unipc", "dpmpp"}


def test_what_the_submodules_say_is_consistent(evaluated: Evaluated) -> None:
    coefficients = make_student(gaussian_teacher()).coefficients
    for part, gain in zip(evaluated.report.submodules, coefficients.gain, strict=True):
        # x_hat - x = gain (F_hat - F), the noise being the same.
        assert part.rmse_state.value == pytest.approx(gain * part.rmse_clean.value, rel=1e-3)
    last = evaluated.report.submodules[-1]
    assert last.fd_state[0].value == pytest.approx(last.fd_clean[0].value, rel=1e-6)


def test_the_report_survives_json(evaluated: Evaluated) -> None:
    text = (evaluated.folder / "metrics.json").read_text()
    assert EvalReport.from_json(text).to_json() == text
    assert json.loads(text)["distances"][0]["to_teacher"]["fd"]["extractor"] == "digits"


@pytest.mark.parametrize("change", ["missing", "unknown", "type", "text"])
def test_a_foreign_report_is_refused(change: str, evaluated: Evaluated) -> None:
    record = json.loads(evaluated.report.to_json())
    if change == "missing":
        del record["distances"]
    elif change == "unknown":
        record["extra"] = 1
    elif change == "type":
        record["samples"] = "many"
    text = "<html>" if change == "text" else json.dumps(record)
    with pytest.raises(EvaluationError, match=r"metrics.json must be an evaluation's report .*; evaluate again"):
        EvalReport.from_json(text)


def test_the_summary_has_what_the_demo_prints(evaluated: Evaluated) -> None:
    summary = json.loads(json.dumps(evaluated.report.summary()))
    # 160 images are no headline.
    assert summary["not_comparable"] == "160 images"
    assert summary["worth"] is summary["worth_ddim"] is summary["cost_ratio"] is None
    assert summary["latency_ratio"] == {}
    assert summary["fd"]["student"] == evaluated.report.distances[0].to_teacher.fd.value
    assert summary["fd"]["target"] == "teacher@100 unipc"
    assert {point["solver"] for point in summary["fd"]["teacher"]} == {"ddim", "unipc", "dpmpp"}
    assert summary["params"]["student"] > 0
    assert summary["latency_ms"].keys() == {"student", "teacher@20"}
    assert summary["latency_ms"]["student"].keys() == {"1", "64"}


def test_from_2000_images_on_there_is_a_headline_and_ratios(evaluated: Evaluated) -> None:
    report = replace(evaluated.report, samples=2000)
    worth = report.distances[0].worth
    assert report.worth == worth
    assert report.summary()["worth"] == worth.passes
    student, teacher = report.cost.student, report.cost.teacher
    for batch, ratio in report.latency_ratios.items():
        assert ratio == pytest.approx(worth.passes * teacher.latency_ms[batch] / 20 / student.latency_ms[batch])
    # The Gaussian is a formula without multiply-adds.
    assert report.cost_ratio is None
    network = replace(report.cost, teacher=replace(teacher, macs=20_000, passes=20), student=replace(student, macs=500))
    assert replace(report, cost=network).cost_ratio == pytest.approx(worth.passes * 1000 / 500)


def test_the_same_evaluation_gives_the_same_figures_without_teacher_passes(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    stages: set[str] = set()
    spec = replace(evaluated.spec, out=str(tmp_path))
    again = evaluate(spec, lambda stage, done, total: stages.add(stage))
    assert replace(again, cost=evaluated.report.cost) == evaluated.report
    assert stages == {"student", "metrics"}


def test_pictures_are_written_beside_the_page(evaluated: Evaluated) -> None:
    for name in ("samples.png", "strips.png", "strips-clean.png"):
        with Image.open(evaluated.folder / name) as picture:
            assert min(picture.size) > 200


def test_images_do_not_depend_on_their_number() -> None:
    teacher = gaussian_teacher()
    student, extractor = make_student(teacher), digits_extractor()

    def images(samples: int) -> StudentImages:
        return student_images(
            student, teacher, [extractor], seed=0, samples=samples, device="cpu", progress=lambda done, total: None
        )

    many, few = images(300), images(5)
    assert many.pictures.shape == (64, 1, 16, 16)
    torch.testing.assert_close(many.pictures[:5], few.pictures, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(few.pictures, student(evaluation_noise(0, 5, student.sample_shape)).detach())
    assert many.sets[0].count == 300
    assert many.sets[0].features is not None
    torch.testing.assert_close(many.sets[0].features[:5], extractor(few.pictures).half().float(), rtol=1e-2, atol=1e-2)


def test_nan_in_the_student_is_refused_and_no_old_metrics_are_left(evaluated: Evaluated, tmp_path: Path) -> None:
    weights = load_file(evaluated.folder.parent / "run" / "student" / WEIGHTS)
    weights["stem.bias"][0] = torch.nan
    config = (evaluated.folder.parent / "run" / "student" / "config.json").read_text()
    (tmp_path / "config.json").write_text(config)
    save_file(weights, tmp_path / WEIGHTS)
    out = tmp_path / "report"
    out.mkdir()
    (out / "metrics.json").write_text("{}")
    with pytest.raises(EvaluationError, match=r"student's output must be finite, got NaN or infinity; its training"):
        evaluate(replace(evaluated.spec, student=str(tmp_path), out=str(out)))
    assert not (out / "metrics.json").exists()


def test_a_teacher_of_another_shape_is_refused(evaluated: Evaluated, tmp_path: Path) -> None:
    folder = save_tiny_pipeline(tmp_path / "teacher", size=8)
    with pytest.raises(EvaluationError, match="got 1x16x16 from the student and 1x8x8 from teacher 'teacher'; give"):
        evaluate(replace(evaluated.spec, teacher=str(folder)))


def test_a_student_of_another_schedule_is_refused() -> None:
    teacher = gaussian_teacher()
    student = make_student(teacher)
    student.register_to_config(sigma=[s * 0.9 for s in student.config["sigma"]])
    with pytest.raises(EvaluationError, match="must have one noise schedule"):
        check_pair(student, teacher)


def test_an_extractor_that_does_not_take_the_images_is_refused(evaluated: Evaluated, tmp_path: Path) -> None:
    teacher = gaussian_teacher(shape=(1, 8, 8))
    make_student(teacher).save_pretrained(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(EMBEDDED, "small", lambda device: teacher)
        with pytest.raises(FeatureError, match=r"take the teacher's images, got 'digits' for 1x8x8 of .*'none'"):
            evaluate(replace(evaluated.spec, student=str(tmp_path), teacher="small"))


def test_an_output_that_cannot_be_written_is_refused_before_anything_is_computed(
    evaluated: Evaluated, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    stages: set[str] = set()
    spec = replace(evaluated.spec, out=str(tmp_path / "file" / "report"), references=str(tmp_path / "references"))
    with pytest.raises(StoreError, match=r"report/.* must be writable, but: .*; choose another folder"):
        evaluate(spec, lambda stage, done, total: stages.add(stage))
    assert not stages
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_report_s_folder_holds_these_files(evaluated: Evaluated) -> None:
    pictures = {"samples.png", "strips.png", "strips-clean.png"}
    assert {path.name for path in evaluated.folder.iterdir()} == {"metrics.json", "report.html", *pictures}


def test_teachers_are_cached_where_the_flows_and_the_command_line_cache_them() -> None:
    assert EvaluateSpec(student="a", out="b").references == "runs"


@pytest.mark.parametrize("name", ["samples", "trajectory_samples"])
@pytest.mark.parametrize("count", [0, -3, 7])
def test_counts_that_are_too_small(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=f"EvaluateSpec.{name} must be at least 8, got {count}; use"):
        EvaluateSpec(student="a", out="b", **{name: count})


def test_other_wrong_settings() -> None:
    with pytest.raises(ValueError, match="base seed must lie in"):
        EvaluateSpec(student="a", out="b", seed=-1)
    with pytest.raises(ValueError, match=r"EvaluateSpec.threads must be positive, got 0"):
        EvaluateSpec(student="a", out="b", threads=0)


class TestLoadStudent:
    def test_from_its_folder_and_from_the_run_around_it(self, evaluated: Evaluated) -> None:
        run = evaluated.folder.parent / "run"
        noise = evaluation_noise(0, 2, (1, 16, 16))
        here, there = load_student(run / "student"), load_student(run)
        assert not here.training
        assert torch.equal(here(noise), there(noise))
        torch.testing.assert_close(here(noise), make_student(gaussian_teacher())(noise).detach())

    def test_no_student(self, tmp_path: Path) -> None:
        with pytest.raises(
            StudentError, match=r"a student is a folder with config.json and .*, got neither in .*train"
        ):
            load_student(tmp_path / "nothing")

    def test_half_a_student(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text("{}")
        with pytest.raises(StudentError, match="got neither in"):
            load_student(tmp_path)

    def test_another_class(self, tmp_path: Path) -> None:
        unet = save_tiny_pipeline(tmp_path) / "unet"
        with pytest.raises(
            StudentError, match="a student must be a LayerwiseStudent or a ProgressiveStudent, got 'UNet2DModel'"
        ):
            load_student(unet)

    @pytest.mark.parametrize("text", ["{", "[]", "null"])
    def test_a_config_that_is_none(self, text: str, tmp_path: Path) -> None:
        make_student(gaussian_teacher()).save_pretrained(tmp_path)
        (tmp_path / "config.json").write_text(text)
        with pytest.raises(StudentError):
            load_student(tmp_path)

    @pytest.mark.parametrize("change", [{"colour": 3}, {"patch": 5}, {"timesteps": [999, 0]}, {"width": 16}])
    def test_another_config(self, change: dict[str, object], tmp_path: Path) -> None:
        make_student(gaussian_teacher()).save_pretrained(tmp_path)
        config = json.loads((tmp_path / "config.json").read_text())
        (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
        with pytest.raises(
            StudentError, match=r"a student's (config must describe|weights must fit).*export the student again"
        ):
            load_student(tmp_path)

    def test_damaged_weights(self, tmp_path: Path) -> None:
        make_student(gaussian_teacher()).save_pretrained(tmp_path)
        data = (tmp_path / WEIGHTS).read_bytes()
        (tmp_path / WEIGHTS).write_bytes(data[:-100])
        with pytest.raises(StudentError, match="a student's weights must fit its config, got others"):
            load_student(tmp_path)
