"""Least-squares repair: what is kept takes over the output of what was removed."""

from __future__ import annotations

import torch
from torch import Tensor

from birdbone.algo.moments import damped, output_error


def repair_columns(
    weight: Tensor, kept: Tensor, moment: Tensor, check: Tensor, damping: float = 0.01
) -> tuple[Tensor, dict[str, float]]:
    """The kept columns of a projection, refitted so that its output stays near the old one.

    weight [out, in], kept bool [in], moment and check [in, in] (inputs' second moments on
    calibration and on held-out tokens). Minimises Σ_t ‖W x_t − W' x_t[kept]‖² (the Optimal Brain
    Surgeon update for whole columns; Hassibi & Stork 1993, Frantar & Alistarh 2022).
    Returns W' [out, kept] and the held-out errors; W' is the plain deletion wherever the refit
    does not lower the held-out error.
    """
    deleted = weight[:, kept]
    change = torch.where(kept, 0.0, -weight)
    before = output_error(change, check)
    ridge = (damped(moment, damping) - moment).diagonal()[kept].double()
    gram = moment[kept][:, kept].double() + torch.diag(ridge)
    target = (weight.double() @ moment.double())[:, kept] + deleted.double() * ridge
    refitted = torch.linalg.solve(gram, target.T).T.to(weight.dtype)
    change = change.clone()
    change[:, kept] = refitted - deleted
    after = output_error(change, check)
    better = after < before
    total = max(output_error(weight, check), 1e-30)
    figures = {
        "deleted_error": before / total,
        "repaired_error": min(after, before) / total,
        "repaired": float(better),
    }
    return (refitted if better else deleted), figures
