"""Checks of one client, one after the other: each says what holds, and a failure does not hide the next."""

import queue
import sys
import time
import traceback
from dataclasses import dataclass
from typing import Callable


@dataclass
class Check:
    title: str
    run: Callable
    # What it shows for the matrix of docs/conformance.md: properties, each by a test, on a way.
    proves: list[tuple[str, str, str]]


class Story:
    """Use `@story.check` on functions that take the server; `story.tell(server)` runs them and ends the program."""

    def __init__(self, client: str):
        self.client = client
        self.checks = []

    def check(self, function):
        self.add(titled(function), function)
        return function

    def proves(self, prop: str, *ways: str):
        """As `check`, for a check that shows a property of the matrix on these ways."""

        def add(function):
            self.add(titled(function), function, [(prop, function.__name__, way) for way in ways])
            return function

        return add

    def add(self, title, function, proves=()):
        self.checks.append(Check(title, function, list(proves)))

    def tell(self, server):
        failed = 0
        for check in self.checks:
            begun = time.monotonic()
            try:
                check.run(server)
                verdict = "ok    "
            except Exception:  # noqa: BLE001 - whatever it is, it is this check's failure
                traceback.print_exc()
                failed += 1
                verdict = "FAILED"
            print(f"{verdict} {check.title} ({time.monotonic() - begun:.1f} s)", flush=True)
            for prop, test, way in check.proves if verdict == "ok    " else ():
                print(f"held  {prop}|{test}|{way}", flush=True)
        if failed:
            print(f"--- server\n{server.log_tail(60)}")
        sys.exit(1 if failed or not self.checks else 0)


def titled(function) -> str:
    return (function.__doc__ or function.__name__).strip().splitlines()[0]


def expect(seen, wanted, what=""):
    """Fails with both values when they differ."""
    if seen != wanted:
        raise AssertionError(f"{what or 'value'}: wanted {wanted!r}, saw {seen!r}")


def holds(condition, what):
    if not condition:
        raise AssertionError(what)


def within(box: queue.Queue, seconds=10, what="a message"):
    """The next thing that arrives; waits for it and not for the clock."""
    try:
        return box.get(timeout=seconds)
    except queue.Empty:
        raise AssertionError(f"{what} did not come within {seconds} s") from None


def quiet(box: queue.Queue, seconds=0.5, what="nothing"):
    """Nothing may arrive. The one place where time must pass: absence has no event."""
    try:
        raise AssertionError(f"{what}: {box.get(timeout=seconds)!r} came")
    except queue.Empty:
        return


def until(look, what, seconds=90):
    """What `look` finds, once it finds something: for what shows itself only to who asks, as lists and records do."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come within {seconds} s")
