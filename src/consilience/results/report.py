"""A run as one HTML page that needs nothing beside it: no request, to anywhere, ever.

A Content-Security-Policy allows the page its own style and script, by their hashes, and nothing
else. Texts are data: the template escapes them, and the script writes them as text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from consilience.data.whole_file import whole_file
from consilience.errors import InputError, MissingExtra, check_kind

if TYPE_CHECKING:
    from consilience.models.price import Price
    from consilience.results.report_content import Words
    from consilience.results.report_scores import Scores
    from consilience.results.result import Found


def check_report(path: str | Path) -> Path:
    """The path, if a report can be written there; InputError or MissingExtra where not."""
    check_kind(path, (str, Path), "a report is written to the path of a file")
    path = Path(path)
    if path.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"a report is a page, and {path} is none; its name has to end in .html")
    if not path.parent.is_dir():
        raise InputError(f"cannot write {path}: there is no folder {path.parent}; make it first")
    try:
        import jinja2  # noqa: F401
    except ImportError:
        raise MissingExtra(f"writing {path}", "report") from None
    return path


def write_report(
    found: Found,
    path: str | Path,
    scores: Scores | None = None,
    words: Words | None = None,
    price: Price | None = None,
) -> Path:
    """Writes the page of a run and returns its path; MissingExtra without Jinja2.

    InputError if it cannot be written.
    """
    path = check_report(path)
    page = report_page(found, scores, words, price)
    try:
        with whole_file(path) as file:
            file.write(page.encode())
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def report_page(
    found: Found,
    scores: Scores | None = None,
    words: Words | None = None,
    price: Price | None = None,
) -> str:
    """The page of a run as HTML."""
    from jinja2 import Environment, FunctionLoader, StrictUndefined
    from markupsafe import Markup

    # Only now what takes seconds to load: a path that is refused is refused at once.
    from consilience.results.report_content import report_content
    from consilience.results.report_rows import report_rows

    sources = files("consilience.results") / "page"

    def source(name: str) -> str:
        return (sources / name).read_text("utf-8")

    style, script = source("report.css"), source("report.js")
    environment = Environment(
        loader=FunctionLoader(source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= _FILTERS
    return environment.get_template("report.html").render(
        content=report_content(found, scores, words, price),
        data=Markup(_json(report_rows(found, scores))),
        style=Markup(style),
        script=Markup(script),
        policy=(
            f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
            "img-src data:; base-uri 'none'; form-action 'none'"
        ),
    )


def _hash(text: str) -> str:
    """How a policy names a style or a script by its content."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(data: dict[str, Any]) -> str:
    """JSON that cannot end the element that it stands in."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for mark in "<>&\u2028\u2029":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return text


def _percent(value: float) -> str:
    return f"{value:.0%}"


def _count(value: int) -> str:
    return f"{value:,}"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _nats(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _number(value: object) -> str:
    """A number of a table as a person reads it; a dash where there is none."""
    if value is None or value != value:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:.3f}".replace("-", "−")


_FILTERS = {
    "percent": _percent,
    "count": _count,
    "nats": _nats,
    "number": _number,
    "time": _time,
}
