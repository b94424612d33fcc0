"""Config: what defines a run, its canonical form and its identity."""

from dataclasses import dataclass, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noisybench.config import Config, declared_fields
from noisybench.errors import InputError, InvalidValue, UnknownName
from noisybench.registry import DATASETS

# Another valid value for every field of a run on digits.
CHANGED: dict[str, Any] = {
    "dataset": "digits@0123456789ab",
    "noise": "uniform-inclusive",
    "rate": 0.2,
    "draws": "exact",
    "labels": "0123456789abcdef",
    "keep": "0123456789abcdef",
    "code": "own_loss.py:0123456789abcdef",
    "revision": 2,
    "loss": "lq",
    "seed": 1,
    "train_size": 500,
    "validation": 0.2,
    "trusted": 10,
    "model": "resnet8",
    "pretrained": "0123456789abcdef",
    "epochs": 31,
    "batch_size": 33,
    "optimiser": "adam",
    "lr": 0.051,
    "milestones": (9, 20),
    "momentum": 0.8,
    "weight_decay": 0.0,
    "augment": "flip-crop",
    "prune_from": 11,
    "prune_every": 4,
    "precision": "fp32",
}
NAMES = [f.name for f in fields(Config)]


def test_a_run_needs_nothing_said() -> None:
    config = Config.create()
    protocol = DATASETS["digits"].metadata.protocol
    assert config.dataset == "digits" and config.noise == "uniform" and config.loss == "cce"
    assert config.epochs == protocol["epochs"] and config.milestones == protocol["milestones"]


def test_the_protocols_of_the_paper() -> None:
    for dataset, model, epochs, milestones, prune_from in [
        ("cifar10", "resnet34(width=64)", 120, (40, 80), 40),
        ("fashion-mnist", "resnet18(width=64)", 120, (40, 80), 40),
        ("cifar100", "resnet34(width=64)", 150, (80, 120), 80),
    ]:
        config = Config.create(dataset=dataset, loss="trunc-lq")
        assert (config.model, config.epochs, config.milestones) == (model, epochs, milestones)
        assert (config.prune_from, config.prune_every) == (prune_from, 10)
        assert (config.optimiser, config.lr, config.momentum, config.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
        assert (config.batch_size, config.validation, config.augment) == (128, 0.1, "flip-crop")


def test_a_shorter_run_is_a_short_form_of_the_protocol() -> None:
    config = Config.create(dataset="cifar10", loss="trunc-lq", epochs=12)
    assert (config.milestones, config.prune_from, config.prune_every) == ((4, 8), 4, 1)
    assert Config.create(dataset="cifar10", epochs=2).milestones == (1,)
    own = Config.create(dataset="cifar10", loss="trunc-lq", epochs=12, milestones="6", prune_from=3)
    assert (own.milestones, own.prune_from, own.prune_every) == ((6,), 3, 1)


def test_names_are_canonical() -> None:
    ways: list[dict[str, Any]] = [
        {"loss": "lq"},
        {"loss": "lq(q=0.70)"},
        {"loss": "lq", "q": "0.7"},
        {"loss": "lq", "q": None},
    ]
    for way in ways:
        assert Config.create(**way) == Config.create(loss="lq(q=0.7)")
    config = Config.create(loss="trunc-lq(k=0.2)", q=0.5, model="mlp", hidden=32, dataset="digits@abc")
    assert (config.loss, config.model) == ("trunc-lq(q=0.5, k=0.2)", "mlp(hidden=32)")
    assert config.dataset == "digits@abc"
    mapped = Config.create(noise="class-dependent", map="5>3, 3>5")
    assert mapped.noise == "class-dependent(map='3>5 5>3')"
    assert Config.create(noise="class-dependent(map='a@b>c')").noise == "class-dependent(map='a@b>c')"


def test_a_rate_outside_0_to_1_is_refused() -> None:
    for rate in (1, 1.5, -0.1, float("nan"), "high"):
        with pytest.raises(InvalidValue, match="rate is .*, but must be a number, at least 0 and below 1"):
            Config.create(rate=rate)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"losss": "lq"}, "No field of a run is called 'losss'. Did you mean 'loss'?"),
        ({"loss": "lqq"}, "No loss is called 'lqq'. Did you mean 'lq'?"),
        ({"dataset": "cifar11"}, "No data set is called 'cifar11'. Did you mean 'cifar10'?"),
        ({"noise": "unifrom"}, "No noise is called 'unifrom'. Did you mean 'uniform'?"),
        ({"model": "resnet19"}, "No model is called 'resnet19'. Did you mean 'resnet18'?"),
    ],
)
def test_unknown_names_suggest_the_nearest(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownName) as raised:
        Config.create(**given)
    assert message in str(raised.value)


def test_what_does_not_belong_together_is_refused() -> None:
    with pytest.raises(InvalidValue, match="q was given, but nothing chosen .* loss lq, loss trunc-lq"):
        Config.create(loss="cce", q=0.5)
    with pytest.raises(InvalidValue, match="milestones is .*, but must be increasing epochs"):
        Config.create(milestones="20 10")
    with pytest.raises(InputError):
        Config.create(loss="cce@abc")


# Identity


def test_defaults_that_are_spelled_out_change_no_identity() -> None:
    config = Config.create()
    assert Config.create(**config.row()).identity == config.identity
    assert Config.create(rate="0.40", seed="0", loss="cce()", weight_decay=0.0001).identity == config.identity
    assert len(config.identity) == 16 and set(config.identity) <= set("0123456789abcdef")


def test_every_field_is_part_of_the_identity() -> None:
    assert list(CHANGED) == NAMES
    config = Config.create(loss="trunc-lq")
    whole = {**config.row(), "milestones": config.milestones}
    identities = {name: Config.create(**{**whole, name: value}).identity for name, value in CHANGED.items()}
    assert identities["revision"] == config.identity, "it is the method's to say"
    identities["revision"] = replace(config, revision=2).identity
    assert config.identity not in identities.values()
    assert len(set(identities.values())) == len(NAMES)


@pytest.mark.parametrize(
    "without_effect",
    [
        {"prune_from": 3},
        {"prune_every": 3},
        {"milestones": "8 14 20 30"},
        {"train_size": 1297},
        {"epochs": 20},
    ],
)
def test_what_has_no_effect_is_no_part_of_the_identity(without_effect: dict[str, Any]) -> None:
    assert Config.create(**without_effect) == Config.create()


def test_momentum_is_of_sgd() -> None:
    assert Config.create(optimiser="nesterov", momentum=0.5) != Config.create(optimiser="nesterov")
    with pytest.raises(InvalidValue, match="momentum"):
        Config.create(optimiser="nesterov", momentum=0)
    assert Config.create(optimiser="adam", momentum=0.5) == Config.create(optimiser="adam")
    assert Config.create(momentum=0.5) != Config.create()


def test_hyper_parameters_are_part_of_the_identity() -> None:
    assert Config.create(loss="lq").identity != Config.create(loss="lq", q=0.6).identity
    assert (
        Config.create(noise="class-dependent").identity
        != Config.create(noise="class-dependent", map="0>1").identity
    )


@dataclass(frozen=True, kw_only=True)
class LaterConfig(Config):
    """Config as it may be one day."""

    temperature: float = 1.0


def test_a_field_added_later_leaves_old_identities_alone() -> None:
    config = Config.create()
    values = {f.name: getattr(config, f.name) for f in fields(config)}
    assert LaterConfig(**values).identity == config.identity
    assert LaterConfig(**values, temperature=2.0).identity != config.identity


# Rows


@pytest.mark.parametrize("name", NAMES)
def test_a_row_and_back(name: str) -> None:
    config = Config.create(**{name: CHANGED[name]})
    assert list(config.row()) == NAMES
    assert all(value is None or isinstance(value, str | int | float) for value in config.row().values())
    assert Config.from_row({**config.row(), "id": 7}) == config
    assert Config.create(**config.row()) == config


def test_every_field_has_help() -> None:
    assert list(declared_fields()) == NAMES
    assert all(declared.option.help for declared in declared_fields().values())


# Whatever is given


values = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers())
)


@given(
    name=st.sampled_from([*NAMES, "q", "k", "map", "width", "x"]), value=values | st.sampled_from(["@", "()"])
)
def test_any_value_makes_a_config_or_is_refused(name: str, value: Any) -> None:
    try:
        config = Config.create(**{name: value})
    except InputError:
        return
    assert Config.from_row(config.row()) == config
    assert Config.create(**config.row()).identity == config.identity
