"""Flow `watch-teachers`: looks for teachers and starts one distillation for each that has not had one."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from prefect import get_run_logger
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.settings import PREFECT_API_URL

from advkd.discovery import LookSpec, Memory, PlaceState, Skipped, look
from advkd.registry import require_registry
from advkd.teachers import pinned
from flows.distill import distill
from flows.processes import DISCOVERED, REFUSED, STARTED, stage, tell_of_teacher
from flows.recipe import recipe
from flows.requests import DistillationRequest, Placed, RequestSpec, deployed, digest_of, place
from flows.serving import how_to_deploy
from flows.tasks import HOUR


@dataclass(frozen=True)
class Watched:
    """The state of a place and of its distillation, after a look.

    Attributes:
        place: folder, URI or hub id of the teacher.
        state: "started", "running", "done", "failed", "cancelled", "new" (dry run: would be started), "waiting" or
            "broken".
        fingerprint: fingerprint of the teacher, "" if there is none (yet).
        run: name of the distillation's latest run.
        reason: why the place is waiting or broken.
    """

    place: str
    state: str
    fingerprint: str = ""
    run: str = ""
    reason: str = ""


@dataclass(frozen=True)
class WatchResult:
    """Result of a look."""

    teachers: tuple[Watched, ...]
    skipped: tuple[Skipped, ...]


@stage("watch-teachers", timeout_seconds=HOUR)
def watch_teachers(
    sources: list[str],
    deployment: str = "distill/full",
    parameters: dict[str, Any] | None = None,
    memory: str = "runs/watch",
    settle_seconds: float = 60.0,
    attempts: int = 3,
    announced: str | None = None,
    guidance: float | None = None,
    dry_run: bool = False,
) -> WatchResult:
    """Looks for new teachers and starts a distillation for each; a repeated run starts nothing twice.

    Args:
        sources: local folders, s3:// prefixes (teachers are the folders directly below, or the source itself), hub ids.
        deployment: name of the deployment of distill to start.
        parameters: parameters of the runs that override the deployment's; all but the teacher.
        memory: URI of the records that are kept between looks.
        settle_seconds: how long a folder must stay unchanged before it is read, unless it holds a file _SUCCESS.
        attempts: largest number of runs per teacher, if runs fail or crash.
        announced: place of a teacher, below a source, whose upload is known to be complete.
        guidance: scale of classifier-free guidance, for the teachers that take one; others are distilled as they are.
        dry_run: only report what would be started.
    """
    where, orders = plan(sources, deployment, parameters, memory, settle_seconds, attempts, announced, guidance)
    with get_client(sync_client=True) as client:
        target = deployed(client, orders)
        if target is None and not dry_run:
            raise ValueError(
                f"what is to be started must be deployed, got no {orders.deployment}; run `{how_to_deploy()}`"
            )
        recipe_parameters = {**(target.parameters if target else {}), **orders.parameters}
        # Checked here, so that the error is reported once and not for every teacher.
        require_registry(str(recipe_parameters.get("root", "runs")))
        seen = look(where, digest_of(recipe_parameters), _distillable(recipe_parameters), dry=dry_run)
        watched = [_follow_up(client, target, orders, finding, where, dry=dry_run) for finding in seen.findings]
    result = WatchResult(tuple(watched), seen.skipped)
    _tell(result, [finding.place for finding in seen.findings if finding.news])
    if result.skipped and not result.teachers and all(source.failed for source in result.skipped):
        reasons = "; ".join(source.reason for source in result.skipped)
        raise RuntimeError(f"a look must reach one of its sources at least, got {reasons}")
    return result


def plan(
    sources: list[str],
    deployment: str,
    parameters: dict[str, Any] | None,
    memory: str,
    settle_seconds: float,
    attempts: int,
    announced: str | None,
    guidance: float | None = None,
) -> tuple[LookSpec, RequestSpec]:
    """Checks the flow's parameters, and returns them as specs.

    Raises:
        ValueError: a parameter breaks its rule; the message names it.
    """
    where = LookSpec(
        sources=tuple(sources),
        memory=memory,
        settle_seconds=settle_seconds,
        announced=announced,
        guidance=guidance,
    )
    return where, RequestSpec(deployment=deployment, parameters=parameters or {}, attempts=attempts)


def _distillable(parameters: dict[str, Any]) -> Callable[[str], object]:
    """Returns a check, on the CPU, that a teacher loads and that all stages accept it, before a run is started."""

    def check(teacher: str) -> None:
        here = {"teacher": teacher, "device": "cpu", "fan_out": None}
        recipe(**distill.validate_parameters({**parameters, **here}))

    return check


def _follow_up(
    client: SyncPrefectClient,
    deployment: DeploymentResponse | None,
    orders: RequestSpec,
    finding: PlaceState,
    where: LookSpec,
    *,
    dry: bool,
) -> Watched:
    if finding.state != "teacher":
        if finding.state == "broken" and finding.news and not dry:
            tell_of_teacher(REFUSED, finding)
        return Watched(finding.place, finding.state, reason=finding.reason)
    order, memory = DistillationRequest(orders, finding.fingerprint), Memory(where.memory)
    if finding.news and not dry:
        tell_of_teacher(DISCOVERED, finding)
    if memory.is_finished(order.digest):
        placed = Placed("done")
    else:
        placed = place(client, deployment, order, pinned(finding.source, finding.fingerprint), dry=dry)
        if placed.state == "done" and not dry:
            memory.finish(order.digest, {"teacher": finding.place, "run": placed.run, "run_id": placed.run_id})
    if placed.state == "started":
        tell_of_teacher(STARTED, finding, run=placed.run, run_id=placed.run_id, attempt=placed.attempt)
    return Watched(finding.place, placed.state, finding.fingerprint, placed.run)


def _tell(result: WatchResult, news: list[str]) -> None:
    logger = get_run_logger()
    for source in result.skipped:
        logger.warning(f"skipped: {source.reason}")
    for teacher in result.teachers:
        if teacher.state == "broken" and teacher.place in news:
            logger.warning(f"broken, and left alone until it changes: {teacher.place}: {teacher.reason}")
        elif teacher.state == "waiting":
            logger.info(f"left alone for now: {teacher.place}: {teacher.reason}")
        elif teacher.state in ("started", "new"):
            would = "started" if teacher.state == "started" else "would be started"
            logger.info(f"{would}: {teacher.place}, teacher {teacher.fingerprint[:12]} {teacher.run}".rstrip())
    counts = ", ".join(
        f"{count} {state}" for state, count in Counter(teacher.state for teacher in result.teachers).items()
    )
    logger.info(f"{len(result.teachers)} places ({counts or 'nothing'}), {len(result.skipped)} sources skipped")


def _check(dry_run: bool, **parameters: Any) -> None:
    plan(**parameters)
    if not dry_run and not PREFECT_API_URL.value():
        raise ValueError(
            "a distillation is started on a Prefect server, got no PREFECT_API_URL; set it, or ask with --dry-run"
        )


def _show(result: WatchResult) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("state", "teacher", "place", "run or reason"):
        table.add_column(name, overflow="fold")
    for teacher in result.teachers:
        table.add_row(
            teacher.state, teacher.fingerprint[:12] or "-", teacher.place, teacher.run or teacher.reason or "-"
        )
    for source in result.skipped:
        table.add_row("skipped", "-", source.source, source.reason)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    from flows.command import main

    main(watch_teachers, check=_check, show=_show)
