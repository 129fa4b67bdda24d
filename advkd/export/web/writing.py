"""Writes the page of a student: an ONNX export with a page, the runtime that it needs, and the teacher's images.

A browser opens `index.html`, with `page/` and `page.json`. The ONNX export (`advkd.export.onnx`) lies beside it:
`model.onnx`, `metadata.json`, `advkd_noise.mjs` and the rest. `runtime/` is ONNX Runtime for browsers, from its npm
package; `teacher/0.png` and so on are the teacher's images of the first noises of seed 0, if it was given.
"""

import importlib.util
import json
import shutil
from dataclasses import replace
from pathlib import Path

from advkd.evaluation import TeacherImages, teacher_images
from advkd.export.onnx import export_onnx, png
from advkd.export.requests import ExportSpec
from advkd.export.web.runtime import PACKAGE, VERSION, copy_runtime
from advkd.files import whole_folder
from advkd.students import load_student, student_files

FACTS = "page.json"
TEACHER_IMAGES = 16
_STATIC = Path(__file__).parent / "static"
_ABOUT = """
## Page
This folder is also a page, `index.html`, for any file server: `advkd demo .`, or `python -m http.server`. It loads
nothing from elsewhere. `runtime/` is {package} {version}, from npm.
"""


def export_web(folder: Path, out: Path, spec: ExportSpec) -> Path:
    """Writes the folder, whole or not at all (an older one at `out` is replaced), and returns it.

    The network always gives the states of all submodules, because the page shows them.

    Args:
        folder: of the student.
        out: local folder.
        spec: as for `export_onnx`; the page runs the first precision.

    Raises:
        StudentError: no usable student.
        ExportError: a package or the runtime is missing, or the student cannot be exported; see `export_onnx`.
        OSError: it cannot be written; what was begun is removed.
    """
    with whole_folder(out, "a page") as partial:
        runtime = partial / "runtime"
        runtime.mkdir()
        copy_runtime(runtime, spec.runtime)
        _copy_licence(runtime)
        network = export_onnx(folder, partial / "network", replace(spec, states=True))
        for path in network.iterdir():
            path.rename(partial / path.name)
        network.rmdir()
        shutil.copytree(_STATIC, partial, dirs_exist_ok=True)
        write_facts(partial, spec.beside or spec.teacher, folder)
        with (partial / "README.md").open("a", encoding="utf-8") as card:
            card.write(_ABOUT.format(package=PACKAGE, version=VERSION))
    return out


def write_facts(page: Path, teacher: str | None, folder: Path) -> None:
    """Writes what the page is told beside the network's own facts and, if there is a teacher, its images.

    Args:
        page: folder of the page.
        teacher: source of a teacher, as in `EvaluateSpec`.
        folder: of its student.

    Raises:
        TeacherError: the teacher cannot be used.
        EvaluationError: the student is none of this teacher.
    """
    shown = None if teacher is None else _teacher(teacher, folder, page / "teacher")
    facts = {"runtime": f"{PACKAGE} {VERSION}", "teacher": shown}
    (page / FACTS).write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")


def _teacher(source: str, folder: Path, out: Path) -> dict[str, object]:
    weights = student_files(folder).weights.parent
    made: TeacherImages = teacher_images(source, load_student(folder), student_weights=weights, count=TEACHER_IMAGES)
    out.mkdir()
    for i, image in enumerate(made.images.numpy()):
        # Of other numbers of channels the page shows the first ones, too.
        shown = image if len(image) in (1, 3) else image[: 3 if len(image) > 3 else 1]
        (out / f"{i}.png").write_bytes(png(shown))
    return {"name": made.name, "seed": made.seed, "count": len(made.images)}


def _copy_licence(runtime: Path) -> None:
    # The npm package names its licence and does not hold it; that of Python has the same text.
    found = importlib.util.find_spec("onnxruntime")
    assert found is not None
    assert found.origin is not None
    for name in ("LICENSE", "ThirdPartyNotices.txt"):
        if (text := Path(found.origin).with_name(name)).is_file():
            shutil.copyfile(text, runtime / name)
