"""Pages of small students, on one server of this process, and a browser to look with."""

import os
import shutil
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from advkd.cli.page_app import page_app
from advkd.export import ExportSpec, export_student
from advkd.export.web.runtime import FETCH, PACKAGE, VERSION
from advkd.export.web.writing import FACTS, write_facts
from tests.advkd.browse.site import browser
from tests.advkd.evaluation.conftest import gaussian
from tests.advkd.evaluation.parts import gaussian_teacher, make_student
from tests.advkd.export.onnx.subjects import save_labelled

__all__ = ["browser", "gaussian"]

QUICK = {"noises": 6, "seconds": 0.0, "memory": False}


def export_page(student: Path, out: Path, runtime: Path, **changes: object) -> Path:
    export_student(
        ExportSpec(student=str(student), out=str(out), format="web", runtime=str(runtime), **(QUICK | changes))
    )
    return out


@pytest.fixture(scope="session")
def runtime() -> Path:
    """onnxruntime-web as npm packs it, where `make` has put it."""
    packed = Path(os.environ.get("ADVKD_WEB_RUNTIME") or Path(sys.prefix) / "web" / f"{PACKAGE}-{VERSION}.tgz")
    if not packed.is_file():
        if os.environ.get("CI"):
            pytest.fail(f"CI must have {packed}, which `make test` fetches by npm")
        pytest.skip(f"no {packed}: `make test` fetches it, by `{FETCH}`")
    return packed


@pytest.fixture(scope="package")
def pages(tmp_path_factory: pytest.TempPathFactory, runtime: Path, gaussian: None) -> Path:
    """A root with a student and its page, `student` and `labelled`, and the page with another's teacher, `taught`."""
    root = tmp_path_factory.mktemp("pages")
    export_page(save_labelled(root / "student"), root / "labelled", runtime)
    # An export for each teacher would take seconds, and the page shows whatever images are there.
    make_student(gaussian_teacher()).save_pretrained(root / "other")
    shutil.copytree(root / "labelled", root / "taught", copy_function=os.link)
    (root / "taught" / FACTS).unlink()
    write_facts(root / "taught", "gaussian", root / "other")
    return root


@pytest.fixture(scope="package")
def address(pages: Path) -> Iterator[str]:
    """Of a server of the root, with a slash at its end."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(page_app(pages), log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    server.should_exit = True
    thread.join(30)
    listener.close()


@pytest.fixture
def copied(pages: Path) -> Iterator[Path]:
    """A copy of the labelled page, to be spoilt; the runtime is linked."""
    folder = pages / "copied"
    shutil.copytree(pages / "labelled", folder, copy_function=os.link)
    yield folder
    shutil.rmtree(folder)
