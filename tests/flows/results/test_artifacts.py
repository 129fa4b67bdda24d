"""What a run shows in Prefect's UI: links that work, counters, and no password."""

import base64
import shlex
from dataclasses import asdict

import pytest

from advkd.evaluation import solver_text
from advkd.runtime.counters import StageCounters
from flows.results import artifacts
from flows.results.artifacts import _markdown, _rows
from flows.results.summary import DistillResult, look

FD = {
    "name": "FD(digits)",
    "target": "teacher@100 unipc",
    "student": 5.251234567890123,
    "teacher": [{"solver": "unipc", "passes": 5, "fd": 3.1}],
}
FACTS = {
    "teacher": "mixture",
    "worth": 4.25,
    "worth_clamped": False,
    "not_comparable": "",
    "model": {"name": "advkd-mixture", "version": "3", "alias": "champion"},
    "features": {"digits": {"fd": FD, "recall": 0.5, "label_fidelity": None}},
    "params": {"student": 10, "teacher": None},
    "store": "stores/mixture/0123456789abcdef",
    "report": "reports/mixture-1/report.html",
    "shards": {"computed": 2, "reused": 1},
    "onnx": {"place": "onnx/mixture-1", "refused": "int8 is too far", "cost": []},
    "counters": {"precompute": asdict(StageCounters(passes=5120, samples=256, bytes_written=2048, seconds=3.4))},
}


@pytest.mark.parametrize(
    ("uri", "model"),
    [
        (
            "https://user:MARKED-PASSWORD@mlflow.example:8443/base/",
            "[advkd-mixture](https://mlflow.example:8443/base/#/models/advkd-mixture/versions/3)",
        ),
        ("sqlite:///MARKED-PASSWORD", "`advkd-mixture`"),
        ("", "`advkd-mixture`"),
    ],
)
def test_the_report_in_short(uri, model, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("ADVKD_BROWSE_URL", "http://browse.example/")
    text = _markdown(DistillResult(root="runs", facts=FACTS))
    assert f"- model: {model} version 3 (champion)" in text
    assert "(http://browse.example/s/0123456789abcdef)" in text
    assert "| precompute | 3 | 5,120 | 256 | 0 B | 2.0 KiB |" in text
    assert "# mixture: one pass is worth 4.2 passes of the teacher" in text
    assert "- ONNX: `onnx/mixture-1` (int8 is too far)\n" in text
    assert "- FD(digits) to teacher@100 unipc: 5.25, recall 0.500" in text
    assert "MARKED" not in text


def test_the_curve_is_a_table():
    assert _rows(DistillResult(root="runs", facts=FACTS)) == [
        {"sampler": "student", "passes": 1, "Fréchet distance": "5.25", "features": "digits"},
        {"sampler": f"teacher, {solver_text('unipc')}", "passes": 5, "Fréchet distance": "3.1", "features": "digits"},
    ]


def test_the_last_word_is_how_to_look_at_it():
    facts = {**FACTS, "student": "students/mixture-1/student"}
    command = look(DistillResult(root="my runs", facts=facts))
    store, student = "my runs/stores/mixture/0123456789abcdef", "my runs/students/mixture-1/student"
    assert shlex.split(command) == ["advkd", "browse", store, "--student", student]
    assert look(DistillResult(root="s3://bucket/runs", facts=facts)).startswith("advkd browse s3://bucket/runs/stores/")


def test_figures_that_are_no_headline_are_called_so():
    facts = {**FACTS, "worth": None, "worth_clamped": None, "not_comparable": "64 images"}
    text = _markdown(DistillResult(root="runs", facts=facts))
    assert "# mixture: a one-pass student, not comparable: 64 images\n" in text


def test_label_fidelity_stands_beside_the_distance():
    def shown(fitted):
        read = {"student": 0.9975, "teacher": 0.997, "samples": 2048, "fitted": fitted}
        features = {"digits": {**FACTS["features"]["digits"], "label_fidelity": read}}
        return _markdown(DistillResult(root="runs", facts={**FACTS, "features": features}))

    assert "recall 0.500, 99.8 % read as their label\n" in shown(False)
    fitted = "99.8 % read as their label by a classifier fitted to the teacher's images (99.7 % of these)\n"
    assert fitted in shown(True)


def test_a_result_without_distances_is_shown_without_them():
    facts = {**FACTS, "worth": None, "not_comparable": "no extractor", "features": {}}
    result = DistillResult(root="runs", facts=facts)
    assert "# mixture: a one-pass student, not comparable: no extractor\n" in _markdown(result)
    assert "FD" not in _markdown(result)
    assert _rows(result) == []


def test_pictures_are_markdown_below_which_the_page_prints_no_base64(tmp_path, monkeypatch):
    made = {}
    monkeypatch.setattr(
        artifacts, "create_markdown_artifact", lambda text, key, description: made.update({key: (text, description)})
    )
    monkeypatch.setattr(artifacts, "create_table_artifact", lambda rows, key, description: made.update({key: rows}))
    (tmp_path / "reports" / "mixture-1").mkdir(parents=True)
    (tmp_path / "reports" / "mixture-1" / "strips.png").write_bytes(b"a picture")
    artifacts.publish(DistillResult(root=str(tmp_path), facts={**FACTS, "student": "students/mixture-1/student"}))
    assert set(made) == {"advkd-mixture-1", "advkd-mixture-1-fd", "advkd-mixture-1-strips"}
    text, description = made["advkd-mixture-1-strips"]
    assert description == "Trajectories of teacher and student"
    assert text == f"![{description}](data:image/png;base64,{base64.b64encode(b'a picture').decode()})"
    assert not hasattr(artifacts, "create_image_artifact")
