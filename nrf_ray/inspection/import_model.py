"""The command `nrf import`: what a model's name stands for, and whether the model knows a dataset."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from nrf_ray.data.catalogue import DatasetInfo, dataset_named
from nrf_ray.display.printing import ResultTable, interval_text, make_console, print_results, share
from nrf_ray.errors import ConfigError
from nrf_ray.models.model_name import MEANT
from nrf_ray.results.stored_sweep import StoreUri
from nrf_ray.stages.given_model import import_spec
from nrf_ray.stages.import_weights import CHECKED

if TYPE_CHECKING:
    from nrf_ray.stages.import_check import Checked


def import_model(
    model: Annotated[str, Parameter(help=f"{MEANT}.")],
    *,
    data: str,
    check: Annotated[bool, Parameter(negative=())] = False,
    images: int = CHECKED,
    store: StoreUri = "./runs",
) -> None:
    """Print how MODEL is read for the dataset --data: the mapping of its names, its normalisation, its training.

    With --check, also measure its accuracy on at most --images test images, and that of each class; a wrong order of
    classes shows there. Sweeps take the same names with --source, --judge and --victim, and make the same check first.

        nrf import 'file:weights.pt#arch=resnet18,mean=0.49:0.48:0.45,std=0.25' --data cifar10 --check
        nrf import robustbench:l2/Engstrom2019Robustness=Engstrom2019Robustness.pt --data cifar10 --check
    """
    info = dataset_named(data)
    if images < 1:
        raise ConfigError(f"--images must be 1 or more, not {images}")
    spec = import_spec(model, info, store)
    from nrf_ray.stages.imported import imported_from

    found = imported_from(spec, store)
    console = make_console()
    ball = f" within {spec.threat.norm} {spec.threat.eps:g}" if spec.threat else ""
    size = f", images resized to {spec.size[0]} x {spec.size[1]}" if spec.size else ""
    for line in (
        f"{spec.title}: {spec.arch} for {info.ref.name}{size}; {spec.training} training{ball}",
        f"file           sha256 {spec.sha256}",
        f"mapping        {found.mapping}",
        f"normalisation  {found.normalisation}",
    ):
        console.print(line, soft_wrap=True, markup=False, highlight=False)
    if not check:
        return
    from nrf_ray.engine.runtime import keep_freed_memory
    from nrf_ray.stages.import_check import check_model

    keep_freed_memory()
    checked = check_model(found.model, info.ref, images)
    print_results(console, (_by_class(spec.title, info, checked),))
    if checked.at_chance:
        raise ConfigError(f"{spec.title} does not know {info.ref.name}: {checked.doubt}")
    if checked.doubt:
        console.print(f"WARN {checked.doubt}", soft_wrap=True, markup=False)


def _by_class(title: str, info: DatasetInfo, checked: "Checked") -> ResultTable:
    from nrf_ray.statistics import wilson_interval

    rows = []
    names = info.classes or tuple(map(str, range(info.num_classes)))
    total = ("all", sum(checked.right), checked.n, "")
    of_classes = (
        (name, right, n, names[mostly] if mostly >= 0 else "")
        for name, right, n, mostly in zip(names, checked.right, checked.images, checked.mostly, strict=True)
    )
    for name, right, n, mostly in (total, *of_classes):
        interval = wilson_interval(right / n, n) if n else None
        cells = (
            (share(right / n, interval.low, interval.high), interval_text(interval.low, interval.high))
            if interval
            else ("", "")
        )
        rows.append((name, str(n), *cells, mostly))
    return ResultTable(
        title=f"{title}: clean accuracy on {info.ref.name}",
        columns=("class", "n", "accuracy", "95% Wilson", "mostly taken for"),
        names=1,
        rows=tuple(rows),
        notes=(
            f"share of test images classified correctly; always naming one class is right on {checked.chance:.3f} of "
            f"them (p = {checked.p:.2g}, exact binomial test, one-sided).",
        ),
    )
