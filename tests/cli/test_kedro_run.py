"""Kedro's own ``run``, with our reading of ``--params``."""

from kedro.framework.cli.utils import find_run_command

from birdbone.cli import kedro_run as cli


def test_kedros_run_reads_them_so_from_the_line_and_from_a_file(tmp_path):
    assert find_run_command("birdbone") is cli.run
    assert cli.cli.commands["run"] is cli.run
    line = ["--params=report.peers=[Q8_0,Q4_0]"]
    assert cli.run.make_context("run", line).params["params"] == {
        "report": {"peers": ["Q8_0", "Q4_0"]}
    }
    (tmp_path / "run.yml").write_text("run: {params: {waves: 2}}\n")
    assert cli.run.make_context("run", [f"--config={tmp_path / 'run.yml'}"]).params["params"] == {
        "waves": 2
    }
    assert cli.run.make_context("run", []).params["params"] == {}
