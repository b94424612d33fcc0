"""The open-set table: methods as columns, each with settings of its own."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from test_reporting import ROWS, run, table, written_cells

from noisybench.reporting.formats import FORMATS
from noisybench.reporting.tables import Block, Column

OPEN = "open-set(source=cifar100)"
WANG = {"optimiser": "adam", "batch_size": 100, "epochs": 95, "milestones": ()}


def lines(block: Block) -> dict[str, dict[str, str]]:
    """What a block says, by row and column."""
    return {
        row.labels[0]: {column.heading: cell.text for column, cell in row.cells.items()} for row in block.rows
    }


def test_methods_are_columns_and_noises_rows_with_the_accuracy_of_the_last_epoch() -> None:
    rows = [run(0.5, noise=OPEN, seed=0), run(0.6, noise=OPEN, seed=1), run(0.9, loss="mae")]
    made = table(*({**row, "test_accuracy": 0.1} for row in rows), kind="open-set")
    (block,) = made.blocks
    assert lines(block) == {
        f"{OPEN}, η = 0.4": {"cce": "55.00 ± 7.07"},
        "uniform, η = 0.4": {"mae": "90.00 (n=1)"},
    }
    assert list(block.columns) == [Column("", "cce"), Column("", "mae")]
    assert "at the last epoch" in made.caption


def test_methods_of_different_settings_stand_in_one_block_and_a_note_names_what_is_their_own() -> None:
    made = table(run(0.5), run(0.6, loss="mae"), run(0.7, loss="wang2018", **WANG), kind="open-set")
    (block,) = made.blocks
    assert block.title == "digits: cnn6, 10 epochs, all images"
    assert lines(block) == {"uniform, η = 0.4": {"cce": "50.00", "mae": "60.00", "wang2018": "70.00"}}
    note, *_ = made.notes
    assert note.startswith(
        "wang2018 has settings of its own: epochs=95, batch_size=100, optimiser=adam, mile"
    )


def test_one_method_of_two_settings_is_two_columns() -> None:
    made = table(run(0.5), run(0.6, lr=0.2), run(0.7, loss="mae"), kind="open-set")
    assert lines(made.blocks[0])["uniform, η = 0.4"] == {
        "cce, lr=0.1": "50.00",
        "cce, lr=0.2": "60.00",
        "mae": "70.00",
    }
    assert made.notes == []


def test_a_method_under_the_protocol_of_another_is_named_so() -> None:
    rows = [run(0.5), run(0.8, loss="mae"), run(0.6, **WANG), run(0.7, loss="wang2018", **WANG)]
    made = table(*rows, kind="open-set")
    assert lines(made.blocks[0])["uniform, η = 0.4"] == {
        "cce": "50.00",
        "cce, protocol of wang2018": "60.00",
        "mae": "80.00",
        "wang2018": "70.00",
    }
    assert [note for note in made.notes if "protocol of wang2018" in note]
    few = table(rows[0], *rows[2:], kind="open-set")
    (own,) = [note for note in few.notes if note.startswith("cce has settings of its own")]
    assert "optimiser=sgd" in own


def test_other_data_are_another_block() -> None:
    made = table(run(0.5), run(0.6, train_size=100), run(0.7, draws="exact"), kind="open-set")
    assert [block.title for block in made.blocks] == [
        "digits: cnn6, 10 epochs, all images; draws=exact",
        "digits: cnn6, 10 epochs, 100 images; draws=independent",
        "digits: cnn6, 10 epochs, all images; draws=independent",
    ]


def test_a_note_says_of_which_block_it_is() -> None:
    odd = {"loss": "mae", "lr": 0.5}
    made = table(run(0.5), run(0.6, **odd), run(0.6, dataset="cifar10"), kind="open-set")
    (note,) = made.notes
    assert note == f"In the table of {made.blocks[0].title}: mae has settings of its own: lr=0.5."


def test_the_best_two_are_of_a_noise() -> None:
    accuracies: dict[str, dict[str, float]] = {
        "uniform": {"cce": 0.5, "mae": 0.7, "unhinged": 0.6},
        OPEN: {"cce": 0.5, "mae": 0.4, "unhinged": 0.3},
    }
    rows = [run(a, noise=noise, loss=loss) for noise, of in accuracies.items() for loss, a in of.items()]
    made = table(*rows, kind="open-set")
    best = {
        row.labels[0]: {column.heading for column, cell in row.cells.items() if cell.best}
        for row in made.blocks[0].rows
    }
    assert best == {"uniform, η = 0.4": {"mae", "unhinged"}, f"{OPEN}, η = 0.4": {"cce", "mae"}}
    for form, mark in [("table", "marked *"), ("markdown", "in bold"), ("latex", "in bold")]:
        assert f"Best two of a row, with ties, {mark}." in str(FORMATS.bind(form)(made, width=None))


@given(ROWS, st.randoms())
def test_every_cell_is_said_once_and_in_an_order_of_its_own(rows: list[dict[str, Any]], random: Any) -> None:
    made = table(*rows, kind="open-set")
    said = [cell for block in made.blocks for cell in written_cells(block)]
    assert len(said) == len(made.cells) == len({tuple(place) for *place, _ in said})
    assert sorted(float(text.split()[0]) for *_, text in said if text[0].isdigit()) == sorted(
        float(f"{mean:.2f}") for mean in made.cells["mean"].dropna()
    )
    again = table(*random.sample(rows, len(rows)), kind="open-set")
    assert (made.blocks, made.caption, made.notes) == (again.blocks, again.caption, again.notes)


def test_columns_without_groups_have_one_line_of_headings() -> None:
    made = table(run(0.5), run(0.6, loss="mae"), kind="open-set")
    plain = str(FORMATS.bind("table")(made, width=None)).splitlines()
    assert plain[4].split() == ["noise", "cce", "mae"] and set(plain[5]) == {"─"}
    assert "| noise | cce | mae |" in str(FORMATS.bind("markdown")(made, width=None))
    latex = str(FORMATS.bind("latex")(made, width=None))
    assert "\\toprule\nnoise & cce & mae \\\\\n\\midrule" in latex and latex.isascii()
