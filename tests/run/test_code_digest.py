"""The import closure: what a node's result depends on, found by reading the sources."""

import functools
import importlib
import sys

import pytest

from birdbone.run.code_digest import code_digest, code_files

FILES = {
    "__init__.py": "VERSION = 1\n",
    "nodes.py": "from house import errors\nfrom house.algo import sums\ndef work():\n    import house.lazy\n",
    "algo/__init__.py": "",
    "algo/sums.py": "import json\n\nKINDS = ('house.algo', 'kinds')\n",
    "algo/kinds/one.yml": "a: 1\n",
    "algo/other.yml": "",
    "algo/other.py": "",
    "lazy.py": "from .deep import end\nPAGE = 'house.pages/one.html'\nTABLES = 'house.deep'\n",
    "pages/__init__.py": "",
    "pages/one.html": "",
    "pages/two.html": "",
    "deep/table.yml": "",
    "deep/further.json": "",
    "deep/lower/__init__.py": "",
    "deep/lower/unread.yml": "",
    "deep/__init__.py": "",
    "deep/end.py": "from house import VERSION\n",
    "errors.py": "class X(Exception): pass\n",
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / "house" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "house" / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "house"
    for name in [n for n in sys.modules if n.partition(".")[0] == "house"]:
        del sys.modules[name]


def test_it_holds_what_is_imported_anywhere_and_the_data_a_module_names(house):
    work = importlib.import_module("house.nodes").work
    names = {path.relative_to(house).as_posix() for path in code_files(work)}
    modules = {"nodes.py", "algo/sums.py", "lazy.py", "deep/end.py", "__init__.py"}
    assert names == modules | {
        "algo/kinds",
        "pages/one.html",
        "deep/table.yml",
        "deep/further.json",
    }
    assert code_files(functools.partial(work)) == code_files(work)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("deep/end.py", True),
        ("algo/kinds/one.yml", True),
        ("algo/other.py", False),
        ("errors.py", False),
    ]
    + [
        ("deep/table.yml", True),
        ("pages/one.html", True),
        ("pages/two.html", False),
        ("algo/other.yml", False),
    ],
)
def test_the_digest_follows_the_closure_and_nothing_else(house, name, counts):
    work = importlib.import_module("house.nodes").work
    before = code_digest(work)
    (house / name).write_text(FILES[name] + "# more\n")
    assert (code_digest(work) != before) == counts
