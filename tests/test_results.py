"""The stores in benchmarks/results give the tables of benchmarks/RESULTS.md, without training."""

import gzip
from pathlib import Path

import pytest
from commands import succeed

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# Each store with the tables of it that are printed.
PRINTED = dict.fromkeys(
    ("table1-small", "table2-small", "field-small", "human-small", "human-drawn"), ("closed-set", "open-set")
)


@pytest.mark.parametrize(("name", "table"), [(name, table) for name in PRINTED for table in PRINTED[name]])
def test_the_published_store_gives_the_printed_table(name: str, table: str, tmp_path: Path) -> None:
    store = tmp_path / f"{name}.db"
    store.write_bytes(gzip.decompress((BENCHMARKS / "results" / f"{name}.db.gz").read_bytes()))
    printed = succeed("report", "--db", store, "--table", table).splitlines()
    written = (BENCHMARKS / "RESULTS.md").read_text().splitlines()
    rows = [line.rstrip() for line in printed if "±" in line]
    assert rows and set(rows) <= {line.rstrip() for line in written}


def test_every_published_store_is_tried() -> None:
    stores = {path.name.removesuffix(".db.gz") for path in (BENCHMARKS / "results").iterdir()}
    assert stores == set(PRINTED)
