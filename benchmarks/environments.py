"""`make bench-environments`: what our commands do on other people's machines, each bad environment tried once.

Everything is imported once; each case is a fork with its own variables, limits, user, folder and streams, so that a
case takes milliseconds. Cases that change what an interpreter does when it starts are processes of their own.
"""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from benchmarks.environment_cases import CASES, Case, Place
from benchmarks.measure import progress, table, write
from tests.s3_server import S3Server, serve_s3

_PATIENCE_SECONDS = 300
_SAID = 170
_OF_THIS_RUN = (
    (re.compile(r"\S*advkd-environments-[^/\s]+/[^/\s]+(/\S*[^\s,;:.)])?"), "PATH"),
    (re.compile(r"bucket-[0-9a-f]{12}"), "bucket"),
    (re.compile(r"(?<=127\.0\.0\.1):[0-9]{4,5}"), ":PORT"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=None, help="names of cases [all]")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/environments.md")
    options = parser.parse_args()
    import_everything()
    rows, wrong = [], []
    with tempfile.TemporaryDirectory(prefix="advkd-environments-") as folder, serve_s3(Path(folder, "s3")) as s3:
        Path(folder).chmod(0o755)
        for case in CASES:
            if options.only is None or case.name in options.only:
                code, said = tried(case, Path(folder), s3)
                fits = case.fits(code, said)
                wrong += [] if fits else [case.name]
                progress(f"{'ok   ' if fits else 'WRONG'} {case.name}: {code} {said}")
                rows.append([case.name, "works" if code == 0 else f"refused ({code})", last_line(said) or "-"])
    if options.write:
        write("environments", page(rows))
    sys.exit(f"not as expected: {', '.join(wrong)}" if wrong else 0)


def import_everything() -> None:
    import flows.doctor  # noqa: F401


def tried(case: Case, folder: Path, s3: S3Server) -> tuple[int, str]:
    """Runs one case; returns its exit code and all that it said."""
    place = Place(Path(tempfile.mkdtemp(dir=folder)), s3)
    place.folder.chmod(0o777)
    (place.folder / "work").mkdir()
    said = place.folder / "said"
    words = case.command(place)
    if case.fresh:
        return fresh(case, place, words)
    child = os.fork()
    if child == 0:
        code = 70
        try:
            with said.open("w") as sink:
                for stream in (1, 2):
                    os.dup2(sink.fileno(), stream)
            sys.stdout, sys.stderr = (open(stream, "w", closefd=False) for stream in (1, 2))  # noqa: SIM115
            os.environ.update(clean(place))
            os.chdir(place.folder / "work")
            case.prepare(place)
            for name, value in case.variables(place).items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value
            sys.argv = ["advkd", *words]
            code = run()
        except BaseException:
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                with contextlib.suppress(Exception):
                    stream.flush()
            os._exit(code)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), said.read_text(errors="replace")


def run() -> int:
    from advkd.cli.main import main as command

    try:
        command()
    except SystemExit as ending:
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    return 0


def fresh(case: Case, place: Place, words: list[str]) -> tuple[int, str]:
    """The same in an interpreter of its own."""
    environment = {**os.environ, **clean(place)}
    for name, value in case.variables(place).items():
        environment.pop(name, None)
        if value is not None:
            environment[name] = value
    done = subprocess.run(
        [sys.executable, *case.flags, "-m", "advkd", *words],
        env=environment,
        cwd=place.folder / "work",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_PATIENCE_SECONDS,
        preexec_fn=lambda: case.prepare(place),
        check=False,
    )
    return done.returncode, done.stdout.decode(errors="replace")


def clean(place: Place) -> dict[str, str]:
    return {"HOME": str(place.folder), "ADVKD_CACHE": str(place.folder / "cache"), "COLUMNS": "200"}


def last_line(said: str) -> str:
    """What the user reads last, without this run's folders and ports; of JSON the first problem."""
    start = said.find("{\n")
    with contextlib.suppress(ValueError):
        wrong = [finding for finding in json.loads(said[start:])["findings"] if not finding["ok"]] if start >= 0 else []
        if wrong:
            said = f"{wrong[0]['check']}: {wrong[0]['fact']}"
    lines = [" ".join(line.split()) for line in said.splitlines() if line.strip()]
    chosen = next((line for line in reversed(lines) if line.startswith("error:")), lines[-1] if lines else "")
    for pattern, name in _OF_THIS_RUN:
        chosen = pattern.sub(name, chosen)
    chosen = chosen.replace("|", "/")
    return chosen if len(chosen) <= _SAID else f"{chosen[: _SAID - 1]}…"


def page(rows: list[list[str]]) -> str:
    return (
        "# Bad environments\n\n"
        f"`make bench-environments`: {len(rows)} environments that other people's machines may have, each tried with a "
        "real command. A case is as it should be if the command works, or refuses in one line that names the "
        "cause, without a traceback. All of them are; the script fails if one is not.\n\n"
        + table(["environment", "what happened", "last line"], rows)
    )


if __name__ == "__main__":
    main()
