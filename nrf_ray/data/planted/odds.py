"""Probabilities that the parts of an example show its label, and the best accuracies they allow, in closed form.

Let A be "the human part shows the label" and B "the noise part shows the label". P(A) = p_human, P(B) = p_noise, and
both happen with probability p_human p_noise + rho sd(A) sd(B). A part that does not show the label shows one of the
other k - 1 classes with equal probability, independently of the other part. Labels are uniform.
"""

import math
from dataclasses import dataclass

from nrf_ray.errors import ConfigError

ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Odds:
    """The joint distribution of label, human class and noise class."""

    classes: int
    """Number of classes k."""
    p_human: float
    """P(A)."""
    p_noise: float
    """P(B)."""
    correlation: float
    """Correlation rho of A and B."""

    def __post_init__(self) -> None:
        for name in ("p_human", "p_noise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name}={getattr(self, name):g} is out of range; give a number from 0 to 1")
        if not -1 <= self.correlation <= 1:
            raise ConfigError(f"correlation={self.correlation:g} is out of range; give a number from -1 to 1")
        spread = self._spread
        if self.correlation and spread == 0:
            raise ConfigError(
                f"correlation={self.correlation:g} is impossible if a part shows the label always or never (p_human="
                f"{self.p_human:g}, p_noise={self.p_noise:g}); leave it out, or choose both strictly between 0 and 1"
            )
        lowest, highest = max(0.0, self.p_human + self.p_noise - 1), min(self.p_human, self.p_noise)
        both = self.p_human * self.p_noise + self.correlation * spread
        if not lowest - ROUNDING <= both <= highest + ROUNDING:
            low, high = ((end - self.p_human * self.p_noise) / spread for end in (lowest, highest))
            raise ConfigError(
                f"correlation={self.correlation:g} is impossible with p_human={self.p_human:g} and p_noise="
                f"{self.p_noise:g}; give a number from {low:.4g} to {high:.4g}"
            )

    @property
    def _spread(self) -> float:
        return math.sqrt(self.p_human * (1 - self.p_human) * self.p_noise * (1 - self.p_noise))

    @property
    def both(self) -> float:
        """P(A and B)."""
        joint = self.p_human * self.p_noise + self.correlation * self._spread
        return min(max(joint, 0.0, self.p_human + self.p_noise - 1), self.p_human, self.p_noise)

    @property
    def neither(self) -> float:
        """P(neither A nor B)."""
        return max(0.0, 1 - self.p_human - self.p_noise + self.both)

    @property
    def bayes_human(self) -> float:
        """Best accuracy from the human part alone: max(p, (1 - p) / (k - 1))."""
        return self._alone(self.p_human)

    @property
    def bayes_noise(self) -> float:
        """Best accuracy from the noise part alone: max(p, (1 - p) / (k - 1))."""
        return self._alone(self.p_noise)

    @property
    def bayes(self) -> float:
        """Best accuracy from both parts together.

        If the parts agree, the label is the class they show or any other class. If they differ, it is the class of the
        human part, the class of the noise part, or any third class. Predicting the likeliest of these is correct with
        probability max(P(A B), n / (k - 1)**2) + max(P(A) - P(A B), P(B) - P(A B), n / (k - 1)) with
        n = P(not A, not B); the last term counts only for k > 2.
        """
        others = self.classes - 1
        agree = max(self.both, self.neither / others**2)
        third = self.neither / others if others > 1 else 0.0
        return agree + max(self.p_human - self.both, self.p_noise - self.both, third)

    def _alone(self, p: float) -> float:
        return max(p, (1 - p) / (self.classes - 1))
