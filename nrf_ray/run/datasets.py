"""The datasets of a sweep before anything runs: their content, and a check that every row can be read.

A plan prints `dataset_lines`. A run on this machine prepares its datasets before Ray starts, so that an error that
would stop every stage is reported once; on a cluster each node prepares its own copy.
"""

from collections.abc import Callable, Iterable

from nrf_ray.data.catalogue import DatasetInfo, DatasetRef, dataset_named, info_from
from nrf_ray.data.located import Located
from nrf_ray.data.members import listed
from nrf_ray.data.planted import is_planted
from nrf_ray.data.prepared import check_trained_on, is_prepared, prepared
from nrf_ray.data.published import PREFIX
from nrf_ray.data.pushed import located_of
from nrf_ray.data.shared_rows import check_shared, known_shared
from nrf_ray.graph.stage import Stage


def datasets_of(stages: Iterable[Stage]) -> list[DatasetRef]:
    """Return the datasets that `stages` name in their configs, each once."""
    values = (value for stage in stages for value in vars(stage.config).values())
    return list(dict.fromkeys(value for value in values if isinstance(value, DatasetRef)))


def dataset_lines(refs: Iterable[DatasetRef]) -> list[str]:
    """Return a line for each of `refs`: files, rows by split, classes and their sizes, shape, files passed over.

    Raises ConfigError if more test rows than allowed are known to be training rows too.
    """
    return [_line(ref) for ref in refs]


def prepare(refs: Iterable[DatasetRef], say: Callable[[str], None]) -> None:
    """Decode the files of `refs` that are not yet prepared. Raises ConfigError if they cannot be read."""
    for ref in refs:
        if _is_of_files(ref):
            located = located_of(ref.location, ref.digest)
            check_shared(located, known_shared(located.digest) or 0)
            if not is_prepared(located):
                say(f"reading dataset {ref.name}: {located.train.count + located.test.count} rows")
            prepared(located)


def check_other_tests(stages: Iterable[Stage]) -> None:
    """Raise ConfigError if a model is tested on another prepared dataset than its own, with its training images."""
    pairs = [
        (given.config.dataset, stage.config.dataset)
        for stage in stages
        for given in stage.inputs.values()
        if hasattr(stage.config, "dataset") and hasattr(given.config, "dataset")
    ]
    for ours, other in dict.fromkeys(pairs):
        if ours != other and _is_of_files(ours) and _is_of_files(other):
            train, test = (located_of(ref.location, ref.digest) for ref in (ours, other))
            if train.kind == test.kind == "images":
                check_trained_on(train, test)


def _is_of_files(ref: DatasetRef) -> bool:
    return bool(ref.location) and not ref.location.startswith(PREFIX)


def _line(ref: DatasetRef) -> str:
    if _is_of_files(ref):
        located = located_of(ref.location, ref.digest)
        return _said(info_from(located), _files(located), _remarks(located))
    published, generated = "no files here, sizes as published", "generated"
    origin = published if ref.location else generated if is_planted(ref.name) else "files of an installed package"
    return _said(dataset_named(ref.location or ref.name), origin, [])


def _said(info: DatasetInfo, origin: str, remarks: list[str]) -> str:
    rows = f"{info.num_train} training and {info.num_test} test rows"
    shape = f"{info.kind} of {' x '.join(map(str, info.shape))}"
    return f"dataset {info.ref.name}: " + "; ".join(
        [origin, rows, f"{info.num_classes} classes{_sizes(info)}", shape, *remarks]
    )


def _files(located: Located) -> str:
    kinds = [portion.files.kind for portion in (located.train, located.test)]
    counts = [
        f"{kind}, {count} {'file' if count == 1 else 'files'}"
        for kind, count in zip(kinds[: len(located.files)], located.files, strict=True)
    ]
    drawn = ", one row in six drawn for testing" if located.test.part else ""
    return f"{' and '.join(counts)}{drawn}"


def _sizes(info: DatasetInfo) -> str:
    """Return the training rows of the smallest and of the largest class, for printing."""
    if not info.sizes:
        return ""
    names = info.classes or tuple(map(str, range(info.num_classes)))
    ordered = sorted(range(len(info.sizes)), key=info.sizes.__getitem__)
    smallest, largest = (f"{info.sizes[label]} ({names[label]})" for label in (ordered[0], ordered[-1]))
    return f" of {smallest} to {largest} training rows"


def _remarks(located: Located) -> list[str]:
    """Return the remaining parts of the line for a dataset of files."""
    remarks = []
    if located.matching:
        remarks.append(located.matching)
    if located.pooled:
        remarks.append("rows for validation are test rows too")
    if located.by_character:
        remarks.append(f"{located.by_character} texts in scripts without spaces are cut by character")
    if located.train.count and located.test.count:
        known = known_shared(located.digest)
        check_shared(located, known or 0)
        remarks.append(
            f"{known} test rows are training rows too"
            if known is not None
            else "test rows that are training rows too are counted when it is first read"
        )
    for files in dict.fromkeys((located.train.files, located.test.files)):
        if files.path.exists() and files.format.passed_over and (passed := files.format.passed_over(files.path)):
            remarks.append(f"passed over: {listed(passed)}")
    return remarks
