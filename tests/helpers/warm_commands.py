"""Commands as a user types them, each in a process of its own that starts with Python already warm.

A fork server imports torch and Kedro once; every command is forked from it before anything ran
there.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path

PRELOAD = [
    "peft",
    "transformers",
    "kedro.framework.cli.cli",
    "birdbone.cli.main",
    "birdbone.pipeline_registry",
]
_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(PRELOAD)


@dataclass
class Command:
    """A command under way or finished."""

    process: BaseProcess
    _out: Path = field(repr=False)
    _err: Path = field(repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def code(self) -> int | None:
        """Exit code; -9 after ``kill -9``; None while it runs."""
        return self.process.exitcode

    @property
    def stdout(self) -> str:
        return self._out.read_text()

    @property
    def stderr(self) -> str:
        return self._err.read_text()

    def wait(self, timeout: float = 300) -> Command:
        self.process.join(timeout)
        assert self.code is not None, f"still running after {timeout} s:\n{self.stderr[-2000:]}"
        return self


def start(folder: Path, *line: str, file_limit: int | None = None, **env: str) -> Command:
    """Begin ``kedro ...`` or ``birdbone ...`` in a folder.

    file_limit: the most bytes one file may have (``ulimit -f``): what a full disk does to a writer.
    """
    place = Path(tempfile.mkdtemp(prefix="birdbone-test-"))
    atexit.register(shutil.rmtree, place, ignore_errors=True)
    out, err = place / "out", place / "err"
    process = _server.Process(target=_run, args=(folder, line, env, out, err, file_limit))
    process.start()
    return Command(process, out, err)


def _run(
    folder: Path,
    line: tuple[str, ...],
    env: dict[str, str],
    out: Path,
    err: Path,
    file_limit: int | None,
):
    for number, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND), number)
    for name in [n for n in os.environ if n.startswith(("KEDRO", "DVC", "BIRDBONE"))]:
        del os.environ[name]
    os.environ.update(env, KEDRO_DISABLE_TELEMETRY="1", DVC_NO_ANALYTICS="1")
    os.chdir(folder)
    if file_limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (file_limit, file_limit))
    sys.argv = list(line)
    from kedro.framework.cli.cli import main as kedro

    from birdbone.cli.main import main as birdbone
    from birdbone.processes import die_with_parent

    die_with_parent()
    try:
        {"kedro": kedro, "birdbone": birdbone}[line[0]]()
    except Exception:
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
