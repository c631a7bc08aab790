"""What was run, as the ledger has it, against what ``conf/base`` says and against what ``dvc.lock`` says.

The files on disk decide. A record counts where it made what is there now; what the ledger does not know (a fresh
clone, ``dvc checkout``) is not objected to.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from kedro.framework.project import pipelines
from kedro.framework.session import KedroSession
from kedro.pipeline.node import Node

from birdbone.datasets.place import place_of
from birdbone.errors import ConfigError
from birdbone.run.changes import ABSENT, changes
from birdbone.run.config import base_loader, roots, state_folder
from birdbone.run.dvc_yaml import PROFILE, refresh_base, stage_name
from birdbone.run.ledger import Ledger, is_parameter

SHOWN = 12
"""Lines of a refusal that are shown."""


def unrecordable(root: Path) -> str | None:
    """Why DVC cannot record a run of the base profile here, and what to do about it; None where it can."""
    from dvc.exceptions import DvcException, NotDvcRepoError
    from dvc.repo import Repo
    from dvc.scm import SCMError

    try:
        with Repo(str(root)):
            pass
    except SCMError:
        return (
            f"{root} is no git repository, and DVC needs one: git init && git add -A && git commit -m begin, then "
            "birdbone record"
        )
    except NotDvcRepoError:
        return f"DVC is not set up in {root}: dvc init, then birdbone record"
    except DvcException as error:
        return f"DVC cannot be used in {root}: {error}"
    for place in roots(base_loader(root)).values():
        if (real := (root / place).resolve()) != root.resolve() / place:
            return (
                f"{place}/ lies behind a link, at {real}, and DVC follows no link out of the project: move the whole "
                "project there, or mount that disk at this place (mount --bind)"
            )
    return None


def record(root: Path, target: str | None = None) -> None:
    """Give DVC the results of the base profile: all, or those of one stage and of what it was made from.

    Raises ConfigError where they were not made as ``conf/base`` says, naming each difference, or are not all there.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    logging.getLogger("dvc").setLevel(logging.ERROR)
    refresh_base(root)
    try:
        with Repo(str(root)) as repo:
            stages = _by_name(info.stage for info in repo.stage.collect_granular(target, with_deps=True))
            if problem := refusal(unlike_base(root, stages)):
                raise ConfigError(problem)
            repo.commit(target, with_deps=target is not None, force=True)
    except DvcException as error:
        raise ConfigError(f"DVC cannot record the run ({error}): finish it, kedro run --env={PROFILE}") from error


def unlike_base(root: Path, stages: dict) -> list[str]:
    """What was not run as ``conf/base``, the code and the files outside say now, a line each; stages: DVC's, by name.

    A result that the ledger does not know passes where ``dvc.lock`` has it.
    """
    nodes_of: dict[str, list[str]] = {}
    with base_ledger(root) as (ledger, nodes):
        for node in (n for n in nodes if stage_name(n) in stages and ledger.records(n)):
            now, makers = ledger.decides(node), made_by(ledger, node)
            if not makers and any(out.workspace_status() for out in stages[stage_name(node)].outs):
                lines = ["its results are not what its last run made: it was stopped, or they were changed"]
            elif makers and now:
                lines = min((list(_differences(record, now, ledger)) for record in makers), key=len)
            else:
                lines = []
            for line in lines:
                nodes_of.setdefault(line, []).append(node.name)
    return [f"{line} ({_some(names)})" for line, names in nodes_of.items()]


def unlike_lock(root: Path) -> list[str]:
    """The stages whose ``dvc.lock`` names other parameters than the ledger says made the very files, a line each."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    lock = root / "dvc.lock"
    if not lock.is_file() or not (root / ".birdbone").is_dir():
        return []
    locked = (yaml.safe_load(lock.read_text()) or {}).get("stages") or {}
    lines = []
    try:
        with base_ledger(root) as (ledger, nodes), Repo(str(root)) as repo:
            stages = _by_name(repo.index.stages)
            for node in (n for n in nodes if stage_name(n) in stages.keys() & locked.keys()):
                name, makers = stage_name(node), made_by(ledger, node)
                if not makers or any(out.workspace_status() for out in stages[name].outs):
                    continue
                locked_values = {k: v for file in locked[name].get("params", {}).values() for k, v in file.items()}
                unlike = min((list(_unlike(record, locked_values)) for record in makers), key=len)
                lines += [f"{name}: {line}" for line in unlike]
    except DvcException:
        return []
    return lines


def refusal(lines: list[str]) -> str | None:
    """What to say where the run is not what the configuration says; None where it is."""
    if not lines:
        return None
    left = [f"and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
    return "\n  ".join(
        [
            "the results are not those of one run as conf/base says, so that DVC would record what was not used:",
            *lines[:SHOWN],
            *left,
            "Run it as conf/base says (kedro run --env=base); or write the values used into conf/base/parameters*.yml; "
            "or keep them in a profile of your own (conf/NAME, kedro run --env=NAME), which writes apart",
        ]
    )


@contextmanager
def base_ledger(root: Path) -> Iterator[tuple[Ledger, list[Node]]]:
    """The ledger of the base profile's data, with its catalog, and the nodes of the main job."""
    with KedroSession.create(root, env=PROFILE) as session:
        context = session.load_context()
        state = state_folder(root, context.config_loader)
        yield Ledger(state, context.catalog), pipelines["__default__"].nodes


def made_by(ledger: Ledger, node: Node) -> list[dict]:
    """The records of this node that made what is on disk now."""
    now = {name: ledger.digest(name) for name in node.outputs}
    return [record for record in ledger.records(node) if record["outputs"] == now and None not in now.values()]


def _by_name(stages: Iterable) -> dict:
    """Stages of dvc.yaml by name; a file that DVC holds by itself has none."""
    return {stage.name: stage for stage in stages if hasattr(stage, "name")}


def _differences(record: dict, now: dict, ledger: Ledger) -> Iterator[str]:
    for change in changes(_tree(record["parameters"]), _tree(now["parameters"])):
        yield f"{change.key}: used {_shown(change.old)}, conf/base says {_shown(change.new)}"
    for key in sorted({*record["outside"], *now["outside"]}):
        then, today = (state["outside"].get(key, {}) for state in (record, now))
        if then.get("name") == today.get("name") and then.get("sha256") != today.get("sha256"):
            yield f"{key}: its files have changed since"
    if record["code"] != now["code"]:
        yield "the code has changed since"
    for name, digest in now["digests"].items():
        if record["digests"].get(name) != digest and place_of(ledger.catalog.get(name)):
            yield f"made from another {name} than there is"


def _unlike(record: dict, locked: dict) -> Iterator[str]:
    """Where a lock's parameters (key -> value) are not those used. What the files only refer to is left out."""
    used = _tree(record["parameters"])
    for key, value in locked.items():
        mine = used
        for part in key.split("."):
            mine = mine.get(part, ABSENT) if isinstance(mine, dict) else ABSENT
        if mine is ABSENT or "${" in json.dumps(value, default=str):
            continue
        for change in changes({key: _plain(mine)}, {key: _plain(value)}):
            if not _same(change.old, change.new):
                yield f"{change.key}: run with {_shown(change.old)}, dvc.lock says {_shown(change.new)}"


def _tree(parameters: dict) -> dict:
    """A node's parameters (``params:a.b`` -> value) as one tree."""
    tree = _plain(parameters.get("parameters", {}))
    for name, value in parameters.items():
        if is_parameter(name) and name != "parameters":
            *above, last = name.removeprefix("params:").split(".")
            place = tree
            for part in above:
                place = place.setdefault(part, {})
            place[last] = _plain(value)
    return tree


def _plain(value: object) -> object:
    """A value as JSON gives it back, whole numbers whole, and without keys that hold nothing."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _same(used: object, locked: object) -> bool:
    """Equal, or equal once the text of a file is read as a value (``"false"`` was used as false)."""
    if isinstance(locked, str) and not isinstance(used, str):
        return used == _plain(yaml.safe_load(locked))
    return used == locked


def _shown(value: object) -> str:
    return "nothing" if value is ABSENT else json.dumps(value, ensure_ascii=False, default=str)


def _some(names: Iterable[str]) -> str:
    first, more = list(names)[:4], max(0, len(list(names)) - 4)
    return ", ".join(first) + (f" and {more} more" if more else "")
