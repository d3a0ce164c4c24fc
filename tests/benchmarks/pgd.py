"""PGD against five libraries, at equal final loss, and against the bare loop that no attack can beat.

    python -m tests.benchmarks.pgd [--case 'resnet_m-l2-*'] [--list]

Targeted PGD from the image itself, steps of 2.5 eps / steps, last iterate; rates in image-steps (one gradient of one
image) per second. After the rounds an independent checker looks at each contender's last batch: the network as it was
trained, in fp32, says the mean loss towards the targets and the share of targets reached; the norms are computed anew.

Every contender gets a model in eval mode with frozen parameters. Peers and bare loops get it in the fastest of three
memory layouts, which is found before the rounds; ours chooses its own. In the bf16 cases ours is in its mode "fast" and
peers get their model under autocast, as a user does by hand; beside them stand the same peers in fp32. In the cases
"documented" peers get what their documentation shows, a model in eval mode and nothing else, in a process of their own
with malloc as it comes; ours has one where malloc keeps freed memory, as it does wherever a stage runs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nrf_ray.attacks.restarts import run_once
from nrf_ray.attacks.specs import Attack, pgd_attack
from nrf_ray.attacks.threat import Norm, perturbation_norm
from nrf_ray.engine.twin import twin
from tests.benchmarks.apart import apart
from tests.benchmarks.bare import InBfloat16, bare_loop, folded
from tests.benchmarks.harness import Case, Contender, main, timed
from tests.benchmarks.networks import attacked_rows, trained_network
from tests.benchmarks.peers import PEERS, Craft, Peer

EPS: Mapping[Norm, float] = {"l2": 1.0, "linf": 8 / 255}
NETWORKS: Mapping[str, Mapping[str, int]] = {
    "resnet_s": {"batch": 256, "steps": 20},
    "resnet_m": {"batch": 256, "steps": 20},
    "conv4": {"batch": 256, "steps": 10},
    "resnet18": {"batch": 64, "steps": 4},
}
"""What is attacked and how large a run is, for cases of minutes; the rate of a step does not depend on their number."""
FASTEST = ("torchattacks", "adv-lib", "foolbox")
"""Peers that stand in the bf16 cases; the others are as fast or slower, see the fp32 cases."""


CHANNELS_FIRST = "channels first"
LAYOUTS: Mapping[str, tuple[torch.memory_format, torch.memory_format]] = {
    CHANNELS_FIRST: (torch.contiguous_format, torch.contiguous_format),
    "model channels last": (torch.channels_last, torch.contiguous_format),
    "channels last": (torch.channels_last, torch.channels_last),
}
"""Of the model and of the images."""
PROBE_STEPS = 3
"""Steps by which the fastest layout is found."""
Prepare = Callable[[nn.Module], nn.Module]
"""From a trained network to what is attacked."""
Entry = tuple[Peer, Prepare]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is attacked, and how."""

    network: str
    norm: Norm
    precision: str
    """fp32 or bf16."""
    peers: Literal["tuned", "documented"] = "tuned"
    """Whether peers get frozen parameters, their fastest layout and our malloc, or a model in eval mode alone."""
    batch: int = 256
    steps: int = 20

    @property
    def attack(self) -> Attack:
        """PGD in the usual proportions."""
        return pgd_attack(self.norm, EPS[self.norm], steps=self.steps, targeted=True)


def ours(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Our PGD in the mode "faithful": fp32. The twin is made once, as for the batches of a set."""
    network = twin(model, images, attack.mode)
    return lambda: run_once(attack, network, images, targets)


def ours_fast(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """Our PGD in the mode "fast": bf16."""
    return ours(model, images, targets, replace(attack, mode="fast"))


def bare(model: nn.Module, images: Tensor, targets: Tensor, attack: Attack) -> Craft:
    """The bare loop, as if it were an attack."""
    return lambda: bare_loop(model, images, targets, attack.steps)


def as_it_is(model: nn.Module) -> nn.Module:
    """Return the model."""
    return model


def rivals(setting: Setting) -> list[Contender]:
    """Return all contenders of a case, ours first."""
    peers: dict[str, Entry] = {name: (peer, as_it_is) for name, peer in PEERS.items()}
    if setting.peers == "documented":
        entries = {"ours": (ours, as_it_is), "ours, fast": (ours_fast, as_it_is), **peers}
        return [as_used(name, *entry, setting) for name, entry in entries.items()]
    if setting.precision == "fp32":
        entries = {
            "ours": (ours, as_it_is),
            "bare loop": (bare, as_it_is),
            "bare loop, folded": (bare, folded),
            **peers,
        }
    else:
        loops = {"bare loop": (bare, InBfloat16), "bare loop, folded": (bare, _folded_in_bfloat16)}
        by_hand = {f"{name}, by hand": (peer, InBfloat16) for name, peer in PEERS.items() if name in FASTEST}
        in_fp32 = {f"{name}, fp32": peers[name] for name in FASTEST}
        entries = {"ours": (ours_fast, as_it_is), **loops, **by_hand, **in_fp32}
    return [contender(name, *entry, setting) for name, entry in entries.items()]


def as_used(name: str, peer: Peer, prepare: Prepare, setting: Setting) -> Contender:
    """Return one rival in a process of its own; in ours malloc keeps memory, as in a stage, in the others not."""
    make = partial(contender, name, peer, prepare, setting)
    return apart(name, make, threads=torch.get_num_threads(), keeps_memory=peer in (ours, ours_fast))


def contender(name: str, peer: Peer, prepare: Prepare, setting: Setting) -> Contender:
    """Return one rival in its fastest layout, or as documented, with the checks of its result."""
    images, targets = attacked_rows(setting.batch)
    as_documented = setting.peers == "documented" and peer not in (ours, ours_fast)
    model = prepare(trained_network(setting.network)).requires_grad_(as_documented)
    found: list[Tensor] = []

    def craft_in(layout: str, steps: int) -> Craft:
        model.to(memory_format=LAYOUTS[layout][0])
        laid_out = images.contiguous(memory_format=LAYOUTS[layout][1])
        return peer(model, laid_out, targets, replace(setting.attack, steps=steps))

    takes_views = peer is PEERS["torchattacks"] and setting.norm == "l2"  # which fails where channels come last
    layout = min(
        [CHANNELS_FIRST] if takes_views or as_documented else LAYOUTS,
        key=lambda layout: _seconds(craft_in(layout, PROBE_STEPS)),
    )
    craft = craft_in(layout, setting.steps)

    def run() -> None:
        found[:] = [craft()]

    def check() -> dict[str, float]:
        seen = {} if peer is bare else verdict(setting, images, targets, found[0])
        return {**seen, "layout": float(list(LAYOUTS).index(layout))}

    return Contender(name=name, run=run, work=setting.batch * setting.steps, check=check)


def verdict(setting: Setting, images: Tensor, targets: Tensor, found: Tensor) -> dict[str, float]:
    """Return what the network as it was trained says in fp32 of the images `found`, and how far they moved."""
    with torch.no_grad():
        logits = trained_network(setting.network)(found.detach().float().contiguous())
    norms = perturbation_norm(found - images, setting.norm)
    return {
        "loss": F.cross_entropy(logits, targets).item(),
        "success": (logits.argmax(1) == targets).double().mean().item(),
        "beyond_eps": (norms - EPS[setting.norm]).max().item(),
        "beyond_box": torch.maximum(-found, found - 1).max().item(),
    }


def _folded_in_bfloat16(model: nn.Module) -> nn.Module:
    return InBfloat16(folded(model))


def _seconds(craft: Craft) -> float:
    craft()
    return timed(craft)


def cases() -> list[Case]:
    """Return every network in both norms, in fp32, in bf16 and as documented, on one thread and on two."""
    tuned = [(precision, "tuned") for precision in ("fp32", "bf16")]
    chosen = product(NETWORKS.items(), EPS, (*tuned, ("fp32", "documented")), (1, 2))
    return [
        Case(
            name=f"{network}-{norm}-{precision if peers == 'tuned' else peers}-{threads}",
            contenders=partial(rivals, Setting(network=network, norm=norm, precision=precision, peers=peers, **size)),
            threads=threads,
            unit="image-steps",
        )
        for (network, size), norm, (precision, peers), threads in chosen
    ]


if __name__ == "__main__":
    main("pgd", __doc__, cases())
