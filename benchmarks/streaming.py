"""A large random Mistral scanned and walked with its blocks visiting the device one at a time, and whole beside it.

Each in a process of its own. Memory is the device's: torch's own count on a GPU; on a CPU the process's anonymous
memory, for there the checkpoint is memory-mapped and what is computed with are bfloat16 copies of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from workbench import arguments, save

from birdbone.model.checkpoint import Checkpoint
from birdbone.model.device import resolve_device
from birdbone.model.network import build, hf_config, stock_shapes
from birdbone.model.observing.gradients import node_moments

WINDOW = 256


def main() -> None:
    if "--case" in sys.argv:
        print(json.dumps(_case(json.loads(sys.argv[-1]))))
        return
    asked = arguments(__doc__, layers=16, hidden=2048, neurons=7168, vocabulary=32000, windows=4, device="auto")
    rows = []
    with tempfile.TemporaryDirectory(prefix="birdbone-") as folder:
        config = _config(asked)
        _write(config, Path(folder))
        for streamed in (False, True):
            case = {"config": config, "folder": folder, "streamed": streamed, "windows": asked.windows}
            command = [sys.executable, __file__, "--case", json.dumps({**case, "device": resolve_device(asked.device)})]
            rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
            print(
                "{name:9} {parameters:.2f} G parameters  peak {peak_gb:.2f} GB  {seconds:.0f} s".format(
                    **rows[-1], name="streamed" if streamed else "whole", peak_gb=rows[-1]["peak"] / 1e9
                ),
                flush=True,
            )
    whole, parts = rows
    if whole["fisher"] != parts["fisher"]:
        raise SystemExit("streamed and whole differ in what they found")
    memory, seconds = (parts[key] / whole[key] for key in ("peak", "seconds"))
    print(f"streamed : whole  memory x{memory:.2f}  seconds x{seconds:.2f}")
    save("streaming", asked, rows, _picture(rows))


def _config(asked) -> dict:
    return {
        "model_type": "mistral",
        "hidden_size": asked.hidden,
        "intermediate_size": asked.neurons,
        "num_hidden_layers": asked.layers,
        "num_attention_heads": asked.hidden // 64,
        "num_key_value_heads": max(1, asked.hidden // 256),
        "vocab_size": asked.vocabulary,
        "tie_word_embeddings": False,
    }


def _write(config: dict, folder: Path) -> None:
    """One file per block, so that no more than one is held while writing."""
    shapes = stock_shapes(config)
    generator = torch.Generator().manual_seed(0)
    files: dict[str, list[str]] = {}
    for name in shapes:
        files.setdefault(name.split(".")[2] if ".layers." in name else "outer", []).append(name)
    for file, names in files.items():
        drawn = {n: torch.randn(shapes[n], generator=generator) * 0.02 + ("norm" in n) for n in names}
        save_file(drawn, folder / f"{file}.safetensors")


def _case(case: dict) -> dict:
    weights = {}
    for file in Path(case["folder"]).iterdir():
        with safe_open(file, "pt") as opened:
            weights |= {n: opened.get_tensor(n) for n in opened.keys()}  # noqa: SIM118
    seed = Checkpoint(hf_config(case["config"]).to_dict(), weights)
    generator = torch.Generator().manual_seed(0)
    windows = torch.randint(0, case["config"]["vocab_size"], (case["windows"], WINDOW), generator=generator)
    windows = windows.to(torch.int32)
    with _Peak(case["device"]) as peak:
        start = time.perf_counter()
        network = build(seed, case["device"], torch.bfloat16, streamed=case["streamed"])
        _, fisher, tokens = node_moments(network, seed.layout, windows, "scan")
        seconds = time.perf_counter() - start
    found = float(sum(f.double().sum() for f in fisher.values()))
    return {**case, "seconds": seconds, "peak": peak.bytes, "parameters": seed.parameters / 1e9, "fisher": found}


class _Peak:
    """The most memory in use on the device between entering and leaving, over what was in use before."""

    def __init__(self, device: str) -> None:
        self.device, self.bytes, self._done = device, 0, threading.Event()

    def __enter__(self) -> _Peak:
        if self.device == "cpu":
            self._before = _anonymous()
            self._thread = threading.Thread(target=self._watch)
            self._thread.start()
        else:
            torch.cuda.reset_peak_memory_stats(self.device)
        return self

    def __exit__(self, *_) -> None:
        if self.device == "cpu":
            self._done.set()
            self._thread.join()
        else:
            self.bytes = torch.cuda.max_memory_allocated(self.device)

    def _watch(self) -> None:
        while not self._done.wait(0.01):
            self.bytes = max(self.bytes, _anonymous() - self._before)


def _anonymous() -> int:
    found = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(found.split()[1])


def _picture(rows: list[dict]) -> plt.Figure:
    figure, panel = plt.subplots(figsize=(5, 2.5))
    panel.barh(["whole", "streamed"], [r["peak"] / 1e9 for r in rows])
    panel.set(xlabel="device memory at its peak, GB")
    return figure


if __name__ == "__main__":
    main()
