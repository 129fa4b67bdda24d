"""`advkd doctor`: checks everything that a run needs before it starts. Exit code 0 if all is well, else 1."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from advkd.runtime import console
from flows.doctor.checks import Finding, examine
from flows.doctor.machine import machine_checks
from flows.doctor.prefect import prefect_checks


def doctor(
    root: Annotated[str, typer.Option(help="Local folder of runs.")] = "runs",
    stores: Annotated[
        str | None, typer.Option(help="Root URI of stores, s3:// to try its rights; default: stores below the root.")
    ] = None,
    server: Annotated[bool, typer.Option(help="Look at the Prefect server too.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, for machines.")] = False,
) -> None:
    """Look at server, workers, deployments, S3, disk, devices and stores; name each problem with its remedy."""
    findings = []
    with console().status("looking"):
        checks = machine_checks(root, stores or f"{root.rstrip('/')}/stores")
        checks |= prefect_checks() if server else {}
        for finding in examine(checks):
            findings.append(finding)
            if not as_json:
                _show(finding)
    problems = sum(not finding.ok for finding in findings)
    if as_json:
        sys.stdout.write(json.dumps({"ok": not problems, "findings": [asdict(f) for f in findings]}, indent=1) + "\n")
    else:
        verdict = f"{problems} of {len(findings)} need a remedy" if problems else "all is well"
        Console(highlight=False).print(verdict)
    raise typer.Exit(1 if problems else 0)


def _show(finding: Finding) -> None:
    mark = Text("ok      ", style="green") if finding.ok else Text("problem ", style="bold red")
    out = Console(highlight=False)
    out.print(mark + Text(f"{finding.check}: ", style="bold") + Text(finding.fact, style=""), soft_wrap=True)
    if finding.remedy:
        out.print(Text(f"        → {finding.remedy}", style="yellow"), soft_wrap=True)
