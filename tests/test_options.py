"""Reading a value by its declaration."""

from typing import Annotated, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench.errors import InvalidValue
from noisybench.options import Option, OptionSpec

RATE = OptionSpec.of(Annotated[float, Option("noise rate", minimum=0, below=1)])
SEED = OptionSpec.of(Annotated[int, Option("seed", minimum=0, maximum=2**32 - 1)])
SIZE = OptionSpec.of(Annotated[int | None, Option("images", minimum=2)])
FLAG = OptionSpec.of(Annotated[bool, Option("a switch")])
COLOUR = OptionSpec.of(Annotated[str, Option("colour", choices=("red", "green"))])
EPOCHS = OptionSpec.of(Annotated[tuple[int, ...], Option("epochs", minimum=1)])
UPPER = OptionSpec.of(Annotated[str, Option("loud", parse=lambda text: text.upper())])
ALL = [RATE, SEED, SIZE, FLAG, COLOUR, EPOCHS, UPPER]


@pytest.mark.parametrize(
    ("declared", "given", "expected"),
    [
        (RATE, 0, 0.0),
        (RATE, "0.25", 0.25),
        (RATE, "1e-3", 0.001),
        (SEED, "7", 7),
        (SEED, 7.0, 7),
        (SEED, 2**32 - 1, 2**32 - 1),
        (SEED, str(2**32 - 1), 2**32 - 1),
        (SIZE, None, None),
        (SIZE, "2", 2),
        (FLAG, "True", True),
        (FLAG, False, False),
        (COLOUR, "red", "red"),
        (EPOCHS, "40 80", (40, 80)),
        (EPOCHS, "40,80", (40, 80)),
        (EPOCHS, [40, "80"], (40, 80)),
        (EPOCHS, 40, (40,)),
        (EPOCHS, "", ()),
        (UPPER, "abc", "ABC"),
    ],
)
def test_a_value_gets_the_declared_type(declared: OptionSpec, given: Any, expected: Any) -> None:
    value = declared.read("it", given)
    assert value == expected and type(value) is type(expected)


@pytest.mark.parametrize(
    ("declared", "given"),
    [
        *((RATE, v) for v in (1, -0.1, "1.0", "inf", "nan", "x", "", None, True, [0.1], 10**400, 1j, b"0.1")),
        *((SEED, v) for v in (-1, 2**32, 0.5, "0.5", "inf", "nan", float("inf"), float("nan"), None, False)),
        *((SIZE, v) for v in (1, "none", 2**53 + 1, 10**400, "1e300")),
        *((FLAG, v) for v in (1, "yes", "", None)),
        *((COLOUR, v) for v in ("blue", "", None, 1, ["red"])),
        *((EPOCHS, v) for v in ("a b", [0], [[1]], {1: 2}, None, 1.5)),
    ],
)
def test_a_wrong_value_is_refused(declared: OptionSpec, given: Any) -> None:
    with pytest.raises(InvalidValue, match="it is "):
        declared.read("it", given)


def test_the_message_says_what_is_wrong_what_is_allowed_and_what_it_is() -> None:
    for declared, value, message in [
        (RATE, 1, "rate is 1, but must be a number, at least 0 and below 1. It is: noise rate"),
        (SEED, "x", "rate is 'x', but must be a whole number, from 0 to 4294967295. It is: seed"),
        (SIZE, 1, "rate is 1, but must be a whole number, at least 2. It is: images"),
        (COLOUR, "blue", "rate is 'blue', but must be text, one of red, green. It is: colour"),
        (FLAG, 3, "rate is 3, but must be true or false. It is: a switch"),
    ]:
        with pytest.raises(InvalidValue) as raised:
            declared.read("rate", value)
        assert str(raised.value) == message


def test_minus_zero_is_zero() -> None:
    assert str(RATE.read("rate", -0.0)) == str(RATE.read("rate", "-0")) == "0.0"


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.complex_numbers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=2),
    max_leaves=4,
)


@given(declared=st.sampled_from(ALL), value=anything)
def test_any_value_is_read_or_refused_and_reading_twice_changes_nothing(
    declared: OptionSpec, value: Any
) -> None:
    try:
        read = declared.read("it", value)
    except InvalidValue:
        return
    assert declared.read("it", read) == read
