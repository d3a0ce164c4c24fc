"""Vowel signs, points and accents belong to the letter before them, in every script."""

import re
import unicodedata

import pytest

from nrf_ray.data.catalogue import dataset_named
from nrf_ray.data.embeddings import LEARNT, TOKEN, words_of
from nrf_ray.data.load import load, shared_rows
from nrf_ray.data.located import locate
from tests.texts import corpus, write_texts

TEXTS, LABELS = corpus(60)


@pytest.mark.parametrize(
    "words",
    [
        ["मैं", "हिन्दी", "में", "किताब", "पढ़ता", "हूँ"],
        ["தமிழ்", "மொழி"],
        ["বাংলা", "ভাষা"],
        ["السَّلَامُ", "عَلَيْكُمْ"],
        ["שָׁלוֹם", "עוֹלָם"],
        ["ශ්\u200dරී", "ලංකා"],
        ["i\u0307stanbul", "güzel"],
        ["\U00011315\U0001133f", "\U00011315"],
    ],
    ids=["Hindi", "Tamil", "Bengali", "Arabic", "Hebrew", "Sinhala", "Turkish", "Grantha"],
)
def test_words_with_marks_are_whole(words):
    """Regression: each mark was a word, and each piece between marks was another."""
    composed = [unicodedata.normalize("NFC", word) for word in words]
    assert words_of(" ".join(words)) == composed
    assert words_of(" ".join(words) + ".") == [*composed, "."]
    assert words_of("İstanbul") == ["i\u0307stanbul"]


@pytest.mark.parametrize("text", ["Café naïve", "tiếng Việt, d'où", "한국어 영화", "映画が すき", "Ελλάδα"])
def test_both_spellings_of_a_letter_are_one_word(text):
    apart = unicodedata.normalize("NFD", text)
    assert apart != text
    assert words_of(apart) == words_of(text) == re.findall(TOKEN, text.lower())
    assert LEARNT.newly_cut(apart)
    assert not LEARNT.newly_cut(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("❤\ufe0f good", ["❤", "\ufe0f", "good"]),
        ("\u0301good film", ["\u0301", "good", "film"]),
        ("می\u200cخواهم", ["می", "\u200c", "خواهم"]),  # noqa: RUF001
        ("ที่นี่", ["ที่", "นี่"]),
    ],
    ids=["sign", "start", "Persian", "Thai"],
)
def test_marks_without_a_letter_and_joiners_without_a_mark_are_cut_as_ever(text, words):
    assert words_of(text) == words
    assert not LEARNT.newly_cut(text)


def test_only_a_set_whose_words_change_gets_another_digest(tmp_path, monkeypatch):
    names = {}
    for name, last in (("plain", "Größe, ❤\ufe0f и мир"), ("marked", "मैं हिन्दी पढ़ता हूँ")):
        names[name] = f"text-csv:{write_texts(tmp_path / f'{name}.csv', [*TEXTS[:-1], last], LABELS)}"
    now = {name: locate(text).digest for name, text in names.items()}
    monkeypatch.setattr("nrf_ray.data.facts.RULES", 0)
    monkeypatch.setattr("nrf_ray.data.embeddings.words_of", lambda text: re.findall(TOKEN, text.lower()))
    before = {name: locate(text).digest for name, text in names.items()}
    assert {name for name in names if now[name] != before[name]} == {"marked"}


def test_a_test_text_that_is_a_training_text_in_the_other_spelling_is_counted(tmp_path):
    train = [f"{text} café {number}" for number, text in enumerate(TEXTS[:50])]
    test = [
        unicodedata.normalize("NFD", train[0]),
        *(f"café film {train[0].split()[number % 3]} {number}" for number in range(100, 249)),
    ]
    rows, labels = [*train, *test], [number % 2 for number in range(200)]
    path = write_texts(tmp_path / "a.csv", rows, labels, split=["train"] * 50 + ["test"] * 150)
    ref = dataset_named(f"text-csv:{path}").ref
    load(ref)
    assert shared_rows(ref) == 1
