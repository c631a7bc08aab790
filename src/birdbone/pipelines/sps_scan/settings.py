"""What the ∫SPS scan records."""

from __future__ import annotations

from birdbone.strict import Positive, Strict


class ScanSettings(Strict):
    record_tokens: Positive
    block: Positive


SETTINGS = {"sps_scan": ScanSettings}
