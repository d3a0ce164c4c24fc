"""Texts in scripts without spaces are cut by character; files that are not UTF-8, or no CSV, are said to be so."""

import bz2
import gzip
import lzma
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.data import embeddings
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.embeddings import LEARNT, learn_words, words_of
from nrf_ray.data.load import load, word_table
from nrf_ray.data.located import locate
from nrf_ray.data.readers import text
from nrf_ray.data.words import UNKNOWN
from nrf_ray.errors import ConfigError
from nrf_ray.run.datasets import dataset_lines
from tests.data.reading import refusal
from tests.texts import corpus, write_texts

TEXTS, LABELS = corpus(60)
FORMER = r"\w+(?:'\w+)*|[^\w\s]"
"""How texts were cut before scripts without spaces were."""
GOOD, BAD = "这部电影很好看我非常喜欢", "这部电影太差了我很不喜欢"
THAI = "หนังเรื่องนี้ดีมาก"


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("好电影", ["好", "电", "影"]),
        ("映画がすき", ["映", "画", "が", "す", "き"]),
        ("ｶﾞ", ["ｶﾞ"]),
        ("か\u3099", ["が"]),
        ("ดีมาก", ["ดี", "ม", "า", "ก"]),
        ("ที่นี่", ["ที่", "นี่"]),
        ("ភាសា", ["ភា", "សា"]),
        ("Win10很好!", ["win10", "很", "好", "!"]),
        ("it's 2° don't", ["it's", "2", "°", "don't"]),
        ("영화 좋다", ["영화", "좋다"]),
    ],
)
def test_a_character_of_a_script_without_spaces_is_a_word(written, words):
    assert words_of(written) == words


def has_marks(written):
    """Return whether a text has combining marks, or letters that could be composed."""
    marks = any(unicodedata.category(char).startswith("M") for char in written)
    return marks or not unicodedata.is_normalized("NFC", written)


@given(st.text(st.characters(exclude_categories=["Cs"], max_codepoint=0x2FFF), max_size=40))
def test_other_scripts_are_cut_as_they_always_were(written):
    import re

    if not LEARNT.by_character(written.lower()) and not has_marks(written.lower()):
        assert words_of(written) == re.findall(FORMER, written.lower())


@given(st.text(max_size=40))
def test_no_letter_is_lost(written):
    composed = unicodedata.normalize("NFC", written.lower())
    assert "".join(words_of(written)) == "".join(composed.split()).replace("\x1c", "")


def test_the_marks_are_those_that_unicode_calls_so():
    import re

    ranges = [chr(code) for code in range(0x0E00, 0x1B00) if LEARNT.by_character(chr(code))]
    joined = {char for char in ranges if re.match(f"[{embeddings.MARKS}]", char) and unicodedata.name(char, "")}
    marks = {char for char in ranges if unicodedata.category(char) in ("Mn", "Mc")}
    assert {unicodedata.name(char) for char in joined - marks} == set()
    assert {unicodedata.name(char) for char in marks - joined} == set()


def chinese(n):
    """Return n texts of two classes, in no two of which all characters are the same."""
    places = np.random.default_rng(0).permuted(np.tile(np.arange(12), (n, 1)), axis=1)
    return ["".join((GOOD, BAD)[row % 2][place] for place in order) for row, order in enumerate(places)], [
        row % 2 for row in range(n)
    ]


def test_chinese_texts_have_words_that_the_test_texts_have_too(tmp_path):
    texts, labels = chinese(60)
    path = write_texts(tmp_path / "reviews.csv", texts, labels)
    ref = dataset_named(f"text-csv:{path}").ref
    read = word_table(ref).texts_of(load(ref)[1].images.numpy())
    assert not any(UNKNOWN in line for line in read)
    assert locate(f"text-csv:{path}").shape[1] == 12
    (line,) = dataset_lines([ref])
    assert "60 texts in scripts without spaces are cut by character" in line


def test_a_set_of_texts_that_were_cut_well_keeps_its_digest(tmp_path):
    """It is the digest of the starting commit; one text in another script makes another one."""
    path = write_texts(tmp_path / "a.csv", TEXTS, LABELS)
    assert (
        dataset_named(f"text-csv:{path}").ref.digest
        == "d63446f0069609d1f62d49a6415b3d9fe5da31ace510128ddb89ff408ebc5e09"
    )
    assert locate(f"text-csv:{path}").by_character == 0
    mixed = write_texts(tmp_path / "b.csv", [*TEXTS[:-1], THAI], LABELS)
    found = locate(f"text-csv:{mixed}")
    assert found.by_character == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "UNSPACED", "\0")  # as before scripts without spaces were known
        patch.setattr("nrf_ray.data.facts.RULES", 0)
        assert locate(f"text-csv:{mixed}").digest != found.digest


def test_texts_of_one_word_are_refused_in_the_plan(tmp_path):
    path = write_texts(tmp_path / "a.csv", [f"word{number}" for number in range(12)], [0, 1] * 6)
    with pytest.raises(ConfigError, match=r"has one word in each training text, and word vectors are learnt from"):
        dataset_named(f"text-csv:{path}")


@pytest.mark.filterwarnings("error")
def test_an_embedding_without_a_pair_of_words_is_refused():
    with pytest.raises(
        ConfigError, match="no training text has two words, and word vectors are learnt from the pairs of words"
    ):
        learn_words([["good"], ["bad"], ["fine"]])
    assert len(learn_words([["good", "film"], ["bad"], ["film"]]).words) == 4
    assert LEARNT.needs_pairs


def test_texts_without_a_known_word_are_refused(tmp_path):
    """Regression: every test text was one repeated vector, as of a script without spaces that nobody named."""
    words = [f"word{number}" for number in range(60)]
    train = [f"good {word} film" for word in words[:30]]
    half = [f"good {word} unseen film {word}{word}" for word in words[:10]]
    for test, refused in (([f"{word}. {word}x" for word in words[30:40]], True), (half, False)):
        path = write_texts(
            tmp_path / f"{refused}.csv", [*train, *test], [0, 1] * 20, split=["train"] * 30 + ["test"] * 10
        )
        ref = dataset_named(f"text-csv:{path}").ref
        if refused:
            with pytest.raises(ConfigError, match=r"30 of 30 words in the texts of .* are unknown to its embedding"):
                load(ref)
        else:
            assert load(ref)[1].images.shape[0] == 10


# Encodings


@pytest.mark.parametrize(
    ("codec", "named"),
    [
        ("utf-16", "UTF-16"),
        ("utf-16-le", "UTF-16LE"),
        ("utf-16-be", "UTF-16BE"),
        ("utf-32", "UTF-32"),
        ("utf-32-le", "UTF-32LE"),
        ("utf-32-be", "UTF-32BE"),
    ],
)
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("first", ["", "编号,"], ids=["letters", "characters"])
def test_an_encoding_of_two_or_four_bytes_is_called_by_its_name(codec, named, packed, first, tmp_path):
    data = f"{first}text,label\n好电影,0\ngood film,1\n".encode(codec)
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert f"is {named} and not UTF-8; convert it: iconv -f {named} -t UTF-8" in refusal(f"text-csv:{path}")
    remedy = data.decode(named).encode()
    path.write_bytes(gzip.compress(remedy) if packed else remedy)
    assert "UTF" not in refusal(f"text-csv:{path}"), "the remedy helps"


def test_a_byte_that_is_no_utf_8_is_found_wherever_it_is(tmp_path):
    lines = ["text,label", *(f"a good film number {number},{number % 2}" for number in range(5000))]
    data = "\n".join(lines).encode()
    place = data.index(b"number 4321,")
    broken = data[:place] + b"caf\xe9 " + data[place:]
    (tmp_path / "a.csv").write_bytes(broken)
    said = refusal(f"text-csv:{tmp_path / 'a.csv'}")
    assert f"a.csv is not UTF-8 in line 4323 (byte {place + 3}): invalid continuation byte" in said
    assert "from the encoding in which it was written: iconv -f ENCODING -t UTF-8" in said
    (tmp_path / "a.csv").write_bytes(b"text,label\n" + "映画 1,0\n".encode("shift-jis"))
    assert "LATIN1" not in refusal(f"text-csv:{tmp_path / 'a.csv'}"), "as Latin-1 any file is text, and the wrong one"


@pytest.mark.parametrize(("codec", "text"), [("iso2022_jp", "良い 映画"), ("iso2022_kr", "좋은 영화")])
def test_an_encoding_of_seven_bits_is_refused(codec, text, tmp_path):
    """Regression: its escapes and ASCII letters were read as words."""
    lines = "".join(f"{text} {number},{number % 2}\n" for number in range(12))
    (tmp_path / "a.csv").write_bytes(("text,label\n" + lines).encode(codec))
    said = refusal(f"text-csv:{tmp_path / 'a.csv'}")
    assert "is ISO-2022 and not UTF-8; convert the file: iconv -f ISO-2022-JP" in said


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (gzip.compress(b"text,label\n", mtime=0), "is not text but compressed by gzip; let its name end in .gz"),
        (bz2.compress(b"text,label\n"), "is not text but compressed by bzip2; unpack it"),
        (lzma.compress(b"text,label\n"), "is not text but compressed by xz; unpack it"),
        (b"PK\x03\x04" + bytes(30), "is not text but a ZIP archive or an Excel workbook"),
        (b"PAR1" + bytes(30), "is not text but a parquet file; let its name end in .parquet"),
    ],
    ids=["gzip", "bzip2", "xz", "zip", "parquet"],
)
def test_a_file_that_is_no_text_is_called_what_it_is(data, words, tmp_path):
    """Regression: it was called text of another encoding, with advice that made it worse."""
    (tmp_path / "a.csv").write_bytes(data)
    assert words in refusal(f"text-csv:{tmp_path / 'a.csv'}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('text,label\ngood,1\n"bad" film,0\n', "in line 3: ',' expected after '\"'"),
        ('text,label\ngood,1\n"bad,0\n', "in line 3: unexpected end of data"),
        ("text,label\ngood,1\nbad\0,0\n", "a.csv"),
        ("text,label\n" + "x" * 17_000_000 + ",1\n", "in line 2: field larger than field limit"),
    ],
)
def test_a_fault_of_a_csv_names_file_and_line(content, words, tmp_path):
    (tmp_path / "a.csv").write_text(content)
    said = refusal(f"text-csv:{tmp_path / 'a.csv'}")
    assert "a.csv" in said
    assert words in said


def test_a_compressed_csv_is_read_and_a_damaged_or_endless_one_refused(tmp_path, monkeypatch):
    plain = write_texts(tmp_path / "plain.csv", TEXTS, LABELS)
    data = gzip.compress(plain.read_bytes())
    packed = tmp_path / "a.CSV.gz"
    packed.write_bytes(data)
    images = [load(dataset_named(f"text-csv:{path}").ref)[0].images.numpy() for path in (plain, packed)]
    assert np.array_equal(*images)
    for damaged in (data[:-9], data[:40], b"\x1f\x8b" + bytes(30), b"text,label\n"):
        packed.write_bytes(damaged)
        assert "a.CSV.gz" in refusal(f"text-csv:{packed}")
    monkeypatch.setattr(text, "MAX_BYTES", 100_000)
    packed.write_bytes(gzip.compress(b"text,label\n" + b"good film,1\n" * 100_000))
    assert "unpacks to more than 100000 bytes" in refusal(f"text-csv:{packed}")
