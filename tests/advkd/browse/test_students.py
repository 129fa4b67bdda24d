"""Students beside their teacher: the mathematics against `advkd.diffusion.schedule`, what does not fit is refused."""

import html
from pathlib import Path

import numpy as np
import pytest
import torch

from advkd.browse.students import Students, clean_image, implies_clean
from advkd.diffusion import conditions_of, drawn_condition, implied_clean, skip_coefficients
from advkd.students import LayerwiseStudent
from storage import ByteCache, digest
from storage.testing.oracles import shown_states, spec_of_kind
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.pictures import arrays, sheet, strip
from tests.advkd.browse.specs import image_spec, student_folder


@pytest.mark.parametrize("kind", ["zarr", "float32"])
def test_implied_clean_images_are_those_of_the_schedule(kind: str) -> None:
    spec = spec_of_kind(kind)
    states = shown_states(spec, 0, 4)
    coefficients = skip_coefficients(spec.signal, spec.sigma)
    for k, t in enumerate(spec.timesteps[1:]):
        assert implies_clean(spec, t)
        expected = implied_clean(
            torch.from_numpy(states[t].astype(np.float32)),
            torch.from_numpy(states[999].astype(np.float32)),
            coefficients.skip[k],
            coefficients.gain[k],
        )
        torch.testing.assert_close(torch.from_numpy(clean_image(states[t], states[999], spec, t)), expected)
    assert not implies_clean(spec, 999)
    assert not implies_clean(image_spec(deterministic=False, sampler="ddpm"), 500)
    # A foreign schedule whose noise holds as much signal as its states: what they imply would be a division by zero.
    assert not implies_clean(image_spec(signal=(1.0, 1.0, 1.0), sigma=(1.0, 1.0, 0.0)), 500)


def test_a_student_of_classes_gets_the_label_of_each_sample(tmp_path: Path, opened: Opened) -> None:
    facts = {"kind": "labels", "classes": 3, "distribution": "uniform"}
    spec, unlabelled = image_spec(conditioning=facts), image_spec()
    for one in (spec, unlabelled):
        fill(str(tmp_path / "stores"), one, 64)
    torch.manual_seed(0)
    model = LayerwiseStudent(
        (1, 8, 8), (999, 500, 0), (0.01, 0.5, 1.0), (0.99, 0.8, 0.0), width=8, blocks=1, conditioning=facts
    )
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.1 * torch.randn(weight.shape)
    model.save_pretrained(tmp_path / "run" / "student")
    client = opened(str(tmp_path / "stores"), students=(str(tmp_path / "run" / "student"),))
    labels = drawn_condition(conditions_of(facts), spec.base_seed, range(64))["class_labels"]
    noise = torch.from_numpy(shown_states(spec, 0, 64)[999].astype(np.float32))
    with torch.no_grad():
        predicted = model.predictions(noise, class_labels=labels)
    name, plain = digest(spec)[:16], digest(unlabelled)[:16]
    for index in (0, 9, 63):
        found = arrays(client, name, index, student=0)
        for t, states in zip((500, 0), predicted, strict=True):
            np.testing.assert_allclose(found[f"student0_t{t:04d}"], states[index].numpy(), atol=1e-5)
    truth = shown_states(spec, 0, 64)[500].astype(np.float32)
    distance = np.sqrt(((predicted[0].numpy() - truth) ** 2).reshape(64, -1).mean(1))
    order = client.get(f"/api/stores/{name}/order?by=distance&t=500&to={name}~0").json()
    assert order["samples"] == np.argsort(-distance, kind="stable").tolist()
    ones = client.get(f"/api/stores/{name}/order?by=number&t=0&label=1").json()
    assert ones["what"].endswith(' of class "1" among all 64 samples')
    assert ones["samples"] == torch.nonzero(labels == 1).flatten().tolist()
    assert client.get(f"/api/stores/{name}/order?by=number&t=0&label=3").status_code == 400
    page = client.get(f"/s/{name}/gallery").text
    assert all(f'<option value="{k}">{k}</option>' in page for k in range(3))
    assert client.get(f"/api/stores/{plain}/order?by=number&t=0&label=1").status_code == 400
    refused = client.get(f"/api/stores/{plain}/strip/0?student=0")
    assert refused.status_code == 400
    assert "of its own conditions, got one that takes 'labels' for a store of noise alone" in refused.text


def test_its_states_are_those_of_the_student(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path / "stores"), spec, 64)
    folders = [student_folder(tmp_path / "runs" / name / "student", seed=seed) for seed, name in enumerate("ab")]
    client, name = opened(str(tmp_path / "stores"), students=tuple(folders)), digest(spec)[:16]
    noise = torch.from_numpy(shown_states(spec, 0, 64)[999].astype(np.float32))
    found = arrays(client, name, 9, student=[0, 1])
    for number, folder in enumerate(folders):
        with torch.no_grad():
            predicted = LayerwiseStudent.from_pretrained(folder).eval().predictions(noise)
        for t, states in zip((500, 0), predicted, strict=True):
            np.testing.assert_allclose(found[f"student{number}_t{t:04d}"], states[9].numpy(), atol=1e-5)
        truth = shown_states(spec, 0, 64)[500].astype(np.float32)
        distance = np.sqrt(((predicted[0].numpy() - truth) ** 2).reshape(64, -1).mean(1))
        order = client.get(f"/api/stores/{name}/order?by=distance&t=500&to={name}~{number}").json()
        assert order["samples"] == np.argsort(-distance, kind="stable").tolist()
        np.testing.assert_allclose(order["values"], np.sort(distance)[::-1], atol=1e-4)
        assert sheet(client, f"{name}~{number}", samples="0-9", t=500)[1] == {}
    answer = client.get(f"/api/sheet/{name}~0?samples=0-9&t=500")
    assert answer.headers["cache-control"] == "no-store"
    both = client.get(f"/api/stores/{name}~0/order?by=distance&to={name}~1").json()
    assert len(both["samples"]) == 64
    page = html.unescape(client.get(f"/s/{name}/gallery?show=0&with={name}~1").text)
    assert f'"beside":{{"store":"{name}","refused":null,"side":"{name}~1","timesteps":[999,500,0]' in page


def test_one_of_another_shape_is_refused(tmp_path: Path, opened: Opened) -> None:
    spec, other = image_spec(), image_spec(sample_shape=(1, 4, 4))
    fill(str(tmp_path / "one"), spec, 32)
    folder = student_folder(tmp_path / "wrong", (1, 4, 4))
    with pytest.raises(
        ValueError, match=r"wrong: a student is shown .* got one of \[1, 4, 4\] for a store of \[1, 8, 8\]"
    ):
        opened(str(tmp_path / "one"), students=(folder,))
    fill(str(tmp_path / "both"), spec, 32)
    fill(str(tmp_path / "both"), other, 32)
    client, name = opened(str(tmp_path / "both"), students=(folder,)), digest(spec)[:16]
    assert "is not shown: a student is shown beside" in client.get(f"/s/{name}/sample/0").text
    for route in (f"/api/sheet/{name}~0?samples=0-3", f"/api/stores/{name}/strip/0?student=0"):
        assert "got one of [1, 4, 4]" in client.get(route).json()["error"]["message"]
    assert client.get(f"/api/sheet/{name}~1?samples=0-3").status_code == 404
    assert client.get(f"/api/sheet/{digest(other)[:16]}~0?samples=0-3&t=0").status_code == 200


def test_no_student_there_is_refused(tmp_path: Path, opened: Opened) -> None:
    fill(str(tmp_path / "one"), image_spec(), 32)
    with pytest.raises(ValueError, match=r"a student is a folder with config\.json"):
        opened(str(tmp_path / "one"), students=(str(tmp_path),))


def test_one_of_a_smaller_grid_shows_what_it_has(tmp_path: Path, opened: Opened) -> None:
    spec = image_spec()
    fill(str(tmp_path / "one"), spec, 32)
    folder = student_folder(tmp_path / "coarse", timesteps=(999, 0))
    client, name = opened(str(tmp_path / "one"), students=(folder,)), digest(spec)[:16]
    found = [row for row in strip(client, name, 0, student=0) if row["kind"] == "student"]
    assert [(row["note"], row["times"]) for row in found] == [("state", [0]), ("implied clean", [0])]
    answer = client.get(f"/api/stores/{name}/order?by=distance&t=500&to={name}~0").json()
    assert "the student predicts the timesteps [0], got t=500" in answer["error"]["message"]


def test_names_are_as_short_as_they_can_be(tmp_path: Path) -> None:
    folders = [student_folder(tmp_path / name) for name in ("x/quick/student", "y/quick/student", "z/full")]
    for given, names in ((folders, ["x/quick", "y/quick", "z/full"]), (folders[:1], ["quick"])):
        assert [one.name for one in Students(given, ByteCache(2**20), "runs").all] == names
