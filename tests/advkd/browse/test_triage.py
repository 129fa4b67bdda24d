"""Flags and notes that outlive a page, and exports of samples with what students make of them."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from starlette.testclient import TestClient

from advkd.browse import export
from advkd.browse.notes import Notes
from advkd.students import load_student
from storage import digest
from storage.testing.oracles import shown_states
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import grey, image_of
from tests.advkd.browse.specs import image_spec, student_folder

SPEC = image_spec(conditioning={"kind": "labels", "names": ["cat", "=dog"], "distribution": "uniform"})
NAME = digest(image_spec())[:16]
PLAIN = image_spec()


@pytest.fixture
def client(tmp_path: Path, opened: Opened) -> TestClient:
    """A page over a plain store and a student of it."""
    fill(str(tmp_path / "stores"), PLAIN, 64)
    student = student_folder(tmp_path / "tiny")
    return opened(str(tmp_path / "stores"), students=(student,), notes=str(tmp_path / "notes.jsonl"))


def test_a_note_is_kept_for_the_next_viewer(client: TestClient, tmp_path: Path, opened: Opened) -> None:
    at = f"/api/stores/{NAME}/notes"
    assert client.get(at).json() == {"notes": {}}
    for sample, text in ((5, "blurred"), (7, ""), (5, "two heads"), (9, "gone"), (9, None)):
        assert client.post(at, json={str(sample): text}).status_code == 200
    expected = {"notes": {"7": "", "5": "two heads"}}
    assert client.get(at).json() == expected
    again = opened(str(tmp_path / "stores"), notes=str(tmp_path / "notes.jsonl"))
    assert again.get(at).json() == expected


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ('{"64": ""}', {}, 404),
        ('{"-1": ""}', {}, 404),
        ('{"1": 5}', {}, 400),
        ("[]", {}, 400),
        ("{", {}, 400),
        (json.dumps({"1": "x" * 501}), {}, 400),
        (json.dumps({"1": "x" * 20_000}), {}, 403),
        ('{"1": ""}', {"content-type": "text/plain"}, 403),
        ('{"1": ""}', {"sec-fetch-site": "cross-site"}, 403),
        ('{"1": ""}', {"host": "evil.example"}, 421),
    ],
)
def test_what_is_no_note_is_refused(
    body: str, headers: dict[str, str], status: int, client: TestClient, tmp_path: Path
) -> None:
    told = {"content-type": "application/json", "sec-fetch-site": "same-origin"} | headers
    assert client.post(f"/api/stores/{NAME}/notes", content=body, headers=told).status_code == status
    assert (tmp_path / "notes.jsonl").read_text() == ""


def test_many_notes_are_one_request_and_all_or_none(client: TestClient) -> None:
    at = f"/api/stores/{NAME}/notes"
    many = {str(sample): "" for sample in range(60)}
    assert client.post(at, json=many).json() == {"notes": many}
    assert client.post(at, json={"1": "fine", "2": 7}).status_code == 400
    assert client.get(at).json() == {"notes": many}


def test_without_a_file_nothing_is_written(tmp_path: Path, opened: Opened) -> None:
    fill(str(tmp_path), PLAIN, 32)
    client = opened(str(tmp_path))
    assert client.post(f"/api/stores/{NAME}/notes", json={"1": ""}).status_code == 405
    assert "started with --notes FILE" in client.get(f"/api/stores/{NAME}/notes").json()["error"]["message"]


def test_a_file_of_something_else_is_refused_whole(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text('{"store": "a", "sample": 1, "text": ""}\nhello\n')
    with pytest.raises(ValueError, match="got another in line 2 of"):
        Notes(str(tmp_path / "notes"))
    assert (tmp_path / "notes").read_text().endswith("hello\n")


def test_arrays_hold_the_students_outputs_and_errors(client: TestClient, tmp_path: Path) -> None:
    answer = client.get(f"/s/{NAME}/export.npz?samples=40,3&student=0")
    truth = {t: state[[40, 3]] for t, state in shown_states(PLAIN, 0, 64).items()}
    with torch.no_grad():
        noise = torch.from_numpy(truth[999].astype(np.float32))
        predicted = load_student(str(tmp_path / "tiny")).predictions(noise)
    with np.load(io.BytesIO(answer.content), allow_pickle=False) as file:
        assert file["samples"].tolist() == [40, 3]
        assert str(file["student0"]) == "tiny"
        for t in (999, 500, 0):
            np.testing.assert_array_equal(file[f"t{t:04d}"], truth[t])
        for t, state in zip((500, 0), predicted, strict=True):
            np.testing.assert_allclose(file[f"student0_t{t:04d}"], state.numpy(), atol=1e-6)
            errors = np.sqrt(((state.numpy() - truth[t].astype(np.float64)) ** 2).mean((1, 2, 3)))
            np.testing.assert_allclose(file[f"student0_error_t{t:04d}"], errors, rtol=1e-5)


def test_a_table_has_a_row_for_each_sample_and_no_formula(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = list(csv.reader(client.get(f"/s/{NAME}/export.csv?samples=40,3&student=0").text.splitlines()))
    assert rows[0][-2:] == ["error of tiny at t=500", "error of tiny at t=0"]
    assert [row[0] for row in rows[1:]] == ["40", "3"]
    norm = np.sqrt((shown_states(PLAIN, 3, 4)[0].astype(np.float64) ** 2).mean())
    assert float(rows[2][rows[0].index("norm at t=0")]) == pytest.approx(norm, rel=1e-5)
    monkeypatch.setattr(export, "condition_text", lambda view, sample: "=1+1" if sample else "a prompt")
    told = client.get(f"/s/{NAME}/export.csv?samples=0-1").text
    assert [row[1] for row in csv.reader(told.splitlines()[1:])] == ["a prompt", "'=1+1"]


def test_a_sheet_has_teacher_and_student_in_rows(client: TestClient) -> None:
    sheet = image_of(client.get(f"/s/{NAME}/export.png?samples=40,3&student=0").content)
    assert sheet.shape == (2 * 2 * 8, 3 * 8)
    truth = shown_states(PLAIN, 3, 4)
    np.testing.assert_array_equal(sheet[16:24], np.hstack([grey(truth[t])[0] for t in (999, 500, 0)]))
    np.testing.assert_array_equal(sheet[24:, :8], grey(truth[999])[0])  # a student starts from the same noise
    assert sheet[24:, 8:].any()


@pytest.mark.parametrize("query", ["npz?samples=0-99", "exe?samples=1", "npz?samples=", "png?samples=0-300"])
def test_other_files_are_refused(query: str, client: TestClient) -> None:
    assert client.get(f"/s/{NAME}/export.{query}").status_code == 400


def test_a_file_is_bounded(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec(sample_shape=(1, 512, 512), shard_samples=4, block_samples=4)
    fill(str(tmp_path), spec, 32)
    answer = opened(str(tmp_path)).get(f"/s/{digest(spec)[:16]}/export.npz?samples=0-31")
    assert answer.status_code == 400
    assert "a file holds at most 21 samples of this store, got 32" in answer.text.replace("&#39;", "'")


def test_classes_are_searched_by_words(tmp_path: Path, opened: Opened) -> None:
    fill(str(tmp_path), SPEC, 64)
    client, name = opened(str(tmp_path)), digest(SPEC)[:16]
    at = f"/api/stores/{name}/order?by=norm&q="
    texts = client.get(f"/api/stores/{name}/conditions?samples=0-63").json()["texts"]
    for words, wanted in (("cat", "class 0 cat"), ("DOG 1", "class 1 =dog"), ("horse", "")):
        found = client.get(at + words).json()
        assert sorted(found["samples"]) == [k for k, text in enumerate(texts) if text == wanted]
        assert found["labels"] == [texts[k] == "class 1 =dog" for k in found["samples"]]
        assert f'with "{words}" among all 64 samples' in found["what"]


def test_any_number_of_classes_is_searched_by_number(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec(conditioning={"kind": "labels", "classes": 10**12, "distribution": "uniform"})
    fill(str(tmp_path), spec, 32)
    client, name = opened(str(tmp_path)), digest(spec)[:16]
    first = client.get(f"/api/stores/{name}/conditions?samples=0").json()["texts"][0].split()[1]
    assert client.get(f"/api/stores/{name}/order?q={first}").json()["samples"] == [0]


def test_unconditional_samples_are_not_searched(client: TestClient) -> None:
    answer = client.get(f"/api/stores/{NAME}/order?q=cat")
    assert answer.status_code == 400
    assert "searched by words" in answer.json()["error"]["message"]
