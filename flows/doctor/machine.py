"""Checks of `advkd doctor` that need no server: versions, devices, disk, S3, and stores that stopped growing."""

import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from shlex import quote

import torch
from prefect.settings import PREFECT_HOME

from advkd.registry import DATABASE, answering, broken_champions, existing_registry, quiet
from advkd.text import size_text
from flows.doctor.checks import Check, Finding, Fix, advice, problem, well
from storage import list_stores, measure_growth
from storage.care import find_garbage, remove_garbage
from storage.objects import probe_s3, user_name
from storage.reading import default_cache_folder
from storage.writing import give_back, orphaned_claims

_DAY = 24 * 3600.0
_FREE_BYTES = 10 * 2**30
_SMALL_BYTES = 2**29
_ELSEWHERE = {
    "disk": ("choose another --root", ": `advkd cache ls`, `advkd cache gc`, `advkd cache rm`"),
    "cache": ("set ADVKD_CACHE to another folder", ": whatever is in it is fetched again"),
    "temporary files": ("set TMPDIR to another folder", ""),
    "Prefect's home": ("set PREFECT_HOME to another folder", ": its database and its logs grow there"),
}
_PACKAGES = ("prefect", "torch", "diffusers", "mlflow-skinny", "zarr", "webdataset", "fastapi")
_SHORT_OF = {
    "S3 put": "give the credentials s3:PutObject on this prefix",
    "S3 get": "give the credentials s3:GetObject on this prefix",
    "S3 ranged get": "set AWS_RESPONSE_CHECKSUM_VALIDATION=when_required, or ask the service's operator",
    "S3 list": "give the credentials s3:ListBucket",
    "S3 clock": "set this machine's clock, for example with chrony",
    "S3 delete": "give the credentials s3:DeleteObject on this prefix",
}


def machine_checks(root: str, stores: str) -> dict[str, Check]:
    """Returns the checks of this machine by name.

    Args:
        root: local folder of runs.
        stores: URI of the root of stores.
    """
    checks: dict[str, Check] = {
        "versions": lambda: [_versions()],
        "CUDA": lambda: [_cuda()],
        "OpenMP": lambda: [_openmp()],
        "disk": lambda: [_disk("disk", Path(root))],
        "cache": lambda: [_disk("cache", Path(default_cache_folder()))],
        "temporary files": lambda: [_disk("temporary files", Path(tempfile.gettempdir()), _SMALL_BYTES)],
        "Prefect's home": lambda: [_disk("Prefect's home", PREFECT_HOME.value(), _SMALL_BYTES)],
        "registry": lambda: [_registry(root)],
    }
    if stores.startswith("s3://"):
        checks["S3"] = lambda: _s3(stores)
    checks["stale stores"] = lambda: [_stale_stores(stores)]
    checks["leftovers"] = lambda: [_leftovers(stores)]
    checks["orphaned claims"] = lambda: [_orphaned_claims([root, stores])]
    return checks


def _versions() -> Finding:
    versions = {name: _version(name) for name in _PACKAGES}
    missing = [name for name, version in versions.items() if not version]
    if missing:
        return problem("versions", f"not installed: {', '.join(missing)}", "run `make install`")
    return well("versions", ", ".join(f"{name} {version}" for name, version in versions.items()))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _cuda() -> Finding:
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    if names:
        return well("CUDA", ", ".join(names))
    if any(Path("/dev").glob("nvidia[0-9]*")):
        fact = f"this machine has a GPU, and torch {torch.__version__} does not see it"
        return problem("CUDA", fact, "install a CUDA build of torch and a driver that fits it")
    return well("CUDA", f"no GPU; torch {torch.__version__} computes on {os.cpu_count()} cores")


def _openmp() -> Finding:
    # Our commands and flows set it where it is not set.
    policy = os.environ.get("OMP_WAIT_POLICY", "PASSIVE")
    if policy.upper() != "PASSIVE":
        fact = f"OMP_WAIT_POLICY is {policy} here: idle threads spin, up to ten times slower on a busy machine"
        return problem("OpenMP", fact, "`export OMP_WAIT_POLICY=PASSIVE`, or unset it")
    return well("OpenMP", "idle threads sleep")


def _disk(check: str, root: Path, enough: int | None = None) -> Finding:
    existing = next(folder for folder in (root.absolute(), *root.absolute().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    choose, space = _ELSEWHERE[check]
    if not existing.is_dir():
        return problem(check, f"{existing} is a file where a folder must be", choose)
    fact = f"{free / 2**30:.1f} GiB free at {existing}"
    if not os.access(existing, os.W_OK):
        fact = f"{existing} cannot be written to; it belongs to {user_name(existing.stat().st_uid)}"
        return problem(check, fact, f"{choose}, or correct its permissions")
    if free < (_FREE_BYTES if enough is None else enough):
        return problem(check, fact, f"free some space{space}, or {choose}")
    return well(check, fact)


def _registry(root: str) -> Finding:
    if not os.environ.get("MLFLOW_TRACKING_URI") and not Path(root, DATABASE).is_file():
        return well("registry", f"none yet below {root}")
    with answering(), quiet():
        broken = broken_champions(existing_registry(root))
    if broken:
        remedy = "put the folder back, or run the same distill again, or `advkd registry rollback NAME`"
        return problem("registry", "; ".join(broken), remedy)
    return well("registry", "every champion's artifact is there, as registered")


def _s3(stores: str) -> Sequence[Finding]:
    return [
        well(probe.name, probe.fact) if probe.ok else problem(probe.name, probe.fact, _SHORT_OF[probe.name])
        for probe in probe_s3(stores)
    ]


def _leftovers(stores: str) -> Finding:
    old = [item for store in find_garbage(stores, _DAY) for item in store.old]
    if not old:
        return well("leftovers", f"none below {stores} that are a day old")
    fact = f"{len(old)} objects ({size_text(sum(item.size for item in old))}) below {stores} are of killed runs"
    fix = Fix(f"Remove {len(old)} leftovers below {stores}?", lambda: _remove_leftovers(stores))
    return advice("leftovers", fact, f"`advkd doctor --fix`, or `advkd cache gc {quote(stores)}`", fix)


def _remove_leftovers(stores: str) -> str:
    removed = [item for store in find_garbage(stores, _DAY) for item in remove_garbage(store)]
    return f"{len(removed)} leftovers removed ({size_text(sum(item.size for item in removed))})"


def _orphaned_claims(roots: Sequence[str]) -> Finding:
    claims = sorted({claim for root in roots for claim in orphaned_claims(root)})
    if not claims:
        return well("orphaned claims", "none of this machine")
    fact = f"{len(claims)} of processes of this machine that are gone: {', '.join(claims[:5])}; the next run takes them"
    fix = Fix(f"Give back {len(claims)} claims of processes that are gone?", lambda: _give_claims_back(claims))
    return advice("orphaned claims", fact, "`advkd doctor --fix`", fix)


def _give_claims_back(claims: Sequence[str]) -> str:
    return f"{sum(give_back(claim) for claim in claims)} of {len(claims)} claims given back"


def _stale_stores(stores: str) -> Finding:
    all_stores = list_stores(stores)
    broken = [store.uri for store in all_stores if store.state == "unreadable"]
    if broken:
        return problem("stale stores", f"unreadable: {', '.join(broken)}", "run `advkd cache show URI`")
    growing = [store for store in all_stores if store.state == "growing" and store.spec is not None]
    still = []
    for store in growing:
        latest = measure_growth(store.uri, store.spec).latest_commit if store.spec else None
        if latest is None or time.time() - latest > _DAY:
            still.append(store.uri)
    if still:
        fact = f"unsealed and without a new shard for a day: {', '.join(still)}"
        return problem("stale stores", fact, "run the same precompute again, or `advkd cache rm URI`")
    return well("stale stores", f"none of {len(all_stores)} below {stores}")
