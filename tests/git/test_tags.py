"""A tag of a version sits on the commit that brought the bundle of its model."""

from __future__ import annotations

import pytest
from git_repos import NEW, OLD, Repo, add_bundle, lock

from birdbone.errors import ConfigError
from birdbone.git.lock import tracked_model
from birdbone.git.tags import carrier, check_tag, set_tag

WORKSPACE = tracked_model(lock(NEW))


def brought(repo: Repo) -> str:
    """The commit that brings the model NEW and its bundle, with one before and one after it."""
    repo.stage("dvc.lock", lock(OLD))
    repo.commit("begin")
    repo.stage("dvc.lock", lock(NEW))
    add_bundle(repo, "aaaaaaaaaaaa")
    carrying = repo.commit("prune less")
    repo.stage("README.md", "words")
    repo.commit("words")
    return carrying


def test_the_tag_is_on_the_commit_that_brought_the_bundle_not_on_the_last(repo: Repo) -> None:
    carrying = brought(repo)
    assert carrier(repo.root, WORKSPACE) == (carrying, "aaaaaaaaaaaa")
    set_tag(repo.root, "v0.2", *carrier(repo.root, WORKSPACE))
    assert repo.git("rev-parse", "v0.2^{commit}").strip() == carrying
    assert "Bundle-Id: aaaaaaaaaaaa" in repo.git("tag", "-l", "--format=%(contents)", "v0.2")


def test_a_model_that_no_commit_brings_has_no_carrier(repo: Repo) -> None:
    assert carrier(repo.root, WORKSPACE) is None
    repo.stage("dvc.lock", lock(OLD))
    repo.commit("begin")
    add_bundle(repo, "aaaaaaaaaaaa")
    assert carrier(repo.root, WORKSPACE) is None


def test_of_two_bundles_of_one_model_the_later_carries_it(repo: Repo) -> None:
    brought(repo)
    repo.stage("dvc.lock", lock(OLD))
    add_bundle(repo, "bbbbbbbbbbbb", new=OLD)
    repo.commit("back")
    repo.stage("dvc.lock", lock(NEW))
    add_bundle(repo, "cccccccccccc")
    again = repo.commit("forth")
    assert carrier(repo.root, WORKSPACE) == (again, "cccccccccccc")


@pytest.mark.parametrize("name", ["v 0.2", "v0..2", ""])
def test_a_name_that_git_does_not_take_is_refused(repo: Repo, name: str) -> None:
    with pytest.raises(ConfigError, match="git takes no such name"):
        check_tag(repo.root, name)


def test_a_tag_that_is_there_is_refused_with_its_commit(repo: Repo) -> None:
    carrying = brought(repo)
    check_tag(repo.root, "v0.2")
    repo.git("tag", "v0.2", carrying)
    with pytest.raises(ConfigError, match=carrying[:12]):
        check_tag(repo.root, "v0.2")
