"""Whether a server refuses one row or everything, told by the status and the words of its refusal.

Content filters and limits on length concern the row that was sent; keys, credit and the name of
the model concern every row. A status that may be either is taken to be about the row, and whoever
asks gives up once the first rows are all refused (see `consilience.store.runner`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from consilience.errors import Reason

TOO_LONG = re.compile(
    r"context.{0,24}(length|window|size|limit)|exceed_context|max(imum)?[ _](model|prompt|input|"
    r"sequence|allowed)[ _]?(len|length|token)|(prompt|input|text|string|message|request)s? "
    r"(is|are|was)? ?too (long|large)|input is too large|too many (input |prompt )?tokens|"
    r"tokens?\b.{0,60}\b(exceeds?|longer than|must be <=|must have less)|"
    r"exceeds?.{0,60}\btokens?\b|must have less than \d+ tokens|must be <= \d+|"
    r"reduce (the|your) (length|prompt|input)|"
    r"longer than the (maximum|model)|truncat\w+ .{0,20}tokens",
    re.IGNORECASE | re.DOTALL,
)
"""How servers say that a prompt is too long: OpenAI, Azure, vLLM, SGLang, llama.cpp's two servers,
TGI, Together, Ollama, Mistral, Groq, Gemini, Anthropic, Fireworks."""

SURELY_TOO_LONG = re.compile(
    r"context (length|window|size)|tokens?.{0,40}exceed|prompt is too long|input is too large",
    re.IGNORECASE,
)
"""The same where the status says that the server itself failed (llama-cpp-python: 500)."""

FILTERED = re.compile(
    r"content[_ ]?filter|content (management )?polic|content exists risk|moderation|flagged|"
    r"usage polic|responsible ?ai|safety|inappropriate|data_inspection_failed|unsafe|"
    r"sensitive (content|words?|information)|prohibited|blocked|violat",
    re.IGNORECASE,
)
"""How servers and gateways say that a filter stopped a prompt."""

_TEXT = re.compile(r"content|prompt|input|phrase|filter|moderat|polic|safety", re.IGNORECASE)
_ACCOUNT = re.compile(
    r"account|suspen|deactivat|terminat|\bbanned\b|(api|your) access|region|country|billing|"
    r"organi[sz]ation|subscription|\b(api|your|this) key\b",
    re.IGNORECASE,
)
"""With these words a 403 that is worded like a filter's speaks of a text, or of who asks."""

EVERYBODY = frozenset({401, 402, 403, 404, 407, 429})
"""Statuses of a refusal that is of who asks, of the model or of the address, and of no row."""

CURES: Mapping[Reason, str] = {
    "filtered": "a content filter stopped this row: it stays without this answer",
    "too long": "the prompt is too long for this model: show fewer shots (planning.shots), or "
    "shorten the row",
    "refused": "the server refuses this request: check extra_body, or run `consilience probe`",
}


def row_reason(status: int, text: str) -> Reason | None:
    """Why a server refuses the row that was sent; None where the refusal is not about a row."""
    if status == 413:
        return "too long"
    if status == 429:
        # More tokens than a minute allows: no wait will help.
        return "too long" if re.search("request too large", text, re.IGNORECASE) else None
    if status >= 500:
        return "too long" if SURELY_TOO_LONG.search(text) else None
    if status == 451:
        return "filtered"
    if status == 403:
        of_a_text = FILTERED.search(text) and _TEXT.search(text) and not _ACCOUNT.search(text)
        return "filtered" if of_a_text else None
    if status not in (400, 422):
        return None
    if FILTERED.search(text):
        return "filtered"
    return "too long" if TOO_LONG.search(text) else "refused"


def doubtful(status: int, text: str) -> bool:
    """Whether a refusal that is about no row may be about one all the same.

    An answer that came before shows that it is not about everything.
    """
    if status == 403:
        return FILTERED.search(text) is not None
    return 400 <= status < 500 and status not in EVERYBODY
