"""Published weights: looked for in order, known by their sha256, and no pickle is run."""

import hashlib
import pickle
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from advkd.features import FeatureError
from advkd.features.weights import CONSENT, FETCH, PublishedWeights, read_tensors, with_weights

CONTENT = b"weights"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[PublishedWeights]:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv(CONSENT, raising=False)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "w.pth").write_bytes(CONTENT)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "site")))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield PublishedWeights(
        extractor="some",
        names=("ours.pth", "theirs.pth"),
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        url=f"http://127.0.0.1:{server.server_port}/w.pth",
        megabytes=1,
    )
    server.shutdown()
    server.server_close()
    thread.join()


def cached(name: str, content: bytes = CONTENT) -> Path:
    file = Path(torch.hub.get_dir()) / "checkpoints" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def test_a_file_goes_before_the_cache_and_the_cache_before_the_network(
    published: PublishedWeights, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(CONTENT)
    theirs = cached("theirs.pth")
    assert published.file(str(mine)) == mine
    assert published.file(None) == published.file(FETCH) == theirs


def test_nothing_is_fetched_without_consent(published: PublishedWeights, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        FeatureError,
        match=r"'some' needs the weights ours\.pth \(1 MB, .*got none in .*--weights FILE.*--weights fetch or",
    ):
        published.file(None)
    assert not (Path(torch.hub.get_dir()) / "checkpoints").exists()
    monkeypatch.setenv(CONSENT, "1")
    assert published.file(None).read_bytes() == CONTENT


def test_they_are_fetched_once(published: PublishedWeights, tmp_path: Path) -> None:
    file = published.file(FETCH)
    assert (file.name, file.read_bytes()) == ("ours.pth", CONTENT)
    (tmp_path / "site" / "w.pth").unlink()
    assert published.file(None) == published.file(FETCH) == file


@pytest.mark.parametrize("place", ["asked", "cached"])
def test_weights_of_another_sha256_are_refused(published: PublishedWeights, place: str, tmp_path: Path) -> None:
    wrong = cached("ours.pth", b"others")
    with pytest.raises(
        FeatureError, match=r"weights of 'some' must have the sha256 \w{12}, got \w{12} for .*ours\.pth; get"
    ):
        published.file(str(wrong) if place == "asked" else None)


def test_what_was_fetched_is_checked_and_not_kept(published: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "site" / "w.pth").write_bytes(b"others")
    with pytest.raises(FeatureError, match=r"must have the sha256 \w{12}, got a file of another sha256 for http"):
        published.file(FETCH)
    assert not any((Path(torch.hub.get_dir()) / "checkpoints").iterdir())


def test_offline_is_said(published: PublishedWeights, tmp_path: Path) -> None:
    (tmp_path / "site" / "w.pth").unlink()
    with pytest.raises(FeatureError, match=r"must be reached to be fetched, got HTTP Error 404.*--weights FILE"):
        published.file(FETCH)
    with pytest.raises(FeatureError, match="weights of 'some' must be a file, got none at nowhere; correct the path"):
        published.file("nowhere")


class Touches:
    """Writes a file where a pickle of it is run."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self.place,)


def test_no_pickle_is_run(tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(1), "evil": Touches(tmp_path / "touched")}, tmp_path / "evil.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Touches(tmp_path / "touched")))
    for name in ("evil.pth", "plain.pth"):
        with pytest.raises(
            FeatureError, match=rf"state dict of tensors alone, got \w+Error for .*{name}; nothing else"
        ):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def test_state_dicts_are_read_in_both_forms(tmp_path: Path) -> None:
    network = nn.Linear(2, 3)
    torch.save(network.state_dict(), tmp_path / "a.pth", _use_new_zipfile_serialization=False)
    save_file(network.state_dict(), tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        loaded = with_weights(nn.Linear(2, 3), read_tensors(tmp_path / name), tmp_path / name)
        assert torch.equal(loaded.weight, network.weight)  # type: ignore[arg-type]
        assert not any(weight.requires_grad for weight in loaded.parameters())
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(FeatureError, match=r"must be a state dict of tensors, got something else in .*list\.pth"):
        read_tensors(tmp_path / "list.pth")
    with pytest.raises(FeatureError, match=r"must be those of a Conv2d, got others in .*a\.pth"):
        with_weights(nn.Conv2d(1, 1, 1), read_tensors(tmp_path / "a.pth"), tmp_path / "a.pth")
