"""Names mean rows of files: which ones, what they are called, and what a name that cannot be says."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from nrf_ray.data.catalogue import dataset_named, info_of
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.load import load, normalisation
from nrf_ray.data.located import locate
from nrf_ray.data.naming import parse_name, split_names
from nrf_ray.data.outline import Batch, Format, Outline
from nrf_ray.errors import ConfigError
from nrf_ray.sweep.flags import Options
from tests.data.files import labels_of, pixels, write_folder, write_idx, write_parquet
from tests.texts import corpus, write_texts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cells(tmp_path):
    """Return a parquet set of 60 rows sorted by class, without a split."""
    return write_parquet(tmp_path / "my cells é.parquet", pixels(60), labels_of(60))


def rows_of(found, images):
    """Return which rows of `images` the tensors `found` are."""
    table = {image.tobytes(): number for number, image in enumerate(images)}
    return [table[image.numpy().tobytes()] for image in found]


def test_a_comma_in_brackets_parts_no_list():
    assert split_names("digits, parquet:a[:10,:2],folder:b[:3] ,") == ["digits", "parquet:a[:10,:2]", "folder:b[:3]"]


def test_the_name_in_tables_has_no_path_and_the_location_has_it_all(cells, monkeypatch):
    monkeypatch.chdir(cells.parent)
    ref = dataset_named(f"parquet:{cells.name}[:30,:5]").ref
    assert ref.name == "my-cells-é[:30,:5]"
    assert ref.location == f"parquet:{cells}[:30,:5]"
    monkeypatch.chdir("/")
    assert dataset_named(ref.location).ref == ref, "what a worker is sent means the same set there"
    assert info_of(ref).num_train == 30


def test_a_file_that_is_called_like_a_known_set_is_told_from_it(tmp_path):
    file = write_parquet(tmp_path / "digits.parquet", pixels(12), labels_of(12))
    assert dataset_named(f"parquet:{file}").ref.name == "parquet-digits"


def test_a_format_of_ones_own_is_read_by_its_name_and_its_errors_are_one_line(tmp_path, monkeypatch):
    def outline(path):
        return Outline(shape=(3, 8, 8), num_classes=3, num_train=len(np.load(path)) - 6, num_test=6)

    def read(path, split, rows):
        chosen = rows if split == "train" else rows + len(np.load(path)) - 6
        yield Batch(images=np.load(path)[chosen], labels=labels_of(60)[chosen])

    monkeypatch.setitem(FORMATS, "stack", None)  # what is registered is gone after the test
    del FORMATS["stack"]
    FORMATS.register("stack")(Format(files=lambda path: [path], outline=outline, read=read))
    np.save(tmp_path / "a.npy", pixels(60))
    (tmp_path / "b.npy").write_bytes(b"no array")
    info = dataset_named(f"stack:{tmp_path / 'a.npy'}")
    assert (info.num_train, info.num_test) == (54, 6)
    assert np.array_equal(load(info.ref)[1].images.numpy(), pixels(60)[54:])
    assert dataset_named(info.ref.location).ref == info.ref
    assert parse_name(f"stack:{tmp_path / 'a.npy'}@stack:{tmp_path / 'b.npy'}").test.path == tmp_path / "b.npy"
    with pytest.raises(ConfigError, match=r"b\.npy is damaged, or another kind of file \(.*\); replace it"):
        dataset_named(f"stack:{tmp_path / 'b.npy'}")
    with pytest.raises(ConfigError, match="there is another dataset format called 'stack'"):
        FORMATS.register("stack")(Format(files=lambda path: [path], outline=outline, read=read))


def test_one_row_in_six_is_for_testing_and_no_row_is_twice(cells):
    info = dataset_named(f"parquet:{cells}")
    assert (info.num_train, info.num_test, info.num_classes, info.shape) == (50, 10, 3, (3, 8, 8))
    train, test = load(info.ref)
    images = pixels(60)
    train_rows, test_rows = rows_of(train.images, images), rows_of(test.images, images)
    assert sorted(train_rows + test_rows) == list(range(60))
    assert (len(train), len(test)) == (50, 10)
    assert train_rows == sorted(train_rows)
    assert np.array_equal(train.labels, labels_of(60)[train_rows])
    assert len(set(test.labels.tolist())) == 3, "the rows are sorted by class, the test split has all"


def test_fewer_rows_are_a_part_of_more_and_have_all_classes(cells):
    sizes = {n: load(dataset_named(f"parquet:{cells}[:{n},:4]").ref) for n in (10, 25)}
    small, large = ({image.numpy().tobytes() for image in sizes[n][0].images} for n in (10, 25))
    assert (len(small), len(large)) == (10, 25)
    assert small < large
    assert len(set(sizes[10][0].labels.tolist())) == 3
    assert len(sizes[10][1]) == 4
    assert len(load(dataset_named(f"parquet:{cells}[:10]").ref)[1]) == 10, "the test split stays whole"


def test_which_rows_are_kept_is_the_same_for_ever(cells):
    """Numpy keeps raw generator output the same; were this to change, the digest would have to as well."""
    train, test = load(dataset_named(f"parquet:{cells}[:6,:3]").ref)
    images = pixels(60)
    assert rows_of(train.images, images) == [1, 8, 10, 25, 30, 59]
    assert rows_of(test.images, images) == [0, 24, 43]


def test_the_digest_is_of_content_and_choice_and_not_of_place_or_time(cells, tmp_path):
    base = dataset_named(f"parquet:{cells}").ref
    copy = tmp_path / "elsewhere" / cells.name
    copy.parent.mkdir()
    copy.write_bytes(cells.read_bytes())
    os.utime(copy, (1, 1))
    assert dataset_named(f"parquet:{copy}").ref == base
    others = [f"parquet:{cells}[:50]", f"parquet:{cells}[:50,:10]", f"parquet:{cells}[:20]"]
    found = {dataset_named(other).ref.digest for other in others}
    assert len(found | {base.digest}) == 4
    write_parquet(copy, pixels(60, seed=1), labels_of(60))
    assert dataset_named(f"parquet:{copy}").ref.digest != base.digest


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("text-csv:{0}/a.csv", "d63446f0069609d1f62d49a6415b3d9fe5da31ace510128ddb89ff408ebc5e09"),
        ("text-csv:{0}/a.csv[:30,:5]", "7e6c64c2e39e9a760d3f5a4b6c67e84b35ebead6ec7fd6adae9f3864459e41db"),
        ("text-csv:{0}/c", "e304faeac566ef59889dfa06844300e2cf0e76d786ef9dfd68082379bc8f4e7f"),
        ("text-csv:{0}/a.csv@text-csv:{0}/c", "dbe8074a8c8e86493525f8deb80634d0c7c1f7dc929b9019ce62403dfb10d9f4"),
        ("fashion-mnist:{0}/idx[:20]", "1d7ba8d9c3b473d7489d250c061ef3b476aef00ed9725903673ccdbc7a9a6198"),
    ],
)
def test_sets_that_were_right_before_keep_their_digests(name, digest, tmp_path):
    """These are digests of commit b0f8293, before files were chosen by the rules of `members`: keys rest on them."""
    texts, labels = corpus(60)
    write_texts(tmp_path / "a.csv", texts, labels)
    write_texts(tmp_path / "c" / "train.csv", texts[:40], labels[:40])
    write_texts(tmp_path / "c" / "test.csv", texts[40:], labels[40:])
    numbers = np.arange(60) % 3
    test = (pixels(9, (1, 4, 4), seed=2), numbers[:9])
    write_idx(tmp_path / "idx", (pixels(60, (1, 4, 4)), numbers), test, packed=False)
    assert dataset_named(name.format(tmp_path)).ref.digest == digest


@pytest.mark.parametrize(
    ("names", "digest", "another"),
    [
        (("birds_train", "birds_test"), "30a8cc0f7129ee6ec2814fb03622c1800d8bf8015b8094c2c970873234ab22b6", True),
        (("en.training", "en.testing"), "86e961989f73a1c74bc2b5936e19f9237a08ca083a46b8f7ec0d1d21a80c807e", True),
        (("1_train", "2_valid"), "03b4c9ca86740dcfbc49fced06a90235109b955cdb47093ac4835e870c527d88", True),
        (("train", "val"), "f81fc9e004156cafad2cce52bc949ff4f8b3e996f84e4ba7dc4e7a3d03a8c13d", False),
        (("Train-0", "test"), "a8ef1d830ecb731232e2f9ac89a116ac05e4fef76460544c178bcb8f3b05a021", False),
        (("train/a", "test/a"), "10de41a09b18dda3e6bb19ff023735c334ca1f0a618c3a3e1396efdd7bbd5bf3", False),
    ],
)
def test_a_set_that_was_pooled_before_is_another_set_now(names, digest, another, tmp_path):
    """These are digests of commit e1d4fc8. Models of a pooled set have seen test rows: other keys."""
    texts, labels = corpus(60)
    for name, part in zip(names, (slice(0, 40), slice(40, 60)), strict=True):
        write_texts(tmp_path / "set" / f"{name}.csv", texts[part], labels[part])
    info = dataset_named(f"text-csv:{tmp_path / 'set'}")
    assert (info.num_train, info.num_test) == (40, 20)
    assert (info.ref.digest != digest) is another


def test_the_split_of_a_file_is_content_even_if_one_file_is_all(tmp_path):
    file = write_texts(tmp_path / "test.csv", *corpus(60))
    tested, pooled = (locate(f"text-csv:{file}{choice}") for choice in ("", "[splits=none]"))
    assert (tested.test.count, pooled.test.count) == (60, 10)
    assert tested.digest != pooled.digest


def test_the_test_rows_of_another_set_take_the_place_of_its_own(tmp_path):
    train = write_parquet(tmp_path / "a.parquet", pixels(20), labels_of(20))
    test = write_parquet(
        tmp_path / "b.parquet", pixels(9, seed=1), np.arange(9) % 3, split=["train"] * 5 + ["test"] * 4
    )
    info = dataset_named(f"parquet:{train}@parquet:{test}[:8,:2]")
    assert (info.ref.name, info.num_train, info.num_test) == ("a@b[:8,:2]", 8, 2)
    found = load(info.ref)[1]
    assert set(rows_of(found.images, pixels(9, seed=1))) <= {5, 6, 7, 8}


def test_an_at_in_a_path_is_a_part_of_the_path(tmp_path, cells):
    odd = tmp_path / "me@home"
    odd.mkdir()
    name = parse_name(f"folder:{odd}@parquet:{cells}[:3]")
    assert name.test is not None
    assert (name.train.path, name.test.path, name.keep) == (odd, cells, (3, None))
    assert parse_name(name.location) == name


def test_mean_and_std_are_those_of_the_training_pixels(cells):
    ref = dataset_named(f"parquet:{cells}").ref
    images = load(ref)[0].images.double() / 255
    mean, std = normalisation(ref)
    torch.testing.assert_close(torch.tensor(mean).double(), images.mean((0, 2, 3)), rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.tensor(std).double(), images.std((0, 2, 3), correction=0), rtol=1e-6, atol=0)


def test_known_sets_are_looked_for_where_they_are_documented_to_be(home):
    images = pixels(12, (1, 5, 4))
    write_idx(home / "fashion-mnist" / "FashionMNIST" / "raw", (images, labels_of(12)), (images[:3], [0, 1, 2]))
    if not Path("/usr/share/datasets/fashion-mnist").exists():
        info = dataset_named("fashion-mnist[:6]")
        assert (info.ref.name, info.shape, info.num_train, info.num_test) == ("fashion-mnist[:6]", (1, 5, 4), 6, 3)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("mnist", "unknown dataset 'mnist'; known: digits, fashion-mnist, cifar10"),
        ("digits[:10]", "dataset digits is not made of files"),
        ("parquet", "needs a path: write it as parquet:PATH"),
        ("parquet:", "needs a path"),
        ("parquet:/no/where", "there is nothing at /no/where"),
        ("cifar10", "run `nrf fetch cifar10`, or give its path as cifar10:PATH"),
        ("restricted-imagenet", "put ImageNet's folders train and val there"),
        ("parquet:{cells}[:0]", "selects no rows"),
        ("parquet:{cells}[:51]", "asks for 51 rows of a split that has 50"),
        ("parquet:{cells}[:5,:11]", "asks for 11 rows of a split that has 10"),
        ("tensors:{cells}@", "there is nothing at"),
        ("parquet:{cells}@digits", "there is nothing at"),
    ],
)
def test_a_name_that_cannot_be_says_what_to_do_in_one_line(name, words, cells):
    with pytest.raises(ConfigError) as error:
        dataset_named(name.format(cells=cells))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_sets_of_two_kinds_are_not_put_together(tmp_path, cells):
    other = write_parquet(
        tmp_path / "b.parquet", pixels(9, (1, 8, 8)), np.arange(9) % 3, split=["train"] * 5 + ["test"] * 4
    )
    with pytest.raises(ConfigError, match="both need the same shape, kind and classes"):
        dataset_named(f"parquet:{cells}@parquet:{other}")


def test_files_that_changed_after_planning_are_refused(cells):
    ref = dataset_named(f"parquet:{cells}").ref
    write_parquet(cells, pixels(60, seed=5), labels_of(60))
    with pytest.raises(ConfigError, match=r"were changed after this run was planned; run the same command again"):
        load(ref)
    with pytest.raises(ConfigError, match=r"were changed after this run was planned"):
        info_of(ref)


def test_files_that_changed_after_they_were_known_to_this_process_are_refused(cells):
    ref = dataset_named(f"parquet:{cells}").ref
    assert info_of(ref).num_train == 50
    write_parquet(cells, pixels(60, seed=5), labels_of(60))
    with pytest.raises(ConfigError, match=r"were changed after this run was planned"):
        load(ref)


def test_two_datasets_of_one_name_are_not_put_into_one_table(cells, tmp_path):
    other = write_parquet(tmp_path / "b" / cells.name, pixels(60, seed=1), labels_of(60))
    with pytest.raises(ConfigError, match="two datasets are called my-cells-é in the tables; rename the files of one"):
        Options(dataset=f"parquet:{cells},parquet:{other}").grid()


def test_planning_imports_no_torch_and_asks_files_once(tmp_path, home):
    """The second plan reads nothing but what is remembered; the first needs numpy to know which rows are drawn."""
    root = write_folder(tmp_path / "pictures", pixels(12), labels_of(12))
    write_idx(tmp_path / "idx", (pixels(12, (1, 4, 4)), labels_of(12)), (pixels(3, (1, 4, 4)), [0, 1, 2]))
    for file in tmp_path.rglob("*"):
        os.utime(file, (1, 1))
    names = [f"folder:{root}", f"fashion-mnist:{tmp_path / 'idx'}"]
    code = (
        "import sys, time; from nrf_ray.data.catalogue import dataset_named\n"
        "now = time.time_ns; time.time_ns = lambda: now() + 10**10  # the files were written ten seconds ago\n"
        f"print([dataset_named(n).ref.digest for n in {names!r}], {{'torch', 'ray', 'numpy'}} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert first.strip().endswith("{'numpy'}")
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert again == first.replace("{'numpy'}", "set()")
    assert len(list((home / "facts").glob("*.json"))) == 2
    for file in (home / "facts").glob("*.json"):
        file.write_text("{}")
    assert subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout == again


def test_the_command_line_takes_names_with_commas(cells):
    grid = Options(dataset=f"digits,parquet:{cells}[:30,:5]").grid()
    assert grid.datasets == ("digits", f"parquet:{cells}[:30,:5]")
