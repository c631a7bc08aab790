"""Installs requirements.lock with this Python's pip and says how far it is.

pip alone is silent for ten minutes.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

EVERY = 40
"""Packages between two lines of progress."""
SHOWN = re.compile(
    r"\s*(Building wheel for|Downloading .*\(\d{3,}[.\d]* MB\)|Installing collected)"
)
"""pip's own lines that are shown: what is compiled, large downloads, the last step."""
WIDTH = 100
INTRODUCTION = """\
Installing {count} packages into .venv. This takes about ten minutes on two cores and is done once.
  llama-cpp-python is compiled here (eight of the minutes): it has no ready build for this system.
  torch is the largest download: 190 MB for the processor alone, some GB with CUDA.
"""


def main(lock: Path) -> int:
    """pip's exit code; its last lines are printed where it failed."""
    packages = [line for line in lock.read_text().splitlines() if "==" in line]
    print(INTRODUCTION.format(count=len(packages)), end="", flush=True)
    line = [sys.executable, "-m", "pip", "install", "--progress-bar", "off", "-r", str(lock)]
    last: deque[str] = deque(maxlen=20)
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:
        for shown in progress(kept(pip.stdout, last), len(packages)):
            print(f"  {shown}", flush=True)
    if pip.returncode:
        print("".join(last), file=sys.stderr)
    return pip.returncode


def kept(lines: Iterable[str], last: deque[str]) -> Iterator[str]:
    """The same lines; the last of them stay in ``last``."""
    for line in lines:
        last.append(line)
        yield line


def progress(lines: Iterable[str], count: int) -> Iterator[str]:
    """The few of pip's lines worth showing, and a count of the packages it has found so far."""
    collected = 0
    for line in lines:
        if line.startswith(("Collecting ", "Requirement already satisfied")):
            collected += 1
            if collected % EVERY == 0:
                yield f"{min(collected, count)} of {count} packages found"
        elif SHOWN.match(line):
            yield line.strip()[:WIDTH]


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
