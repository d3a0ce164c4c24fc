"""Pictures of any size as squares of one: upright, antialiased, over white, in colour if one is."""

import io
import os
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from torchvision.transforms import functional

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.load import load, pictures_as_shown, train_pictures
from nrf_ray.data.outline import Choices
from nrf_ray.data.readers.sized import decode_as
from nrf_ray.errors import ConfigError
from nrf_ray.graph.execute import execute
from nrf_ray.graph.store import Store
from nrf_ray.stages.train import TrainSpec, train
from nrf_ray.training import fit
from nrf_ray.training.crops import crops_of
from nrf_ray.training.recipes import Augmentation, Recipe
from tests.data.files import labels_of, pixels, png, write_folder, write_parquet
from tests.data.reading import refusal

CENTRE, WHOLE = Choices(size="8", crop="center"), Choices(size="8", crop="none")


def photos(sizes, seed=0):
    """Return a colour picture [3, h, w] of each size (h, w)."""
    return [pixels(1, (3, *size), seed + number)[0] for number, size in enumerate(sizes)]


def stored(picture, form="PNG", **options):
    """Return a Pillow picture as bytes."""
    out = io.BytesIO()
    picture.save(out, form, **options)
    return out.getvalue()


def tagged(picture, orientation, form="PNG"):
    """Return a Pillow picture as bytes with an orientation tag."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return stored(picture, form, exif=exif)


# One picture


@pytest.mark.parametrize("size", [(16, 16), (16, 24), (40, 16), (24, 48), (8, 10)])
def test_a_whole_ratio_is_resized_and_cut_as_torchvision_does(size):
    picture = Image.fromarray(pixels(1, (*size, 3))[0])
    resized = functional.resize(picture, [8])
    expected = np.asarray(functional.center_crop(resized, [8])).transpose(2, 0, 1)
    assert np.array_equal(decode_as(stored(picture), "x", (3, 8, 8), CENTRE), expected)


def test_without_a_crop_all_of_a_picture_is_in_the_square():
    halves = np.zeros((3, 16, 64), np.uint8)
    halves[:, :, 48:] = 200
    centre, whole = (decode_as(png(halves), "x", (3, 8, 8), choices) for choices in (CENTRE, WHOLE))
    assert centre.max() == 0, "the middle 16 columns are black"
    assert (whole[:, :, :5] == 0).all()
    assert (whole[:, :, 7] == 200).all()


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.tuples(*[st.integers(0, 255)] * 3), st.sampled_from("cn"))
@settings(max_examples=60, deadline=None)
def test_one_colour_stays_that_colour_at_any_size(size, colour, crop):
    picture = Image.new("RGB", size, colour)
    found = decode_as(stored(picture), "x", (3, 8, 8), CENTRE if crop == "c" else WHOLE)
    assert (found == np.array(colour)[:, None, None]).all()


@given(st.integers(1, 30), st.integers(1, 30), st.sampled_from(["center", "none"]))
@settings(max_examples=40, deadline=None)
def test_a_mirrored_picture_gives_the_mirrored_square(height, width, crop):
    picture, choices = pixels(1, (3, height, width), seed=height)[0], Choices(size="8", crop=crop)
    plain, mirrored = (decode_as(png(p), "x", (3, 8, 8), choices) for p in (picture, picture[:, :, ::-1]))
    assert np.abs(plain[:, :, ::-1].astype(int) - mirrored).max() <= 1, "the middle is the middle"


def test_shrinking_averages_over_all_pixels():
    board = np.indices((96, 128)).sum(0) % 2 * 255
    found = decode_as(png(board[None].astype(np.uint8)), "x", (1, 8, 8), CENTRE)
    assert np.abs(found.astype(int) - 127.5).max() < 3, "every eighth pixel alone would be black or white"


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_its_tag_says(orientation, form):
    data = tagged(Image.fromarray(pixels(1, (16, 32, 3))[0]), orientation, form)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    expected = np.asarray(upright.resize((8, 8), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(decode_as(data, "x", (3, 8, 8), WHOLE), expected)


def test_tags_that_pillow_cannot_write_again_do_not_matter():
    picture = Image.fromarray(pixels(1, (16, 8, 3))[0])
    tags = ((0x0112, 3, 1, b"\0\x06\0\0"), (0x011A, 2, 3, b"72\0\0"))  # a resolution that is a text
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x02" + b"".join(struct.pack(">HHI4s", *tag) for tag in tags) + bytes(4)
    data = stored(picture, exif=exif)
    with pytest.raises(TypeError):
        ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    found = decode_as(data, "x", (3, 8, 8), CENTRE)
    assert np.array_equal(found, decode_as(tagged(picture, 6), "x", (3, 8, 8), CENTRE))


def test_a_damaged_tag_is_refused_in_one_line():
    data = stored(Image.fromarray(pixels(1, (8, 8, 3))[0]), exif=b"Exif\0\0nonsense")
    with pytest.raises(ConfigError, match=r"^x is damaged: [^\n]+$"):
        decode_as(data, "x", (3, 8, 8), CENTRE)


def test_transparent_parts_are_over_white():
    black = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    black.paste((255, 0, 0, 128), (0, 8, 16, 16))
    found = decode_as(stored(black), "x", (3, 16, 16), Choices(size="16", crop="center"))
    assert (found[:, :8] == 255).all()
    assert found[:, 9:].transpose(1, 2, 0).reshape(-1, 3).tolist() == [[255, 127, 127]] * 112
    grey = Image.new("LA", (8, 8), (0, 0))
    assert (decode_as(stored(grey), "x", (1, 8, 8), CENTRE) == 255).all()
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    assert (decode_as(stored(palette, transparency=1), "x", (3, 8, 8), CENTRE) == 255).all()
    assert decode_as(stored(palette, transparency=0), "x", (3, 8, 8), CENTRE)[:, 0, 0].tolist() == [10, 20, 30]


# A set


def test_a_folder_and_a_parquet_file_of_the_same_photos_are_the_same_images(tmp_path):
    shots = photos([(9 + n % 5, 20 - n) for n in range(12)])
    folder = write_folder(tmp_path / "a", shots, labels_of(12))
    file = tmp_path / "b.parquet"
    write_parquet(file, pixels(12), labels_of(12))
    table = pq.read_table(file)
    column = [[png(shot) for shot in shots]]
    pq.write_table(table.set_column(0, "image", column), file)
    sets = [load(dataset_named(f"{name}[size=8]").ref) for name in (f"folder:{folder}", f"parquet:{file}")]
    for ours, theirs in zip(*sets, strict=True):
        assert ours.images.shape[1:] == (3, 8, 8)
        assert torch.equal(ours.images, theirs.images)
        assert torch.equal(ours.labels, theirs.labels)
    every = torch.cat([part.images for part in sets[0]])
    assert {image.numpy().tobytes() for image in every} == {
        decode_as(png(shot), "x", (3, 8, 8), CENTRE).tobytes() for shot in shots
    }


def test_grey_and_colour_together_are_in_colour_and_grey_alone_is_grey(tmp_path):
    shots = [shot[:1] if number != 7 else shot for number, shot in enumerate(photos([(9, 12)] * 12))]
    mixed = load(dataset_named(f"folder:{write_folder(tmp_path / 'a', shots, labels_of(12))}[size=8]").ref)
    every = torch.cat([part.images for part in mixed])
    assert every.shape == (12, 3, 8, 8)
    assert sum(bool((image[0] == image[1]).all()) for image in every) == 11
    shots[7] = shots[7][:1]
    assert dataset_named(f"folder:{write_folder(tmp_path / 'b', shots, labels_of(12))}[size=8]").shape == (1, 8, 8)


def test_unequal_sizes_are_refused_with_a_remedy_that_works(tmp_path):
    root = write_folder(tmp_path / "a", photos([(9 + n, 20 - n) for n in range(12)]), labels_of(12))
    remedy = re.search(r"write (\[\S+\]) behind the path", refusal(f"folder:{root}"))
    assert dataset_named(f"folder:{root}{remedy[1]}").shape == (3, 64, 64)


def test_what_was_done_is_in_name_and_digest(tmp_path):
    root = write_folder(tmp_path / "a", photos([(16, 16)] * 12), labels_of(12))
    names = ["", "[size=8]", "[size=16]", "[size=8,crop=none]"]
    infos = [dataset_named(f"folder:{root}{name}") for name in names]
    assert len({info.ref.digest for info in infos}) == 4
    assert [info.ref.name for info in infos] == ["a", "a[size=8,crop=center]", "a[size=16,crop=center]", f"a{names[3]}"]
    for same in ("[size=8,crop=center]", "[crop=center,size=8]", "[size=8][crop=center]"):
        assert dataset_named(f"folder:{root}{same}").ref == infos[1].ref
    fewer = dataset_named(f"folder:{root}[splits=none,size=8][:5]")
    assert (fewer.ref.name, fewer.num_train) == ("a[size=8,crop=center][:5]", 5)
    assert dataset_named(fewer.ref.location).ref == fewer.ref


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("[size=0]", "wrong choice [size=0]; write [size=64], or another side of 1 to 1024 pixels"),
        ("[size=1025]", "wrong choice [size=1025]"),
        ("[size=8x8]", "wrong choice [size=8x8]"),
        ("[size=]", "wrong choice [size=]"),
        ("[crop=center]", "without a size; write [size=64,crop=center]"),
        ("[size=8,crop=left]", "wrong choice [crop=left]; write [crop=center] or [crop=none]"),
        ("[size=8,size=9]", "gives [size=...] twice"),
        ("[size=8,colour=grey]", "unknown choice in"),
    ],
)
def test_a_choice_that_cannot_be_is_refused(choice, words, tmp_path):
    root = write_folder(tmp_path / "a", photos([(16, 16)] * 12), labels_of(12))
    assert words in refusal(f"folder:{root}{choice}")


def test_pictures_that_cannot_be_resized_are_refused(tmp_path):
    lists = write_parquet(tmp_path / "a.parquet", pixels(12), labels_of(12), form="uint8")
    assert "holds lists of pixels" in refusal(f"parquet:{lists}[size=8]")
    root = write_folder(tmp_path / "b", photos([(9, 12)] * 12), labels_of(12))
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(root / "bee" / "deep.png")
    (root / "ant" / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    found = refusal(f"folder:{root}[size=8]")
    assert "2 of 14 pictures cannot be used" in found
    assert "bee/deep.png has 16 bits per channel" in found


# Random crops for training


def test_training_crops_are_cut_from_the_whole_upright_photos(tmp_path):
    wide = np.zeros((3, 8, 64), np.uint8)
    wide[:, :, 32:] = 255
    root = write_folder(tmp_path / "a", [wide] * 12, labels_of(12))
    for file in root.glob("*/*.png"):
        number = int(file.stem)
        wide[0, 0, 0] = number  # no two rows are equal
        file.write_bytes(tagged(Image.fromarray(wide.transpose(1, 2, 0)), 6))
    ref = dataset_named(f"folder:{root}[size=8]").ref
    files = train_pictures(ref)
    assert len(files) == 10
    assert pictures_as_shown(ref)
    views = crops_of(files * 4, (3, 8, 8), 0.05, torch.Generator().manual_seed(0), True).float().mean((1, 3))
    assert (views.diff(dim=1) >= -1).all(), "dark above and bright below: upright"
    assert views[:, 0].max() > 200, "some crops are below the middle"
    assert views[:, -1].min() < 55, "some are above it"
    assert train_pictures(dataset_named(f"folder:{root}[size=8,crop=none]").ref) is None
    assert train_pictures(dataset_named(f"folder:{root}").ref) is None


def test_the_train_stage_cuts_photos_as_they_are_shown(tmp_path, monkeypatch):
    root = write_folder(tmp_path / "a", photos([(12, 30)] * 12), labels_of(12))
    seen = []
    monkeypatch.setattr(fit, "crops_of", lambda *how: (seen.append(how), crops_of(*how))[1])
    recipe = Recipe(epochs=1, lr=0.01, batch_size=10, augmentation=Augmentation(min_area=0.08))
    ref = dataset_named(f"folder:{root}[size=8]").ref
    stage = train(TrainSpec(arch="resnet_s", dataset=ref, recipe=recipe, seed=0))
    execute(stage, Store.open(str(tmp_path / "store"), create=True))
    ((files, shape, _, _, as_shown),) = seen
    assert (sorted(files), tuple(shape), as_shown) == (sorted(train_pictures(ref)), (3, 8, 8), True)


# The real thing


@pytest.mark.slow
def test_two_hundred_photos_of_forty_sizes_run_through_a_smoke_sweep(tmp_path):
    random, sizes = np.random.default_rng(0), set()
    for number in range(200):
        height, width = 20 + number % 8 * 11, 24 + number // 8 % 5 * 17
        shot = random.integers(0, 120, (height, width, 3), dtype=np.uint8)
        shot[:, :, number % 2] += 100  # reddish, greenish
        picture = Image.fromarray(shot).convert(("RGB", "RGB", "RGBA", "L" if number % 2 else "P")[number // 2 % 4])
        file = tmp_path / "photos" / ("red", "green")[number % 2] / f"{number}.{'jpg' if number % 8 == 0 else 'png'}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(tagged(picture, number % 9 or 1, "JPEG" if file.suffix == ".jpg" else "PNG"))
        sizes.add(picture.size)
    assert len(sizes) == 40
    command = [sys.executable, "sweeps/transfer_grid.py", "--preset", "smoke", "--store", str(tmp_path / "runs")]
    root = Path(__file__).resolve().parents[2]
    ended = subprocess.run(
        [*command, "--dataset", f"folder:{tmp_path / 'photos'}[size=16,crop=center]"],
        cwd=root, env={**os.environ, "NRF_DATA": str(tmp_path / "home")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    results = pq.read_table(tmp_path / "runs" / "sweeps" / "transfer_grid" / "results.parquet").to_pandas()
    assert set(results.dataset) == {"photos[size=16,crop=center]"}
