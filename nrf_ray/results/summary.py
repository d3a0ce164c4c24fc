"""What is printed after a run: the tables in short, what each number is, and where the files lie."""

from collections import Counter
from collections.abc import Mapping

import pandas as pd
from rich.console import Console

from nrf_ray.attacks.trust import CHECKS, LEVELS, read_checks
from nrf_ray.display.printing import (
    ORIGIN,
    ball_text,
    explain,
    make_grille,
    mean_ci,
    mode_text,
    modes_text,
    origin_text,
    share_text,
)
from nrf_ray.evidence import CONTROLS, differences, figure_3
from nrf_ray.graph.store import Store
from nrf_ray.planted_summary import print_footprint, print_planted
from nrf_ray.planted_tables import FOOTPRINT, PLANTED
from nrf_ray.recipe_summary import print_recipes
from nrf_ray.statistics import seed_means
from nrf_ray.sweep import Sweep
from nrf_ray.tables import DATASETS, EXTRA, RECIPES, RESULTS, ROBUSTNESS, TRANSFER
from nrf_ray.theory_summary import print_leakage, print_theory, print_usefulness
from nrf_ray.theory_tables import LEAKAGE, THEORY, USEFULNESS

Frames = Mapping[str, pd.DataFrame]
"""Tables by name."""


def print_summary(console: Console, sweep: Sweep, store: Store, tables: Frames) -> None:
    """Print what the tables show, what each number is, and where the files lie."""
    print_tables(console, tables)
    _print_places(console, sweep, store, tables)


def print_tables(console: Console, tables: Frames) -> None:
    """Print what the tables show and what each number is: grilles, each with explanations that follow it."""
    of_data = {name: frame for name, frame in tables.items() if "dataset" in frame}
    sections = (
        (RESULTS, _results),
        (DATASETS, _datasets),
        (ROBUSTNESS, _robustness),
        (TRANSFER, _transfer),
        (EXTRA, _extra),
        (RECIPES, print_recipes),
        (USEFULNESS, print_usefulness),
        (LEAKAGE, print_leakage),
    )
    for dataset in sorted({name for frame in of_data.values() for name in frame["dataset"]}):
        of_dataset = {name: frame[frame["dataset"] == dataset] for name, frame in of_data.items()}
        for table, show in sections:
            if len(of_dataset.get(table.name, ())):
                show(console, dataset, of_dataset)
    for table, show_all in ((THEORY, print_theory), (PLANTED, print_planted), (FOOTPRINT, print_footprint)):
        if table.name in tables:
            show_all(console, tables[table.name])


def _print_places(console: Console, sweep: Sweep, store: Store, tables: Frames) -> None:
    console.print(f"tables       {store.path_of(sweep.folder())}/{{{','.join(tables)}}}.parquet", soft_wrap=True)
    console.print(f"report       {store.path_of(sweep.folder())}/report.html", soft_wrap=True)
    for name in sweep.pictures(store):
        console.print(f"picture      {store.path_of(sweep.folder())}/{name}", soft_wrap=True)
    if store.blobs.root:
        folder = store.path_of(f"{sweep.folder()}/tensorboard")
        console.print(f"tensorboard  tensorboard --logdir {folder}", soft_wrap=True)
    console.print("look inside  nrf status | nrf show KEY | nrf why KEY | nrf verify  (with --store)", soft_wrap=True)
    console.print(
        "dashboard    RAY_AUTH_MODE=token ray start --head; then run the sweep with --address auto and an absolute "
        "--store, and open http://127.0.0.1:8265",
        soft_wrap=True,
    )


def _results(console: Console, dataset: str, tables: Frames) -> None:
    results = tables[RESULTS.name]
    grille = make_grille(
        f"{dataset}: accuracy on the untouched test set (n = {results['n'].iloc[0]})",
        "trained on", "eps", "models", "clean", "as y + 1", "range", "- control", names=2,
    )  # fmt: skip
    for (role, training, mode, *origin), cells in results.groupby(["role", "training", "mode", *ORIGIN], dropna=False):
        construction, norm, epsilon, *how = origin
        lowest, highest = cells["clean_accuracy"].min(), cells["clean_accuracy"].max()
        robust = "robust " if training == "adversarial" and role != "judge" else ""
        name = origin_text(construction, *how) if role == "student" else f"d ({robust}{role})"
        grille.add_row(
            name + mode_text(mode),
            ball_text(norm, epsilon),
            str(len(cells)),
            mean_ci(seed_means(cells, "clean_accuracy")),
            mean_ci(seed_means(cells, "relabelled_accuracy")),
            f"{share_text(lowest)}, {share_text(highest)}",
            _minus_control(results, cells, str(construction)),
        )
    console.print(grille)
    explain(
        console,
        "clean: share of (x, y) that is right; as y + 1: the same images relabelled. Mean over architectures, then "
        "mean ± 95% t interval over seeds; range: lowest and highest model. leak_...: control sets without any "
        "adversarial feature; - control: the difference in clean accuracy, same architectures and seeds. Last iterate, "
        f"nothing selected. {modes_text(results['mode'])}",
    )


def _minus_control(results: pd.DataFrame, cells: pd.DataFrame, construction: str) -> str:
    """Return the paired difference between a construction and its control as text; empty where there is none."""
    found = differences(cells, results[results["construction"] == CONTROLS.get(construction)])
    return mean_ci(found) if len(found) else ""


def _datasets(console: Console, dataset: str, tables: Frames) -> None:
    grille = make_grille(
        f"{dataset}: constructed sets",
        "set", "eps", "t = y", "fools source", "second seed", "judge: y", "judge: t", "norm", "distance", names=2,
    )  # fmt: skip
    shares = ("fooling_rate", "second_seed_says_target", "judge_says_label", "judge_says_target")
    for (construction, norm, epsilon, *how), cells in tables[DATASETS.name].groupby(ORIGIN, dropna=False):
        grille.add_row(
            origin_text(construction, *how),
            ball_text(norm, epsilon),
            share_text(float(cells["share_target_is_label"].mean())),
            *(mean_ci(seed_means(cells, name)) for name in shares),
            share_text(float(cells["mean_norm"].mean())),
            share_text(float(cells["mean_distance"].mean())),
        )
    console.print(grille)
    explain(
        console,
        "shares of images, as stored; mean ± 95% t interval over seeds. fools source, second seed: the standard source "
        "(of d_..., the model it was made with), and a standard model of its architecture and another seed, say t. The "
        "judge is an adversarially trained model: where it says t, robust content may have been changed (its own "
        "robust accuracy stands below). norm: mean distance from where the image started; distance: from the image "
        f"whose label it bears. {modes_text(tables[DATASETS.name]['craft_mode'])}",
    )


def _extra(console: Console, dataset: str, tables: Frames) -> None:
    grille = make_grille(
        f"{dataset}: extra test sets", "trained on", "eps", "test set", "n", "models", "right", names=3
    )
    keys = ["test_set", "role", "training", "mode", *ORIGIN]
    for (test_set, role, training, mode, *origin), cells in tables[EXTRA.name].groupby(keys, dropna=False):
        construction, norm, epsilon, *how = origin
        name = origin_text(construction, *how) if role == "student" else f"d ({training} {role})"
        grille.add_row(
            name + mode_text(mode),
            ball_text(norm, epsilon),
            str(test_set),
            str(cells["n"].iloc[0]),
            str(len(cells)),
            mean_ci(seed_means(cells, "clean_accuracy")),
        )
    console.print(grille)
    explain(console, "share of other images of the same classes that is right; mean ± 95% t interval over seeds.")


def _robustness(console: Console, dataset: str, tables: Frames) -> None:
    robustness = tables[ROBUSTNESS.name]
    grille = make_grille(
        f"{dataset}: robust accuracy",
        "model", "attack", "trust", "models", "robust", "highest", "its 95% Wilson", names=3,
    )  # fmt: skip
    made = [{"norm": "trained_norm", "epsilon": "trained_epsilon"}.get(name, name) for name in ORIGIN]
    keys = ["training", "role", "mode", *made, "tested_on", "attack", "norm", "epsilon", "trust_level"]
    for keyed, cells in robustness.groupby(keys, dropna=False):
        training, role, mode, construction, trained_norm, trained_epsilon, *how = keyed[: 3 + len(made)]
        tested_on, attack, norm, epsilon, level = keyed[3 + len(made) :]
        trained_on = f"{origin_text(construction, *how)} {ball_text(trained_norm, trained_epsilon)}"
        model = (f"on {trained_on.strip()}" if role == "student" else f"{training} {role}") + mode_text(mode)
        grille.add_row(
            model if tested_on == "test" else f"{model}, tested on {tested_on}",
            f"{attack} {norm} {epsilon:g}",
            str(level),
            str(len(cells)),
            mean_ci(seed_means(cells, "robust_accuracy")),
            share_text(float(cells["robust_accuracy"].max())),
            f"{share_text(float(cells['ci_low'].max()))}, {share_text(float(cells['ci_high'].max()))}",
        )
    console.print(grille)
    n = ", ".join(map(str, sorted(set(robustness["n"]))))
    explain(
        console,
        f"share of n = {n} images that stay right: upper bounds by the untargeted attack that is named. "
        f"{modes_text(robustness['mode'])} {_levels(robustness)}",
    )
    _failed_checks(console, robustness)


def _levels(robustness: pd.DataFrame) -> str:
    """Return what the levels of trust that occur stand for."""
    found = set(robustness["trust_level"])
    return " ".join(f"Trust {level}: {meaning}." for level, meaning in LEVELS.items() if level in found)


def _failed_checks(console: Console, robustness: pd.DataFrame) -> None:
    """Count the models that each check did not pass on, by what they are and by the attack."""
    found: dict[tuple[str, ...], Counter[str]] = {}
    for row in robustness.dropna(subset="checks").to_dict("records"):
        kind = f"{row['training']} {row['role']} on {row['construction']}{mode_text(row['mode'])}"
        attack = f"{row['attack']} {row['norm']} {row['epsilon']:g}"
        for name, verdict in read_checks(row["checks"]).items():
            found.setdefault((name, kind, attack), Counter())[verdict] += 1
    doubtful = {key: counts for key, counts in found.items() if counts["PASS"] < counts.total()}
    if not doubtful:
        return
    grille = make_grille("Checks that did not pass", "check", "models", "attack", "FAIL", "WARN", "PASS", names=3)
    for key, counts in sorted(doubtful.items()):
        grille.add_row(*key, *(str(counts[verdict]) for verdict in ("FAIL", "WARN", "PASS")))
    console.print(grille)
    names = sorted({name for name, _, _ in doubtful})
    explain(console, "numbers of models; " + "; ".join(f"{name} passes if {CHECKS[name]}" for name in names) + ".")


def _transfer(console: Console, dataset: str, tables: Frames) -> None:
    transfer = tables[TRANSFER.name]
    radii = sorted(set(zip(transfer["norm"], transfer["epsilon"], strict=True)))
    headings = [f"{norm} {epsilon:g}" for norm, epsilon in radii]
    grille = make_grille(
        f"{dataset}: transfer of adversarial test images", "source", "victim", "attack", *headings, names=3
    )
    keys = ["source_arch", "source_mode", "construction", "victim_arch", "mode", "attack", "targeted"]
    for key, cells in transfer.groupby(keys, dropna=False):
        source, source_mode, construction, victim, mode, attack, targeted = key
        by_radius = [cells[(cells["norm"] == norm) & (cells["epsilon"] == epsilon)] for norm, epsilon in radii]
        shown = [mean_ci(seed_means(found, "success_rate")) for found in by_radius]
        trained_on = "" if construction == "d" else f" on {construction}"
        victims = f"{victim}{trained_on}{mode_text(mode)}"
        grille.add_row(f"{source}{mode_text(source_mode)}", victims, f"{_goal(bool(targeted))} {attack}", *shown)
    console.print(grille)
    explain(
        console,
        "share of test images that the victim gives the target (targeted) or not their label (untargeted); mean ± 95% "
        "t interval over seeds.",
    )
    if RESULTS.name in tables:
        _figure_3(console, dataset, figure_3(transfer, tables[RESULTS.name]))


def _figure_3(console: Console, dataset: str, points: pd.DataFrame) -> None:
    if points.empty:
        return
    grille = make_grille(
        f"{dataset}: Figure 3, learning from d_det and being fooled", "d_det", "attack", "r", "95%", names=2
    )
    for point in points.to_dict("records"):
        interval = f"{share_text(point['low'])}, {share_text(point['high'])}"
        grille.add_row(point["d_det"], point["attack"], share_text(point["r"]), interval)
    console.print(grille)
    explain(
        console,
        f"Pearson correlation over {points['archs'].iloc[0]} architectures of means over {points['seeds'].iloc[0]} "
        "seeds; percentile bootstrap over architectures. So few points settle nothing: reported, never a gate.",
    )


def _goal(targeted: bool) -> str:
    return "targeted" if targeted else "untargeted"
