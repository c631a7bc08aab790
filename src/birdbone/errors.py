"""Every error a user can cause: it names the file or setting at fault and says what to do."""


class BirdboneError(Exception):
    """Base of all errors with a message meant for the user."""


class ConfigError(BirdboneError):
    """A parameter is unknown, of the wrong type, or out of range."""


class SourceError(BirdboneError):
    """A model cannot be loaded from where the user pointed."""


class UnsupportedArchitectureError(SourceError):
    """The family has no file in ``birdbone/model/families``, or one that does not fit."""


class TextError(BirdboneError):
    """Text or canaries are missing, malformed, or too short for what was asked."""


class ArtifactError(BirdboneError):
    """A file on disk is truncated, corrupted or not what its manifest says."""


class BundleError(BirdboneError):
    """A diff bundle does not fit the model, the seed or the request it was given."""


class NumericalError(BirdboneError):
    """Weights, activations or gradients are not finite, or zero where they cannot be."""


class ExportError(BirdboneError):
    """An export cannot be written or does not behave like the model it came from."""


class RunLockedError(BirdboneError):
    """Another run is working on the same profile."""
