"""Two machines on one bucket: each with a host name, process ids, homes, a cache and a Prefect server of its own.

They share S3 and a registry alone. What one does the other does not do again; what a machine that is lost has begun,
the other goes on with.
"""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from storage import StoreNotFoundError, join, list_prefix, list_stores, read_bytes, verify
from storage.care import find_garbage
from tests.flows.deployed_home import clean_environment
from tests.flows.machine import CHECKOUT
from tests.flows.processes.test_child import wait_until

NAMESPACES = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "--kill-child"]
TINY = {
    "teacher": "mixture",
    "preset": "quick",
    "precompute": json.dumps({"samples": 512, "shard_samples": 64, "block_samples": 64}),
    "train": json.dumps(
        {"samples": 6400, "student": {"width": 16, "blocks": 1}, "rise_samples": 64, "checkpoint_every": 640}
    ),
    "samples": "64",
}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(autouse=True)
def namespaces() -> None:
    if shutil.which(NAMESPACES[0]) is None or subprocess.run([*NAMESPACES, "true"], capture_output=True).returncode:
        pytest.skip("needs unshare, and the right to make namespaces")


@contextmanager
def distilling(name: str, root: str, place: Path) -> Iterator["subprocess.Popen[str]"]:
    """`python -m flows.distill` on a machine of this name, whose files are below `place`."""
    home = place / name
    home.mkdir()
    own = {"HOME": str(home), "ADVKD_CACHE": str(home / "cache"), "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    shared = {"MLFLOW_TRACKING_URI": f"sqlite:///{place / 'registry.db'}"}
    options = [word for option, value in TINY.items() for word in (f"--{option}", value)]
    command = [sys.executable, "-m", "flows.distill", "--json", "--root", root, *options]
    with (place / f"{name}.log").open("w") as said:
        process = subprocess.Popen(
            [*NAMESPACES, "sh", "-c", f'hostname {name}; exec "$@"', "sh", *command],
            cwd=CHECKOUT,
            env={**clean_environment(), **own, **shared},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def result(process: "subprocess.Popen[str]", log: Path) -> dict:
    """What a machine says in the end."""
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0, log.read_text()
    return json.loads(out)["facts"]


def claimed_by(root: str, name: str) -> bool:
    """Whether a machine is at a shard or a student."""
    for key in list_prefix(root):
        if key.endswith(".claim") or "/claims/" in key:
            with suppress(StoreNotFoundError):
                if name in read_bytes(join(root, key)).decode():
                    return True
    return False


def check_root(root: str) -> None:
    """One store, whole, and nothing left over."""
    (store,) = list_stores(join(root, "stores"))
    assert store.state == "sealed"
    assert verify(store.uri) == []
    assert find_garbage(root, 0) == []


def test_what_one_machine_does_the_other_does_not_do_again(s3_root, tmp_path):
    with ExitStack() as stack:
        machines = {name: stack.enter_context(distilling(name, s3_root, tmp_path)) for name in ("left", "right")}
        found = [result(process, tmp_path / f"{name}.log") for name, process in machines.items()]
    assert sum(one["shards"]["computed"] for one in found) == 8
    assert sum(one["trained"] for one in found) == 1
    assert found[0]["model"] == found[1]["model"]
    assert found[0]["model"]["version"] == "1"
    check_root(s3_root)


def test_what_a_lost_machine_has_begun_another_goes_on_with(s3_root, tmp_path):
    with distilling("lost", s3_root, tmp_path) as lost, distilling("left", s3_root, tmp_path) as left:
        assert wait_until(lambda: claimed_by(s3_root, "lost"), 300)
        lost.kill()
        lost.wait()
        found = result(left, tmp_path / "left.log")
    assert found["trained"]
    assert found["shards"]["computed"] + found["shards"]["reused"] == 8
    assert found["model"]["version"] == "1"
    check_root(s3_root)
