"""The commands, one file each. Kedro asks this package for the ``cli`` that a project adds to its
own.
"""


def __getattr__(name: str) -> object:
    if name not in ("cli", "run"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from birdbone.cli import kedro_run  # Kedro's commands take a second to import, and ours do without

    return getattr(kedro_run, name)
