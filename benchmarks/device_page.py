"""`python -m benchmarks.device_page`: students in a page, in headless Chromium by WebAssembly on one thread.

Writes its part of docs/benchmarks/device.md and, with `--pictures`, screenshots for docs/export.md. `make bench-device`
runs it, too. The page is served by `advkd demo`, each time to a browser that has nothing of it.
"""

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

from advkd.export import ExportSpec, export_student
from advkd.registry import student_folder
from benchmarks.device import save_rgb
from benchmarks.measure import DOCS, REPEATS, progress, table, write_between_marks
from tests.advkd.browse.served import ARGUMENTS, chromium

MARK = "page"
PATIENCE_MS = 300_000
SLIDING_MS = 3000
_WALL = "window.advkd && window.advkd.views.wall.drawn === window.advkd.state.seed"
_SLIDE = """(milliseconds) => new Promise((done) => {
  const page = window.advkd;
  const slider = page.views.image.root.querySelector("input[type=range]");
  const [began, first] = [performance.now(), page.views.image.pictures];
  (function step() {
    const elapsed = performance.now() - began;
    if (elapsed > milliseconds) return done((1000 * (page.views.image.pictures - first)) / elapsed);
    slider.value = (elapsed / 1000) % 1;
    slider.dispatchEvent(new Event("input"));
    requestAnimationFrame(step);
  })();
})"""
VIEWS = {
    "wall": ("#seed=1", 1440, "light"),
    "image": ("#view=image&image=4", 1440, "dark"),
    "layers": ("#view=layers&image=4", 1440, "light"),
    "wall-phone": ("#seed=1", 390, "dark"),
    "image-phone": ("#view=image&image=4", 390, "light"),
    "layers-phone": ("#view=layers&image=4", 390, "dark"),
}


def section(students: dict[str, Path]) -> str:
    """Measures pages of students by name; returns a section of the page of documentation."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        rows = []
        for name, page in students.items():
            with demo(page) as address:
                runs = [measured(browser, f"{address}?threads=1&backend=wasm") for _ in range(REPEATS)]
            mid = {key: statistics.median(run[key] for run in runs) for key in runs[0]}
            rows.append(
                [
                    name,
                    f"{mid['own'] / 1e6:.2f} MB",
                    f"{mid['first'] / 1000:.2f} s",
                    f"{mid['wall']:.0f}",
                    f"{mid['frames']:.0f}",
                ]
            )
            progress(f"{rows[-1]}")
        version = browser.version
        browser.close()
    header = ["", "download without the runtime", "first image after", "images/s of a wall", "slider, images/s"]
    return (
        "## In a browser\n\n"
        f"The [page](../export.md#the-page) in headless Chromium {version.partition('.')[0]}, from loopback, by "
        "WebAssembly on one thread; the median of three. The runtime is 14.3 MB without WebGPU. The slider makes an "
        f"image at each frame, 60 in a second at most.\n\n{table(header, rows)}"
    )


def measured(browser: Browser, address: str) -> dict[str, float]:
    """One visit: bytes, milliseconds to the first image, images per second of a wall, and of a moving slider."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.goto(address)
    page.wait_for_function(f"() => {_WALL}")
    told: dict[str, Any] = page.evaluate("() => ({ first: window.advkd.first, own: window.advkd.download.own })")
    speeds = []
    for _ in range(REPEATS):
        page.keyboard.press("Space")
        page.wait_for_function(f"() => {_WALL}")
        speeds.append(page.evaluate("() => window.advkd.views.wall.speed"))
    page.keyboard.press("2")
    page.wait_for_function("() => window.advkd.views.image.images")
    frames = page.evaluate(_SLIDE, SLIDING_MS)
    context.close()
    return {**told, "wall": statistics.median(speeds), "frames": frames}


def take_pictures(page: Path) -> None:
    """Screenshots of all views, on a desk and on a phone."""
    with sync_playwright() as playwright, demo(page) as address:
        browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
        for name, (link, width, scheme) in VIEWS.items():
            phone = width < 500
            context = browser.new_context(
                viewport={"width": width, "height": 844 if phone else 900},
                color_scheme=scheme,  # type: ignore[arg-type]
                device_scale_factor=2 if phone else 1,
            )
            shown = context.new_page()
            shown.set_default_timeout(PATIENCE_MS)
            shown.goto(f"{address}{link}")
            shown.wait_for_function("() => window.advkd?.first")
            if "wall" in name:
                shown.wait_for_function(f"() => {_WALL}")
            shown.wait_for_timeout(1500)
            shown.screenshot(path=DOCS / "images" / f"page-{name}.png")
            progress(f"page-{name}.png")
            context.close()
        browser.close()


def exported(student: Path, out: Path, runtime: str | None, teacher: str | None = None) -> Path:
    """The page of a student, without the figures of its export."""
    spec = ExportSpec(
        student=str(student),
        out=str(out),
        format="web",
        runtime=runtime,
        beside=teacher,
        noises=8,
        seconds=0.0,
        memory=False,
    )
    export_student(spec)
    return out


@contextlib.contextmanager
def demo(page: Path) -> Iterator[str]:
    """The address of `advkd demo`, ended afterwards."""
    command = [sys.executable, "-m", "advkd", "demo", str(page), "--no-open"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--student", default="models:/advkd-digits@champion")
    parser.add_argument("--teacher", default="digits")
    parser.add_argument("--runs", default="runs/demo", help="root of the flow that registered the student")
    parser.add_argument("--runtime", help="onnxruntime-web as npm packs it")
    parser.add_argument("--pictures", action="store_true", help="take screenshots instead")
    parser.add_argument("--write", action="store_true", help="write into docs/benchmarks/device.md")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        digits = student_folder(chosen.student, chosen.runs)
        if chosen.pictures:
            take_pictures(exported(digits, folder / "digits", chosen.runtime, chosen.teacher))
            return
        rgb = save_rgb(folder / "student", 48)
        text = section(
            {
                "digits, 1x16x16": exported(digits, folder / "digits", chosen.runtime),
                "random weights, 3x32x32": exported(rgb, folder / "rgb", chosen.runtime),
            }
        )
    if chosen.write:
        write_between_marks(DOCS / "benchmarks" / "device.md", MARK, text)
    print(text)


if __name__ == "__main__":
    main()
