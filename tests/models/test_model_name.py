"""Names of models on the command line: what each form says, lists of names, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nrf_ray.errors import ConfigError
from nrf_ray.models.model_name import CHOICES, FORMS, parse_model, split_models
from nrf_ray.models.robustbench import ENTRIES, LEADERBOARDS, entry_named


@pytest.mark.parametrize(
    ("text", "form", "subject", "choices"),
    [
        ("3F9a", "", "3F9a", {}),
        ("file:a.pt", "file:", "a.pt", {}),
        ("file:a#1.pt#arch=vgg16,weights=ema", "file:", "a#1.pt", {"arch": "vgg16", "weights": "ema"}),
        ("file:a#b.pt", "file:", "a#b.pt", {}),
        ("hf:timm/resnet18.a1_in1k@v2#norm=linf,eps=4/255", "hf:", "timm/resnet18.a1_in1k@v2", {"norm": "linf"}),
        ("timm:resnet18.a1_in1k", "timm:", "resnet18.a1_in1k", {}),
        ("robustbench:l2/Rice2020Overfitting=m/R.pt", "robustbench:", "l2/Rice2020Overfitting=m/R.pt", {}),
    ],
)
def test_every_form_is_taken_apart(text, form, subject, choices):
    name = parse_model(text)
    assert (name.text, name.form, name.subject) == (text, form, subject)
    assert {key: name.choices[key] for key in choices} == choices


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("resnet18", f"'resnet18' is not a model; write {', '.join(FORMS)}"),
        ("", "'' is not a model"),
        ("file:", "'file:' is not a model"),
        ("robustbench:l2/Rice2020Overfitting", "names no file; write robustbench:ENTRY=PATH"),
        ("file:a.pt#arch=vgg16,color=red", "'color=red' is not a choice; write arch=..., weights=..."),
        ("file:a.pt#arch=", "'arch=' is not a choice"),
        ("file:a.pt#arch=a,arch=b", "says arch twice; say it once"),
        ("file:a.pt#eps=1", "says only one of norm and eps; the ball of an adversarial training has both"),
    ],
)
def test_what_is_no_name_is_refused_in_one_line(text, said):
    with pytest.raises(ConfigError) as told:
        parse_model(text)
    assert said in str(told.value)
    assert "\n" not in str(told.value)


def test_numbers_of_a_choice_may_be_fractions_or_several():
    name = parse_model("file:a.pt#mean=0.5:0.25:1/8,std=1,norm=l2,eps=2/255")
    assert (name.numbers("mean"), name.numbers("std"), name.numbers("arch")) == ((0.5, 0.25, 0.125), (1.0,), ())
    with pytest.raises(ConfigError, match="mean=a must be a number, or several with colons"):
        parse_model("file:a.pt#mean=a").numbers("mean")


SOME = st.sampled_from(["3f9a", "file:a.pt", "timm:vit", "hf:me/mine@main", "robustbench:l2/Standard=x.pt"])
CHOSEN = st.dictionaries(st.sampled_from([name for name in CHOICES if name not in ("norm", "eps")]), st.just("0.5"))


@given(st.lists(st.tuples(SOME, CHOSEN), max_size=4))
def test_a_list_is_split_into_the_names_that_were_joined(parts):
    names = [
        text + ("#" + ",".join(f"{name}={value}" for name, value in chosen.items()) if chosen else "")
        for text, chosen in parts
    ]
    assert split_models(",".join(names)) == tuple(names)
    for text, (_, chosen) in zip(names, parts, strict=True):
        assert parse_model(text).choices == chosen


def test_an_entry_of_two_leaderboards_needs_its_leaderboard():
    assert entry_named("Carmon2019Unlabeled") is ENTRIES["linf/Carmon2019Unlabeled"]
    assert entry_named("l2/Engstrom2019Robustness").arch == "resnet50"
    with pytest.raises(ConfigError, match="write linf/Engstrom2019Robustness or l2/Engstrom2019Robustness"):
        entry_named("Engstrom2019Robustness")
    with pytest.raises(
        ConfigError, match=r"unknown entry of RobustBench 'Nobody2020'; known: linf/Carmon2019Unlabeled"
    ):
        entry_named("Nobody2020")


def test_every_entry_has_a_leaderboard_and_a_normalisation_of_three_channels():
    for name, entry in ENTRIES.items():
        assert name == entry.name
        assert entry.leaderboard in LEADERBOARDS
        assert [len(values) for values in entry.normalisation] == [3, 3]
        assert entry.robust == ("Standard" not in name)
