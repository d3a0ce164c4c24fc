"""A small language with two classes of texts, for tests."""

import csv
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TELLING = (("dull", "poor", "tedious", "awful"), ("bright", "fine", "moving", "lovely"))
OTHERS = ("the", "film", "a", "story", "its", "actor", "camera", "music", "scene", "of", "and", "with", "is", "this")


def corpus(n: int, seed: int = 0) -> tuple[list[str], list[int]]:
    """Return n texts of 3 to 9 words and their labels; two words of each text tell its class."""
    draw = random.Random(seed)
    labels = [number % 2 for number in range(n)]
    texts = []
    for label in labels:
        words = draw.choices(OTHERS, k=draw.randint(1, 7)) + draw.choices(TELLING[label], k=2)
        draw.shuffle(words)
        texts.append(" ".join(words))
    return texts, labels


def write_texts(path: Path, texts, labels, *, split=None) -> Path:
    """Write texts as parquet or CSV, as the ending of `path` says."""
    columns = {"text": list(texts), "label": list(labels), **({"split": list(split)} if split else {})}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
    return path
