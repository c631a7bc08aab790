"""`make setup` says what it installs, why that takes long, and how far it is; of pip's lines it
shows a few.
"""

from __future__ import annotations

import importlib.util
from importlib.metadata import distribution

import pytest
from packaging.specifiers import SpecifierSet
from places import ROOT

spec = importlib.util.spec_from_file_location("install", ROOT / ".ci/install.py")
install = importlib.util.module_from_spec(spec)
spec.loader.exec_module(install)

LOCK = (ROOT / "requirements.lock").read_text()
PIP = [
    *(f"Collecting package{i}==1.0 (from -r requirements.lock (line {i}))\n" for i in range(80)),
    "  Downloading torch-2.13.0-cp311-cp311-linux_x86_64.whl (191.8 MB)\n",
    "  Downloading click-8.1-py3-none-any.whl (98 kB)\n",
    "  Downloading gudhi-3.11-cp311.whl (4.2 MB)\n",
    "  Building wheel for llama_cpp_python (pyproject.toml): still running...\n",
    "Installing collected packages: a, b, " + ", ".join(f"package{i}" for i in range(80)) + "\n",
    "Successfully installed a-1 b-2\n",
]


def test_few_of_pips_lines_are_shown() -> None:
    shown = list(install.progress(PIP, 80))
    assert shown[:2] == ["40 of 80 packages found", "80 of 80 packages found"]
    assert [line.split()[0] for line in shown[2:]] == ["Downloading", "Building", "Installing"]
    assert max(map(len, shown)) <= install.WIDTH


def test_where_pip_fails_its_last_lines_are_shown(tmp_path, capfd: pytest.CaptureFixture) -> None:
    lock = tmp_path / "requirements.lock"
    lock.write_text("no spaces allowed==1.0\n")
    assert install.main(lock) != 0
    shown = capfd.readouterr()
    assert "Installing 1 packages" in shown.out and "llama-cpp-python is compiled here" in shown.out
    assert "Invalid requirement" in shown.err


def test_every_package_installs_on_the_oldest_python_of_the_readme() -> None:
    names = [line.partition("==")[0] for line in LOCK.splitlines() if "==" in line]
    asked = {name: distribution(name).metadata["Requires-Python"] for name in names}
    newer = {n: v for n, v in asked.items() if v and not SpecifierSet(v).contains("3.11.0")}
    assert newer == {}
