"""Seconds, processor seconds, peak memory and bytes of a diff bundle between two synthetic llama models in float32.

Three changes: ``healed`` (every linear weight moved by a low-rank product), ``nodes`` (a tenth of the neurons of
each layer and one key-value group removed, nothing else), ``wave`` (both). Each measurement is a process of its own;
peak is its resident memory at most, the interpreter and torch included. ``--peer`` takes the python of an environment
with one or both of weightscope, a sparse-delta patch (one direction, no masks), for the same pairs at threshold 0, and
git-theta 0.2.0, which keeps each tensor of a file in git-lfs (`peers/git_theta.py`; git-lfs must be on the PATH).
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path

import torch

from birdbone.diff.apply import apply_bundle
from birdbone.diff.bits import Spec
from birdbone.diff.patch import write_patches
from birdbone.diff.states import State, Tensors, open_state, state_of, write_state
from birdbone.model.checkpoint import Checkpoint
from birdbone.model.layout import Layout
from birdbone.model.masks import Masks
from birdbone.model.units import Nodes

HIDDEN, NEURONS, HEADS, GROUPS, VOCABULARY, RANK = 1024, 2816, 16, 4, 32000, 16
STRENGTH = 0.01
"""Standard deviation of what healing adds, over that of the weights."""
CHANGES = ("healed", "nodes", "wave")
PEER = """
import json, sys, time
from pathlib import Path
step, old, new, patch, out = sys.argv[1:]
start, busy = time.perf_counter(), time.process_time()
if step == "write":
    from weightscope.export_patch import export_patch
    export_patch(old, new, Path(patch), threshold=0.0)
else:
    from weightscope.apply_patch import apply_patch
    apply_patch(Path(patch), old, Path(out))
seconds, cpu = time.perf_counter() - start, time.process_time() - busy
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": 1024 * int(peak.split()[1])}))
"""


def main() -> None:
    if "--step" in sys.argv:
        print(json.dumps(_step(*sys.argv[sys.argv.index("--step") + 1 :])))
        return
    from workbench import arguments, save

    asked = arguments(__doc__, megabytes=500, peer="")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        _run(Path(__file__), "--step", "make", folder, str(asked.megabytes))
        for change in CHANGES:
            for step in ("write", "apply", "revert"):
                row = {"change": change, "tool": "birdbone", "step": step}
                rows.append(row | _run(Path(__file__), "--step", step, folder, change))
                _show(rows[-1])
            rows += _peer(asked.peer, Path(folder), change)
            rows += _theta(asked.peer, Path(folder), change)
    save("bundle", asked, rows, _picture(rows))


def _run(*command: object, python: str = sys.executable) -> dict:
    done = subprocess.run([python, *map(str, command)], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def _show(row: dict) -> None:
    what = f"{row['change']:7} {row['tool']:11} {row['step']:7}"
    print(
        f"{what} {row['seconds']:6.2f} s  peak {row['peak'] / 1e6:6.0f} MB  bundle {row['bytes']:>11,} bytes",
        flush=True,
    )


def _peer(python: str, folder: Path, change: str) -> list[dict]:
    if not python or subprocess.run([python, "-c", "import weightscope"], capture_output=True).returncode:
        print(f"{change:7} weightscope skipped: give --peer the python of an environment that has it")
        return []
    rows = []
    old, new, patch, out = folder / "plain-seed", folder / f"plain-{change}", folder / "peer.wsp", folder / "peer"
    for link, model in ((old, "seed"), (new, change)):
        link.mkdir(exist_ok=True)
        if not (link / "model.safetensors").exists():
            (link / "model.safetensors").symlink_to(folder / model / "model.safetensors")
    for step in ("write", "apply"):
        figures = _run("-c", PEER, step, old, new, patch, out / "model.safetensors", python=python)
        rows.append({"change": change, "tool": "weightscope", "step": step, **figures, "bytes": patch.stat().st_size})
        _show(rows[-1])
    return rows


def _theta(python: str, folder: Path, change: str) -> list[dict]:
    found = shutil.which("git-theta", path=Path(python).parent) if python else None
    if not found or not shutil.which("git-lfs"):
        print(f"{change:7} git-theta skipped: give --peer an environment that has it, and git-lfs on the PATH")
        return []
    old, new = (folder / model / "model.safetensors" for model in ("seed", change))
    with tempfile.TemporaryDirectory() as place:
        line = [python, Path(__file__).parent / "peers/git_theta.py", old, new, place]
        done = subprocess.run(list(map(str, line)), capture_output=True, text=True)
    rows = [{"change": change, "tool": "git-theta"} | json.loads(line) for line in done.stdout.splitlines()]
    for row in rows:
        _show(row)
    if done.returncode:
        print(f"{change:7} git-theta stopped: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return rows


def _step(name: str, folder: str, argument: str) -> dict:
    """One step in this process: its seconds, its peak memory and the bundle's bytes."""
    place = Path(folder)
    if name == "make":
        return _make(place, int(argument))
    seed, new = open_state(place / "seed"), open_state(place / argument)
    bundle, out = place / f"bundle-{argument}", place / "out"
    start, busy = time.perf_counter(), time.process_time()
    if name == "write":
        write_patches(seed, new, seed, bundle)
    else:
        base, wanted = (new, seed) if name == "revert" else (seed, new)
        if apply_bundle(base, bundle, seed, out, revert=name == "revert") != wanted.digest:
            raise SystemExit(f"{name} of {argument} gave another model")
    seconds, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    size = sum(p.stat().st_size for p in bundle.iterdir())
    return {"seconds": seconds, "cpu": cpu, "peak": 1024 * int(peak.split()[1]), "bytes": size}


def _make(folder: Path, megabytes: int) -> dict:
    """The seed and the three models it becomes, written tensor by tensor."""
    size = HIDDEN // HEADS
    parts = {"q_proj": HIDDEN, "k_proj": GROUPS * size, "v_proj": GROUPS * size, "o_proj": HIDDEN}
    block = {f"self_attn.{n}.weight": (rows, HIDDEN) for n, rows in parts.items()}
    block |= {f"mlp.{n}_proj.weight": (NEURONS, HIDDEN) for n in ("gate", "up")}
    block |= {"mlp.down_proj.weight": (HIDDEN, NEURONS), "input_layernorm.weight": (HIDDEN,)}
    weights = sum(torch.Size(shape).numel() for shape in block.values())
    layers = max(1, round((megabytes * 1e6 / 4 - VOCABULARY * HIDDEN) / weights))
    shapes = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN), "model.norm.weight": (HIDDEN,)}
    shapes |= {f"model.layers.{i}.{n}": shape for i in range(layers) for n, shape in block.items()}
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "intermediate_size": NEURONS,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": GROUPS,
        "vocab_size": VOCABULARY,
        "tie_word_embeddings": True,
    }
    none = state_of(Checkpoint({}, {})).masks
    specs = {n: Spec(torch.float32, shape) for n, shape in shapes.items()}
    write_state(folder / "seed", State(config, Tensors("random weights", specs, lambda n: _random(n, shapes[n])), none))
    seed = open_state(folder / "seed")
    axes = {n: a for block in Layout(config).blocks for n, a in block.axes.items() if n in shapes}
    masks = {Nodes("ffn", i): torch.arange(NEURONS) % 10 != i % 10 for i in range(layers)}
    masks |= {Nodes("kv", i): torch.arange(GROUPS) != i % GROUPS for i in range(layers)}
    for change in CHANGES:

        def made(name: str, change: str = change) -> torch.Tensor:
            weight = seed.weights[name]
            if change != "nodes" and name in axes:
                b, a = _random(name + "b", (weight.shape[0], RANK)), _random(name + "a", (RANK, weight.shape[1]))
                weight = weight + STRENGTH * RANK**-0.5 / 0.02 * (b @ a)
            return axes[name].cut(weight, masks[axes[name].nodes]) if change != "healed" and name in axes else weight

        held = masks if change != "healed" else {}
        specs = {n: Spec(torch.float32, tuple(made(n).shape)) for n in shapes}
        write_state(
            folder / change,
            State(config, Tensors(change, specs, made), state_of(Checkpoint({}, {}, Masks(held))).masks),
        )
    return {}


def _random(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return 0.02 * torch.randn(shape, generator=generator)


def _picture(rows: list[dict]):
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 3, figsize=(13, 4), sharey=True)
    names = [f"{r['change']} {r['tool']} {r['step']}" for r in rows]
    for panel, what in zip(panels, ("seconds", "peak", "bytes"), strict=True):
        panel.barh(names, [r[what] for r in rows])
        panel.set(xlabel={"peak": "peak memory, bytes", "bytes": "bundle, bytes"}.get(what, what))
    panels[0].invert_yaxis()
    return figure


if __name__ == "__main__":
    main()
