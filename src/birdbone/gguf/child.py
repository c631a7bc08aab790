"""llama.cpp in a process of its own, so that its death is an error message and not ours.

The child (``python -m birdbone.gguf.child``) reads one request, does one of ``tasks.TASKS`` and
writes each result as a line of JSON; an array's float32 numbers follow its line. llama.cpp's log
goes to the child's standard error.

On some virtual machines the CPU claims AMX tiles, llama.cpp repacks weights for them, and the first
batch ends in an illegal instruction: the child then starts again without.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from birdbone.errors import ExportError
from birdbone.gguf.header import read_gguf_header
from birdbone.processes import die_with_parent

LINES_SHOWN = 6
TAIL = 65_536
"""Bytes of the log that an error may quote."""

_cpu = {"repack": True}


class _Died(Exception):
    """The child ended before its last result. args: exit status, its log."""


def ask(task: str, *files: Path, **settings: Any) -> Iterator[Any]:
    """The results of a task, one by one as the child gives them: JSON values or float32 arrays.

    files: the task's first arguments; settings: its others, in JSON's types. Raises ArtifactError
    for a damaged file, ExportError with llama.cpp's last log lines for one that it refuses or dies
    of.
    """
    for path in files:
        read_gguf_header(path)
    done = 0
    while True:
        request = {"task": task, "files": [str(p) for p in files], "repack": _cpu["repack"], "settings": settings}
        try:
            for result in islice(_results(request), done, None):
                done += 1
                yield result
            return
        except _Died as death:
            status, output = death.args
            if status == -signal.SIGILL and _cpu["repack"]:
                _cpu["repack"] = False
                continue
            ended = f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"
            names = ", ".join(dict.fromkeys(map(str, files)))
            raise ExportError(f"llama.cpp died of {names} ({task}, {ended}):\n{_last_lines(output)}") from None


def _results(request: dict) -> Iterator[Any]:
    search = os.pathsep.join(filter(None, sys.path))
    with tempfile.TemporaryFile() as output:
        child = subprocess.Popen(
            [sys.executable, "-m", "birdbone.gguf.child"],
            env={**os.environ, "PYTHONPATH": search, "GGML_NO_BACKTRACE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
        )
        try:
            with suppress(BrokenPipeError), child.stdin as pipe:
                pipe.write(json.dumps(request).encode())
            while reply := _reply(child.stdout):
                if "refused" in reply:
                    raise ExportError(f"{reply['refused']}:\n{_last_lines(_tail(output))}")
                if "done" in reply:
                    return
                yield reply["result"]
            raise _Died(child.wait(), _tail(output))
        finally:
            child.kill()
            child.wait()
            child.stdout.close()


def _reply(pipe: IO[bytes]) -> dict | None:
    """The next reply, an array as its result; None where the pipe ends before it does."""
    line = pipe.readline()
    if not line.endswith(b"\n"):
        return None
    reply = json.loads(line)
    if "shape" not in reply:
        return reply
    size = 4 * math.prod(reply["shape"])
    numbers = pipe.read(size)
    if len(numbers) < size:
        return None
    return {"result": np.frombuffer(bytearray(numbers), dtype=np.float32).reshape(reply["shape"])}


def _tail(file: IO[bytes]) -> str:
    file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
    return file.read().decode("utf-8", "replace")


def _last_lines(output: str) -> str:
    return "\n".join([line for line in output.splitlines() if line.strip(" .")][-LINES_SHOWN:])


def main() -> None:
    """The child's side."""
    die_with_parent()
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever llama.cpp prints is log
    request = json.load(sys.stdin)
    from birdbone.gguf import runtime, tasks

    runtime.repack = request["repack"]

    def send(reply: dict, numbers: bytes = b"") -> None:
        replies.write(json.dumps(reply).encode() + b"\n" + numbers)
        replies.flush()

    try:
        for result in tasks.TASKS[request["task"]](*request["files"], **request["settings"]):
            if isinstance(result, np.ndarray):
                send({"shape": result.shape}, result.astype(np.float32, copy=False).tobytes())
            else:
                send({"result": result})
        send({"done": True})
    except ExportError as error:
        send({"refused": str(error)})


if __name__ == "__main__":
    main()
