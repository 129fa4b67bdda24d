"""A file of another user is called unreadable, and whose it is."""

import json
import os
import sys
from pathlib import Path

import pytest

from advkd.students.loading import StudentError, student_files
from storage.errors import StorePermissionError
from storage.objects import read_bytes, user_name, whose, write_bytes
from tests.unprivileged import respect_permissions


def in_a_child(call) -> str:
    """The message with which a call fails in a process that permissions bind."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            respect_permissions()
            call()
            said = "nothing"
        except (StorePermissionError, StudentError) as error:
            said = str(error)
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, json.dumps(said).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    with os.fdopen(reading) as answer:
        return str(json.load(answer))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="capabilities are Linux's")
def test_what_another_user_closed_is_named_with_its_owner(tmp_path: Path) -> None:
    mine = user_name(os.geteuid())
    closed = tmp_path / "closed"
    closed.write_text("x")
    closed.chmod(0)
    told = in_a_child(lambda: read_bytes(str(closed)))
    assert f"{closed} must be readable, but: Permission denied ({closed} belongs to {mine}, mode 0000)" in told
    folder = tmp_path / "folder"
    folder.mkdir(mode=0o500)
    told = in_a_child(lambda: write_bytes(str(folder / "a" / "b"), b"x"))
    assert f"({folder} belongs to {mine}, mode 0500)" in told
    student = tmp_path / "student"
    student.mkdir()
    for name in ("config.json", "diffusion_pytorch_model.safetensors"):
        (student / name).write_text("{}")
    (student / "diffusion_pytorch_model.safetensors").chmod(0)
    told = in_a_child(lambda: student_files(tmp_path))
    assert "a student must be readable, but" in told
    assert f"belongs to {mine}, mode 0000" in told


def test_users_that_the_machine_does_not_know_have_a_number() -> None:
    assert user_name(54321) == "user 54321"
    assert whose("/").startswith("/ belongs to ")
