"""One training by several workers: each takes its part of every batch, and the gradients are averaged.

The workers are processes of one torch.distributed group. They hold the same weights at every step; what is random is
drawn by each for itself, from seeds that name it. BatchNorm sees a worker's own part of the batch. Its running means
are the first worker's again from every epoch on, so that the state after an epoch is what the first worker says it is.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from nrf_ray.errors import ConfigError
from nrf_ray.seeding import derive_seed


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One of the workers; the only one, where nothing else is said."""

    rank: int = 0
    """Its number, from 0."""
    workers: int = 1
    """How many there are."""

    def part(self, batch: Tensor) -> Tensor:
        """Return this worker's part of the rows of `batch`, which their number divides."""
        return batch.chunk(self.workers)[self.rank]

    def seed(self, seed: int, what: str, epoch: int) -> int:
        """Return the seed of what this worker draws in `epoch`; alone, it draws as the first does."""
        return derive_seed(seed, what, epoch, *([self.rank] if self.rank else []))

    def shared(self, model: nn.Module) -> nn.Module:
        """Return `model` such that its gradients are averaged over all workers as they are computed."""
        if self.workers == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)

    def level(self, model: nn.Module) -> None:
        """Give every worker the first one's running means and whatever else is no parameter."""
        if self.workers > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over the workers."""
        if self.workers > 1:
            dist.all_reduce(values)
        return values


def replica_among(workers: int) -> Replica:
    """Return which of `workers` this process is.

    Raises ConfigError where it is in no group of that many.
    """
    if workers == 1:
        return Replica()
    found = dist.get_world_size() if dist.is_initialized() else 1
    if found != workers:
        raise ConfigError(
            f"a recipe of {workers} workers was started in a group of {found}; run it as part of a sweep, which starts "
            "the others, or set workers=1"
        )
    return Replica(rank=dist.get_rank(), workers=workers)


def device_of(replica: Replica, device: str) -> torch.device:
    """Return the device that `replica` works on: where several share a node's GPUs, the one that is current."""
    if replica.workers > 1 and device == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(device)
