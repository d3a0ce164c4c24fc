"""Data-parallel training: each worker takes its part of every batch, and the gradients are averaged.

The workers are processes of one torch.distributed group. They hold the same weights at every step; each samples its
random numbers from seeds of its own. BatchNorm sees a worker's own part of the batch. At the start of every epoch all
workers take over the first worker's running means, so that the first worker's state is the state after an epoch.
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
    """One data-parallel worker. By default it is the only one."""

    rank: int = 0
    """Rank, from 0."""
    workers: int = 1
    """Number of workers."""

    def part(self, batch: Tensor) -> Tensor:
        """Return this worker's part of the indices `batch`; the number of workers divides their number."""
        return batch.chunk(self.workers)[self.rank]

    def seed(self, seed: int, what: str, epoch: int) -> int:
        """Return this worker's seed for `what` in `epoch`; a single worker has the seed of the first worker."""
        return derive_seed(seed, what, epoch, *([self.rank] if self.rank else []))

    def shared(self, model: nn.Module) -> nn.Module:
        """Return `model`, wrapped to average its gradients over several workers as they are computed."""
        if self.workers == 1:
            return model
        return DistributedDataParallel(model, gradient_as_bucket_view=True)

    def level(self, model: nn.Module) -> None:
        """Copy the first worker's buffers, such as running means, to every worker."""
        if self.workers > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, src=0)

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of `values` over the workers."""
        if self.workers > 1:
            dist.all_reduce(values)
        return values


def replica_among(workers: int) -> Replica:
    """Return the worker that this process is, of `workers` in all.

    Raises ConfigError if this process is not in a group of that many.
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
    """Return the device of `replica`: the current GPU if several workers share a node's GPUs."""
    if replica.workers > 1 and device == "cuda":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device(device)
