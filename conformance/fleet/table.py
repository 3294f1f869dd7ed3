"""The matrix of docs/conformance.md, held against what the scripts say they held."""

import pathlib
import re

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs" / "conformance.md"
COLUMNS = ["reconnect", "resume", "take-over", "last will", "big", "bad"]
HEAD = "## The matrix"


def rows() -> dict:
    """Of each client its ways and, of each property, the tests with their ways; without tests the cell has to say why."""
    found, text = {}, DOCS.read_text()
    table = text.split(HEAD, 1)[1].split("\n|", 1)[1].split("\n\n", 1)[0]
    for line in table.splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("| ").split("|")]
        name = re.fullmatch(r"`([\w-]+)`", cells[0])
        if name is None:
            raise ValueError(f"no client: {line}")
        if len(cells) != 2 + len(COLUMNS):
            raise ValueError(f"{name.group(1)}: {len(cells)} cells")
        ways = set(cells[1].split(", "))
        found[name.group(1)] = {column: tests(cell, ways) for column, cell in zip(COLUMNS, cells[2:])}
    return found


def tests(cell: str, ways: set) -> dict:
    """`test` is on all ways of its row; `test` (5, 3.1.1/ALPN) on those that begin so. `n/a: why` is none."""
    if re.match(r"n/a: \w", cell):
        return {}
    named = {}
    for test, on in re.findall(r"`(\w+)`(?: \(([^)]*)\))?", cell):
        begins = tuple(on.split(", ")) if on else ("",)
        named[test] = {way for way in ways if way.startswith(begins)}
    if not named:
        raise ValueError(f"neither a test nor why there is none: {cell!r}")
    return named


def held(log: str) -> dict:
    """What a script said: of each property, the tests that held, with their ways."""
    found = {}
    for prop, test, way in re.findall(r"^held  (.*)\|(.*)\|(.*)$", log, re.M):
        found.setdefault(prop, {}).setdefault(test, set()).add(way)
    return found


def disagreements(client: str, log: str) -> list[str]:
    """What the table says and the run did not show, and the other way round."""
    said, seen = rows().get(client, {}), held(log)
    return [
        f"{prop}: docs/conformance.md has {show(said.get(prop, {}))}, and what held is {show(seen.get(prop, {}))}"
        for prop in dict.fromkeys([*said, *seen])
        if said.get(prop, {}) != seen.get(prop, {})
    ]


def show(named: dict) -> str:
    return "; ".join(f"{test} on {' '.join(sorted(ways))}" for test, ways in named.items()) or "nothing"
