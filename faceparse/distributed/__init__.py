"""Several processes, called ranks, that torchrun starts together on one training or one folder of pictures.

What is written here for one process holds for several through a `Ranks`: alone, its methods hand back what they are
given; together, all ranks have to call the same ones in the same order. Importing this does not import torch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Made = TypeVar("Made")


def rank() -> int:
    """Which of the ranks this process is, from 0; 0 where torchrun did not start it."""
    return _told_by_torchrun("RANK", 0)


def local_count() -> int:
    """How many ranks share this machine."""
    return _told_by_torchrun("LOCAL_WORLD_SIZE", 1)


def launcher() -> list[str]:
    """The words of a command that come before the script."""
    count, machines = _told_by_torchrun("WORLD_SIZE", 1), _told_by_torchrun("GROUP_WORLD_SIZE", 1)
    several = ["torchrun", *(["--nnodes", f"{machines}"] if machines > 1 else []), "--nproc_per_node"]
    return [*several, f"{local_count()}"] if count > 1 else ["python"]


def _told_by_torchrun(name: str, otherwise: int) -> int:
    """Some clusters set these variables for every process, so they count only beside torchrun's own."""
    return int(os.environ[name]) if "TORCHELASTIC_RUN_ID" in os.environ else otherwise


@dataclass(frozen=True)
class Ranks:
    """This process among `count`; this class is of one that is alone."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes what there is only one of."""
        return self.rank == 0

    def share(self, items: int, run: int = 1) -> slice:
        """This rank's part of a row of `items`, in runs of `run` that stay whole; in rank order the parts are the row.

        10 items in runs of 4 are 0 to 3 of the first and 4 to 9 of the second of two ranks.
        """
        runs = -(-items // run)
        start, stop = (runs * rank // self.count * run for rank in (self.rank, self.rank + 1))
        return slice(min(start, items), min(stop, items))

    def total(self, values: Tensor) -> Tensor:
        """The sum over the ranks, of values of equal shape (any) and dtype; gradients flow back to all of them."""
        return values

    def together(self, values: Tensor) -> Tensor:
        """(B, ...) of each rank, of equal shape -> (count * B, ...), in rank order; differentiable as `total` is."""
        return values

    def gathered(self, value: Made) -> list[Made]:
        """Every rank's value, in rank order, on the first; nothing on the others. They travel pickled."""
        return [value]

    def first(self, make: Callable[[], Made]) -> Made:
        """What `make` gives on the first rank, where alone it is called."""
        return make()

    def parallel(self, model: nn.Module, device: torch.device) -> nn.Module:
        """`model`, on its device, as the ranks train it: its parameters, with the sum of all ranks' gradients.

        Batch norms and dropout inside of it are replaced, and see all ranks' pictures as one batch.
        """
        return model

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The block on the first rank, then on the others, which find what it has left on the disk."""
        yield


ALONE = Ranks()


@contextmanager
def joined(device: str | None = None) -> Iterator[Ranks]:
    """The ranks within the block; each has the GPU of its own number as "cuda", if `device` leaves that open.

    A rank that fails ends with its own message, and torchrun ends the others. Raises ValueError where there are more
    ranks than GPUs or `device` names one for all, and ConnectionError when another rank is gone.
    """
    count = _told_by_torchrun("WORLD_SIZE", 1)
    if count == 1:
        yield ALONE
        return
    import torch
    import torch.distributed as dist

    from faceparse.distributed.replicas import JoinedRanks

    backends = "gloo"
    if device and ":" in device:
        raise ValueError(f"--device {device} is one for all {count} processes; say {device.partition(':')[0]}")
    if device in (None, "cuda") and torch.cuda.is_available():
        backends, number, there = "cpu:gloo,cuda:nccl", int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if number >= there:
            need = f"{local_count()} processes need a GPU each, and this machine has {there}"
            raise ValueError(f"{need}; start as many, or say --device cpu")
        torch.cuda.set_device(number)
    patient = timedelta(days=30)  # one rank may have all the long videos; that one has died, torchrun sees
    dist.init_process_group(backends, timeout=patient)
    try:
        yield JoinedRanks(dist.get_rank(), count)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            gone = "another process of this run has ended; its own message, or torchrun's, tells why"
            raise ConnectionError(gone) from error
        raise
    dist.destroy_process_group()  # after a failure the end of the process does: here it might wait for the others
