"""The resolved configuration of the workspace or of a git revision: what a run would use, not what files say."""

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
    """Parameters after interpolation with the profile laid over them, and the catalog under ``catalog``.

    revision: of git; None: the workspace. env: None takes what ``kedro run`` takes, ``conf/local`` over the base.
    A revision without ``conf/`` has no configuration: ``{}``. The parameters are not checked against the present
    schema, which an old revision need not fit. Raises ConfigError where the revision or profile is not known or
    its files cannot be read.
    """
    if revision is None:
        return _load(root / CONF, env, "the workspace") if (root / CONF).is_dir() else {}
    with tempfile.TemporaryDirectory(prefix="birdbone-conf-") as folder:
        if not _extract(root, revision, Path(folder)):
            return {}
        return _load(Path(folder) / CONF, env, revision)


def uncommitted(root: Path) -> list[str]:
    """The files of ``conf/`` that no commit has as they are: changed, staged, deleted or not tracked."""
    lines = git(root, "status", "--porcelain", "-z", "--no-renames", "--", CONF).split(b"\0")
    return sorted(line[3:].decode(errors="surrogateescape") for line in lines if line)


def restore(root: Path, revision: str) -> list[str]:
    """Make the tracked files of ``conf/`` what they are in a revision, those it has not deleted; stage that.

    Returns the paths that changed. Files that git does not track stay. Raises ConfigError when the revision is not
    known or has no ``conf/``.
    """
    known = _known(root, revision)
    if not git(root, "ls-tree", known, "--", f"{CONF}/"):
        raise ConfigError(f"revision {revision} has no {CONF}/ to go back to")
    changed = git(root, "diff", "--name-only", "-z", "--no-renames", "--relative", known, "--", CONF).split(b"\0")
    git(root, "checkout", "--no-overlay", "--quiet", known, "--", CONF)
    return sorted(name.decode(errors="surrogateescape") for name in changed if name)


def _known(root: Path, revision: str) -> str:
    found = commit(root, revision)
    if found is None:
        top(root)  # outside a repository that is what to say
        raise ConfigError(f"git knows no revision {revision!r}: name a commit, tag or branch (git log --oneline)")
    return found


def _extract(root: Path, revision: str, folder: Path) -> bool:
    """Write a revision's ``conf/`` below a folder; False where it has none."""
    known = _known(root, revision)
    if not git(root, "ls-tree", known, "--", f"{CONF}/"):
        return False
    with tarfile.open(fileobj=io.BytesIO(git(root, "archive", "--format=tar", known, CONF))) as archive:
        for member in archive.getmembers():
            if member.isfile():
                path = folder / member.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.extractfile(member).read())
    return True


def _load(conf: Path, env: str | None, whose: str) -> dict:
    try:
        loader = ProfileLoader(str(conf), env, base_env="base", default_run_env="local")
        found = dict(loader.tree())
        try:
            found["catalog"] = loader["catalog"]
        except MissingConfigException:
            pass  # parameters alone are a configuration too
        return found
    except (YAMLError, ValueError, OmegaConfBaseException, BirdboneError) as error:
        message = str(error).replace(f"{conf}/", f"{CONF}/").replace(str(conf), CONF)
        raise ConfigError(f"the configuration of {whose}: {message}") from error
