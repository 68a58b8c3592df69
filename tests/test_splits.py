"""Splits: drawn by sizes, or CelebA's official one, written so that training reads them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from faceparse.commands.split import main
from faceparse.data.splits import celeba_split, draw_split, read_split
from faceparse.images import write_rgb

NAMES = [f"{i}.jpg" for i in range(10)]


def test_a_draw_has_the_sizes_asked_for_and_is_the_same_for_the_same_seed() -> None:
    rows = draw_split(NAMES, (5, 2, 1), seed=3)
    assert [part for _, part in rows].count("train") == 5
    assert [part for _, part in rows].count("val") == 2
    assert [part for _, part in rows].count("test") == 1
    assert len({name for name, _ in rows}) == 8
    assert rows == draw_split(NAMES, (5, 2, 1), seed=3) != draw_split(NAMES, (5, 2, 1), seed=4)
    with pytest.raises(ValueError, match="8/2/1 are 11 pictures, but there are 10"):
        draw_split(NAMES, (8, 2, 1), seed=0)


@pytest.fixture
def celeba(tmp_path: Path) -> tuple[Path, Path]:
    """The two published files, cut to three pictures."""
    mapping, partition = tmp_path / "mapping.txt", tmp_path / "partition.txt"
    mapping.write_text("idx     orig_idx    orig_file\n0  2  000003.jpg\n1  0  000001.jpg\n2  1  000002.jpg\n")
    partition.write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    return mapping, partition


def test_the_official_partition_is_carried_over_by_the_mapping(celeba: tuple[Path, Path]) -> None:
    assert celeba_split(*celeba) == [("0.jpg", "test"), ("1.jpg", "train"), ("2.jpg", "val")]


def test_faults_of_the_official_files_are_named_with_the_line(celeba: tuple[Path, Path]) -> None:
    mapping, partition = celeba
    partition.write_text("000001.jpg 0\n000002.jpg 7\n")
    with pytest.raises(ValueError, match=r"partition.txt, line 2: expected NAME and 0, 1 or 2"):
        celeba_split(mapping, partition)
    partition.write_text("000001.jpg 0\n")
    with pytest.raises(ValueError, match=r"mapping.txt, line 2: 000003.jpg is not in"):
        celeba_split(mapping, partition)
    mapping.write_text("0 1\n")
    with pytest.raises(ValueError, match=r"mapping.txt, line 1: expected 3 columns"):
        celeba_split(mapping, partition)


def test_the_command_writes_what_training_reads(
    tmp_path: Path, celeba: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for i in range(4):
        write_rgb(tmp_path / "faces" / f"{i}.jpg", np.zeros((8, 8, 3), np.uint8))
    faces = ["--faces_dir", str(tmp_path / "faces")]
    assert main([str(tmp_path / "a.csv"), *faces, "--sizes", "2/1/1"]) == 0
    assert sorted(read_split(tmp_path / "a.csv").values()) == ["test", "train", "train", "val"]
    assert "2 train, 1 val, 1 test" in capsys.readouterr().err
    official = ["--mapping", str(celeba[0]), "--partition", str(celeba[1])]
    assert main([str(tmp_path / "b.csv"), *official]) == 0
    assert read_split(tmp_path / "b.csv") == {"0": "test", "1": "train", "2": "val"}
    (tmp_path / "faces" / "0.jpg").unlink()
    assert main([str(tmp_path / "c.csv"), *faces, *official]) == 0
    assert read_split(tmp_path / "c.csv") == {"1": "train", "2": "val"}
    assert main([str(tmp_path / "d.csv"), *faces, "--sizes", "9/1/1"]) == 1
    assert not (tmp_path / "d.csv").exists()
    (tmp_path / "faces" / "1.jpg").unlink()
    (tmp_path / "faces" / "2.jpg").unlink()
    assert main([str(tmp_path / "e.csv"), *faces, *official]) == 1  # 3.jpg is left, which is not in the mapping
    assert "names no picture of" in capsys.readouterr().err and not (tmp_path / "e.csv").exists()


def test_a_spreadsheets_mark_and_empty_lines_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("\ufeff1.jpg,True\n\n2.jpg,False\n,\n", encoding="utf-8")
    assert read_split(tmp_path / "split.csv") == {"1": "train", "2": "test"}


@pytest.mark.parametrize(("row", "name"), [("1.jpg,Flase", "1.jpg"), ("1,Flase", "1"), ("1.jpg", "1.jpg")])
def test_a_heading_is_passed_over_and_a_slip_in_the_first_row_is_not(tmp_path: Path, row: str, name: str) -> None:
    (tmp_path / "split.csv").write_text("name,part\n2.jpg,False\n")
    assert read_split(tmp_path / "split.csv") == {"2": "test"}
    (tmp_path / "split.csv").write_text(f"{row}\n2.jpg,False\n")
    with pytest.raises(ValueError, match=f"line 1: expected name,True or name,False, got '{name}"):
        read_split(tmp_path / "split.csv")


def test_names_without_a_pictures_suffix_keep_what_follows_their_dot(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("img.001,True\nimg.002,False\nimg.003.JPG,val\n")
    assert read_split(tmp_path / "split.csv") == {"img.001": "train", "img.002": "test", "img.003": "val"}


def test_a_picture_in_two_parts_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.csv").write_text("1.jpg,True\n1.jpg,True\n1.png,False\n")
    with pytest.raises(ValueError, match="line 3: 1 is in train already"):
        read_split(tmp_path / "split.csv")
