"""How much the activation log samples."""

from __future__ import annotations

from birdbone.strict import Positive, Strict


class ActivationSettings(Strict):
    profile_tokens: Positive


SETTINGS = {"activation_log": ActivationSettings}
