"""Texts: read from parquet and CSV, embedded by words that lie well inside the box, and read back as they were."""

import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import sparse

from nrf_ray.data import embeddings
from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.embeddings import LEARNT, WIDTH, learn_words, words_of
from nrf_ray.data.formats import FORMATS
from nrf_ray.data.load import load, normalisation, word_table
from nrf_ray.data.planted import grammar, parse_planted
from nrf_ray.data.planted.generate import generate
from nrf_ray.data.readers import text
from nrf_ray.data.splitting import split_rows
from nrf_ray.data.words import LEVELS, UNKNOWN, WORD_MEAN, Scaling, WordTable, table_of
from nrf_ray.errors import ConfigError
from nrf_ray.models.classifier import WORD_FROM
from tests.texts import corpus, write_texts

TEXTS, LABELS = corpus(60)


@pytest.fixture
def csv_set(tmp_path: Path) -> str:
    return f"text-csv:{write_texts(tmp_path / 'reviews.csv', TEXTS, LABELS)}"


def refusal(name: str) -> str:
    """Return the one line with which the set `name` is refused when it is planned."""
    with pytest.raises(ConfigError) as error:
        dataset_named(name)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_set_of_texts_is_a_set_of_images_of_one_channel(csv_set):
    info = dataset_named(csv_set)
    train, test = load(info.ref)
    assert (info.kind, info.num_classes, info.num_train, info.num_test) == ("texts", 2, 50, 10)
    assert info.shape == (1, 9, WIDTH), "19 of 20 texts have at most nine words"
    assert tuple(train.images.shape) == (50, *info.shape)
    assert tuple(test.images.shape) == (10, *info.shape)
    assert info.ref.name == "reviews"


@pytest.mark.parametrize("ending", ["parquet", "csv"])
def test_what_was_embedded_is_read_back(tmp_path, ending):
    path = write_texts(tmp_path / f"set.{ending}", TEXTS, LABELS, split=["train"] * 50 + ["test"] * 10)
    ref = dataset_named(f"text-{ending}:{path}").ref
    table = word_table(ref)
    train, test = load(ref)
    assert table.texts_of(train.images.numpy()) == TEXTS[:50]
    assert table.texts_of(test.images.numpy()) == TEXTS[50:]
    assert train.labels.tolist() == LABELS[:50]


def test_both_forms_of_the_same_texts_hold_the_same_vectors(tmp_path):
    sets = [load(dataset_named(f"text-{end}:{write_texts(tmp_path / f'a.{end}', TEXTS, LABELS)}").ref) for end in
            ("csv", "parquet")]  # fmt: skip
    assert np.array_equal(sets[0][0].images, sets[1][0].images)


def test_a_folder_has_its_splits_in_files(tmp_path):
    write_texts(tmp_path / "set" / "train-00000.parquet", TEXTS[:40], LABELS[:40])
    write_texts(tmp_path / "set" / "validation-00000.parquet", TEXTS[40:], LABELS[40:])
    info = dataset_named(f"text-parquet:{tmp_path / 'set'}")
    assert (info.num_train, info.num_test) == (40, 20)


def test_the_test_texts_may_come_from_another_file(tmp_path):
    train = write_texts(tmp_path / "a.csv", TEXTS[:40], LABELS[:40])
    texts, split = [*TEXTS[40:58], "unheard things", "the film"], ["train"] * 18 + ["test"] * 2
    test = write_texts(tmp_path / "b.csv", texts, LABELS[40:], split=split)
    ref = dataset_named(f"text-csv:{train}@text-csv:{test}").ref
    assert word_table(ref).texts_of(load(ref)[1].images.numpy()) == [f"{UNKNOWN} {UNKNOWN}", "the film"]


def test_the_table_is_learnt_from_the_training_texts_alone(tmp_path):
    split = ["train"] * 50 + ["test"] * 10
    tables = []
    for name, last in (("a", "the film"), ("b", "another word entirely")):
        path = write_texts(tmp_path / f"{name}.csv", [*TEXTS[:59], last], LABELS, split=split)
        tables.append(word_table(dataset_named(f"text-csv:{path}").ref))
    assert tables[0].words == tables[1].words
    assert np.array_equal(tables[0].vectors, tables[1].vectors)


def test_no_test_text_is_in_the_outline_where_no_column_says_which_they_are(tmp_path):
    """Neither its length nor its label: the rows that the set is split into decide."""
    tests = set(split_rows(len(TEXTS))[1].tolist())
    longer = [f"{text} {'and ' * 20}" if row in tests else text for row, text in enumerate(TEXTS)]
    path = write_texts(tmp_path / "a.csv", longer, LABELS)
    info = dataset_named(f"text-csv:{path}")
    known = sorted(len(text.split()) for row, text in enumerate(TEXTS) if row not in tests)
    assert info.shape[1] == known[math.ceil(0.95 * len(known)) - 1] < 20
    train, test = (split.images.numpy()[:, 0].any(axis=2) for split in load(info.ref))
    assert (len(train), len(test)) == (info.num_train, info.num_test) == (50, 10)
    assert test.all(), "the longer texts are the test texts, and are cut"
    labels = [2 if row in tests else label for row, label in enumerate(LABELS)]
    path = write_texts(tmp_path / "b.csv", TEXTS, labels)
    assert "has a row with label 2, which no training row has" in refusal(f"text-csv:{path}")


def test_words_lie_well_inside_the_box_and_apart_from_padding(csv_set):
    ref = dataset_named(csv_set).ref
    table = word_table(ref)
    assert (table.vectors.mean(axis=1) >= WORD_MEAN * LEVELS).all()
    assert WORD_MEAN > WORD_FROM + 0.05, "a small step does not make padding of a word"
    assert len({vector.tobytes() for vector in table.vectors}) == len(table.words) == len(set(table.words))
    mean, std = normalisation(ref)
    lengths = np.linalg.norm((table.vectors / LEVELS - mean) / std, axis=1)
    np.testing.assert_allclose(lengths, WIDTH**0.5, rtol=0.02)


def test_pairs_of_words_may_be_counted_in_blocks(monkeypatch):
    tokens = [words_of(text) for text in corpus(50)[0]]
    whole = learn_words(tokens)
    monkeypatch.setattr("nrf_ray.data.embeddings.BLOCK", 7)
    assert np.array_equal(learn_words(tokens).vectors, whole.vectors)


def test_the_embedding_does_not_depend_on_the_order_of_texts_but_on_what_stands_together():
    tokens = [words_of(text) for text in corpus(400)[0]]
    first, turned = learn_words(tokens), learn_words(tokens[::-1])
    assert first.words == turned.words
    assert np.abs(first.vectors.astype(int) - turned.vectors).max() <= 1
    places = {word: place for place, word in enumerate(first.words)}
    vectors = first.vectors / LEVELS - 0.5

    def alike(left, right):
        return vectors[places[left]] @ vectors[places[right]]

    same = np.mean([alike("dull", word) for word in ("poor", "tedious", "awful")])
    assert same > np.mean([alike("dull", word) for word in ("bright", "fine", "moving", "lovely")])


def table(words, rows):
    return table_of(words, np.array(rows, float), Scaling((0.5,) * 4, (0.1,) * 4))


def test_equal_vectors_are_told_apart_by_one_level():
    made = table(["a", "b", "c"], [[1, 0, 0, 0]] * 3)
    apart = np.abs(made.vectors.astype(int) - made.vectors[0]).sum(axis=1)
    assert apart.tolist() == [0, 1, 2]
    assert made.texts_of(made.embed([["a", "b", "c"]], 4)) == ["a b c"]


def test_a_moved_vector_is_read_as_the_nearest_word_and_padding_as_none():
    made = table(["a", "b"], [[2, 0, 0, 0], [0, 2, 0, 0]])
    levels = made.embed([["a", "b"]], 3)
    levels[0, 0, 0, 2] += 9
    assert made.places_of(levels).tolist() == [[[0, 1, -1]]]


def test_neighbours_known_answer():
    made = table(["<unk>", "a", "b", "c", "d"], [[0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 0, 2], [0, 0, 0, 4], [0, 0, 4, 9]])
    assert made.neighbours(2)[1:].tolist() == [[2, 3], [1, 3], [2, 1], [3, 2]]
    assert made.neighbours(1, among=3)[:, 0].tolist() == [1, 2, 1, 2, 2], "among the first three, <unk> left out"
    with pytest.raises(ConfigError, match="a word among 4 has 1 to 3 neighbours, not 4"):
        made.neighbours(4)
    assert made.typical_distance() == pytest.approx(np.median([0.1, 0.1, 0.2, 0.5]), abs=0.005)


def test_a_word_near_the_corner_of_padding_is_refused():
    with pytest.raises(ConfigError, match="1 words, 'low' among them, are too near"):
        table(["a", "low"], [[0, 0, 0, 0], [-4, -4, -4, -4]])


def test_the_digest_is_of_the_texts_and_of_how_they_are_embedded(tmp_path):
    path = write_texts(tmp_path / "a.csv", TEXTS, LABELS)
    before = dataset_named(f"text-csv:{path}").ref.digest
    assert dataset_named(f"text-csv:{path}[:20]").ref.digest != before
    form = FORMATS["text-csv"]
    assert form.embedding is LEARNT
    assert form.embedded_by is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FORMATS, "text-csv", form.embedded_by(replace(LEARNT, identity="another")))
        assert dataset_named(f"text-csv:{path}").ref.digest != before
    write_texts(path, [*TEXTS[:-1], "one more film"], LABELS)
    assert dataset_named(f"text-csv:{path}").ref.digest != before


def test_texts_are_planned_without_torch(csv_set):
    code = (
        "import sys; from nrf_ray.data.catalogue import dataset_named; "
        f"dataset_named({csv_set!r}); print({{'torch', 'ray', 'transformers'}} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        ([*TEXTS[:9], ""], LABELS[:10], r"row 9 of .* is an empty text; remove it"),
        ([*TEXTS[:9], "  "], LABELS[:10], r"row 9 of .* is an empty text; remove it"),
        (TEXTS[:10], [0] * 10, r"has 1 classes in its training rows; there must be at least two"),
        (TEXTS[:10], [0, 2] * 5, r"no training row has label 1; number the classes"),
    ],
    ids=["empty", "blank", "one class", "a gap"],
)
@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_bad_rows_are_refused_in_one_line(tmp_path, ending, texts, labels, said):
    path = write_texts(tmp_path / f"a.{ending}", texts, labels)
    assert re.search(said, refusal(f"text-{ending}:{path}"))


def test_labels_out_of_range_and_what_is_no_text_are_refused(tmp_path):
    path = write_texts(tmp_path / "a.csv", TEXTS[:12], [0, 1] * 5 + [5, 0], split=["train"] * 10 + ["test"] * 2)
    assert "has a row with label 5, which no training row has; the labels of its classes are 0 to 1" in refusal(
        f"text-csv:{path}"
    )
    path = write_texts(tmp_path / "b.csv", TEXTS[:4], [0, 1, -1, 0])
    assert "row 2" in refusal(f"text-csv:{path}")
    path = write_texts(tmp_path / "c.parquet", TEXTS[:4], [0.0, 1.0, 0.0, 1.0])
    assert "labels of type double" in refusal(f"text-parquet:{path}")


def test_an_unknown_encoding_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("text,label\ncafé noir,0\ngood,1\n".encode("latin-1"))
    assert "is not UTF-8 in line 2 (byte 14): invalid continuation byte; convert it from the encoding" in refusal(
        f"text-csv:{path}"
    )


def test_texts_of_a_parquet_that_are_no_utf_8_are_refused(tmp_path):
    made = pa.array([b"caf\xe9", b"good"], pa.binary()).view(pa.string())
    pq.write_table(pa.table({"text": made, "label": [0, 1]}), tmp_path / "a.parquet")
    assert "has texts that are not UTF-8 (byte 3" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")


def test_a_label_of_many_digits_is_no_label(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(f"text,label\ngood,{'1' * 5000}\n")
    assert "labels are whole numbers" in refusal(f"text-csv:{path}")


@pytest.mark.parametrize(
    ("content", "said"),
    [("review,label\ngood,1\n", "has no column text; it has review, label"), ("", "has no column label or text"),
     ('text,label\n"good,1\n', "is not a readable CSV file"),
     ("label,text\n1,good, but long\n", "(it ends in line 2) does not have one value for each of the 2 columns"),
     ("label,text\n0,bad\n1\n", "row 1 of"),
     ("text,label,text\ngood,1,bad\n", "has 2 columns called text; keep only one")],
    ids=["other names", "nothing", "an open quote", "a comma without quotes", "half a row", "a column twice"],
)  # fmt: skip
def test_what_is_no_such_csv_is_refused(tmp_path, content, said):
    path = tmp_path / "a.csv"
    path.write_text(content)
    assert said in refusal(f"text-csv:{path}")


def test_what_is_no_parquet_of_texts_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 no")
    assert "is not a readable parquet file" in refusal(f"text-parquet:{path}")
    assert "there is no file *.csv in" in refusal(f"text-csv:{tmp_path}")


def test_a_folder_that_is_called_like_a_file_is_none(tmp_path):
    (tmp_path / "set" / "old.csv").mkdir(parents=True)
    assert "there is no file *.csv in" in refusal(f"text-csv:{tmp_path / 'set'}")


@pytest.mark.parametrize("split", [[["train"]] * 4, [0] * 4], ids=["lists", "numbers"])
def test_a_split_that_is_no_name_is_refused(tmp_path, split):
    path = write_texts(tmp_path / "a.parquet", TEXTS[:4], LABELS[:4], split=split)
    assert "has a split called" in refusal(f"text-parquet:{path}")


@pytest.mark.parametrize("kind", [pa.int64(), pa.list_(pa.string()), pa.binary()], ids=str)
def test_a_column_of_another_type_is_no_text(tmp_path, kind):
    texts = pa.array([{"int64": 0, "binary": b"good"}.get(str(kind), [])] * 4, kind)
    pq.write_table(pa.table({"text": texts, "label": [0, 1, 0, 1]}), tmp_path / "a.parquet")
    assert "they must be strings" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")


@pytest.mark.parametrize("kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str)
def test_texts_of_every_type_of_string_are_read(tmp_path, kind):
    pq.write_table(pa.table({"text": pa.array(TEXTS).cast(kind), "label": LABELS}), tmp_path / "a.parquet")
    assert dataset_named(f"text-parquet:{tmp_path / 'a.parquet'}").num_train == 50


def test_columns_of_one_name_are_refused(tmp_path):
    columns = [pa.array(TEXTS[:4]), pa.array(TEXTS[4:8]), pa.array(LABELS[:4])]
    pq.write_table(pa.Table.from_arrays(columns, ["text", "text", "label"]), tmp_path / "a.parquet")
    assert "has 2 columns called text; keep only one" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_file_of_too_many_rows_is_not_read(tmp_path, monkeypatch, ending):
    monkeypatch.setattr(text, "MAX_ROWS", len(TEXTS) - 1)
    path = write_texts(tmp_path / f"a.{ending}", TEXTS, LABELS)
    assert "rows" in (said := refusal(f"text-{ending}:{path}"))
    assert said.endswith("write smaller files")


def test_a_short_file_of_endless_texts_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "MAX_BYTES", 10**6)
    same = pa.DictionaryArray.from_arrays(np.zeros(4000, np.int8), pa.array(["good " * 1000]))
    pq.write_table(pa.table({"text": same, "label": [0, 1] * 2000}), tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 50_000
    assert "has 20000000 bytes of texts" in refusal(f"text-parquet:{tmp_path / 'a.parquet'}")


def test_a_file_without_a_split_beside_others_that_have_one_is_refused(tmp_path):
    for name in ("train-0", "test-0", "unsupervised-0"):
        write_texts(tmp_path / "set" / f"{name}.parquet", TEXTS, LABELS)
    said = refusal(f"text-parquet:{tmp_path / 'set'}")
    assert "cannot tell the split of unsupervised-0.parquet in" in said
    assert "it has no column `split`, and neither its name nor its folder's has a split word" in said


@pytest.mark.parametrize(
    "names", [("train_0", "test_0"), ("Train", "Test"), ("train/0", "validation/0"), ("a", "test-0")]
)
def test_splits_are_read_in_names_of_files_and_folders(tmp_path, names):
    for name, part in zip(names, (slice(40), slice(40, 60)), strict=True):
        write_texts(tmp_path / "tests" / f"{name}.csv", TEXTS[part], LABELS[part])
    if names[0] == "a":
        assert "cannot tell the split of a.csv in" in refusal(f"text-csv:{tmp_path / 'tests'}")
    else:
        info = dataset_named(f"text-csv:{tmp_path / 'tests'}")
        assert (info.num_train, info.num_test) == (40, 20)


def test_names_that_only_look_like_a_split_are_none(tmp_path):
    write_texts(tmp_path / "test_sets" / "trained.csv", TEXTS, LABELS)
    assert dataset_named(f"text-csv:{tmp_path / 'test_sets'}").num_train == 50


def test_a_link_to_nowhere_is_not_passed_over(tmp_path):
    write_texts(tmp_path / "set" / "train-0.csv", TEXTS, LABELS)
    (tmp_path / "set" / "train-1.csv").symlink_to(tmp_path / "gone.csv")
    assert "No such file" in refusal(f"text-csv:{tmp_path / 'set'}")


def test_words_with_line_breaks_are_kept_as_they_are(tmp_path, monkeypatch):
    odd = ["bad\n", "good", "film\nnoir", '"', "\\n", "\u2028"]
    learn = lambda texts: table_of(odd, np.eye(WIDTH)[: len(odd)], Scaling((0.5,) * WIDTH, (0.1,) * WIDTH))  # noqa: E731
    embedding = replace(LEARNT, identity="odd", tokenise=lambda text: ["good", "film\nnoir"], learn=learn)
    monkeypatch.setitem(FORMATS, "text-csv", text.format_of("csv", embedding))
    ref = dataset_named(f"text-csv:{write_texts(tmp_path / 'a.csv', TEXTS, LABELS)}").ref
    table = word_table(ref)
    assert table.words == tuple(odd)
    assert table.texts_of(load(ref)[1].images.numpy())[0] == "good film\nnoir"


def test_an_embedding_is_named_for_texts_alone_and_before_the_at(tmp_path, csv_set):
    assert "write #hf:NAME behind the path, and only for texts" in refusal(f"parquet:{tmp_path}#hf:x")
    assert "an encoder is written #hf:NAME, and only for texts" in refusal(f"{csv_set}#glove")
    assert "write #hf:NAME behind the path, and only for texts" in refusal(f"{csv_set}#hf:"), "not the learnt embedding"
    assert "write #hf:NAME before the @ only" in refusal(f"{csv_set}@{csv_set}#hf:x")


def test_a_split_of_another_name_is_refused(tmp_path):
    path = write_texts(tmp_path / "a.csv", TEXTS[:4], LABELS[:4], split=["train", "train", "train", "unseen"])
    assert "has a split called 'unseen'" in refusal(f"text-csv:{path}")


def test_a_vocabulary_of_one_word_is_refused():
    with pytest.raises(ConfigError, match="have 1 different words"):
        learn_words([["film"], ["film"]])


def test_planted_texts_are_read_back_word_by_word():
    ref = dataset_named("planted-text").ref
    levels = (load(ref)[0].images[:20] * LEVELS).round().byte().numpy()
    read = word_table(ref).texts_of(levels)
    assert read == [" ".join(words) for words in grammar_of(ref)[:20]]
    with pytest.raises(ConfigError, match="dataset planted-image holds no texts"):
        word_table(dataset_named("planted-image").ref)


def grammar_of(ref):
    """Return the sentences behind the planted texts `ref`, one a row."""
    spec = parse_planted(ref.name)
    made = generate(spec, "train")
    return grammar.write(spec.seed, made.human.tolist(), "train")


def test_a_table_without_an_unknown_word_has_every_token():
    made = table(["a"], [[1, 0, 0, 0]])
    assert isinstance(made, WordTable)
    with pytest.raises(AssertionError):
        made.embed([["b"]], 2)


def test_all_rows_are_for_training_where_another_set_is_tested_on(tmp_path):
    """A class that only rows have which would else be set aside is one, and their length counts."""
    aside = set(split_rows(len(TEXTS))[1].tolist())
    texts = [f"{text} {'and ' * 20}".strip() if row in aside else text for row, text in enumerate(TEXTS)]
    train = write_texts(tmp_path / "a.csv", texts, [2 if row in aside else LABELS[row] for row in range(len(TEXTS))])
    test = write_texts(tmp_path / "b.csv", TEXTS[:4], LABELS[:4], split=["train", "train", "test", "test"])
    info = dataset_named(f"text-csv:{train}@text-csv:{test}")
    assert (info.num_classes, info.num_train, info.num_test) == (3, len(TEXTS), 2)
    assert info.shape[1] > 20


def test_words_of_texts_that_follow_a_template_are_learnt_the_same_each_time():
    """Regression: hundreds of equal singular values, of which ARPACK chose other vectors at each call."""
    texts = [words_of(f"word{number} some other words {number % 2} number{number}") for number in range(250)]
    once, again = learn_words(texts), learn_words(texts)
    assert once.words == again.words
    assert (once.vectors == again.vectors).all()


def test_equal_singular_values_are_told_apart_at_the_price_of_a_percent():
    draws = np.random.Generator(np.random.PCG64(0)).standard_normal((60, 60))
    left, _ = np.linalg.qr(draws)
    values = np.array([9.0, 7.0, *[5.0] * 8, *np.linspace(3, 0.1, 50)])
    matrix = sparse.csr_matrix(left * values @ left.T)
    vectors, found = embeddings._told_apart(matrix, 10)
    assert np.allclose(found, values[:10], rtol=2 * embeddings.NOISE)
    assert np.allclose(vectors @ vectors.T, left[:, :10] @ left[:, :10].T, atol=0.05)
    assert np.diff(np.sort(found)).min() > embeddings.TIED * 9.0
