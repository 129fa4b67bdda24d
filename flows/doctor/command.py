"""`advkd doctor`: checks everything that a run needs before it starts. Exit code 0 if all is well, else 1."""

import json
import sys
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
    fix: Annotated[bool, typer.Option("--fix", help="Remove what killed runs left behind; asks before each.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="With --fix: do not ask.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout, for machines.")] = False,
) -> None:
    """Look at server, workers, deployments, S3, disk, devices and stores; name each problem with its remedy."""
    if fix and as_json and not yes:
        raise typer.BadParameter("--fix with --json cannot ask, got no --yes; add it")
    findings, done = [], []
    with console().status("looking"):
        checks = machine_checks(root, stores or f"{root.rstrip('/')}/stores")
        checks |= prefect_checks() if server else {}
        for finding in examine(checks):
            findings.append(finding)
            if not as_json:
                _show(finding)
    for finding in findings if fix else ():
        if finding.fix is not None and (yes or typer.confirm(finding.fix.question)):
            done.append(finding.fix.act())
            if not as_json:
                Console(highlight=False).print(Text("fixed   ", style="green") + Text(done[-1]), soft_wrap=True)
    problems = sum(not finding.ok for finding in findings)
    if as_json:
        said = {"ok": not problems, "findings": [finding.as_json() for finding in findings], "fixed": done}
        sys.stdout.write(json.dumps(said, indent=1) + "\n")
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
