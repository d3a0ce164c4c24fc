"""Commands carried out in this process, as a user gives them."""

import sys

import pytest

from nrf_ray import cli


def nrf(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """Return the exit code of `nrf` with these words, what it printed, and its errors."""
    monkeypatch.setattr(sys, "argv", ["nrf", *words])
    with pytest.raises(SystemExit) as ended:
        cli.nrf_main()
    told = capsys.readouterr()
    code = ended.value.code or 0
    assert isinstance(code, int)
    return code, told.out, told.err
