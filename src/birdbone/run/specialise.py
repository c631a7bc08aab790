"""What ``specialise: {name: TEXT}`` stands for: a model for one job."""

from __future__ import annotations

ELSEWHERE = ["news", "reference"]
"""What a model is asked about outside its job."""

NO_JOB = (None, None)


def job_of(specialise: dict[str, str] | None) -> str | None:
    """The name of the job; None where the model has none."""
    return next(iter(specialise or {}), None)


def specialised(tree: dict) -> dict:
    """The tree with what ``specialise`` stands for laid over it.

    Calibration, healing and guard read the job's text, other domains are only told, and the
    vocabulary is the text's unless ``vocabulary.keep`` says otherwise.
    """
    vocabulary = tree.get("vocabulary")
    special = tree.get("specialise")
    name, job = next(iter(special.items()), NO_JOB) if isinstance(special, dict) else NO_JOB
    if isinstance(vocabulary, dict) and vocabulary.get("keep") == "auto":
        tree = {**tree, "vocabulary": {**vocabulary, "keep": "text" if job else "all"}}
    if job is None or not isinstance(tree.get("text"), dict):
        return tree
    text = {"source": job, "guard_domains": [job], "written_share": 0.0, "excerpts": True}
    if not tree["text"].get("elsewhere"):
        text["elsewhere"] = [domain for domain in ELSEWHERE if domain not in (name, job)]
    return {**tree, "text": {**tree["text"], **text}}
