"""Opening ``.mscan`` files of either version."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from birdbone.datasets.mscan_reader import MAGIC, VERSION, Scan
from birdbone.datasets.mscan_v1 import ScanV1
from birdbone.errors import ArtifactError


def open_scan(path: str | Path, *, model_digest: str | None = None, partial: bool = False) -> Scan:
    """Open a scan of version 2 or 1.

    ``partial``: accept one whose writer was cut off, so that it has no end mark, up to its last
    whole chunk. A chunk's values are checked when first read, or by ``verify``. Raises
    ArtifactError when the file is missing, no scan, of an unknown version, truncated, corrupted, or
    of a model other than ``model_digest``.
    """
    path = Path(path)
    try:
        data = np.memmap(path, np.uint8, "r").view(np.ndarray) if path.stat().st_size else np.empty(0)
    except OSError as error:
        raise ArtifactError(f"{path} cannot be read ({error.strerror}): run the scan first") from error
    if len(data) < 7 or data[:5].tobytes() != MAGIC:
        raise ArtifactError(f"{path} is not an .mscan file: it does not begin with {MAGIC.decode()}")
    version = int.from_bytes(data[5:7].tobytes(), "little")
    if version == 1:
        scan = ScanV1(path, data)
    elif version == VERSION:
        scan = Scan(path, data, partial)
    else:
        raise ArtifactError(f"{path} is .mscan version {version}; versions 1 and 2 can be read")
    if model_digest not in (None, scan.model_digest):
        raise ArtifactError(
            f"{path} is a scan of another model (digest {scan.model_digest or 'none'}, "
            f"expected {model_digest}): scan this model"
        )
    return scan
