"""docs/quickstart.ipynb runs, and shows what it says that it shows."""

from __future__ import annotations

import pathlib

import run_notebook

PATH = pathlib.Path(__file__).resolve().parents[4] / "docs/quickstart.ipynb"


def test_the_notebook_runs_and_shows_what_is_committed() -> None:
    before, after = run_notebook.run(PATH)
    assert run_notebook.differences(before, after) == []
    assert sum(map(run_notebook.pictures, (cell for cell in before.cells if cell.cell_type == "code"))) == 5
    assert PATH.stat().st_size < 400_000


def test_a_notebook_that_shows_something_else_is_found_out() -> None:
    before, after = (run_notebook.nbformat.read(PATH, as_version=4) for _ in range(2))
    assert run_notebook.differences(before, after) == []
    cells = [cell for cell in after.cells if cell.cell_type == "code"]
    cells[0].outputs[0].text += "!"
    next(cell for cell in cells if run_notebook.pictures(cell)).outputs.clear()
    assert len(run_notebook.differences(before, after)) == 2
