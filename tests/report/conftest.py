"""One realistic report, filled as the pipeline fills it (30 layers, two waves, all peers)."""

import math
import random

import pytest

from birdbone.report.data import ReportData


def file(name, role, megabytes, bits, wiki, python, speech, speed, **more):
    perplexity = {"wikipedia": wiki, "python": python, "speeches": speech}
    return {
        "name": name,
        "role": role,
        "bytes": round(megabytes * 1e6),
        "bits_per_weight": bits,
        "perplexity": perplexity,
        "tokens_per_second": speed,
        "substituted": {},
        **more,
    }


def example() -> ReportData:
    dice = random.Random(11)
    layers = [
        {
            "layer": i,
            "ffn_width": 1536 - 32 * dice.choice((0, 1, 1, 2, 3, 5)),
            "ffn_width_seed": 1536,
            "kv_groups": 2 if i in (7, 22) else 3,
            "kv_groups_seed": 3,
            "weight_sparsity": 0.0,
            "type": "IQ4_NL",
        }
        for i in range(30)
    ]
    quantiles = [
        [math.exp(4 * (q / 20 - 0.5) + 1.2 * math.sin(i / 5) + (2 if i == 29 else 0)) for q in range(21)]
        for i in range(30)
    ]
    kept = [[min(1.0, 1 - dice.random() * 2.4 * (1 - row["ffn_width"] / 1536)) for _ in range(64)] for row in layers]
    births = sorted((dice.random() for _ in range(90)), reverse=True)
    persistence = [[b, b - 0.06 * dice.random()] for b in births]
    persistence += [[0.97, None], [0.9, 0.35], [0.82, 0.4], [0.71, 0.22]]
    healing = [
        {
            "wave": wave,
            "step": step,
            "loss": 0.16 / wave * math.exp(-step / 14) + 0.05 + 0.02 * dice.random(),
            "kl": 0.04,
            "cross_entropy": 3.4,
        }
        for wave in (1, 2)
        for step in range(1, 41)
    ]
    return ReportData(
        model="SmolLM2-135M-Instruct, 5 % pruned, IQ4_NL",
        base_model="HuggingFaceTB/SmolLM2-135M-Instruct",
        license="apache-2.0",
        architecture="deci",
        baseline={"source": "SmolLM2-135M-Instruct.Q4_1.gguf", "format": "Q4_1", "dequantized": True},
        verdict="accepted",
        reason="Worst domain (python) +2.4 % against the control, within the 3 % allowed.",
        limit=0.03,
        parameters_seed=134_515_008,
        parameters_left=129_602_880,
        target=0.05,
        reached=0.0463,
        kl=[0.0412, 0.0390, 0.0436],
        top1=[0.894, 0.886, 0.902],
        files=[
            file(
                "birdbone IQ4_NL",
                "ours",
                84.1,
                5.19,
                34.9,
                11.2,
                28.6,
                91.3,
                macs_per_token=129_500_000,
                kl=[0.0412, 0.0390, 0.0436],
                top1=[0.894, 0.886, 0.902],
            ),
            file(
                "seed F16", "seed", 270.9, 16.0, 34.2, 10.95, 28.1, 43.2, macs_per_token=134_400_000, kl=0.0, top1=1.0
            ),
            file("source Q4_1", "source", 98.4, 5.85, 34.2, 10.95, 28.1, 80.4, kl=0.0003, top1=0.996),
            file("llama.cpp Q8_0", "peer", 144.8, 8.52, 34.21, 10.96, 28.12, 62.0, kl=0.0011, top1=0.985),
            file("llama.cpp Q4_K_M", "peer", 105.4, 6.27, 35.3, 11.2, 28.9, 75.3, kl=0.031, top1=0.91)
            | {"substituted": {"Q4_K -> Q5_0": 156, "Q6_K -> Q8_0": 24}},
            file("llama.cpp IQ4_NL", "peer", 91.9, 5.46, 38.8, 12.3, 31.6, 84.1, kl=0.112, top1=0.83),
            file("llama.cpp Q4_0", "peer", 91.7, 5.45, 42.8, 13.6, 35.0, 96.5, kl=0.214, top1=0.77),
        ],
        domains=[
            {
                "domain": "wikipedia",
                "before": 34.21,
                "control": 33.80,
                "healed": 34.1,
                "after": 34.92,
                "change": [0.0208, 0.0162, 0.0251],
                "control_change": [-0.0120, -0.0158, -0.0083],
                "judged_change": [0.0331 - 0.01, 0.0189, 0.0274],
                "kl": [0.0398, 0.0371, 0.0429],
                "top1": [0.899, 0.889, 0.909],
                "documents": 21,
                "tokens": 24_576,
            },
            {
                "domain": "python",
                "before": 10.95,
                "control": 10.94,
                "healed": 11.01,
                "after": 11.20,
                "change": [0.0228, 0.0119, 0.0342],
                "control_change": [-0.0009, -0.0041, 0.0022],
                "judged_change": [0.0238, 0.0127, 0.0351],
                "kl": [0.0441, 0.0380, 0.0512],
                "top1": [0.884, 0.868, 0.899],
                "documents": 34,
                "tokens": 16_384,
            },
            {
                "domain": "speeches",
                "before": 28.10,
                "control": 28.16,
                "healed": 28.2,
                "after": 28.61,
                "change": [0.0181, 0.0139, 0.0226],
                "control_change": [0.0021, 0.0002, 0.0040],
                "judged_change": [0.0181, 0.0139, 0.0226],
                "kl": [0.0402, 0.0383, 0.0421],
                "top1": [0.892, 0.884, 0.899],
                "documents": 60,
                "tokens": 16_384,
            },
        ],
        canaries=[
            {
                "domain": domain,
                "items": 10,
                "before": before,
                "control": before,
                "after": after,
                "change": [after - before, min(after - before, 0) - 0.1, max(after - before, 0) + 0.1],
            }
            for domain, before, after in (
                ("arithmetic", 0.7, 0.7),
                ("geography", 0.9, 0.9),
                ("code", 1.0, 0.9),
                ("grammar", 0.9, 1.0),
                ("common sense", 0.9, 0.9),
                ("facts", 0.9, 0.9),
            )
        ],
        waves=[
            {
                "wave": 1,
                "target": 0.02,
                "reached": 0.0201,
                "nodes_left": 45_152,
                "perplexity": 11.02,
                "delta": [0.0073, 0.0018, 0.0131],
                "kl": [0.0121, 0.0110, 0.0133],
                "seconds": 512.4,
                "verdict": "accepted",
                "note": "",
            },
            {
                "wave": 2,
                "target": 0.05,
                "reached": 0.0463,
                "nodes_left": 43_936,
                "perplexity": 11.16,
                "delta": [0.0201, 0.0109, 0.0297],
                "kl": [0.0254, 0.0233, 0.0279],
                "seconds": 548.0,
                "verdict": "accepted",
                "note": "step halved once: the first try broke the limit on python",
            },
        ],
        healing=healing,
        healing_checks=[
            {"wave": wave, "steps": steps, "loss": loss / wave}
            for wave in (1, 2)
            for steps, loss in ((0, 0.2), (20, 0.11), (40, 0.12))
        ],
        layers=layers,
        importance={
            "score": "taylor",
            "quantiles": quantiles,
            "kept": kept,
            "clusters": [dice.randint(4, 19) for _ in range(30)],
            "persistence": persistence,
            "threshold": 0.12,
        },
        generations=[
            {
                "prompt": "The lighthouse keeper opened the door and",
                "before": "saw a small boat drifting towards the rocks. He took his lamp and ran down the "
                "stairs, calling out to the men on board.",
                "after": "saw a small boat coming towards the shore. He took his lamp and went down the "
                "stairs to meet the men on board.",
            },
            {
                "prompt": "def fibonacci(n):",
                "before": "    if n <= 1:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)",
                "after": "    if n <= 1:\n        return n\n    return fibonacci(n - 1) + fibonacci(n - 2)",
            },
        ],
        notes=[
            {"kind": "limit", "text": "Sparsity asked 5.00 %, reached 4.63 %: wave 2 was halved once."},
            {
                "kind": "fallback",
                "text": "Uneven widths: the GGUF is written as architecture deci; the "
                "from_pretrained folder is zero-padded.",
            },
            {"kind": "note", "text": "Test text was read by this report alone."},
        ],
        settings={
            "model": {"source": "smollm2", "dtype": "float32"},
            "waves": 2,
            "target_sparsity": 0.05,
            "micro_heal": {"steps": 40, "rank": 8, "base": "plain"},
            "device": None,
        },
        digests={"seed": "9f2c" * 16, "wave_2.accepted": "0ab1" * 16, "export.gguf": "77de" * 16},
        reproduce="git checkout 1a2b3c4\nmake run",
    )


@pytest.fixture(scope="session")
def report() -> ReportData:
    return example()
