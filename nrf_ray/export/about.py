"""Description of one constructed set, from its record and its rows, for datasheets and metadata."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nrf_ray.constructions.spec import CONSTRUCTIONS
from nrf_ray.graph.record import Record
from nrf_ray.graph.store import Store

if TYPE_CHECKING:
    from nrf_ray.data.shards import Shard

COLUMNS: Mapping[str, str] = {
    "index": "index of the image in the original split; `true_label` is the label of that original",
    "start": "index, in the original split, of the image that this image was made from; -1 for noise",
    "label": "t, the label to train on",
    "true_label": "y, the label of the original image at `index`",
    "seed": "random seed of the targets and the starts",
    "loss": "on the stored image: the source's cross-entropy towards t, or for d_robust and d_nonrobust the relative "
    "distance of the representations; null if no source was used",
    "norm": "distance of the stored image from its start, in the norm of the construction (l2 if it has none), "
    "pixels in [0, 1]",
    "distance": "distance of the stored image from the original image at `index`, in the same norm",
    "moved": "whether the stored image differs from its start at 8 bits",
    "prediction": "the source's prediction before the pixels were rounded; -1 if no source was used",
    "prediction_stored": "the source's prediction on the stored image; -1 if no source was used",
}
"""Meaning of the columns other than the image."""

READABLE: Mapping[str, str] = {
    "text": "the text with words replaced, as people read it; its vectors are the image",
    "original": "the original text that it was made from",
}
"""Meaning of the additional columns of texts with replaced words."""

PAPER = (
    "Andrew Ilyas, Shibani Santurkar, Dimitris Tsipras, Logan Engstrom, Brandon Tran, Aleksander Madry. Adversarial "
    "Examples Are Not Bugs, They Are Features. NeurIPS 2019. arXiv:1905.02175"
)


@dataclass(frozen=True, kw_only=True)
class AboutSet:
    """Description of one constructed set."""

    record: Record
    """Record of its `construct` stage."""
    sources: Mapping[str, Record | None]
    """Records of the stages that it was made from, by role; None if the store no longer has the record."""
    count: int
    """Number of images."""
    shape: tuple[int, ...]
    """Channels, height, width."""
    floating: bool
    """Whether its pixels are float32 in [0, 1]; else they are 8 bits."""
    labels: Mapping[int, int]
    """Number of images by label t."""
    kept_labels: int
    """Number of images whose label t is the label y of the original."""
    moved: int
    """Number of images that differ from their start at 8 bits."""
    texts: tuple[str, ...] = ()
    """Names of the columns with readable text; empty for images."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Every column other than the image, with its meaning."""
        return {**COLUMNS, **{name: READABLE[name] for name in self.texts}}

    @property
    def config(self) -> Mapping[str, Any]:
        """Config of the stage, which determines the set."""
        assert isinstance(self.record.config, dict), "a construct stage has a config"
        return self.record.config

    @property
    def construction(self) -> str:
        """Name of the construction."""
        return str(self.config["construction"])

    @property
    def dataset(self) -> str:
        """Name of the original dataset."""
        return str(self.config["dataset"]["name"])

    @property
    def title(self) -> str:
        """Title of the set for people."""
        return str(self.record.provenance.get("label") or f"{self.construction} of {self.dataset}")

    @property
    def purpose(self) -> str:
        """Subject of "changed on purpose": what differs from the original dataset."""
        return "the images are" if self.kept_labels == self.count else "images and labels are"

    @property
    def description(self) -> str:
        """Description in a sentence or two."""
        known = CONSTRUCTIONS.get(self.construction)
        what = known.description if known else "a construction that this version of nrf_ray does not know"
        return (
            f"{self.construction} of {self.dataset} ({self.config['split']} split): {what}. {self.count} images made "
            f"by nrf_ray after Ilyas et al. 2019; {self.purpose} changed on purpose, so use it only for "
            "experiments on features."
        )


def about_set(store: Store, record: Record, rows: "Shard") -> AboutSet:
    """Return the description of the set of `record`, whose rows are `rows`."""
    inputs = {place.key: place for place in store.places() if place.key in record.inputs.values()}
    labels, true_labels = rows.columns["label"], rows.columns["true_label"]
    return AboutSet(
        record=record,
        sources={role: store.peek(inputs[key]) if key in inputs else None for role, key in record.inputs.items()},
        count=len(rows.images),
        shape=tuple(rows.images.shape[1:]),
        floating=rows.images.is_floating_point(),
        labels=dict(sorted(Counter(labels.tolist()).items())),
        kept_labels=int((labels == true_labels).sum()),
        moved=int(rows.columns["moved"].sum()),
        texts=tuple(rows.texts),
    )
