"""Files of weights: one or many, and what is wrong with them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from model_folders import assert_like_from_pretrained, planned, retensor, saved, seed
from safetensors.torch import load_file, save_file

from birdbone.errors import BirdboneError


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        saved(tmp_path / "whole")
        model = saved(tmp_path / "sharded")
        for file in (tmp_path / "sharded").glob("*.safetensors"):
            file.unlink()
        model.save_pretrained(tmp_path / "sharded", max_shard_size="100KB")
        return tmp_path / "sharded"

    def test_the_model_beside_its_shards(self, folder: Path) -> None:
        shutil.copy(folder.parent / "whole/model.safetensors", folder)
        with pytest.raises(BirdboneError, match=r"weights twice: model\.safetensors"):
            planned(folder)

    def test_a_shard_that_no_index_names(self, folder: Path) -> None:
        save_file({"lm_head.weight": torch.ones(2)}, folder / "model-00009-of-00009.safetensors")
        with pytest.raises(BirdboneError, match=r"model-00009-of-00009\.safetensors"):
            planned(folder)

    def test_a_tensor_in_two_shards(self, folder: Path) -> None:
        first, second, *_ = sorted(folder.glob("*.safetensors"))
        save_file({**load_file(second), **load_file(first)}, second, {"format": "pt"})
        with pytest.raises(
            BirdboneError, match=rf"tensor \S+ is in .*{first.name} and in .*{second.name}"
        ):
            planned(folder)

    def test_shards_without_their_index(self, folder: Path) -> None:
        (folder / "model.safetensors.index.json").unlink()
        with pytest.raises(BirdboneError, match=r"no model\.safetensors\.index\.json"):
            planned(folder)

    def test_another_layout_beside_is_not_read(self, folder: Path) -> None:
        """Mistral's own files hold the same weights under other names."""
        whole = folder.parent / "whole"
        save_file(
            {"layers.0.attention.wq.weight": torch.ones(2, 2)}, whole / "consolidated.safetensors"
        )
        assert_like_from_pretrained(whole)

    def test_weights_under_a_name_that_transformers_does_not_read(self, folder: Path) -> None:
        whole = folder.parent / "whole"
        (whole / "model.safetensors").rename(whole / "consolidated.safetensors")
        with pytest.raises(BirdboneError, match=r"no model\.safetensors, only consolidated"):
            planned(whole)

    @pytest.mark.parametrize(
        "content",
        [b"", b"\xff" * 100, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n"],
    )
    def test_a_damaged_file(self, folder: Path, content: bytes) -> None:
        whole = folder.parent / "whole"
        (whole / "model.safetensors").write_bytes(content)
        with pytest.raises(
            BirdboneError,
            match=r"model\.safetensors is (truncated or corrupted|a pointer of git-lfs)",
        ):
            planned(whole)

    def test_a_file_of_no_tensors(self, folder: Path) -> None:
        whole = folder.parent / "whole"
        save_file({}, whole / "model.safetensors")
        with pytest.raises(BirdboneError, match=r"lacks 21 tensors"):
            planned(whole)

    def test_a_folder_of_gguf_files(self, tmp_path: Path) -> None:
        (tmp_path / "a-Q4_0.gguf").touch()
        with pytest.raises(
            BirdboneError, match=r"GGUF files: give one of them, such as .*a-Q4_0\.gguf"
        ):
            planned(tmp_path)

    def test_numbers_beyond_float32(self, tmp_path: Path) -> None:
        saved(tmp_path)
        retensor(tmp_path, lambda n, t: {n: t.double() * 1e300 if "up_proj" in n else t})
        with pytest.raises(BirdboneError, match=r"up_proj\.weight holds NaN or infinite"):
            seed(tmp_path)
