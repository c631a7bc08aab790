"""The resolved configuration of the workspace or a git revision: the values a run would use."""

from __future__ import annotations

import io
import tarfile
import tempfile
from pathlib import Path

from kedro.config import MissingConfigException
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from birdbone.errors import BirdboneError, ConfigError
from birdbone.git.repository import commit, git, top
from birdbone.run.changes import ABSENT, Change, changes, config_text
from birdbone.run.config import ProfileLoader

__all__ = ["ABSENT", "Change", "changes", "config_text", "resolved", "restore", "uncommitted"]

CONF = "conf"


def resolved(root: Path, revision: str | None = None, env: str | None = "base") -> dict:
    """Parameters after interpolation, with the profile over them; the catalog under ``catalog``.

    revision: of git; None: the workspace. env: None takes what ``kedro run`` takes, ``conf/local``
    over the base. A revision without ``conf/`` has no configuration: ``{}``. The parameters are not
    checked against the present schema, since an old revision need not fit it. Raises ConfigError
    where the revision or profile is unknown or its files cannot be read.
    """
    if revision is None:
        return _load(root / CONF, env, "the workspace") if (root / CONF).is_dir() else {}
    with tempfile.TemporaryDirectory(prefix="birdbone-conf-") as folder:
        if not _extract(root, revision, Path(folder)):
            return {}
        return _load(Path(folder) / CONF, env, revision)


def uncommitted(root: Path) -> list[str]:
    """The files of ``conf/`` that differ from HEAD: changed, staged, deleted or not tracked."""
    lines = git(root, "status", "--porcelain", "-z", "--no-renames", "--", CONF).split(b"\0")
    return sorted(line[3:].decode(errors="surrogateescape") for line in lines if line)


def restore(root: Path, revision: str) -> list[str]:
    """Restore the tracked files of ``conf/`` from a revision, delete the others, and stage that.

    Returns the paths that changed. Files that git does not track stay. Raises ConfigError when the
    revision is unknown or has no ``conf/``.
    """
    commit_id = _commit_id(root, revision)
    if not git(root, "ls-tree", commit_id, "--", f"{CONF}/"):
        raise ConfigError(f"revision {revision} has no {CONF}/ to go back to")
    changed = git(
        root, "diff", "--name-only", "-z", "--no-renames", "--relative", commit_id, "--", CONF
    ).split(b"\0")
    git(root, "checkout", "--no-overlay", "--quiet", commit_id, "--", CONF)
    return sorted(name.decode(errors="surrogateescape") for name in changed if name)


def _commit_id(root: Path, revision: str) -> str:
    commit_id = commit(root, revision)
    if commit_id is None:
        top(root)  # raises outside a repository, which is then the better message
        raise ConfigError(
            f"git knows no revision {revision!r}: name a commit, tag or branch (git log --oneline)"
        )
    return commit_id


def _extract(root: Path, revision: str, folder: Path) -> bool:
    """Write a revision's ``conf/`` below a folder; False where it has none."""
    commit_id = _commit_id(root, revision)
    if not git(root, "ls-tree", commit_id, "--", f"{CONF}/"):
        return False
    with tarfile.open(
        fileobj=io.BytesIO(git(root, "archive", "--format=tar", commit_id, CONF))
    ) as archive:
        for member in archive.getmembers():
            if member.isfile():
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
    return True


def _load(conf: Path, env: str | None, whose: str) -> dict:
    try:
        loader = ProfileLoader(str(conf), env, base_env="base", default_run_env="local")
        configuration = dict(loader.tree())
        try:
            configuration["catalog"] = loader["catalog"]
        except MissingConfigException:
            pass  # parameters alone are a configuration too
        return configuration
    except (YAMLError, ValueError, OmegaConfBaseException, BirdboneError) as error:
        message = str(error).replace(f"{conf}/", f"{CONF}/").replace(str(conf), CONF)
        raise ConfigError(f"the configuration of {whose}: {message}") from error
