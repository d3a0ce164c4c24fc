"""Plans without files: the published sizes stand in, and nothing can be run on them."""

import pytest

from nrf_ray.data.catalogue import dataset_named, info_of
from nrf_ray.data.published import SIZES, planning_name
from nrf_ray.errors import ConfigError
from tests.data.files import labels_of, pixels, write_parquet


@pytest.fixture(autouse=True)
def nothing_here(monkeypatch, tmp_path):
    monkeypatch.setenv("NRF_DATA", str(tmp_path / "empty"))


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "restricted-imagenet"])
def test_a_known_set_that_is_not_here_is_planned_by_its_published_size(name):
    info = dataset_named(planning_name(name))
    assert (info.shape, info.num_classes, info.num_train, info.num_test) == SIZES[name]
    assert info.ref.name == f"{name} (not here)"
    assert info_of(info.ref) == info


def test_what_is_kept_of_it_counts():
    info = dataset_named(planning_name("cifar10[:10000,:500]"))
    assert (info.num_train, info.num_test) == (10_000, 500)
    assert dataset_named(planning_name("cifar10[:10000]")).num_test == 10_000


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        ("[:0]", "selects no rows"),
        ("[:10,:0]", "selects no rows"),
        ("[:50001]", "asks for 50001 rows of a split that has 50000"),
        ("[:10,:10001]", "asks for 10001 rows of a split that has 10000"),
    ],
)
def test_no_more_is_kept_than_there_is_and_no_less_than_a_row(kept, message):
    with pytest.raises(ConfigError, match=message):
        dataset_named(planning_name(f"cifar10{kept}"))


def test_a_set_that_is_here_keeps_its_name(tmp_path):
    path = write_parquet(tmp_path / "here.parquet", pixels(12), labels_of(12))
    assert planning_name(f"parquet:{path}") == f"parquet:{path}"
    assert planning_name("digits") == "digits"


@pytest.mark.parametrize("name", ["mnist", "parquet:/no/such/file", "folder:/no/such/folder"])
def test_what_is_neither_here_nor_known_is_refused(name):
    with pytest.raises(ConfigError):
        planning_name(name)


def test_nothing_can_be_loaded_from_a_published_size():
    from nrf_ray.data.load import load

    with pytest.raises(ConfigError, match="published"):
        load(dataset_named("published:cifar10").ref)
    with pytest.raises(ConfigError, match="unknown published dataset 'mnist'"):
        dataset_named("published:mnist")
