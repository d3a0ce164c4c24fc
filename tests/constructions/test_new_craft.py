"""A craft is one file and its entry in the registry: what is written here is all that a new one needs."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import pytest

from nrf_ray.constructions import construct_spec, craft, registry
from nrf_ray.constructions.construct_spec import ConstructSpec
from nrf_ray.constructions.controls import remade, spared
from nrf_ray.constructions.craft import VERIFIERS, Craft, Maker, Setup, Stored, verifies
from nrf_ray.constructions.crafted import Crafted, unseen
from nrf_ray.constructions.registry import CRAFTS, craft_of, spec_named
from nrf_ray.constructions.spec import Features
from nrf_ray.data.catalogue import DatasetRef, dataset_named
from nrf_ray.data.images import as_float, stored_as
from nrf_ray.errors import ConfigError, Registry
from nrf_ray.graph.execute import run_inline
from nrf_ray.graph.store import Store
from nrf_ray.inspection import verify_set
from nrf_ray.inspection.verify_set import recompute
from nrf_ray.sweep.models_and_sets import constructed


@dataclass(frozen=True, kw_only=True)
class Stripes:
    """One bright column for each class."""

    height: float


class BrightStripes(Craft):
    """Images with the column of their class."""

    spec = Stripes
    features: ClassVar[Features] = "pattern"

    def details(self, spec: Stripes) -> tuple[str, ...]:
        return (f"stripes of {spec.height:g}",)

    def make(self, setup: Setup) -> Maker:
        def make(rows: slice) -> Crafted:
            originals, targets = as_float(setup.originals.images[rows]), setup.targets[rows]
            made = originals.clone()
            for row, clean in enumerate(spared(setup, rows)):
                if not clean:
                    made[row, :, :, int(targets[row]) % made.shape[3]] += setup.config.craft.height
            return unseen(originals, stored_as(made.clamp(0, 1), setup.config.storage), "l2")

        return make


def wrong_stripes(stored: Stored) -> Iterator[str]:
    return remade(BrightStripes(), stored)


@pytest.fixture
def registered(monkeypatch):
    crafts, verifiers = Registry.of("crafting method", CRAFTS.values()), Registry("verifier", VERIFIERS)
    monkeypatch.setattr(registry, "CRAFTS", crafts)
    monkeypatch.setattr(construct_spec, "CRAFTS", crafts)
    for module in (craft, verify_set):
        monkeypatch.setattr(module, "VERIFIERS", verifiers)
    crafts.register("Stripes")(BrightStripes())
    verifies(Stripes)(wrong_stripes)
    return verifiers


def test_a_registered_craft_makes_sets_that_are_verified(registered, tmp_path):
    digits = dataset_named("digits")
    made = constructed(digits, "leak_det", Stripes(height=0.5), None, seed=0)
    assert made.construct.label == "leak_det stripes of 0.5 of digits, seed 0"
    assert (made.bound, made.mode, made.start, spec_named("Stripes")) == ((None, None), None, None, Stripes)
    store = Store.open(str(tmp_path / "runs"), create=True)
    assert run_inline([made.construct], store).errors == {}
    record = store.artifact(made.construct).record
    assert record.metrics["share_unmoved"] == 0.0
    assert record.metrics["gradients"] == 0
    known = {digits.ref.digest: digits.ref}
    assert recompute(store, record, known).problems == ()
    registered["Stripes"] = lambda stored: iter(["not so"])
    assert recompute(store, record, known).problems == ("not so",)


def test_what_is_registered_nowhere_is_no_craft():
    ref: DatasetRef = dataset_named("digits").ref
    with pytest.raises(ConfigError, match=r"a Stripes cannot make a constructed set; use one of Attack, .*ClassWords"):
        ConstructSpec(dataset=ref, construction="leak_det", craft=Stripes(height=0.5), seed=0)
    with pytest.raises(ConfigError, match="unknown crafting method 'Stripes'; known: Attack"):
        spec_named("Stripes")
    with pytest.raises(ConfigError):
        craft_of(object())


def test_a_craft_without_make_and_a_second_one_of_a_name_are_refused(registered):
    class Half(Craft):
        spec = Stripes
        features: ClassVar[Features] = "pattern"

    with pytest.raises(TypeError, match=r"abstract method '?make"):
        Half()  # type: ignore[abstract]
    with pytest.raises(ConfigError, match="there is another crafting method called 'Stripes'"):
        registry.CRAFTS.register("Stripes")(BrightStripes())
    with pytest.raises(ConfigError, match="there is another crafting method called 'Stripes'"):
        Registry.of("crafting method", (BrightStripes(), BrightStripes()))
    with pytest.raises(ConfigError, match="there is another verifier called 'Stripes'"):
        verifies(Stripes)(lambda stored: iter(()))

    @dataclass(frozen=True)
    class Attack:
        """Another class of the name of a registered spec."""

    with pytest.raises(ConfigError, match="a Attack cannot make a constructed set"):
        craft_of(Attack())
