"""A file of profiles that is no TOML is named, with what to do, before Prefect is imported."""

import importlib
import os
import re
import subprocess
import sys

import pytest

import flows


@pytest.mark.parametrize("content", [b"active = ", b"\xff\xfe"])
@pytest.mark.parametrize("variable", ["PREFECT_PROFILES_PATH", "PREFECT_HOME", "HOME"])
def test_profiles_that_are_no_toml_are_named(tmp_path, monkeypatch, content, variable):
    file = tmp_path / (".prefect/profiles.toml" if variable == "HOME" else "profiles.toml")
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    for name in ("PREFECT_PROFILES_PATH", "PREFECT_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, str(file if variable == "PREFECT_PROFILES_PATH" else tmp_path))
    # Whoever imports a flow is told so.
    with pytest.raises(ValueError, match=f"profiles must be TOML, got .+ in {file}; correct the file, or remove it"):
        importlib.reload(flows)


def test_a_command_ends_with_the_message_alone(tmp_path):
    file = tmp_path / "profiles.toml"
    file.write_text("active = ")
    run = [sys.executable, "-m", "flows.distill", "--help"]
    done = subprocess.run(run, env={**os.environ, "PREFECT_PROFILES_PATH": str(file)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert re.fullmatch(rf"error: Prefect's profiles must be TOML, got .+ in {file}; .+\n", done.stderr)


def test_profiles_that_are_toml_or_not_there_are_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PREFECT_PROFILES_PATH", str(tmp_path / "profiles.toml"))
    importlib.reload(flows)
    (tmp_path / "profiles.toml").write_text('active = "local"\n[profiles.local]\n')
    importlib.reload(flows)
