"""Counts in words: "1 row", "2 rows", "1,000 queries"."""

from __future__ import annotations


def counted(count: int, what: str) -> str:
    """So many of `what`, which is said of one and whose last word takes the plural."""
    if count != 1:
        what = f"{what[:-1]}ies" if what.endswith("ry") else f"{what}s"
    return f"{count:,} {what}"
