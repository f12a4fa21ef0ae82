"""Texts of a data set made safe for a prompt: no text can pose as a part of the prompt.

A prompt is a list of blocks, each a text and, on a line of its own, a lead with a label. A text in
which a line begins like the lead could pose as a shot, and one that holds a model's own mark for
the end of a turn could close the prompt. The first is shown with a mark before each of its lines,
the second with a space in the mark; every other text stands as it is, byte for byte.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

QUOTE = "| "
"""Stands before each line of a text that would else pose as more than one."""

MARKS = re.compile(
    r"<[|｜][^<>\n]{1,60}?[|｜]>|</?(?:s|bos|eos|pad|unk|sep|cls|mask|start_of_turn|end_of_turn|"
    r"im_start|im_end|turn|end|eot|eod|sop|eop|think|tool_call|tool_response)>|"
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|CLS|SEP|"
    r"[gs]?MASK|PAD)\]|<</?SYS>>",
    re.IGNORECASE,
)
"""Marks that tokenisers take for turns and ends: Llama, Qwen, Gemma, Mistral, DeepSeek, GLM."""


@lru_cache(maxsize=1 << 12)
def as_data(text: str, *leads: str) -> str:
    """The text as it may stand in a prompt whose blocks end in lines that begin with `leads`."""
    text = defused(text)
    lines = text.splitlines()
    # Whatever a program may take for the end of a line begins a new one here too.
    opens = [_bare(lead) for lead in leads]
    if not any(bare.startswith(lead) for bare in map(_bare, lines) for lead in opens if lead):
        return text
    return "\n".join(QUOTE + line for line in lines)


def defused(text: str) -> str:
    """The text with a space in every mark that could end a turn or a prompt."""
    if "<" not in text and "[" not in text:
        return text
    return MARKS.sub(lambda mark: mark.group()[0] + " " + mark.group()[1:], text)


def _bare(line: str) -> str:
    """A line as a reader takes it: no spaces, marks before it, bold marks, case or unseen signs."""
    if line.isascii():  # the same, without asking what each character is
        return line.translate(_UNSEEN).lower().lstrip(_SIGNS)
    seen = (
        c
        for c in unicodedata.normalize("NFKC", line)
        if unicodedata.category(c)[0] not in "CZ" and c not in _EMPHASIS
    )
    whole = "".join(seen).casefold()
    return whole.lstrip("".join({c for c in whole if not c.isalnum()}))


_EMPHASIS = "*_`~"
_UNSEEN = dict.fromkeys([*range(33), 127, *map(ord, _EMPHASIS)])
_SIGNS = "".join(c for c in map(chr, range(33, 127)) if not c.isalnum())
"""What `_bare` takes out of ASCII: controls, spaces, what Markdown makes letters bold with; and the
signs that a line begins with."""
