"""Printed tables have the means, intervals and n of the rows, and say nothing twice."""

import re

import pytest
from scipy import stats

from nrf_ray.errors import ConfigError
from nrf_ray.export.results import results_tables, to_latex, to_markdown, write_latex, write_markdown
from nrf_ray.results.stored_sweep import find_sweep
from tests.export.made_up import made_up, values

THREE = {0: 0.5, 1: 0.6, 2: 0.7}


def table_of(tmp_path, accuracies, **options):
    sweep = find_sweep(made_up(tmp_path / "store", values(accuracies, **options)), "made_up")
    (table,) = results_tables(sweep)
    return table


def test_rows_of_several_seeds_become_one_with_its_t_interval(tmp_path) -> None:
    table = table_of(tmp_path, {("d_other", 1.0): THREE, ("d", None): {0: 0.9, 1: 0.9, 2: 0.9}})
    half = stats.t.ppf(0.975, 2) * 0.1 / 3**0.5
    assert table.columns == ("construction", "epsilon", "clean_accuracy", "seeds", "n")
    assert table.rows == (
        ("d", "", ".900 ± .000", "3", "100"),
        ("d_other", "1", f".600 ± {half:.3f}".replace("0.", "."), "3", "100"),
    )
    assert table.names == 2


def test_a_single_seed_stands_with_its_wilson_interval(tmp_path) -> None:
    table = table_of(tmp_path, {("d_other", 1.0): {0: 0.5}, ("d_det", 1.0): {0: 0.0}})
    assert table.rows[0][1] == ".000 [.000, .037]"
    assert table.rows[1][1] == ".500 [.404, .596]"


def test_what_is_the_same_in_all_rows_is_said_once(tmp_path) -> None:
    table = table_of(tmp_path, {("d_other", 1.0): THREE, ("d_det", 1.0): THREE})
    assert table.constants == (("sweep", "made_up"), ("epsilon", "1"))
    assert "In all rows: sweep made_up, epsilon 1." in to_markdown(table)
    assert to_latex(table).count("epsilon") == 1


def test_markdown_is_a_table_with_one_line_a_row(tmp_path) -> None:
    lines = to_markdown(table_of(tmp_path, {("a|b", 1.0): THREE, ("c", 1.0): THREE})).splitlines()
    cells = [re.split(r"(?<!\\)\|", line) for line in lines if line.startswith("|")]
    assert len(cells) == 4
    assert len({len(row) for row in cells}) == 1
    assert cells[1][1:-1] == [" --- ", " ---: ", " ---: ", " ---: "]
    assert cells[2][1] == r" a\|b "


def test_latex_has_the_rules_of_booktabs_and_no_letter_that_means_something_else(tmp_path) -> None:
    text = to_latex(table_of(tmp_path, {("50% & $x_1$", 1.0): THREE, ("~^\\{}", 1.0): THREE}))
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"50\% \& \$x\_1\$ & .600 $\pm$ " in text
    assert r"\textasciitilde{}\textasciicircum{}\textbackslash{}\{\} & " in text
    body = text.split(r"\midrule")[1].split(r"\bottomrule")[0].strip().splitlines()
    assert all(len(re.findall(r"(?<!\\)&", row)) == 3 and row.endswith(r" \\") for row in body)
    assert r"\begin{tabular}{lrrr}" in text


@pytest.mark.parametrize(("write", "ending"), [(write_latex, "tex"), (write_markdown, "md")], ids=["latex", "markdown"])
def test_one_file_a_table_in_a_new_folder(write, ending, tmp_path) -> None:
    sweep = find_sweep(made_up(tmp_path / "store", values({("d", 1.0): THREE})), "made_up")
    assert write(sweep, tmp_path / "out") == f"toys.{ending}"
    assert [file.name for file in (tmp_path / "out").iterdir()] == [f"toys.{ending}"]
    with pytest.raises(ConfigError, match="already exists; export to a new folder"):
        write(sweep, tmp_path / "out")


def test_a_table_without_rows_is_left_out(tmp_path) -> None:
    sweep = find_sweep(made_up(tmp_path / "store", []), "made_up")
    assert list(results_tables(sweep)) == []
    assert write_latex(sweep, tmp_path / "out") == "no table"
