"""The scratch folder as an input: the ledger's own while it runs a node, a temporary one
elsewhere.
"""

import pytest
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from kedro.pipeline import Node

from birdbone.run.ledger import Ledger, key_of
from birdbone.run.scratch import Scratch


def worked(x, scratch):
    return x


def test_a_node_gets_its_own_folder_which_is_gone_once_it_is_done(tmp_path):
    catalog = DataCatalog({"scratch": Scratch(), "params:x": MemoryDataset(1)})
    ledger = Ledger(tmp_path, catalog)
    node = Node(worked, ["params:x", "scratch"], None, name="stage.work")
    decides = ledger.decides(node)
    with ledger.running(node, decides):
        folder = catalog.load("scratch")
        assert folder == tmp_path / "work" / "stage.work" / key_of(decides) and folder.is_dir()
    assert not folder.exists()


def test_outside_a_session_it_is_a_new_folder_each_time():
    assert Scratch().load().is_dir() and Scratch().load() != Scratch().load()


def test_no_result_depends_on_where_it_was_worked_on():
    assert Scratch().digest() == Scratch().digest()
    with pytest.raises(DatasetError, match="not saved"):
        Scratch().save(1)
