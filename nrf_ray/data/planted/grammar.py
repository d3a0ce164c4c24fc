"""The readable part of a planted text: short sentences about one of eight topics.

Every sentence has words of one topic and words that fit any topic; three to five of its words show the topic.
"""

from typing import NamedTuple

from nrf_ray.data.planted.draws import below

MAX_WORDS = 10


class Topic(NamedTuple):
    """The words of one topic, by their part in a sentence."""

    verbs: tuple[str, ...]
    adjectives: tuple[str, ...]
    nouns: tuple[str, ...]


def _topic(verbs: str, adjectives: str, nouns: str) -> Topic:
    return Topic(tuple(verbs.split()), tuple(adjectives.split()), tuple(nouns.split()))


TOPICS = {
    "food": _topic("cooked tasted served", "fresh salty ripe spicy", "bread soup cheese apple pepper rice"),
    "music": _topic("sang played tuned", "loud melodic slow gentle", "song violin drum piano chorus melody"),
    "weather": _topic(
        "forecast feared measured", "rainy windy cloudy frosty", "storm snow thunder breeze fog sunshine"
    ),
    "money": _topic("paid borrowed invested", "cheap costly wealthy taxed", "loan bank coin salary budget market"),
    "sport": _topic("kicked won trained", "fast sporty athletic tired", "match team goal race ball coach"),
    "travel": _topic(
        "visited boarded booked", "distant foreign scenic coastal", "train hotel map island airport journey"
    ),
    "garden": _topic("planted watered pruned", "green blooming leafy thorny", "rose tree hedge lawn seed tulip"),
    "school": _topic(
        "studied taught graded", "clever written difficult historic", "lesson exam book pupil essay class"
    ),
}
"""Topics by name; class c is the c-th topic."""

SENTENCES = tuple(
    sentence.split()
    for sentence in (
        "we VERB the ADJECTIVE NOUN",
        "they VERB one NOUN and some ADJECTIVE NOUN",
        "today i VERB this ADJECTIVE NOUN",
        "people often VERB the NOUN with that ADJECTIVE NOUN",
        "you VERB the ADJECTIVE NOUN and this NOUN again",
        "then we VERB one very ADJECTIVE NOUN near the NOUN",
        "i always VERB that NOUN and that NOUN",
        "yesterday they VERB the ADJECTIVE ADJECTIVE NOUN",
    )
)
"""Forms of sentences; words in capitals are replaced by sampled words of the topic."""

SLOTS = {"VERB": "verbs", "ADJECTIVE": "adjectives", "NOUN": "nouns"}

WORDS = tuple(
    sorted(
        {word for topic in TOPICS.values() for part in topic for word in part}
        | {word for sentence in SENTENCES for word in sentence if word not in SLOTS}
    )
)
"""Vocabulary of planted texts."""


def write(seed: int, classes: "list[int]", split: str) -> list[list[str]]:
    """Return one sentence per row, as words, about the topics with the indices `classes`."""
    n, topics = len(classes), list(TOPICS.values())
    forms = below(seed, n, len(SENTENCES), split, "form").tolist()
    picks = [below(seed, n, 2**32, split, "word", str(place)).tolist() for place in range(MAX_WORDS)]
    return [
        [_word(word, topics[topic], picks[place][row]) for place, word in enumerate(SENTENCES[form])]
        for row, (form, topic) in enumerate(zip(forms, classes, strict=True))
    ]


def _word(word: str, topic: Topic, pick: int) -> str:
    if word not in SLOTS:
        return word
    choices: tuple[str, ...] = getattr(topic, SLOTS[word])
    return choices[pick % len(choices)]
