"""What ``birdbone verify`` finds in DVC's cache."""

from __future__ import annotations

from pathlib import Path

from git_repos import Repo, staged_bundle

from birdbone.cli.verify import advice, cached


def test_a_changed_object_in_dvcs_cache_is_named(dvc_repo: Repo) -> None:
    assert cached(dvc_repo.root) == (0, [])
    staged_bundle(dvc_repo, 100)
    assert cached(dvc_repo.root) == (1, [])
    (held,) = (p for p in (dvc_repo.root / ".dvc/cache/files/md5").glob("*/*") if p.is_file())
    md5 = held.parent.name + held.name
    held.chmod(0o644)
    held.write_bytes(b"another")
    assert cached(dvc_repo.root) == (1, [md5])
    dvc_repo.write("dvc.lock", f"stages: {{s: {{outs: [{{path: models/a, md5: {md5}}}]}}}}")
    count, damaged = cached(dvc_repo.root)
    assert damaged == [f"{md5} (models/a)"]
    assert md5 in advice({"seed": "ok"}, damaged) and "dvc pull" in advice({}, damaged)
    assert advice({"seed": "ok", "texts": "absent"}, []) is None


def test_a_folder_without_dvc_has_no_cache(tmp_path: Path) -> None:
    assert cached(tmp_path) == (0, [])
