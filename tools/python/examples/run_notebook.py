"""Runs a notebook from its beginning: `run_notebook.py FILE [--write]`.

Nothing may fail, and cells print what they have printed when the file was written, but for those with the tag `varies`; every
picture is drawn again. With --write the file gets what was shown, and nothing is compared.
"""

from __future__ import annotations

import pathlib
import sys
from typing import Any

import nbclient
import nbformat


def printed(cell: Any) -> str:
    """The text that a cell has put out."""
    return "".join(output.text for output in cell.outputs if output.output_type == "stream" and output.name == "stdout")


def pictures(cell: Any) -> int:
    """How many it has drawn."""
    return sum("image/png" in output.get("data", {}) for output in cell.outputs)


def run(path: pathlib.Path) -> tuple[Any, Any]:
    """The notebook as it is, and as it is after it was run, in its folder."""
    before, after = (nbformat.read(path, as_version=4) for _ in range(2))
    nbclient.NotebookClient(
        after, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(path.parent)}}
    ).execute()
    return before, after


def differences(before: Any, after: Any) -> list[str]:
    """Where they differ, of all that must be the same."""
    found = []
    for old, new in zip(before.cells, after.cells):
        if old.cell_type != "code":
            continue
        first = old.source.splitlines()[0]
        if any(output.output_type == "stream" and output.name == "stderr" for output in new.outputs):
            found.append(f"{first}: something on standard error")
        if pictures(old) != pictures(new):
            found.append(f"{first}: {pictures(new)} pictures, not {pictures(old)}")
        if "varies" not in old.metadata.get("tags", []) and printed(old) != printed(new):
            found.append(f"{first}: printed\n{printed(new)}instead of\n{printed(old)}")
    return found


def main() -> None:
    path = pathlib.Path(sys.argv[1])
    before, after = run(path)
    if sys.argv[2:] == ["--write"]:
        for cell in after.cells:
            # When each cell began and ended.
            cell.metadata.pop("execution", None)
        # Of the kernel that ran it.
        after.metadata = before.metadata
        nbformat.write(after, path)
        print(f"{path}: {path.stat().st_size} bytes")
    elif found := differences(before, after):
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
