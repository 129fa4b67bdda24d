"""Who is champion, and that a roll-back stays one: whatever is registered after it, and however it was interrupted."""

import json
from collections.abc import Callable
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from advkd.export.lineage import Lineage
from advkd.registry.gate import Figures
from advkd.registry.promotion import decide, judge, promote, roll_back
from advkd.registry.tracking import RegisterSpec, register
from advkd.registry.versions import DESCENT_TAG, FIGURES_TAG, RegistryError, open_registry, quiet, versions_of
from tests.advkd.evaluation.parts import Evaluated
from tests.advkd.registry.candidates import candidate

if TYPE_CHECKING:
    from mlflow import MlflowClient

# MLflow's, against its own dependency; commands run below `quiet`.
pytestmark = [
    pytest.mark.thorough,
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
]
Offer = Callable[..., Any]
_NAMES = count()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> "MlflowClient":
    with quiet():
        return open_registry(str(tmp_path_factory.mktemp("runs")))


@pytest.fixture
def model(client: "MlflowClient") -> str:
    name = f"model-{next(_NAMES)}"
    client.create_registered_model(name)
    return name


@pytest.fixture
def offer(client: "MlflowClient", model: str) -> Offer:
    """A new version with these figures goes through the gate; returns it."""

    def make(fd: float, descent: str = "", teacher: str = "t", recall: float = 0.9) -> Any:
        figures = Figures(
            fd=fd,
            recall=recall,
            fd_real=fd,
            recall_real=recall,
            teacher_fingerprint=teacher,
            real_sha256="d",
            extractor_sha256="e",
            samples=2048,
            not_comparable="",
        )
        tags = {FIGURES_TAG: json.dumps(asdict(figures)), DESCENT_TAG: descent}
        version = client.create_model_version(model, "file:///nowhere", tags=tags)
        decide(client, version)
        return client.get_model_version(model, version.version)

    return make


def champion(client: "MlflowClient", model: str) -> int:
    return int(client.get_model_version_by_alias(model, "champion").version)


@pytest.mark.thorough
def test_a_roll_back_goes_to_the_champion_before_and_further(client: "MlflowClient", model: str, offer: Offer) -> None:
    for fd in (20.0, 15.0, 18.0, 10.0):
        offer(fd)
    assert champion(client, model) == 4
    assert roll_back(client, model, "streaks").version == 2
    assert "streaks" in client.get_model_version(model, "4").tags["advkd.rolled_back"]
    assert roll_back(client, model).version == 1
    assert champion(client, model) == 1
    with pytest.raises(RegistryError, match=r"goes to the champion before, got none before version 1 .*--to"):
        roll_back(client, model)
    assert roll_back(client, model, to=3).version == 3


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("fd", "descent", "teacher", "promoted", "reason"),
    [
        (18.0, "other", "t", False, r"version 2 was rolled back with FD 15, and 18 is no better; promote it by hand"),
        (15.0, "other", "t", False, r"15 is no better"),
        (5.0, "same", "t", False, r"version 2 was rolled back, and this is the same recipe; promote it by hand"),
        (14.9, "other", "t", True, "not worse than the champion"),
        (5.0, "", "t", True, "not worse than the champion"),
        (18.0, "other", "another teacher", True, "not worse than the champion"),
        (25.0, "other", "another teacher", False, "FD is worse"),
    ],
)
def test_after_a_roll_back_the_gate_believes_only_better_figures(
    client: "MlflowClient", model: str, offer: Offer, fd: float, descent: str, teacher: str, promoted: bool, reason: str
) -> None:
    offer(20.0, "first")
    offer(15.0, "same")
    roll_back(client, model)
    new = offer(fd, descent, teacher)
    assert champion(client, model) == (3 if promoted else 1)
    assert new.aliases == (["champion"] if promoted else ["challenger"])
    assert reason in new.tags["advkd.gate"]


def test_a_roll_back_to_a_challenger_makes_it_champion_alone_and_another_one_goes_on_from_there(
    client: "MlflowClient", model: str, offer: Offer
) -> None:
    for fd in (20.0, 15.0, 18.0):
        offer(fd)
    assert client.get_model_version(model, "3").aliases == ["challenger"]
    assert roll_back(client, model, to=3).version == 3
    third = client.get_model_version(model, "3")
    assert third.aliases == ["champion"]
    assert "advkd.promoted" in third.tags
    assert roll_back(client, model).version == 1


def test_a_version_that_was_rolled_back_is_never_promoted_by_itself(
    client: "MlflowClient", model: str, offer: Offer
) -> None:
    offer(20.0)
    bad = offer(15.0)
    roll_back(client, model)
    decision = judge(client, bad)
    assert not decision.promote
    assert decision.reason == "it was rolled back; promote it by hand"


def test_a_hand_wins_and_clears_the_mark(client: "MlflowClient", model: str, offer: Offer) -> None:
    offer(20.0)
    offer(15.0)
    worse = offer(30.0)
    assert worse.aliases == ["challenger"]
    roll_back(client, model)
    move = promote(client, model, 2)
    assert (move.version, move.before) == (2, 1)
    assert "advkd.rolled_back" not in client.get_model_version(model, "2").tags
    assert promote(client, model, 3).before == 2
    assert client.get_model_version(model, "3").aliases == ["champion"]
    assert roll_back(client, model).version == 2


def test_a_roll_back_that_was_interrupted_is_finished_by_the_next(
    client: "MlflowClient", model: str, offer: Offer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    offer(20.0)
    offer(15.0)

    def killed(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_registered_model_alias", killed)
        with pytest.raises(KeyboardInterrupt):
            roll_back(client, model)
    assert champion(client, model) == 2
    assert roll_back(client, model).version == 1


def test_what_cannot_be_done_is_refused_with_what_there_is(client: "MlflowClient", model: str, offer: Offer) -> None:
    with pytest.raises(RegistryError, match=r"needs a champion, got none of model-\d+; promote"):
        roll_back(client, model)
    offer(20.0)
    with pytest.raises(RegistryError, match=r"must go to another version, got 1, the champion"):
        roll_back(client, model, to=1)
    with pytest.raises(RegistryError, match=r"must be one that model-\d+ has, got '7'; choose one of 1, champion"):
        promote(client, model, 7)
    with pytest.raises(RegistryError, match=r"a model must be registered, got 'nothing'; the registered ones are: "):
        promote(client, "nothing", 1)


@pytest.mark.thorough
def test_the_same_artifact_and_the_next_schedule_leave_a_roll_back_alone(
    evaluated: Evaluated, client: "MlflowClient", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `register` itself, as the scheduled flow calls it."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)
    monkeypatch.chdir(tmp_path)

    def submission(seed: int, fd: float) -> RegisterSpec:
        student, report = candidate(tmp_path / str(seed), evaluated.report, seed, fd, 0.8)
        return RegisterSpec(
            student=str(student), report=str(report), out=str(tmp_path / f"artifact-{seed}"), model="scheduled"
        )

    good, bad = submission(1, 20.0), submission(2, 15.0)
    assert [register(spec).alias for spec in (good, bad)] == ["champion", "champion"]
    roll_back(client, "scheduled", "streaks")
    again = [register(spec) for spec in (bad, good)]
    assert [(model.version, model.alias, model.created) for model in again] == [(2, "", False), (1, "champion", False)]
    assert len(versions_of(client, "scheduled")) == 2


def test_descent_is_teacher_store_and_settings() -> None:
    def lineage(fingerprint: str = "f", digest: str = "d", seed: int = 0, revision: str = "r") -> Lineage:
        return Lineage(
            teacher="t",
            teacher_fingerprint=fingerprint,
            store=f"s3://anywhere/{revision}",
            store_digest=digest,
            train={"seed": seed},
            code_revision=revision,
        )

    one = lineage().descent()
    assert one == lineage(revision="other").descent()
    assert (
        len({one, *(lineage(**change).descent() for change in ({"fingerprint": "g"}, {"digest": "e"}, {"seed": 1}))})
        == 4
    )
    assert lineage(digest="").descent() == ""
