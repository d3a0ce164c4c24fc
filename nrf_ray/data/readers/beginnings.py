"""Files of another kind than their name says, recognised by their first bytes."""

from pathlib import Path

LONGEST = 64
"""Number of first bytes that are compared."""
BEGINNINGS = {
    b"version https://git-lfs": "a pointer of Git LFS in place of the data; run `git lfs pull` in its repository",
    b"<!DOCTYPE": "HTML, perhaps the page of a failed download; download the file again",
    b"<!doctype": "HTML, perhaps the page of a failed download; download the file again",
    b"<html": "HTML, perhaps the page of a failed download; download the file again",
    b"\x1f\x8b": "compressed by gzip; let its name end in .gz if it is a CSV file, or unpack it",
    b"PAR1": "a parquet file; let its name end in .parquet, and read it as one, as in text-parquet:PATH",
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; unpack it, or export the table as CSV",
    b"\xd0\xcf\x11\xe0": "an Excel workbook; export the table as CSV",
    b"SQLite format 3": "a database of SQLite; export the table as CSV",
    b"ARROW1": "an Arrow file; write it as parquet",
    b"BZh": "compressed by bzip2; unpack it",
    b"\xfd7zXZ": "compressed by xz; unpack it",
    b"(\xb5/\xfd": "compressed by zstd; unpack it",
}
"""Kind and remedy by the first bytes."""


def kind_of(data: bytes) -> str:
    """Return the kind of the file that begins with `data`, and a remedy; empty if it is none of `BEGINNINGS`."""
    head = data[:LONGEST].lstrip()
    return next((kind for start, kind in BEGINNINGS.items() if head.startswith(start)), "")


def other_kind(path: Path, own: bytes) -> str:
    """Return `kind_of` for the file at `path`; empty if it begins with `own`, as files of the expected kind do."""
    with path.open("rb") as content:
        head = content.read(LONGEST)
    return "" if head.startswith(own) else kind_of(head)
