"""The environments that `make bench-environments` tries: how each is made, and what is right there."""

import contextlib
import os
import resource
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.s3_server import S3Server
from tests.unprivileged import respect_permissions

SECRET = "MARKED"
"""Stands where secrets do, and must not be said."""
_NOBODY = 65534
_STRANGER = 12345


@dataclass(frozen=True)
class Place:
    """A folder of the case's own, with `work` in it, and an S3 server."""

    folder: Path
    s3: S3Server

    @property
    def root(self) -> Path:
        return self.folder / "runs"


Variables = Callable[[Place], Mapping[str, str | None]]
Prepare = Callable[[Place], None]


def nothing(place: Place) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Case:
    """An environment.

    Attributes:
        name: what it is.
        command: words of `advkd` to try there.
        variables: environment variables; None removes one.
        prepare: called in the process before the command.
        says: what it must say; "" for nothing in particular.
        works: whether it must work; otherwise it must refuse.
        fresh: an interpreter of its own, with `flags`.
    """

    name: str
    command: Callable[[Place], list[str]]
    variables: Variables = field(default=lambda place: {})
    prepare: Prepare = nothing
    says: str = ""
    works: bool = True
    fresh: bool = False
    flags: tuple[str, ...] = ()

    def fits(self, code: int, said: str) -> bool:
        """Whether what happened is right."""
        as_told = (code == 0) == self.works and code >= 0 and self.says in said
        return as_told and "Traceback" not in said and SECRET not in said


def compute(place: Place) -> list[str]:
    return computing(str(place.root / "stores"))


def computing(store: str) -> list[str]:
    sizes = ["--samples", "8", "--block-samples", "8", "--shard-samples", "8", "--steps", "2", "--captures", "2"]
    return ["precompute", "--teacher", "mixture", *sizes, "--store", store, "--for-preset", "any", "--workers", "1"]


def listing(place: Place) -> list[str]:
    return ["cache", "ls", str(place.root)]


def registry(place: Place) -> list[str]:
    return ["registry", "ls", "--runs", str(place.root)]


def doctor(place: Place) -> list[str]:
    return ["doctor", "--root", str(place.root), "--json"]


def in_s3(place: Place) -> list[str]:
    return ["cache", "ls", f"{place.s3.make_bucket()}/stores"]


def aws(**changes: str | None) -> Variables:
    return lambda place: {**place.s3.environment(), **changes}


def told(**changes: str | None) -> Variables:
    return lambda place: changes


def below(name: str, part: str) -> Variables:
    return lambda place: {name: str(place.folder / part)}


def become(uid: int) -> Prepare:
    # By name alone: the files of the interpreter itself may be closed to others.
    return lambda place: os.setresuid(uid, 0, 0)


def limit(kind: int, value: int) -> Prepare:
    return lambda place: resource.setrlimit(kind, (value, value))


def written(part: str, text: str) -> Prepare:
    def prepare(place: Place) -> None:
        path = place.folder / part
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return prepare


def closed(stream: int) -> Prepare:
    return lambda place: os.close(stream)


def full(place: Place) -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def broken_pipe(place: Place) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)


def folder_is_gone(place: Place) -> None:
    (place.folder / "work").rmdir()


def link(target: str) -> Prepare:
    return lambda place: place.root.symlink_to(place.folder / target if target else place.root)


def locked_registry(place: Place) -> None:
    place.root.mkdir()
    with contextlib.closing(sqlite3.connect(place.root / "mlflow.db")) as database:
        database.execute("CREATE TABLE other (x)")
        database.commit()
    (place.root / "mlflow.db").chmod(0o000)
    respect_permissions()


def odd(part: str) -> Callable[[Place], list[str]]:
    return lambda place: computing(str(place.folder / part / "stores"))


CASES = (
    Case(name="no HOME", command=compute, variables=told(HOME=None, ADVKD_CACHE=None)),
    Case(name="HOME that is not there", command=compute, variables=told(HOME="/nowhere/at/all", ADVKD_CACHE=None)),
    Case(name="a user without an entry in passwd", command=compute, prepare=become(_STRANGER)),
    Case(
        name="a user without an entry in passwd, and no HOME",
        command=compute,
        prepare=become(_STRANGER),
        variables=told(HOME=None, USER=None, LOGNAME=None),
    ),
    Case(name="TMPDIR that is not there", command=compute, variables=told(TMPDIR="/nowhere")),
    Case(name="umask 077", command=compute, prepare=lambda place: void(os.umask(0o077))),
    Case(name="umask 000", command=compute, prepare=lambda place: void(os.umask(0))),
    Case(
        name="a cache that all users write to",
        command=lambda place: ["doctor", "--no-server", "--root", str(place.root), "--json"],
        prepare=lambda place: shared_cache(place),
        says="must not be writable by every user",
        works=False,
    ),
    Case(
        name="ADVKD_CACHE is a file",
        command=lambda place: ["doctor", "--no-server", "--root", str(place.root), "--json"],
        prepare=written("cache", "x"),
        variables=told(OMP_WAIT_POLICY="PASSIVE"),
        says="is a file where a folder must be",
        works=False,
    ),
    Case(name="a working folder that was removed", command=compute, prepare=folder_is_gone),
    Case(
        name="a working folder that was removed, and a relative root",
        command=lambda place: computing("runs/stores"),
        prepare=folder_is_gone,
        says="stores",
        works=False,
    ),
    Case(name="a line break in the root", command=odd("a\nb")),
    Case(name="quotes, blanks, $ and ; in the root", command=odd('it\'s "a" $HOME; rm -r')),
    Case(name="bytes that are no UTF-8 in the root", command=odd(os.fsdecode(b"caf\xe9"))),
    Case(
        name="an emoji in the root, and LC_ALL=C", command=odd("🎨"), variables=told(LC_ALL="C", LANG="C"), fresh=True
    ),
    Case(name="a root of 300 letters in one name", command=odd("x" * 300), says="File name too long", works=False),
    Case(name="a root that is a file", command=compute, prepare=written("runs", ""), says="runs", works=False),
    Case(name="a root that is a link to nothing", command=compute, prepare=link("nothing"), says="runs", works=False),
    Case(name="a root that is a link to itself", command=compute, prepare=link(""), says="runs", works=False),
    Case(name="a root below /proc", command=lambda place: computing("/proc/stores"), says="/proc", works=False),
    Case(
        name="a root of another user",
        command=compute,
        prepare=lambda place: others_root(place),
        says="runs",
        works=False,
    ),
    Case(name="stdin closed", command=compute, prepare=closed(0)),
    Case(name="stderr closed", command=compute, prepare=closed(2), fresh=True),
    Case(name="stdout closed", command=listing, prepare=closed(1), fresh=True),
    Case(name="stdout on a full disk", command=listing, prepare=full, fresh=True, works=False),
    Case(name="stdout into a pipe that nobody reads", command=listing, prepare=broken_pipe, fresh=True, works=False),
    Case(name="TERM=dumb", command=compute, variables=told(TERM="dumb")),
    Case(name="COLUMNS=1", command=listing, variables=told(COLUMNS="1")),
    Case(name="COLUMNS=many", command=listing, variables=told(COLUMNS="many")),
    Case(name="PYTHONIOENCODING=ascii", command=odd("ü"), variables=told(PYTHONIOENCODING="ascii"), fresh=True),
    Case(name="python -O, without assertions", command=compute, flags=("-O",), fresh=True),
    Case(name="warnings are errors", command=listing, flags=("-W", "error"), fresh=True),
    Case(
        name="a file in the working folder that is named like a package",
        command=compute,
        prepare=written("work/random.py", "raise SystemExit('taken')"),
        flags=("-P",),
        fresh=True,
    ),
    Case(name="TZ of no place", command=compute, variables=told(TZ="Mars/Phobos")),
    Case(name="OMP_NUM_THREADS=many", command=compute, variables=told(OMP_NUM_THREADS="many"), fresh=True),
    Case(name="a GPU number that is not there", command=compute, variables=told(CUDA_VISIBLE_DEVICES="99")),
    Case(
        name="device cuda without a GPU",
        command=lambda place: [*compute(place), "--teacher", "digits", "--device", "cuda"],
        says="cuda",
        works=False,
    ),
    Case(
        name="files of 1 KiB at most",
        command=compute,
        prepare=limit(resource.RLIMIT_FSIZE, 1024),
        says="free",
        works=False,
    ),
    Case(name="24 open files at most", command=compute, prepare=limit(resource.RLIMIT_NOFILE, 24)),
    Case(name="no core files, no locked memory", command=compute, prepare=limit(resource.RLIMIT_MEMLOCK, 0)),
    Case(name="an author with a line break", command=compute, variables=told(ADVKD_AUTHOR="me\nand you")),
    Case(
        name="S3 endpoint that is no URL",
        command=in_s3,
        variables=aws(AWS_ENDPOINT_URL="minio"),
        says="minio",
        works=False,
    ),
    Case(
        name="S3 endpoint that nobody listens at",
        command=in_s3,
        variables=aws(AWS_ENDPOINT_URL="http://127.0.0.1:9"),
        says="127.0.0.1:9",
        works=False,
    ),
    Case(
        name="a wrong S3 secret",
        command=in_s3,
        variables=aws(AWS_SECRET_ACCESS_KEY=SECRET),
        says="AWS_SECRET_ACCESS_KEY",
        works=False,
    ),
    Case(
        name="an AWS profile that is not there",
        command=in_s3,
        variables=aws(AWS_PROFILE="nobody"),
        says="nobody",
        works=False,
    ),
    Case(
        name="an AWS config that does not parse",
        command=in_s3,
        prepare=written("aws", "[default\nregion"),
        variables=lambda place: {**place.s3.environment(), "AWS_CONFIG_FILE": str(place.folder / "aws")},
        says="aws",
        works=False,
    ),
    Case(
        name="S3 behind a dead proxy",
        command=in_s3,
        variables=aws(AWS_ENDPOINT_URL="http://s3.example.org", HTTP_PROXY="http://127.0.0.1:9", NO_PROXY=None),
        says="s3.example.org",
        works=False,
    ),
    Case(name="a dead proxy, and S3 on this machine", command=in_s3, variables=aws(HTTP_PROXY="http://127.0.0.1:9")),
    Case(
        name="MLFLOW_TRACKING_URI of no kind",
        command=registry,
        variables=told(MLFLOW_TRACKING_URI="ftp:/x"),
        says="MLFLOW_TRACKING_URI",
        works=False,
    ),
    Case(
        name="MLFLOW_TRACKING_URI=databricks",
        command=registry,
        variables=told(MLFLOW_TRACKING_URI="databricks"),
        says="MLFLOW_TRACKING_URI",
        works=False,
    ),
    Case(
        name="a registry in a database whose driver is missing",
        command=registry,
        variables=told(MLFLOW_TRACKING_URI=f"mysql+nodriver://me:{SECRET}@host/name"),
        works=False,
    ),
    Case(name="an mlflow.db that is text", command=registry, prepare=written("runs/mlflow.db", "hello"), works=False),
    Case(name="an mlflow.db that may not be read", command=registry, prepare=locked_registry, works=False),
    Case(
        name="PREFECT_API_URL of no server",
        command=doctor,
        variables=told(PREFECT_API_URL="http://127.0.0.1:9/api", OMP_WAIT_POLICY="PASSIVE"),
        says="does not answer",
        works=False,
        fresh=True,
    ),
    Case(
        name="profiles.toml that does not parse",
        command=doctor,
        prepare=written("profiles.toml", "active = "),
        variables=below("PREFECT_PROFILES_PATH", "profiles.toml"),
        says="profiles.toml",
        works=False,
        fresh=True,
    ),
)


def void(value: object) -> None:
    """Drops a result."""


def shared_cache(place: Place) -> None:
    (place.folder / "cache").mkdir()
    (place.folder / "cache").chmod(0o777)


def others_root(place: Place) -> None:
    place.root.mkdir(mode=0o755)
    os.chown(place.root, _NOBODY, _NOBODY)
    respect_permissions()
