"""A datasheet for a constructed set: the questions of Gebru et al. 2021, answered from its record.

"Datasheets for Datasets" asks the makers of a dataset what its users have to know. Much of that is in the record. What
is not in the record, such as the licence of the original images, is stated as not known instead of being left out.
"""

import json
from collections.abc import Mapping

from nrf_ray.export.about import PAPER, AboutSet
from nrf_ray.graph.record import Record

UNKNOWN = "Not known: the record does not say."
ORIGINAL = "Not known for the original dataset: nrf_ray stores only its name and the digest of its content."

Answers = Mapping[str, Mapping[str, str]]
"""Section -> question -> answer."""


def datasheet(about: AboutSet) -> str:
    """Return the datasheet of a set as Markdown."""
    parts = [f"# Datasheet: {about.title}", about.description]
    for section, answers in _answers(about).items():
        parts.append(f"## {section}")
        parts += [f"**{question}**\n{answer}" for question, answer in answers.items()]
    parts.append("The questions are those of Gebru et al., Datasheets for Datasets, Communications of the ACM 64 (12).")
    return "\n\n".join(parts) + "\n"


def _answers(about: AboutSet) -> Answers:
    return {
        "Motivation": _motivation(),
        "Composition": _composition(about),
        "Collection": _collection(about),
        "Preprocessing and labelling": _labelling(about),
        "Uses": _uses(about),
        "Distribution": _distribution(),
        "Maintenance": _maintenance(about),
    }


def _motivation() -> dict[str, str]:
    return {
        "For what purpose was it created?": "To measure what standard training learns from features of one kind "
        f"alone, following {PAPER}",
        "Who created it, and who paid for it?": UNKNOWN,
    }


def _composition(about: AboutSet) -> dict[str, str]:
    shape = " x ".join(map(str, about.shape))
    pixels = "float32 in [0, 1]" if about.floating else "8 bits"
    labels = ", ".join(f"{label}: {count}" for label, count in about.labels.items())
    columns = "\n".join(f"- `{name}`: {meaning}" for name, meaning in about.columns.items())
    return {
        "What does an instance represent?": f"One image (channels x height x width: {shape}; {pixels}) with a label.",
        "How many instances are there?": f"{about.count}; by label: {labels}.",
        "Is it a sample of a larger set?": f"One image was made for every row of the {about.config['split']} split of "
        f"{about.dataset} (sha256 {about.config['dataset']['digest']}).",
        "What does each instance consist of?": f"The image and, in the parquet form only:\n{columns}",
        "Is there a label?": f"Yes, t. It equals the label y of the original in {about.kept_labels} rows, and differs "
        f"from it on purpose in {about.count - about.kept_labels}.",
        "Is information missing?": "The other forms have no column except the label; the names of PNG files also give "
        "the row.",
        "Are there relationships between instances?": "Each was made from the original image at `start`, for the "
        "original image at `index`. The two are the same except in d_robust and d_nonrobust.",
        "Are there recommended splits?": "The whole set is for training; test on the untouched test split of "
        f"{about.dataset}."
        if about.config["split"] == "train"
        else "The whole set is for testing: it was made from test images.",
        "Are there errors, noise or redundancies?": f"The labels, as stated above. {about.count - about.moved} images "
        "equal their start at 8 bits.",
        "Is it self-contained?": "Yes.",
        "Could it be confidential, offensive, or about people?": ORIGINAL,
    }


def _collection(about: AboutSet) -> dict[str, str]:
    came, settings = about.record.provenance, json.dumps(about.config, indent=1, sort_keys=True)
    versions = ", ".join(f"{name} {version}" for name, version in came["versions"].items() if version)
    return {
        "How was the data acquired?": f"Computed from the original images by the stage `construct` of nrf_ray, version "
        f"{about.record.version}, with these settings:\n\n```json\n{settings}\n```",
        "With what models?": _models(about.sources),
        "With what machine and software?": f"{came['processor']} ({came['machine']}), device {came['device']}, Python "
        f"{came['python']}, {versions}; code at commit {came.get('commit') or 'unknown'}"
        f"{', changed since' if came.get('dirty') else ''}, source digest {came['source_digest']}.",
        "Over what time?": f"Begun {came['started']}, {came['seconds']:g} s of work.",
        "How were the original images collected, with whose consent, after what review?": ORIGINAL,
    }


def _labelling(about: AboutSet) -> dict[str, str]:
    kept = "not rounded" if about.floating else "rounded to 8 bits"
    return {
        "Was the data preprocessed or labelled?": f"Pixels were {kept}. The labels t are those of the construction "
        f"{about.construction}; no person looked at the images.",
        "Was the raw data kept?": f"No, but the original dataset contains it: the content with sha256 "
        f"{about.config['dataset']['digest']}.",
        "Is the software available?": "nrf_ray is under the Apache License 2.0; `nrf verify --recompute` recomputes "
        "every row from the store.",
    }


def _uses(about: AboutSet) -> dict[str, str]:
    metrics = "\n".join(f"- {name}: {value}" for name, value in sorted(about.record.metrics.items()))
    return {
        "What has it been used for?": "The sweep that made it trained models on it; its tables have their results. "
        f"Measured on the set as a whole:\n{metrics}",
        "What else could it be used for?": "Other architectures, other training recipes, other ways to read features.",
        "What must users beware of?": "A model that learns from it need not have learnt non-robust features: labels "
        "leak through images that keep their label, through robust content, and through patterns tied to the label. "
        "Compare with the leakage-only control of the construction (`leak_...`).",
        "What should it not be used for?": f"Training a model for practical use: {about.purpose} changed on purpose.",
    }


def _distribution() -> dict[str, str]:
    return {
        "Will it be distributed, and under what licence?": "Not known. It derives from the original dataset, whose "
        "licence applies; nrf_ray does not know that licence.",
        "Do other restrictions apply?": UNKNOWN,
    }


def _maintenance(about: AboutSet) -> dict[str, str]:
    return {
        "Who maintains it, and how can they be reached?": UNKNOWN,
        "Will it be updated?": f"No. The key {about.record.key} identifies this content: other settings give another "
        "key.",
        "Can it be extended?": "Run the sweep again with other axes; existing sets are not made again.",
    }


def _models(sources: Mapping[str, Record | None]) -> str:
    if not sources:
        return "None: each image has a fixed pattern of its class, and no feature of a model."
    lines = []
    for role, record in sources.items():
        if record is None:
            lines.append(f"- {role}: not known, its record is not in the store")
            continue
        metrics = ", ".join(f"{name} {value}" for name, value in sorted(record.metrics.items()))
        lines.append(f"- {role}: {record.provenance.get('label')}, key {record.key} ({metrics})")
    return "\n".join(lines)
