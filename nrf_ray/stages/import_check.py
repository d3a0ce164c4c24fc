"""Check of a model from elsewhere: does it know the classes of a dataset, before anything is made with it?"""

from dataclasses import dataclass

import torch

from nrf_ray.data.catalogue import DatasetRef, info_of
from nrf_ray.data.images import some
from nrf_ray.data.load import test_split
from nrf_ray.engine.predict import predict
from nrf_ray.models.classifier import Classifier

ALPHA = 0.05
"""Level of the test against chance."""
LOOK_AT = "its normalisation, the order of its classes, its architecture, and the size and colours of the images"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Accuracy of a model on some test images."""

    n: int
    """Number of images."""
    accuracy: float
    """Share of the images that the model classifies correctly."""
    chance: float
    """Accuracy on these images of the best constant prediction: the share of the most frequent class."""
    p: float
    """p value of the exact binomial test that the model is not better than that prediction."""
    images: tuple[int, ...]
    """Images of each class."""
    right: tuple[int, ...]
    """Correctly classified images of each class."""
    mostly: tuple[int, ...]
    """Class that the model predicts most often for images of each class; -1 if there are none."""

    @property
    def at_chance(self) -> bool:
        """Whether the model is not significantly better than a constant prediction."""
        return self.p >= ALPHA

    @property
    def doubt(self) -> str | None:
        """What is wrong and what to look at; None if the accuracy is at least half way from chance to 1."""
        if self.at_chance:
            why = f"not significantly above the {self.chance:.3f} of always naming one class (p = {self.p:.2g})"
        elif self.accuracy < (1 + self.chance) / 2:
            why = f"less than half way from chance ({self.chance:.3f}) to 1"
        else:
            return None
        return (
            f"accuracy {self.accuracy:.3f} on {self.n} test images is {why}; look at {LOOK_AT}: `nrf import MODEL "
            "--data SET --check` prints the accuracy of each class"
        )


def check_model(model: Classifier, dataset: DatasetRef, images: int) -> Checked:
    """Return the accuracy of `model` on at most `images` test images of `dataset`, on the device of the model.

    They are the first of one fixed permutation of the test split.
    """
    from scipy.stats import binomtest

    test, classes = test_split(dataset), info_of(dataset).num_classes
    test = test.rows(some(len(test), images))
    predicted, labels = predict(model, test.images).cpu(), test.labels.cpu()
    per_class = torch.bincount(labels, minlength=classes)
    hits = torch.bincount(labels[predicted == labels], minlength=classes)
    mostly = [predicted[labels == label] for label in range(classes)]
    right, chance = int(hits.sum()), float(per_class.max()) / len(test)
    return Checked(
        n=len(test),
        accuracy=right / len(test),
        chance=chance,
        p=float(binomtest(right, len(test), chance, alternative="greater").pvalue),
        images=tuple(per_class.tolist()),
        right=tuple(hits.tolist()),
        mostly=tuple(int(found.mode().values) if len(found) else -1 for found in mostly),
    )
