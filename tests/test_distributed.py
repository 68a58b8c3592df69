"""Two processes that torchrun starts do what one does; this file is also what they run."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from faceparse import checkpoint
from faceparse.commands import finish, test, train
from faceparse.commands.train_flags import parse_args
from faceparse.data.batches import BatchesWithHands, Draw, ShareOfBatches, TrainingFaces
from faceparse.distributed import ALONE, Ranks, joined, launcher
from faceparse.engine import Pass, create_average, create_schedule, evaluate, train_one_epoch
from faceparse.labels import IGNORE
from faceparse.losses import LOSSES, SOFT_LOSSES, create_loss
from faceparse.models import create_model
from faceparse.teacher import distance
from tests.conftest import draw_faces

ROOT = Path(__file__).resolve().parents[1]
CPU = torch.device("cpu")

TRAINED = [("pspnet", "test_efficientnet.r160_in1k"), ("deeplabv3plus", "test_resnet.r160_in1k")]
"""Architecture and encoder: unused stages and dropout of channels; dropout of pixels and a norm of one value each."""


def torchrun(*command: str, seconds: float = 240) -> tuple[int, str, str]:
    """Exit status, stdout and stderr of two processes; they fail when they hang."""
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        [*start, *command], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.terminate()  # torchrun takes its processes along
            pytest.fail(f"no end after {seconds} s: {process.communicate()[1]}")
    return process.returncode, out, err


def training(folders: Path, run: str) -> list[str]:
    """A small training with ready-made hands, rare classes and dropout, whose state is saved at every step."""
    faces, ids = str(folders / "faces"), str(folders / "ids")
    flags = ["--faces_dir", faces, "--masks_dir", ids, "--fahand_dir", faces, "--mahand_dir", ids, "--rare", "0.9"]
    flags += ["--labels", "celebamask", "--encoder", "test_resnet.r160_in1k", "--widths", "64", "32", "--size", "64"]
    flags += ["--weights_dir", str(folders / run), "--batch_size", "4", "--val_share", "0.4", "--epochs", "2"]
    return [*flags, "--save_minutes", "0", "--workers", "0", "--device", "cpu"]


class Failed(NamedTuple):
    """A folder of faces with a training in shared/, how torchrun ended there, and what it said."""

    folder: Path
    status: int
    err: str


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Failed:
    """Two processes that compute `all_of`, one file each, and then train until the second fails: one start for both."""
    folder = tmp_path_factory.mktemp("failed")
    draw_faces(folder)
    status, _, err = torchrun(__file__, str(folder), *training(folder, "shared"))
    return Failed(folder, status, err)


# the same sums and steps


def losses_of(ranks: Ranks) -> dict[str, Tensor]:
    """Each loss of four pictures, and its gradient, which `parallel` would divide by the number of ranks."""
    drawn = torch.Generator().manual_seed(0)
    mine = ranks.share(4)
    found = {}
    for kind, losses, classes in (("ids", LOSSES, 5), ("soft", SOFT_LOSSES, 2)):
        logits = torch.randn(4, classes, 24, 24, generator=drawn)
        target = torch.rand(4, 24, 24, generator=drawn) if kind == "soft" else torch.randint(5, (4, 24, 24))
        if kind == "ids":
            target = torch.randint(5, (4, 24, 24), generator=drawn)
            target[0], target[1, :20], target[2:][target[2:] == 3] = (
                IGNORE,
                IGNORE,
                4,
            )  # uneven, and a class of one rank
        for name in losses:
            own = logits[mine].requires_grad_()
            loss = create_loss(name, kind == "soft", ranks)(own, target[mine])
            loss.backward()
            found[f"{kind} {name}"] = loss.detach()
            found[f"{kind} {name} gradient"] = ranks.together(own.grad) / ranks.count
    logits, taught = torch.randn(2, 4, 5, 24, 24, generator=drawn)
    own = logits[mine].requires_grad_()
    loss = distance(own, taught[mine].softmax(dim=1), ranks)
    loss.backward()
    found |= {"distance": loss.detach(), "distance gradient": ranks.together(own.grad) / ranks.count}
    return found


def steps_of(arch: str, encoder: str, ranks: Ranks) -> dict[str, Tensor]:
    """Three steps on two pictures in double precision, the second with a NaN in the second picture."""
    torch.manual_seed(0)
    model = create_model(arch, encoder, classes=3).double()
    average = create_average(model, 0.9)
    replica = ranks.parallel(model, CPU)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    batches = [(torch.randn(2, 3, 64, 64).double(), torch.randint(3, (2, 64, 64))) for _ in range(3)]
    batches[1][0][1, 0, 0, 0] = float("nan")
    mine = [(image[ranks.share(2)], target[ranks.share(2)]) for image, target in batches]
    along, schedule = Pass(seed=7), create_schedule(optimizer, 9, 1)
    loss_fn = create_loss("ce+dice", ranks=ranks)
    steps = list(train_one_epoch(replica, average, mine, loss_fn, optimizer, schedule, CPU, "fp32", 1.0, along, ranks))
    assert [step.finite for step in steps] == [True, False, True] and along.pictures == 4
    state = {f"{arch} {name}": value for name, value in model.state_dict().items()}
    state |= {f"{arch} average {name}": value for name, value in average.module.state_dict().items()}
    return state | {f"{arch} losses": torch.tensor([along.loss, steps[2].loss])}


def scores_of(ranks: Ranks) -> dict[str, Tensor]:
    """Loss and confusion of five pictures in batches of two, the last of one: one batch of the first rank, two of the
    second; and of three in a batch of four, of which one rank has nothing."""
    torch.manual_seed(0)
    model = torch.nn.Conv2d(3, 3, 1)
    pictures, target = torch.randn(5, 3, 8, 8), torch.randint(3, (5, 8, 8))
    found = {}
    for count, size in ((5, 2), (3, 4)):
        mine = ranks.share(count, size)
        pairs = zip(pictures[:count][mine].split(size), target[:count][mine].split(size), strict=True)
        batches = [pair for pair in pairs if len(pair[0])]
        loss, confusion = evaluate(model, batches, create_loss("ce+dice"), 3, CPU, "fp32", ranks)
        found[f"score {count}"] = torch.tensor([loss, *confusion.counts.ravel().tolist()])
    return found


def all_of(ranks: Ranks) -> dict[str, Tensor]:
    found = losses_of(ranks) | scores_of(ranks)
    for arch, encoder in TRAINED:
        found |= steps_of(arch, encoder, ranks)
    return found


def test_losses_gradients_steps_and_scores_are_those_of_one_process(failed: Failed) -> None:
    alone, ranks = all_of(ALONE), [torch.load(failed.folder / f"{rank}.pt") for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], ranks[1][name]) for name in alone)  # bitwise, so that they never part
    for name, value in alone.items():
        torch.testing.assert_close(ranks[0][name], value, rtol=1e-5, atol=1e-6, msg=lambda told, n=name: f"{n}: {told}")


# who has what


def test_the_shares_of_all_ranks_in_their_order_are_the_row() -> None:
    row = list(range(10))
    assert [row[Ranks(rank, 2).share(10, 4)] for rank in (0, 1)] == [[0, 1, 2, 3], [4, 5, 6, 7, 8, 9]]
    assert [row[Ranks(rank, 4).share(10, 8)] for rank in range(4)] == [[], list(range(8)), [], [8, 9]]
    assert row[ALONE.share(10, 4)] == row
    assert [row[Ranks(rank, 5).share(10)] for rank in range(5)] == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]


@pytest.mark.parametrize(("with_hands", "repeats"), [(0, None), (5, None), (5, np.linspace(0.5, 3, 23))])
def test_the_ranks_batches_put_together_are_those_of_one_process(with_hands: int, repeats: np.ndarray | None) -> None:
    draws = BatchesWithHands(23, with_hands, batch_size=6, hands=2, seed=3, repeats=repeats)
    draws.epoch, draws.first = 2, 1  # resumed in the middle of an epoch
    shares = [list(ShareOfBatches(draws, Ranks(rank, 3))) for rank in range(3)]
    assert all(len(batch) == 2 for share in shares for batch in share)
    together: list[list[Draw]] = [list(chain(*parts)) for parts in zip(*shares, strict=True)]
    assert together == list(draws) == list(ShareOfBatches(draws, ALONE))


def test_a_batch_that_the_processes_cannot_share_is_refused() -> None:
    flags = ["--faces_dir", "f", "--masks_dir", "m", "--weights_dir", "w", "--batch_size", "16"]
    with pytest.raises(ValueError, match="--batch_size 16 can't be shared by 3 processes; give a multiple of 3"):
        train.train(parse_args(flags), Ranks(0, 3))


# what torchrun tells


@pytest.fixture
def second_of_two(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_WORLD_SIZE": "1"}
    for name, value in (told | {"TORCHELASTIC_RUN_ID": "x"}).items():
        monkeypatch.setenv(name, value)


def test_a_cluster_that_sets_a_rank_for_every_process_does_not_make_it_one_of_several(
    second_of_two: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert launcher() == ["torchrun", "--nproc_per_node", "2"]
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert launcher() == ["python"]
    with joined() as ranks:
        assert ranks is ALONE and not torch.distributed.is_initialized()


def test_one_device_for_all_processes_is_refused(second_of_two: None) -> None:
    with pytest.raises(ValueError, match="--device cuda:1 is one for all 2 processes; say cuda"), joined("cuda:1"):
        pass


def test_more_processes_than_gpus_are_refused(second_of_two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ValueError, match="2 processes need a GPU each, and this machine has 1"), joined():
        pass


def test_a_process_that_another_has_left_says_so(second_of_two: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda *_args, **_flags: None)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with pytest.raises(ConnectionError, match="another process of this run has ended"), joined("cpu"):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4321")
    with pytest.raises(RuntimeError, match="shapes do not fit"), joined("cpu"):
        raise RuntimeError("shapes do not fit")


def test_only_the_first_process_is_heard_unless_another_fails(
    second_of_two: None, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(args: object) -> int:
        print("epoch 1", file=sys.stderr)
        raise ValueError("masks/3.png: broken")

    assert finish(run, parse_args(["--faces_dir", "f", "--masks_dir", "m", "--weights_dir", "w"])) == 1
    assert capsys.readouterr().err == "error: masks/3.png: broken\n"


# the commands

RUNS = ("alone", "shared")
LOSS, SCORE = ("epoch", "train_loss", "val_loss", "lr"), ("val_iou", "val_dice")


@pytest.mark.soak
def test_a_training_in_which_a_process_fails_ends_and_goes_on_to_the_result_of_one_process(failed: Failed) -> None:
    folders = failed.folder
    assert failed.status != 0 and failed.err.count("error: 7.jpg: the disk is gone\n") == 1
    assert "epoch 1/2" in failed.err and "epoch 1: " not in failed.err
    state = checkpoint.load_state(folders / "shared" / "last.state.pt")
    assert state["epoch"] == 0 and state["along"]["steps"] == 1 and state["along"]["pictures"] == 4

    assert train.main(training(folders, "alone")) == 0
    assert not torch.distributed.is_initialized()
    status, _, err = torchrun("train.py", *training(folders, "shared"), "--resume")
    assert status == 0, err
    assert err.count("epoch 2: ") == err.count("best validation IoU") == 1
    alone, shared = (list(csv.DictReader((folders / run / "curves.csv").open())) for run in ("alone", "shared"))
    for one, two in zip(alone, shared, strict=True):
        assert [float(two[key]) for key in LOSS] == pytest.approx([float(one[key]) for key in LOSS], rel=1e-3)
        assert [float(two[key]) for key in SCORE] == pytest.approx([float(one[key]) for key in SCORE], abs=2e-3)
    files = [sorted(path.name for path in (folders / run).rglob("*") if "tfevents" not in path.name) for run in RUNS]
    assert files[0] == files[1] and len(list((folders / "shared").glob("*tfevents*"))) == 2  # one writer a start
    starts = json.loads((folders / "shared" / "run.json").read_text())
    assert len(starts) == 2 and starts[1]["command"].startswith("torchrun --nproc_per_node 2 train.py")


def test_a_folder_shared_out_gives_the_masks_scores_and_problems_of_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw_faces(tmp_path)
    (tmp_path / "faces" / "9.jpg").write_bytes(b"none")  # of the second process
    flags = ["--images_path", str(tmp_path / "faces"), "--masks_path", str(tmp_path / "ids"), "--labels", "celebamask"]
    flags += ["--device", "cpu", "--batch_size", "2", "--overlay"]
    assert test.main([*flags, "--save_path", str(tmp_path / "alone")]) == 1
    alone = capsys.readouterr()
    status, out, err = torchrun("test.py", *flags, "--save_path", str(tmp_path / "shared"))
    assert status == 1 and out == alone.out and "pictures scored: 11" in out
    assert err.count("11 masks in") == err.count("9.jpg: cannot be read") == 1
    written = [{p.relative_to(tmp_path / run): p.read_bytes() for p in (tmp_path / run).rglob("*.*")} for run in RUNS]
    assert written[0] == written[1] and len(written[0]) == 2 * 11 + 2 + 4


def fail_in_the_second(argv: list[str], ranks: Ranks) -> int:
    """Train; the second process can't read what it is to read for its second step."""
    read, drawn = TrainingFaces.__getitem__, []

    def failing(self: TrainingFaces, draw: Draw) -> tuple[Tensor, Tensor]:
        drawn.append(draw)
        if ranks.rank == 1 and len(drawn) > 2:
            raise OSError("7.jpg: the disk is gone")
        return read(self, draw)

    TrainingFaces.__getitem__ = failing  # type: ignore[method-assign]
    return finish(lambda args: train.train(args, ranks), parse_args(argv))


if __name__ == "__main__":
    torch.set_num_threads(1)
    with joined("cpu") as among:
        torch.save(all_of(among), Path(sys.argv[1], f"{among.rank}.pt"))
        sys.exit(fail_in_the_second(sys.argv[2:], among))
