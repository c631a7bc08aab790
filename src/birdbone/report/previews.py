"""What Kedro-Viz shows when a dataset is clicked: masks, waves, healing curves.

No weights are read. Plotly is imported when a preview is shown, not with the catalog of every run.
Kedro-Viz looks at the *type* of ``preview``'s return annotation, so annotations here are not
strings.
"""

import csv
import io
import json
from typing import NewType

from birdbone.datasets.atomic import read_manifest
from birdbone.datasets.folders import MASKS, JSONFile, ModelFolder, TextFile
from birdbone.datasets.tensors import load_tensors
from birdbone.model.masks import Masks

try:
    from kedro_datasets._typing import PlotlyPreview
except ImportError:
    PlotlyPreview = NewType("PlotlyPreview", dict)


class MaskedModel(ModelFolder):
    """A model whose preview is the share of FFN neurons kept, layer by layer."""

    def preview(self) -> PlotlyPreview:
        from birdbone.report.heatmaps import mask_heatmap

        manifest = read_manifest(self.filepath)
        masks = Masks.from_tensors(load_tensors(self.filepath / MASKS, manifest["masks"])).nodes
        layers = {nodes.layer: mask.numpy() for nodes, mask in sorted(masks.items()) if nodes.unit == "ffn"}
        return _plotly(mask_heatmap(layers))


class VerdictFile(JSONFile):
    """A verdict whose preview is the chart of the waves so far."""

    def preview(self) -> PlotlyPreview:
        from birdbone.report.wave_charts import wave_chart

        latest = self.load()
        rows = []
        for path in sorted(self.filepath.parent.parent.glob(f"wave_*/{self.filepath.name}")):
            verdict = JSONFile(str(path)).load()
            if 1 <= verdict["wave"] <= latest["wave"]:
                rows.append(
                    {
                        "wave": verdict["wave"],
                        "verdict": verdict["status"],
                        "reached": verdict["sparsity"],
                        "delta": verdict.get("worst_change"),
                    }
                )
        return _plotly(wave_chart(sorted(rows, key=lambda row: row["wave"]), latest.get("limit")))


class CurveFile(TextFile):
    """A healing curve in CSV, drawn."""

    def preview(self) -> PlotlyPreview:
        from birdbone.report.wave_charts import healing_curve

        rows = list(csv.DictReader(io.StringIO(self.load())))
        steps = [{"step": int(r["step"]), "loss": float(r["loss"]), "kl": float(r["kl"])} for r in rows]
        checks = [{"steps": int(r["step"]) + 1, "loss": float(r["check"])} for r in rows if r["check"]]
        return _plotly(healing_curve(steps, checks))


def _plotly(figure) -> dict:
    return json.loads(figure.to_json())
