"""The project's config loader: checks the whole parameter tree and tells the registry the waves.

It is built before the registry is read and sees environment and runtime parameters alike, so
``kedro run --params``, ``--env``, ``KEDRO_ENV``, Kedro-Viz and the project snapshot agree.
"""

from __future__ import annotations

import os
from glob import glob
from pathlib import Path
from typing import Any

from fsspec import AbstractFileSystem
from fsspec.implementations.local import LocalFileSystem
from kedro.config import MissingConfigException, OmegaConfigLoader
from kedro.framework import project
from kedro.framework.startup import bootstrap_project
from kedro.utils import find_kedro_project
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from birdbone.errors import ConfigError
from birdbone.run.specialise import specialised

_latest: ConfigLoader | None = None


class ConfFiles(LocalFileSystem):
    """The files of a configuration, by patterns that begin below the profile: a bracket in the
    project's own path is no pattern, as it is to fsspec.
    """

    cachable = False

    def __init__(self, conf: Path) -> None:
        super().__init__()
        self._conf = conf.as_posix()

    def glob(self, path: str, **_) -> list[str]:
        profile, _, pattern = path.removeprefix(f"{self._conf}/").partition("/")
        place = f"{self._conf}/{profile}"
        return [f"{place}/{name}" for name in sorted(glob(pattern, root_dir=place, recursive=True))]


class ProfileLoader(OmegaConfigLoader):
    """Kedro's loader, with profiles laid *over* the base parameters. It checks nothing and comes
    into no force.

    Raises ConfigError when there is no such profile.
    """

    def __init__(
        self,
        conf_source: str | Path,
        env: str | None = None,
        runtime_params: dict | None = None,
        **kwargs,
    ) -> None:
        conf = Path(conf_source)
        if env and not (conf / env).is_dir():
            profiles = ", ".join(sorted(p.name for p in conf.glob("*") if p.is_dir()))
            raise ConfigError(f"no profile {env!r}: {conf} has no such folder (it has: {profiles})")
        if not (conf / kwargs.get("default_run_env", "local")).is_dir():
            kwargs["default_run_env"] = kwargs.get("base_env", "base")
        kwargs["merge_strategy"] = {"parameters": "soft", **(kwargs.get("merge_strategy") or {})}
        super().__init__(conf_source, env, runtime_params, **kwargs)

    def _initialise_filesystem_and_protocol(
        self, conf_source: str
    ) -> tuple[AbstractFileSystem, str]:
        files, protocol = super()._initialise_filesystem_and_protocol(conf_source)
        return (ConfFiles(Path(conf_source)) if protocol == "file" else files), protocol

    def tree(self) -> dict:
        """The parameters, resolved. Raises ConfigError when they are missing or cannot be read."""
        return specialised(self.written())

    def written(self) -> dict:
        """The same before what ``specialise`` stands for is laid over them."""
        try:
            return self._with_model_name(self["parameters"])
        except MissingConfigException as error:
            raise ConfigError(
                f"no parameters: {self.conf_source}/base/parameters*.yml is missing"
            ) from error
        except (YAMLError, ValueError, OmegaConfBaseException) as error:
            raise ConfigError(
                f"the parameters in {self.conf_source} cannot be read: {error}"
            ) from error

    def _with_model_name(self, tree: dict) -> dict:
        """A ``model`` of an adapter alone is laid over the model below: runtime parameters,
        profile, base.
        """
        model, overrides, env = (
            tree.get("model"),
            self.runtime_params,
            self.env or self.default_run_env,
        )
        if (
            not isinstance(model, dict)
            or "name" in model
            or ("model" not in overrides and env == self.base_env)
        ):
            return tree
        if "model" in overrides:
            overrides = {key: value for key, value in overrides.items() if key != "model"}
        else:
            env = self.base_env
        ends = {"base_env": self.base_env, "default_run_env": self.default_run_env}
        below = ProfileLoader(self.conf_source, env, overrides, **ends).tree()["model"]
        return {
            **tree,
            "model": {**(below if isinstance(below, dict) else {"name": below}), **model},
        }


class ConfigLoader(ProfileLoader):
    """The loader in force: unknown keys are refused, and the registry follows it.

    ``checked`` is what ``check`` made of the parameters, and nodes get its values:
    ``loader["parameters"]``. Raises ConfigError on any fault in them.
    """

    def __init__(
        self,
        conf_source: str | Path,
        env: str | None = None,
        runtime_params: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(conf_source, env, runtime_params, **kwargs)
        self.checked = self.check(self.tree())
        self["parameters"] = (
            self.checked if isinstance(self.checked, dict) else self.checked.values()
        )

        global _latest
        _latest = self
        if project.PACKAGE_NAME:
            project.pipelines.configure(f"{project.PACKAGE_NAME}.pipeline_registry")

    @staticmethod
    def check(tree: dict) -> Any:
        """The parameters of the whole project. Raises ConfigError, one line per fault."""
        from birdbone.parameters import validate

        return validate(tree)


def parameters() -> Any:
    """The checked parameters now in force, for ``register_pipelines``."""
    return in_force().checked


def in_force() -> ConfigLoader:
    """The loader made last.

    Commands that build none before the registry (``kedro registry list``) get the profile named by
    ``KEDRO_ENV``.
    """
    if _latest is None:
        root = find_kedro_project(Path.cwd()) or Path.cwd()
        make_loader(root, os.getenv("KEDRO_ENV"))
    return _latest


def make_loader(root: Path, env: str | None, runtime_params: dict | None = None) -> ConfigLoader:
    """The project's config loader for one profile; becomes the one in force."""
    settings = project.settings
    return settings.CONFIG_LOADER_CLASS(
        str(root / settings.CONF_SOURCE), env, runtime_params, **settings.CONFIG_LOADER_ARGS
    )


def base_loader(root: Path) -> ProfileLoader:
    """The base profile's configuration, which DVC follows, as its files say it; the one in force
    stays.
    """
    settings = project.settings
    return ProfileLoader(str(root / settings.CONF_SOURCE), "base", **settings.CONFIG_LOADER_ARGS)


def roots(loader: OmegaConfigLoader) -> dict[str, str]:
    """Where a profile writes, from ``globals.yml``: ``data`` and ``models``, relative to the
    project.
    """
    places = loader["globals"]
    return {"data": str(places.get("data", "data")), "models": str(places.get("models", "models"))}


def state_folder(root: Path, loader: OmegaConfigLoader) -> Path:
    """``.birdbone/<profile>``: ledger, lock, scratch and timings of one data root.

    Named by the data root, not by the environment: environments that write to the same place
    share one lock and one ledger.
    """
    return root / ".birdbone" / roots(loader)["data"].replace("/", "-").strip("-")


def project_root() -> Path:
    """The Kedro project around the working directory, bootstrapped. Raises ConfigError outside
    one.
    """
    root = find_kedro_project(Path.cwd())
    if root is None:
        raise ConfigError(
            "not inside a birdbone project: change to the folder with pyproject.toml and conf/"
        )
    bootstrap_project(root)
    return root
