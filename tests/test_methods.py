"""Methods: the contract that all keep, and each against its description."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import noisybench as command
from test_training import run, training

import noisybench
from noisybench.batches import epoch_steps
from noisybench.config import Config
from noisybench.registry import METHODS
from noisybench.training.contract import check_method

CPU = torch.device("cpu")
PACKAGE = Path(noisybench.__file__).parent
NAMES = [entry.name for entry in METHODS]


def test_no_method_is_named_outside_its_file() -> None:
    """But for the default of --loss, and the figures of the paper."""
    figures = {("figure_kinds.py", name) for name in ("cce", "mae", "lq")}
    allowed = {("config.py", "cce"), *figures}
    named = set()
    for path in PACKAGE.rglob("*.py"):
        if path.relative_to(PACKAGE).parts[0] in ("losses", "methods"):
            continue
        texts = [n.value for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Constant)]
        stems = {text.partition("(")[0] for text in texts if isinstance(text, str)}
        named |= {(path.name, name) for name in NAMES if name in stems}
    assert named <= allowed


@pytest.mark.parametrize("name", NAMES)
def test_every_method_learns_and_predicts(name: str) -> None:
    values: dict[str, Any] = {"model": "mlp", "batch_size": 32, "optimiser": "sgd", "lr": 0.1, "epochs": 6}
    if name == "wang2018":
        values |= {"optimiser": "adam", "lr": 0.001}
    done = run(loss=name, noise="uniform", rate=0.2, train_size=1200, trusted=100, **values)
    assert done.epochs[-1].test_accuracy > 0.2, "guessing: 0.1"
    assert done.training_logits(best=True).shape == (len(done.given), 10)
    assert done.state.keys() == done.method.start(done.data).keys()


# With hyper-parameters by which a short run comes to all that the method does.
IN_FULL = [
    "confusion-layer(warm_up=1)",
    "co-teaching-plus(agree_until=1)",
    "dividemix(warm_up=1)",
    "joint-optimisation(update_from=1)",
    "noise-adaptation(warm_up=1)",
]


@pytest.mark.parametrize("name", [*NAMES, *IN_FULL])
def test_every_method_keeps_the_contract(name: str) -> None:
    config = Config.create(loss=name, model="mlp", epochs=4, train_size=400, milestones="2", trusted=40)
    assert [check for check in check_method(config) if check.passed is False] == []


def test_the_contract_says_which_losses_are_symmetric() -> None:
    def symmetry(name: str) -> str:
        config = Config.create(loss=name, model="mlp", epochs=1, train_size=200)
        return next(check.found for check in check_method(config) if "symmetry" in check.what)

    assert symmetry("mae").startswith("holds") and "sum to 8" in symmetry("mae")
    assert symmetry("cce").startswith("does not hold")


BROKEN = {
    "shape": "return logits.logsumexp(1).mean()",
    "do not depend": "return -logits.log_softmax(1).gather(1, target[:, None]).squeeze(1) + logits.mean()",
    "finite": "return -logits.softmax(1).gather(1, target[:, None]).squeeze(1).log()",
    "bits": "return -logits.log_softmax(1).gather(1, target[:, None]).squeeze(1) * logits.new_empty(1).uniform_()",  # noqa: E501
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_loss_that_breaks_the_contract_is_told(what: str, tmp_path: Path) -> None:
    file = tmp_path / "broken.py"
    file.write_text(f'def broken(logits, target):\n    """Broken."""\n    {BROKEN[what]}\n')
    result = command("check", f"{file}:broken")
    assert result.exit_code == 1
    failed = [line for line in result.stdout.splitlines() if "FAILED" in line]
    assert any(word in line for line in failed for word in what.split()[-1:]), result.stdout


@pytest.mark.parametrize("name", NAMES)
def test_what_a_method_measures_is_what_it_optimises(name: str) -> None:
    """The mean training loss of an epoch of one batch is the loss before the step."""
    made = training(loss=name, model="mlp", batch_size=360, trusted=40)
    step = first_step(made, 360)
    made.method.before_epoch(1, made.state)
    made.model.train()
    saved = {key: value.clone() for key, value in made.state.items()}
    batch = made.batch(step)
    losses = made.method.loss(made.method.forward(made.model, batch, made.state), batch, made.state)
    for key, value in saved.items():
        made.state[key].copy_(value)
    made._step(step)
    assert made.sums.means()[0] == pytest.approx(losses.mean().item(), rel=1e-5)


def first_step(made: Any, size: int) -> Any:
    """The first step of a run, with `size` samples."""
    method = made.method
    numbers = method.random_numbers(made.data.n_classes)
    trusted = made.trusted_rows if method.trusted_batches else None
    return next(
        epoch_steps(
            np.arange(len(made.given)),
            size,
            made.augment,
            0,
            1,
            made.device,
            method.views,
            numbers,
            trusted,
        )
    )


def stepped(made: Any, rows: int = 60) -> tuple[Any, Any, Any]:
    """The first batch of a run, with the output of the network for it."""
    step = first_step(made, rows)
    made.model.train()
    batch = made.batch(step)
    return step, batch, made.method.forward(made.model, batch, made.state)


def test_in_co_teaching_each_network_learns_from_the_small_losses_of_the_other() -> None:
    made = training(loss="co-teaching(forget_rate=0.3, warm_up=2)")
    first, second = made.model.children()
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    for epoch, left_out in ((1, 0.15), (2, 0.3), (9, 0.3)):
        made.method.before_epoch(epoch, made.state)
        _, batch, output = stepped(made)
        of_first, of_second = (
            -logits.log_softmax(1).gather(1, batch.given[:, None]).squeeze(1) for logits in output
        )
        kept = int((1 - left_out) * 60)
        expected = of_first[of_second.argsort()[:kept]].mean() + of_second[of_first.argsort()[:kept]].mean()
        assert made.method.loss(output, batch, made.state).item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_forget_rate_of_co_teaching_is_the_noise_rate_unless_it_is_given() -> None:
    assert training(loss="co-teaching", rate=0.2).state["forget_rate"].item() == pytest.approx(0.2)
    assert training(loss="co-teaching(forget_rate=0)", rate=0.2).state["forget_rate"].item() == 0


def test_the_first_network_of_co_teaching_begins_as_that_of_cce() -> None:
    first, _ = training(loss="co-teaching").model.children()
    for a, b in zip(first.parameters(), training(loss="cce").model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_the_targets_of_elr_are_running_averages_of_predictions() -> None:
    made = training(loss="elr(beta=0.6, strength=2)")
    expected = np.zeros((len(made.given), 10))
    for _ in range(3):
        step, batch, output = stepped(made)
        p = output.softmax(1).clamp(1e-4, 1 - 1e-4).detach().numpy()
        rows = step.rows.numpy()
        expected[rows] = 0.6 * expected[rows] + 0.4 * p / p.sum(1, keepdims=True)
        cross_entropy = -output.log_softmax(1).gather(1, batch.given[:, None]).squeeze(1).detach().numpy()
        loss = cross_entropy + 2 * np.log(1 - (expected[rows] * p).sum(1))
        assert made.method.loss(output, batch, made.state).detach().numpy() == pytest.approx(loss, rel=1e-4)
    assert made.state["targets"].numpy() == pytest.approx(expected, abs=1e-6)


def test_self_paced_learning_begins_with_all_then_lets_half_in_and_ever_more() -> None:
    made = training(loss="self-paced(growth=1.5)", epochs=4)
    thresholds, below = [], []

    def after(epoch: int) -> None:
        losses = -made.training_logits().log_softmax(1).gather(1, made.given[:, None]).squeeze(1)
        below.append((losses < made.state["threshold"]).float().mean().item())
        thresholds.append(made.state["threshold"].item())

    list(made.run(after))
    assert below[0] == pytest.approx(0.5, abs=0.01)
    assert thresholds == pytest.approx([thresholds[0] * 1.5**n for n in range(4)])


def test_self_paced_learning_leaves_out_samples_at_the_threshold_and_above() -> None:
    made = training(loss="self-paced")
    _, batch, output = stepped(made)
    losses = -output.log_softmax(1).gather(1, batch.given[:, None]).squeeze(1)
    threshold = losses.sort().values[20].item()
    made.state["threshold"].fill_(threshold)
    assert made.method.loss(output, batch, made.state).item() == pytest.approx(
        losses[losses < threshold].mean().item(), rel=1e-5
    )
    made.state["threshold"].fill_(0)
    assert made.method.loss(output, batch, made.state).item() == 0


def test_methods_carry_their_hyper_parameters_in_their_name() -> None:
    config = Config.create(loss="co-teaching")
    assert config.loss == "co-teaching(warm_up=10)"
    assert config.identity == Config.create(loss="co-teaching(warm_up=10, forget_rate=None)").identity


def cross_entropies(output: Any, given: Any) -> Any:
    return -output.log_softmax(1).gather(1, given[:, None]).squeeze(1)


def test_in_co_teaching_plus_only_samples_on_which_the_networks_disagree_count_in_the_end() -> None:
    made = training(loss="co-teaching-plus(forget_rate=0.3, warm_up=1, agree_until=2)")
    _, batch, output = stepped(made)
    first, second = (cross_entropies(logits, batch.given) for logits in output)
    made.method.before_epoch(2, made.state)
    plain = training(loss="co-teaching(forget_rate=0.3, warm_up=1)")
    plain.method.before_epoch(2, plain.state)
    assert made.method.loss(output, batch, made.state) == plain.method.loss(output, batch, plain.state)
    made.method.before_epoch(3, made.state)
    differ = output[0].argmax(1) != output[1].argmax(1)
    kept = int(0.7 * int(differ.sum()))
    expected = (
        first[differ][second[differ].argsort()[:kept]].mean()
        + second[differ][first[differ].argsort()[:kept]].mean()
    )
    assert made.method.loss(output, batch, made.state).item() == pytest.approx(expected.item(), rel=1e-5)
    assert made.method.loss((output[0], output[0]), batch, made.state).item() == 0


def test_jocor_learns_from_the_smallest_joint_losses() -> None:
    made = training(loss="jocor(forget_rate=0.3, warm_up=1, agreement=0.8)")
    made.method.before_epoch(1, made.state)
    _, batch, output = stepped(made)
    p, q = (logits.detach().double().softmax(1).numpy() for logits in output)
    supervised = sum(cross_entropies(logits, batch.given).detach().numpy() for logits in output)
    apart = (p * np.log(p / q)).sum(1) + (q * np.log(q / p)).sum(1)
    joint = np.sort(0.2 * supervised + 0.8 * apart)
    loss = made.method.loss(output, batch, made.state).item()
    assert loss == pytest.approx(joint[: int(0.7 * 60)].mean(), rel=1e-5)


def test_cores2_regularises_by_the_given_labels_and_sieves_by_the_mean_loss() -> None:
    made = training(loss="cores2(strength=3, warm_up=1, sieve_from=20)")
    _, batch, output = stepped(made)
    # A softmax of 0 costs -log(1e-8), so that the loss cannot fall for ever.
    output = torch.cat([output[:59], torch.tensor([[1e4] + [0.0] * 9])]).detach()
    f = output.double().softmax(1).numpy()
    own = -output.double().log_softmax(1).numpy()[np.arange(60), batch.given.numpy()]
    of_each = -np.log(f + 1e-8)
    prior = np.bincount(made.given.numpy(), minlength=10) / len(made.given)
    for epoch, beta, sieves in ((1, 0, False), (16, 1.5, False), (21, 2, True), (99, 3, True)):
        made.method.before_epoch(epoch, made.state)
        chosen = own < of_each.mean(1) if sieves else np.ones(60, dtype=bool)
        expected = (own - beta * of_each @ prior)[chosen].mean() / (1 + beta)
        loss = made.method.loss(output, batch, made.state).item()
        assert loss == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_the_weights_of_mentornet_fall_in_a_line_from_a_running_percentile() -> None:
    made = training(loss="mentornet-pd(fraction=0.5, slope=0.2, decay=0.9, warm_up=1)")
    _, batch, output = stepped(made)
    losses = cross_entropies(output, batch.given).detach().numpy()
    made.method.before_epoch(1, made.state)
    assert made.method.loss(output, batch, made.state).detach().numpy() == pytest.approx(losses)
    assert made.state["threshold"].item() == pytest.approx(np.median(losses))
    made.method.before_epoch(2, made.state)
    made.state["threshold"].fill_(1.0)
    threshold = 0.9 + 0.1 * np.median(losses)
    expected = losses * np.clip(1 - (losses - threshold) / 0.2, 0, 1)
    assert made.method.loss(output, batch, made.state).detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_importance_reweighting_weighs_by_clean_over_noisy_posterior() -> None:
    made = training(loss="importance-t", rate=0.4)
    _, batch, output = stepped(made)
    f, given = output.detach().double().softmax(1).numpy(), batch.given.numpy()
    noisy = f @ made.state["transition"].double().numpy()
    rows = np.arange(60)
    expected = f[rows, given] / noisy[rows, given] * -np.log(f[rows, given])
    assert made.method.loss(output, batch, made.state).detach().numpy() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "loss",
    [
        "co-teaching(warm_up=1)",
        "confusion-layer(warm_up=1)",
        "dropout-noise",
        "label-cleaning",
        "noise-adaptation(warm_up=1)",
        "noise-adaptation-complex(warm_up=1)",
        "wang2018(neighbours=10)",
    ],
)
def test_all_networks_and_layers_of_a_method_learn(loss: str) -> None:
    """By the gradient alone: a layer that begins at 0 may never leave it."""
    made = training(loss=loss, trusted=40, model="mlp", lr=0.01, weight_decay=0, prune_from=2)
    before = {name: parameter.clone() for name, parameter in made.model.named_parameters()}
    list(made.run())
    same = [name for name, parameter in made.model.named_parameters() if parameter.equal(before[name])]
    assert not same
