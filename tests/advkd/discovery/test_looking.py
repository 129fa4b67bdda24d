"""What a look finds: whole teachers by their content, half-uploaded ones not yet, broken ones once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from advkd.discovery import looking as module
from advkd.discovery.looking import Look, LookSpec, PlaceState, look
from advkd.teachers import load_teacher
from advkd.teachers.families import folder_fingerprint
from storage.errors import StoreUnreachableError
from storage.objects.access import delete, list_prefix, write_bytes
from tests.advkd.conftest import FolderMaker, tiny_unet
from tests.advkd.teachers.latents import dit_folder

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


class Place:
    """A source with its memory, and a clock that sleeping moves."""

    def __init__(self, root: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source, self.memory = f"{root}/teachers", f"{root}/memory"
        self.now, self.while_asleep = 1000.0, lambda: None
        monkeypatch.setattr(module, "time", SimpleNamespace(time=lambda: self.now, sleep=self._sleep))

    def _sleep(self, seconds: float) -> None:
        self.now += seconds
        self.while_asleep()

    def upload(self, folder: Path, name: str, *, without: str = "") -> None:
        for path in sorted(folder.rglob("*")):
            key = path.relative_to(folder).as_posix()
            if path.is_file() and key != without:
                write_bytes(f"{self.source}/{name}/{key}", path.read_bytes())

    def put(self, key: str, data: bytes) -> None:
        write_bytes(f"{self.source}/{key}", data)

    def look(self, check: Callable[[str], object] = load_teacher, question: str = "", **options: object) -> Look:
        settings = {"sources": (self.source,), "memory": self.memory, "settle_seconds": 60.0} | options
        dry = bool(settings.pop("dry", False))
        return look(LookSpec(**settings), question, check, dry=dry)

    def find(self, **options: object) -> PlaceState:
        (finding,) = self.look(**options).findings
        return finding


IN_S3_TOO = pytest.mark.parametrize("place", ["local", pytest.param("s3", marks=pytest.mark.thorough)], indirect=True)


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("ADVKD_CACHE", str(tmp_path / "cache"))
    on_disk = getattr(request, "param", "local") == "local"
    root = str(tmp_path / "root") if on_disk else request.getfixturevalue("s3_root")
    return Place(root, monkeypatch)


def refuse(teacher: str) -> None:
    raise AssertionError(f"{teacher} is known and must not be read again")


@IN_S3_TOO
def test_a_teacher_is_its_content(place: Place, teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    place.upload(folder, "new")
    found = place.find()
    assert (found.place, found.state, found.news) == (f"{place.source}/new", "teacher", True)
    assert found.fingerprint == folder_fingerprint(folder)
    again = place.find(check=refuse)
    assert (again.fingerprint, again.state, again.news) == (found.fingerprint, "teacher", False)
    place.upload(folder, "new")
    assert place.find().fingerprint == found.fingerprint
    changed = teacher_folder("changed", unet=tiny_unet(seed=1))
    place.upload(changed, "new")
    assert place.find().fingerprint == folder_fingerprint(changed) != found.fingerprint


@IN_S3_TOO
def test_a_half_uploaded_teacher_is_left_alone_until_it_stays_as_it_is(
    place: Place, teacher_folder: FolderMaker
) -> None:
    folder = teacher_folder()
    place.upload(folder, "new", without=WEIGHTS)
    place.while_asleep = lambda: place.put(f"new/{WEIGHTS}", (folder / WEIGHTS).read_bytes())
    growing = place.find(check=refuse)
    assert (growing.state, growing.reason) == ("waiting", "it changed less than 60 s ago and holds no _SUCCESS")
    place.while_asleep = lambda: None
    assert place.find().state == "teacher"


def test_a_marker_says_that_nothing_more_will_come(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")
    place.put("new/_SUCCESS", b"")
    began = place.now
    assert place.find().state == "teacher"
    assert place.now == began


def test_an_announced_teacher_is_not_waited_for(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")
    began = place.now
    assert place.find(announced=f"{place.source}/new").state == "teacher"
    assert place.now == began
    (skipped,) = place.look(announced=f"{place.source}elsewhere/new").skipped
    assert "an announced teacher must lie in one of the sources" in skipped.reason


@IN_S3_TOO
def test_a_broken_teacher_is_told_of_once_and_blocks_nobody(place: Place, teacher_folder: FolderMaker) -> None:
    folder = teacher_folder()
    place.upload(folder, "a-broken")
    place.put(f"a-broken/{WEIGHTS}", b"not safetensors")
    place.upload(folder, "b-good")
    place.put("c-notes/readme.txt", b"nothing to see")
    place.put("stray.txt", b"")
    broken, good, notes = place.look().findings
    assert [broken.state, good.state, notes.state] == ["broken", "teacher", "broken"]
    assert broken.news
    assert "weights must fit its config" in broken.reason
    assert "got no model_index.json" in notes.reason
    broken, good, notes = place.look(check=refuse).findings
    assert [broken.state, broken.news, notes.news] == ["broken", False, False]
    assert "weights must fit its config" in broken.reason
    place.upload(folder, "a-broken")
    assert place.look().findings[0].fingerprint == good.fingerprint


def test_another_question_is_asked_again(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")

    def never(teacher: str) -> None:
        raise ValueError("no such recipe")

    assert place.find(check=never, question="one").reason == "no such recipe"
    assert place.find(check=refuse, question="one").reason == "no such recipe"
    assert place.find(question="other").state == "teacher"


def test_what_may_pass_by_itself_is_waited_for_and_not_remembered(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")

    def unreachable(teacher: str) -> None:
        raise StoreUnreachableError("the endpoint must answer")

    found = place.find(check=unreachable)
    assert (found.state, found.reason) == ("waiting", "it cannot be read now: the endpoint must answer")
    assert place.find().state == "teacher"


def test_a_teacher_that_changes_while_it_is_read_is_waited_for(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")
    changed = teacher_folder("changed", unet=tiny_unet(seed=1))

    def replaced(teacher: str) -> None:
        place.upload(changed, "new")
        # As on another machine, which has no copy of the old one.
        for key in list_prefix(cache):
            delete(f"{cache}/{key}")
        load_teacher(teacher)

    cache = str(Path(changed).parent / "cache")
    found = place.find(check=replaced)
    assert found.state == "waiting"
    assert "a pinned teacher must still be what it was" in found.reason
    assert place.find().fingerprint == folder_fingerprint(changed)


@IN_S3_TOO
def test_two_watchers_at_once_find_the_same_and_a_lost_memory_costs_work_alone(
    place: Place, teacher_folder: FolderMaker
) -> None:
    place.upload(teacher_folder(), "new")
    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(lambda _: place.find(settle_seconds=0.0), range(2))
    assert one.fingerprint == other.fingerprint != ""
    for key in list_prefix(place.memory):
        write_bytes(f"{place.memory}/{key}", b"{")
    assert place.find(settle_seconds=0.0).fingerprint == one.fingerprint
    assert place.find(check=refuse).fingerprint == one.fingerprint


def test_a_dry_look_remembers_nothing_and_waits_for_nothing(place: Place, teacher_folder: FolderMaker) -> None:
    place.upload(teacher_folder(), "new")
    began = place.now
    assert place.find(dry=True).state == "teacher"
    assert place.now == began
    assert list_prefix(place.memory) == []


def test_a_source_may_be_the_teacher_itself_and_sources_are_skipped_with_a_reason(
    place: Place, teacher_folder: FolderMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    place.upload(teacher_folder(), "new")
    found = place.look(sources=(f"{place.source}/new", f"{place.source}/nothing", "nobody/nothing"))
    assert [finding.place for finding in found.findings] == [f"{place.source}/new"]
    nothing, hub = found.skipped
    assert f"got nothing at {place.source}/nothing; put one there" in nothing.reason
    assert hub.reason.startswith("a hub id is looked up in the hub, got ")
    assert "for 'nobody/nothing'; check the name and the network" in hub.reason
    assert not nothing.failed
    assert not hub.failed


def test_a_source_that_may_not_be_listed_is_a_failure(s3_root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place(s3_root, monkeypatch)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    (skipped,) = place.look().skipped
    assert skipped.failed
    assert "valid credentials" in skipped.reason
    assert "wrong" not in skipped.reason


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sources": ()}, r"LookSpec.sources must name folders, .*, got \[\]; give one or more"),
        ({"sources": ("",)}, "LookSpec.sources must name"),
        ({"sources": ("s3://key:hidden@bucket/x",)}, "a URI must not hold credentials or a query.*AWS variables"),
        ({"sources": ("a",), "memory": "s3://bucket/x?token=hidden"}, "a URI must not hold credentials"),
        ({"sources": ("a",), "settle_seconds": -1.0}, "LookSpec.settle_seconds must be a time, zero or more, got -1"),
        ({"sources": ("a",), "settle_seconds": float("nan")}, "LookSpec.settle_seconds must be a time"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        LookSpec(**settings)
    assert "hidden" not in str(caught.value)


def test_guidance_is_for_the_teachers_that_take_it(place: Place, teacher_folder: FolderMaker, tmp_path: Path) -> None:
    place.upload(teacher_folder(), "faces")
    place.upload(dit_folder(tmp_path / "dit"), "classes")
    asked: list[str] = []

    def check(source: str) -> None:
        asked.append(source)
        load_teacher(source)

    classes, faces = place.look(check, guidance=4.0).findings
    assert (classes.state, faces.state) == ("teacher", "teacher")
    assert classes.source == f"{place.source}/classes#guidance=4.0"
    assert (faces.source, faces.fingerprint) == (faces.place, folder_fingerprint(Path(faces.place)))
    assert classes.fingerprint == load_teacher(classes.source).fingerprint
    assert sorted(asked) == sorted(f"{one.source}#sha256={one.fingerprint}" for one in (classes, faces))
    # What is remembered has it too.
    again, _ = place.look(refuse, guidance=4.0).findings
    assert (again.source, again.fingerprint, again.news) == (classes.source, classes.fingerprint, False)
    # Another scale is another teacher; none is the teacher as it is.
    other, _ = place.look(check, guidance=2.0).findings
    plain, _ = place.look(check).findings
    assert len({classes.fingerprint, other.fingerprint, plain.fingerprint}) == 3
    assert plain.source == plain.place


@pytest.mark.parametrize("scale", [0.5, 0, -1, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale: float) -> None:
    with pytest.raises(ValueError, match=r"LookSpec\.guidance must be a scale from 1 \(no guidance\) on"):
        LookSpec(sources=("somewhere",), guidance=scale)
