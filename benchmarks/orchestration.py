"""`make bench-orchestration`: what Prefect, claims, sealing and S3 requests cost, and what follows for many workers.

Server, worker, S3 server and all processes are real and of this machine. Each part's figures are kept in
`runs/orchestration/<scale>`; `--parts` measures some of them anew, and `--write` writes from all of them the page and
the planning table of `docs/scale.md`.
"""

import argparse
import json
import os
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import DOCS, ROOT, progress, write, write_between_marks
from benchmarks.orchestration_page import page, planning
from benchmarks.orchestration_parts import PARTS, SCALES


def main() -> None:
    options = _options()
    kept = ROOT / "runs" / "orchestration" / options.scale
    kept.mkdir(parents=True, exist_ok=True)
    scale = SCALES[options.scale]
    if options.repeats:
        scale = replace(scale, repeats=options.repeats)
    for name in options.parts:
        progress(f"{name}:")
        with tempfile.TemporaryDirectory() as folder:
            found = PARTS[name](Path(folder), scale)
        # How busy the machine was, for it is shared: over the last five minutes.
        found["load"] = os.getloadavg()[1]
        (kept / f"{name}.json").write_text(json.dumps(found, indent=1))
    missing = [name for name in PARTS if not (kept / f"{name}.json").is_file()]
    if missing:
        progress(f"not measured yet: {', '.join(missing)}; there is no page without them")
        return
    measured = {name: json.loads((kept / f"{name}.json").read_text()) for name in PARTS}
    text = page(measured)
    if options.write:
        write("orchestration", text)
        write_between_marks(DOCS / "scale.md", "bench-orchestration", planning(measured))
    else:
        print(text)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", choices=list(SCALES), default="real", help="small: does it work at all? [real]")
    parser.add_argument("--parts", nargs="*", choices=list(PARTS), default=list(PARTS), help="what to measure [all]")
    parser.add_argument("--repeats", type=int, help="instead of the scale's own")
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks/orchestration.md and docs/scale.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
