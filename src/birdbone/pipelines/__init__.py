"""The stages, a folder each.

A stage's package says in ``WHOLE`` whether it belongs to the whole job. Its ``pipeline.py`` has
``create_pipeline(parameters)``, its ``settings.py`` (where it has settings) ``SETTINGS``. Its
datasets stand in ``conf/base/catalog_<stage>.yml``, its parameters in ``parameters_<stage>.yml``.
"""

from __future__ import annotations

from pkgutil import iter_modules


def stages() -> list[str]:
    """The names of all stages, which are those of the folders here."""
    return sorted(stage.name for stage in iter_modules(__path__) if stage.ispkg)
