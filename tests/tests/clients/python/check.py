"""Checks that say what differs."""


def equal(found, wanted, what):
    if found != wanted:
        raise AssertionError(f"{what}:\n  found  {found!r}\n  wanted {wanted!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)
