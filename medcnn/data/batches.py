"""Training batches in an order that is a pure function of (seed, epoch), from any place in it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from medcnn.data.covariates import TrainingCovariates
from medcnn.data.prepared import Images
from medcnn.transforms.draws import ORDER, stream

Place = tuple[int, int]  # (epoch, batch within it)


@dataclass(eq=False)
class Batch:
    """B scans (B, C, *size), their targets (B, K), and their places in the epoch, which key every random number.

    covariates  (B, V) of a network that takes more than the image
    """

    image: Tensor
    target: Tensor
    epoch: int
    positions: list[int]
    covariates: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:  # noqa: FBT001, FBT002  torch's own
        """On another device; Lightning calls this."""
        image, target = (part.to(device, non_blocking=non_blocking) for part in (self.image, self.target))
        covariates = None if self.covariates is None else self.covariates.to(device, non_blocking=non_blocking)
        return Batch(image, target, self.epoch, self.positions, covariates)


@dataclass(frozen=True)
class Order:
    """Who comes when: a permutation per epoch, or classes drawn equally often."""

    num_cases: int
    batch_cases: int
    seed: int
    sampling: str
    classes: npt.NDArray[np.int64]

    def batches_per_epoch(self) -> int:
        """A last batch of one case is left out: batch norms have nothing to average there."""
        whole, rest = divmod(self.num_cases, self.batch_cases)
        return max(1, whole + (rest > 1))

    def indices(self, epoch: int) -> npt.NDArray[np.int64]:
        """(num_cases,) into the training cases."""
        generator = stream(self.seed, epoch, 0, ORDER)
        if self.sampling == "shuffled":
            return generator.permutation(self.num_cases)
        counts = np.bincount(self.classes)
        share = 1 / (np.count_nonzero(counts) * counts[self.classes])
        return np.asarray(generator.choice(self.num_cases, self.num_cases, p=share), np.int64)


class _Source(Dataset[Batch]):
    """A batch for each (epoch, batch) place; each rank of several takes every n-th case of it."""

    def __init__(self, batches: Batches, rank: int, ranks: int) -> None:
        self.images, self.targets, self.order = batches.images, batches.targets, batches.order
        self.covariates, self.rank, self.ranks = batches.covariates, rank, ranks
        self._epoch, self._indices = -1, np.zeros(0, np.int64)

    def __getitem__(self, place: Place) -> Batch:
        epoch, number = place
        if epoch != self._epoch:
            self._epoch, self._indices = epoch, self.order.indices(epoch)
        start = number * self.order.batch_cases
        positions = list(range(start, min(start + self.order.batch_cases, self.order.num_cases)))
        positions = positions[self.rank :: self.ranks] or positions[-1:]
        chosen = self._indices[positions]
        image, target = torch.from_numpy(self.images[chosen.tolist()]), self.targets[torch.from_numpy(chosen)]
        if self.covariates is None:
            return Batch(image, target, epoch, positions)
        covariates = torch.from_numpy(self.covariates.batch(chosen.tolist(), epoch, positions))
        return Batch(image, target, epoch, positions, covariates)


class Places(Sampler[Place]):
    """The rest of one epoch, from a batch on."""

    def __init__(self, epoch: int, first: int, last: int) -> None:
        self.epoch, self.first, self.last = epoch, first, last

    def __iter__(self) -> Iterator[Place]:
        return ((self.epoch, number) for number in range(self.first, self.last))

    def __len__(self) -> int:
        return max(0, self.last - self.first)


class Batches:
    """The training data as batches."""

    def __init__(
        self,
        images: Images,
        targets: npt.NDArray[np.float32],
        order: Order,
        *,
        workers: int,
        covariates: TrainingCovariates | None = None,
    ) -> None:
        self.images, self.targets, self.order, self.workers = images, torch.from_numpy(targets), order, workers
        self.covariates = covariates

    def loader(self, epoch: int, first: int, last: int, *, rank: int = 0, ranks: int = 1) -> DataLoader[Batch]:
        """Batches first to last (exclusive) of an epoch."""
        source = _Source(self, rank, ranks)
        return DataLoader(
            source,
            batch_size=None,
            sampler=Places(epoch, first, last),
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            timeout=120 if self.workers else 0,
        )
