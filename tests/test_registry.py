"""Looking up and binding registered entries, and their canonical form."""

from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench.errors import InputError, InvalidValue, UnknownName
from noisybench.options import Option
from noisybench.registry import DATASETS, METHODS, MODELS, REGISTRIES, Registry, hyper_parameters


@dataclass(frozen=True)
class Colour:
    colour: str


THINGS = Registry("thing", "noisybench.errors", Colour)


@THINGS.register("thing", colour="red")
def thing(
    *,
    size: int,
    name: Annotated[str, Option("its name")] = "",
    label: Annotated[str, Option("its label")] = "plain",
    share: Annotated[float, Option("a share", minimum=0)] = 0.5,
    loud: Annotated[bool, Option("whether it is loud")] = False,
) -> tuple[Any, ...]:
    """A thing to test with.

    More on it.
    """
    return size, name, label, share, loud


def canonical(text: str, **shorthand: Any) -> str:
    return str(METHODS.bind(text, shorthand))


def test_the_canonical_form_binds_the_defaults() -> None:
    assert canonical("lq") == canonical("lq()") == canonical(" lq ( q = 0.70 ) ") == "lq(q=0.7)"
    assert canonical("trunc-lq(k=0.3)") == "trunc-lq(q=0.7, k=0.3)"
    assert canonical("lq(q=1)") == canonical("lq(q=1.0)") == "lq(q=1)"
    assert canonical("cce") == canonical("cce()") == "cce"


def test_a_shorthand_says_the_same_once() -> None:
    assert canonical("lq", q=0.5) == canonical("lq", q="0.5") == canonical("lq(q=0.5)") == "lq(q=0.5)"
    with pytest.raises(InvalidValue, match="q is given twice"):
        canonical("lq(q=0.1)", q=0.5)


@pytest.mark.parametrize("registry", REGISTRIES.values(), ids=list(REGISTRIES))
def test_every_entry_has_help_and_a_canonical_form_that_is_stable(registry: Registry) -> None:
    # An earlier test may have read a file of a user.
    for entry in (entry for entry in registry if entry.origin is None):
        assert entry.help and not entry.help.startswith(" ")
        assert all(declared.option.help for declared in entry.parameters.values())
        assert str(registry.bind(str(registry.bind(entry.name)))) == str(registry.bind(entry.name))


def test_an_entry_is_taken_apart() -> None:
    entry = THINGS["thing"]
    assert entry.help == "A thing to test with."
    assert entry.context == ("size",) and entry.metadata == Colour("red")
    assert list(entry.parameters) == ["name", "label", "share", "loud"]


def test_calling_hands_on_only_what_is_asked_for() -> None:
    bound = THINGS.bind("thing(name=x, loud=true)")
    assert bound(size=3, weight=4) == (3, "x", "plain", 0.5, True)


def test_only_a_text_that_is_empty_by_default_is_left_out() -> None:
    assert str(THINGS.bind("thing")) == "thing(label=plain, share=0.5, loud=false)"
    assert str(THINGS.bind("thing(label='')")) == "thing(label='', share=0.5, loud=false)"


@given(
    text=st.text() | st.sampled_from(["1e3", "a-b", "a.b", "None", "true", "for", "12", "ﬁ", "'", '"', "\\"])
)
def test_any_text_survives_the_canonical_form(text: str) -> None:
    bound = THINGS.bind("thing", {"name": text, "label": text})
    again = THINGS.bind(str(bound))
    assert again.arguments == bound.arguments and str(again) == str(bound)


@given(share=st.floats(0, allow_infinity=False))
def test_any_number_survives_the_canonical_form(share: float) -> None:
    assert THINGS.bind(str(THINGS.bind("thing", {"share": share}))).arguments["share"] == share


def test_another_name_of_the_field_is_answered_with_ours() -> None:
    for name, ours in {"gce": "lq", "GCE": "lq", "cross_entropy": "cce", "truncated-gce": "trunc-lq"}.items():
        with pytest.raises(UnknownName, match=f"'{ours}'"):
            METHODS[name]


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownName, match="No loss is called 'lp'. Did you mean 'lq'?.* Known: .*cce, "):
        METHODS.bind("lp")
    with pytest.raises(UnknownName, match="No data set is called 'cifar'. Did you mean 'cifar10'?"):
        DATASETS["cifar"]
    with pytest.raises(UnknownName, match="No model is called 'ResNet18'. Did you mean 'resnet18'?"):
        MODELS["ResNet18"]
    with pytest.raises(UnknownName, match="No parameter of loss trunc-lq is called 'qq'. Did you mean 'q'?"):
        METHODS.bind("trunc-lq(qq=1)")
    with pytest.raises(UnknownName) as raised:
        METHODS.bind("zzzzzz")
    assert "Did you mean" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "(",
            "lq(",
            "lq)",
            "lq(q=0.5))",
            "lq(0.5)",
            "lq(q)",
            "lq(**{'q': 1})",
            "lq(q=0.1, q=0.2)",
            "lq q=1",
        ),
        *("lq(q=)", "lq(q=1)(q=0.5)", "lq(q=1).x(q=0.5)", "lq(q=0.5 #)", "lq(q=f())", "lq(q=0\0)"),
        *("lq(q={[]: 1})", "lq(q=" + "-" * 100_000 + "1)", "lq(q=" + "(" * 300 + ")", "lq(q=1+'a')"),
    ],
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidValue):
        METHODS.bind(text)


def test_bounds_are_told_with_the_name() -> None:
    with pytest.raises(InvalidValue, match="q of loss lq is 2, but must be a number, from 0 to 1. It is"):
        METHODS.bind("lq(q=2)")


@given(
    inside=st.text() | st.text("qk=0.5,()'\"[]{}-*# \\\n", max_size=20),
    name=st.sampled_from(["lq", "cce", ""]),
)
def test_any_text_is_bound_or_refused(inside: str, name: str) -> None:
    for text in (inside, f"{name}({inside})", f"{name}(q={inside})"):
        try:
            bound = METHODS.bind(text)
        except InputError:
            continue
        assert str(METHODS.bind(str(bound))) == str(bound)


def test_hyper_parameters_know_their_owners() -> None:
    owners = hyper_parameters()
    assert [entry.name for _, entry in owners["q"]] == ["lq", "trunc-lq"]
    assert [(registry.kind, entry.name) for registry, entry in owners["map"]] == [
        ("noise", "class-dependent")
    ]
    assert "transition" not in owners
