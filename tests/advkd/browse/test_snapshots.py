"""One request sees one moment of a store: it asks for a snapshot once, however many parts of the page need it."""

from pathlib import Path

import pytest

from advkd.browse.store_view import StoreView
from storage import digest
from storage.testing.trajectories import fill
from tests.advkd.browse.conftest import Opened
from tests.advkd.browse.specs import digits_spec, student_folder

OF_ONE = (
    "/s/{a}",
    "/s/{a}/gallery",
    "/s/{a}/sample/3",
    "/s/{a}/sample?i=3",
    "/s/{a}/export.png?samples=3",
    "/s/{a}/export.gif?samples=3",
    "/s/{a}/export.npz?samples=3",
    "/s/{a}/gallery?with={a}~0",
    "/api/sheet/{a}?samples=0-9&t=0",
    "/api/sheet/{a}~0?samples=0-9&t=500",
    "/api/stores/{a}/strip/3?student=0",
    "/api/stores/{a}/order?by=number",
    "/api/stores/{a}/order?by=norm",
    "/api/stores/{a}/order?by=distance&t=500",
    "/api/stores/{a}/state",
    "/api/stores/{a}/histograms",
    "/api/sheet/{a}?less={a}~0&samples=0-9&t=500",
    "/api/stores/{a}/order?by=distance&to={a}~0&t=500",
)
OF_TWO = (
    "/s/{a}/gallery?with={b}",
    "/api/sheet/{a}?less={b}&samples=0-9&t=500",
    "/api/stores/{a}/order?by=distance&to={b}&t=500",
)


@pytest.mark.parametrize(("routes", "stores"), [(OF_ONE, 1), (OF_TWO, 2)])
def test_a_request_asks_each_store_for_one_snapshot(
    routes: tuple[str, ...], stores: int, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    specs = [digits_spec(solver_steps=steps) for steps in (10, 20)]
    for spec in specs:
        fill(str(tmp_path / "stores"), spec, 64)
    student = student_folder(tmp_path / "run" / "student", shape=(1, 16, 16))
    client = opened(str(tmp_path / "stores"), students=(student,))
    names = dict(zip("ab", (digest(spec)[:16] for spec in specs), strict=True))
    asked: list[str] = []
    view = StoreView.view
    monkeypatch.setattr(StoreView, "view", lambda store: asked.append(store.name) or view(store))
    counts = {}
    for route in routes:
        asked.clear()
        answer = client.get(route.format(**names))
        assert answer.status_code in (200, 303), (route, answer.text)
        counts[route] = len(asked)
        assert set(asked) == set(sorted(names.values(), key=list(names.values()).index)[:stores]), route
    assert counts == dict.fromkeys(routes, stores)
