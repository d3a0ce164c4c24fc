"""What every stage would stumble over is found in the headers of pictures, when a set is first looked at."""

import io
import struct
import zlib

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from nrf_ray.data import facts
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.readers import pictures
from nrf_ray.data.readers.headers import Header, header_of, plain_pngs
from nrf_ray.errors import ConfigError
from tests.data.files import pixels, png, write_folder, write_parquet
from tests.data.reading import IMAGES, LABELS


def planned(name):
    """Return the one line with which the set `name` is refused when it is planned; nothing is decoded for it."""
    with pytest.raises(ConfigError) as error:
        dataset_named(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(colour, size=(8, 8), bits=16):
    """Return a whole PNG with `bits` a channel of the colour type `colour`."""
    channels = {0: 1, 2: 3, 4: 2, 6: 4}[colour]
    row = b"\0" + bytes(range(256)) * 8
    lines = b"".join(row[: 1 + size[0] * channels * bits // 8] for _ in range(size[1]))
    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")


def jpeg(mode, size=(8, 8), **options):
    out = io.BytesIO()
    Image.new(mode, size).save(out, "JPEG", **options)
    return out.getvalue()


MODES = ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"]


@given(st.sampled_from(MODES), st.integers(1, 40), st.integers(1, 40))
def test_headers_of_png_say_what_pillow_says(mode, width, height):
    out = io.BytesIO()
    Image.new(mode, (width, height)).save(out, "PNG")
    header = header_of(out.getvalue())
    assert header == Header(
        1 if mode in ("1", "L", "LA", "I;16") else 3, height, width, {"I;16": 16, "1": 1, "P": header.bits}.get(mode, 8)
    )
    if mode != "I;16":
        assert pictures.picture_shape(out.getvalue(), "x") == header[:3]


@given(
    st.sampled_from(["L", "RGB", "CMYK"]),
    st.integers(1, 300),
    st.integers(1, 300),
    st.booleans(),
    st.binary(max_size=70),
)
@example("RGB", 8, 8, True, b"x" * 60_000)
def test_headers_of_jpeg_say_what_pillow_says(mode, width, height, progressive, comment):
    data = jpeg(mode, (width, height), progressive=progressive, comment=comment)
    header = header_of(data)
    assert header == Header(1 if mode == "L" else 3, height, width, 8)
    assert pictures.picture_shape(data, "x") == header[:3]


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", png(IMAGES[0]), jpeg("RGB")]))
def test_any_bytes_give_a_header_or_none(data, start):
    found = header_of(start[:40] + data)
    assert found is None or min(found.channels, found.bits) > 0


@given(st.data())
def test_a_damaged_picture_is_decoded_as_pillow_does_or_refused(data):
    """Pillow raises whatever it likes, also an IndexError for some rare kinds."""
    whole = data.draw(
        st.sampled_from([png(IMAGES[0]), png(IMAGES[0], "P"), png(IMAGES[0], "LA"), jpeg("L"), jpeg("RGB")])
    )
    place = data.draw(st.integers(8, len(whole) - 1))
    broken = bytearray(whole)
    broken[place] = data.draw(st.integers(0, 255))
    cut = bytes(broken[: data.draw(st.integers(place, len(whole)))])
    try:
        shape = pictures.picture_shape(cut, "x")
        found = pictures.decode(cut, "x", shape)
    except ConfigError as error:
        if "\n" in str(error):
            pytest.fail(f"more than one line: {error}")
        return
    with Image.open(io.BytesIO(cut)) as image:
        expected = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
    assert np.array_equal(found, expected[None] if shape[0] == 1 else expected.transpose(2, 0, 1))


def test_an_error_of_pillow_of_any_kind_is_one_line(monkeypatch):
    def damaged(self, mode):
        raise IndexError("palette\nindex out of range")

    monkeypatch.setattr(Image.Image, "convert", damaged)
    with pytest.raises(ConfigError, match=r"^x is damaged: palette index out of range$"):
        pictures.decode(png(IMAGES[0]), "x", (3, 8, 8))


@pytest.mark.parametrize("colour", [0, 2, 4, 6], ids=["grey", "RGB", "grey with alpha", "RGB with alpha"])
def test_sixteen_bits_are_refused_alike_in_every_kind(colour, tmp_path):
    with pytest.raises(ConfigError, match="x has 16 bits per channel; convert it"):
        pictures.decode(deep_png(colour), "x", (3, 8, 8))
    with Image.open(io.BytesIO(deep_png(colour))) as image:
        image.load()  # a whole picture, which Pillow cuts to 8 bits
    images = pixels(12, (1, 8, 8)) if colour in (0, 4) else IMAGES
    root = write_folder(tmp_path / "a", images, LABELS)
    (root / "bee" / "001.png").write_bytes(deep_png(colour))
    assert "1 of 12 pictures cannot be used: bee/001.png has 16 bits per channel" in planned(f"folder:{root}")
    column = pa.array([png(image) for image in images[:11]] + [deep_png(colour)])
    pq.write_table(pa.table({"image": column, "label": LABELS}), tmp_path / "a.parquet")
    assert "1 of 12 pictures cannot be used: row 11 of a.parquet has 16 bits" in planned(
        f"parquet:{tmp_path / 'a.parquet'}"
    )
    for lower in (8, 4 if colour == 0 else 8):
        assert pictures.decode(deep_png(colour, bits=lower), "x", (3, 8, 8)).shape == (3, 8, 8)


def test_one_picture_of_another_size_among_many_is_named_in_the_plan(tmp_path):
    images = pixels(60, (3, 10, 10))
    root = write_folder(tmp_path / "photos", images, np.arange(60) % 3)
    (root / "ant" / "zz.jpg").write_bytes(jpeg("RGB", (3024, 3024)))
    said = planned(f"folder:{root}")
    assert "1 of 61 pictures cannot be used: ant/zz.jpg is 3024 x 3024 pixels and the first picture 10 x 10;" in said
    assert "write [size=64" in said
    (root / "ant" / "zz.jpg").rename(root / "ant" / "000.jpg")  # now it is the first
    assert "1 of 61 pictures cannot be used: ant/000.jpg is 3024 x 3024 pixels and most pictures 10 x 10" in planned(
        f"folder:{root}"
    )


def test_all_that_is_wrong_is_counted_and_some_of_it_named(tmp_path):
    root = write_folder(tmp_path / "a", pixels(30, (3, 8, 8)), np.arange(30) % 3)
    for number, data in enumerate((b"no picture", jpeg("RGB", (9, 9)), deep_png(2), b"", png(IMAGES[0])[:20])):
        (root / "cat" / f"x{number}.png").write_bytes(data)
    said = planned(f"folder:{root}")
    assert "5 of 35 pictures cannot be used: cat/x0.png is not a readable PNG or JPEG" in said
    assert (
        "cat/x1.png is 9 x 9 pixels and the first picture 8 x 8, cat/x2.png has 16 bits per channel and 2 more;" in said
    )
    assert "0x" not in said, "the same words in every run"


@pytest.mark.parametrize("form", ["png", "hf"])
def test_encoded_images_of_a_table_are_looked_at_too(form, tmp_path):
    file = write_parquet(tmp_path / "a.parquet", IMAGES, LABELS, form=form)
    table = pq.read_table(file)
    odd = [png(pixels(1, (3, 8, 9))[0]), jpeg("RGB", (5, 5)), None]
    data = [row["bytes"] if form == "hf" else row for row in table["image"].to_pylist()]
    data[3], data[9] = odd[:2]
    column = pa.array([{"bytes": one, "path": None} for one in data]) if form == "hf" else pa.array(data)
    pq.write_table(table.set_column(0, "image", column), file, row_group_size=5)
    said = planned(f"parquet:{file}")
    assert (
        "2 of 12 pictures cannot be used: row 3 of a.parquet is 9 x 8 pixels and the first picture 8 x 8, row 9" in said
    )


def test_pictures_of_many_kinds_that_are_one_set_are_taken(tmp_path):
    kinds = [png(IMAGES[0]), png(IMAGES[1], "L"), png(IMAGES[2], "P"), png(IMAGES[3], "RGBA"), png(IMAGES[4], "1")]
    kinds += [jpeg("RGB"), jpeg("L"), jpeg("CMYK"), jpeg("RGB", exif=b"Exif\0\0" + bytes(60_000))]
    pq.write_table(pa.table({"image": kinds * 2, "label": [0, 1] * 9}), tmp_path / "a.parquet")
    assert dataset_named(f"parquet:{tmp_path / 'a.parquet'}").shape == (3, 8, 8)


@given(
    st.lists(st.sampled_from([png(IMAGES[0]), png(IMAGES[0], "L"), jpeg("RGB"), b"", b"x" * 30, deep_png(2)])),
    st.data(),
)
def test_plain_png_are_told_from_all_others_wherever_an_array_begins(data, draw):
    whole = pa.array([b"before", *data, b"after"], draw.draw(st.sampled_from([pa.binary(), pa.large_binary()])))
    part = whole.slice(1, len(data))
    plain = [item in (png(IMAGES[0]), png(IMAGES[0], "L")) for item in data]
    assert plain_pngs(part, (3, 8, 8)).tolist() == plain
    grey = [item == png(IMAGES[0], "L") for item in data]
    assert plain_pngs(part, (1, 8, 8)).tolist() == grey


def test_headers_are_looked_at_once_and_remembered(tmp_path, monkeypatch):
    import os

    root = write_folder(tmp_path / "a", IMAGES, LABELS)
    for file in root.rglob("*"):
        os.utime(file, (1, 1))
    monkeypatch.setattr(facts, "SETTLED_SECONDS", -1.0)
    first = dataset_named(f"folder:{root}")
    monkeypatch.setattr(facts, "_remembered", {})
    monkeypatch.setattr(pictures, "_read_header", None)
    assert dataset_named(f"folder:{root}") == first


def test_that_pictures_cannot_be_used_is_remembered_and_forgotten_with_a_change(tmp_path, monkeypatch):
    """Regression: every plan read a refused set again."""
    import os

    root = write_folder(tmp_path / "a", IMAGES, LABELS)
    odd = root / "ant" / "zz.png"
    odd.write_bytes(png(pixels(1, (3, 9, 9))[0]))
    for file in root.rglob("*"):
        os.utime(file, (1, 1))
    monkeypatch.setattr(facts, "SETTLED_SECONDS", -1.0)
    said = planned(f"folder:{root}")
    assert "1 of 13 pictures cannot be used" in said
    for memory in ({}, facts._remembered):
        with monkeypatch.context() as patch:
            patch.setattr(facts, "_remembered", memory)
            patch.setattr(facts, "_digest", None)
            patch.setattr(pictures, "_read_header", None)
            assert planned(f"folder:{root}") == said
    odd.unlink()
    assert dataset_named(f"folder:{root}").num_classes == 3
