"""What is known of one constructed set, gathered from its record and its rows for people and for programs."""

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
    "index": "row of the original split whose label this image was made to bear",
    "start": "row of the original split that the image was made from; -1 for noise",
    "label": "t, the label to train on",
    "true_label": "y, the label of the original image at `index`",
    "seed": "what decided the targets and the starts",
    "loss": "on the stored image: the source's cross-entropy towards t, or for d_robust and d_nonrobust the relative "
    "distance of the representations; null where no source was used",
    "norm": "how far the stored image lies from where it started, in the norm of the construction (l2 where it has "
    "none), pixels in [0, 1]",
    "distance": "how far the stored image lies from the original image at `index`, in the same norm",
    "moved": "whether the stored image differs from its start at 8 bits",
    "prediction": "the source's prediction before the pixels were rounded; -1 where no source was used",
    "prediction_stored": "the source's prediction on the stored image; -1 where no source was used",
}
"""What the columns beside the image mean."""

READABLE: Mapping[str, str] = {
    "text": "the text with words replaced, as people read it; its vectors are the image",
    "original": "the text that it was made of",
}
"""What the further columns of texts mean whose words were replaced."""

PAPER = (
    "Andrew Ilyas, Shibani Santurkar, Dimitris Tsipras, Logan Engstrom, Brandon Tran, Aleksander Madry. Adversarial "
    "Examples Are Not Bugs, They Are Features. NeurIPS 2019. arXiv:1905.02175"
)


@dataclass(frozen=True, kw_only=True)
class AboutSet:
    """One constructed set."""

    record: Record
    """Of its `construct` stage."""
    sources: Mapping[str, Record | None]
    """Records of the stages that it was made from, by role; None for one that the store no longer has."""
    count: int
    """Images."""
    shape: tuple[int, ...]
    """Channels, height, width."""
    floating: bool
    """Whether its pixels are float32 in [0, 1]; else they are 8 bits."""
    labels: Mapping[int, int]
    """Images by label t."""
    kept_labels: int
    """Images whose label t is the label y of the original."""
    moved: int
    """Images that differ from their start at 8 bits."""
    texts: tuple[str, ...] = ()
    """Names of the columns that people can read; none for images."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Every column beside the image, and what it means."""
        return {**COLUMNS, **{name: READABLE[name] for name in self.texts}}

    @property
    def config(self) -> Mapping[str, Any]:
        """Everything that decides its content."""
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
        """What people call it."""
        return str(self.record.provenance.get("label") or f"{self.construction} of {self.dataset}")

    @property
    def purpose(self) -> str:
        """What is not as it was."""
        return "the images are" if self.kept_labels == self.count else "images and labels are"

    @property
    def description(self) -> str:
        """What it is, in a sentence or two."""
        known = CONSTRUCTIONS.get(self.construction)
        what = known.description if known else "a construction that this version of nrf_ray does not know"
        return (
            f"{self.construction} of {self.dataset} ({self.config['split']} split): {what}. {self.count} images made "
            f"by nrf_ray after Ilyas et al. 2019; {self.purpose} changed on purpose, so it is for experiments on "
            "features and for nothing else."
        )


def about_set(store: Store, record: Record, rows: "Shard") -> AboutSet:
    """Return what is known of the set of `record`, whose rows are `rows`."""
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
