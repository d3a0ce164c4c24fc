"""Errors of readers as ConfigErrors of one line: what other libraries raise for a damaged file is not documented."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from nrf_ray.data.outline import Batch, Format, Outline, Rows, Split
from nrf_ray.errors import ConfigError, NrfError, one_line

SHOWN = 200
"""Largest number of characters shown of another library's error."""


def guarded(form: Format) -> Format:
    """Return `form` with readers that raise only ConfigErrors of one line, or errors of the operating system."""

    def outline(path: Path) -> Outline:
        with _one_line(path):
            return form.outline(path)

    def outline_whole(path: Path) -> Outline:
        assert form.outline_whole is not None
        with _one_line(path):
            return form.outline_whole(path)

    def read(path: Path, split: Split, rows: Rows) -> Iterator[Batch]:
        with _one_line(path):
            yield from form.read(path, split, rows)

    def pictures(path: Path, split: Split) -> Sequence[Path]:
        assert form.pictures is not None
        with _one_line(path):
            return form.pictures(path, split)

    embedded_by, chosen_by, named_by = form.embedded_by, form.chosen_by, form.named_by
    return replace(
        form,
        outline=outline,
        outline_whole=outline_whole if form.outline_whole else None,
        read=read,
        pictures=pictures if form.pictures else None,
        embedded_by=(lambda embedding: guarded(embedded_by(embedding))) if embedded_by else None,
        named_by=(lambda name: guarded(named_by(name))) if named_by else None,
        chosen_by=(lambda choices: guarded(chosen_by(choices))) if chosen_by else None,
    )


@contextmanager
def _one_line(path: Path) -> Iterator[None]:
    try:
        yield
    except ConfigError as error:
        if "\n" not in str(error):
            raise
        raise ConfigError(one_line(error)) from error
    except (NrfError, MemoryError, TimeoutError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # from the operating system: the file is missing or may not be read
        reason = f"{type(error).__name__}: {one_line(error, SHOWN)}"
        raise ConfigError(f"{path} is damaged, or another kind of file ({reason}); replace it") from error
