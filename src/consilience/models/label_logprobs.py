"""One raw response, read: a log-probability per label, exact or bounded, and the label mass.

Servers answer in several shapes whatever the endpoint, so the shape is sniffed: arrays beside each
other (`tokens`, `token_logprobs`, `top_logprobs`), or a list of entries (`content[0]`). Both become
one list of next tokens. All are pure functions: a stored response can be read again.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from consilience.errors import AnswerError, InputError, NoLogprobs
from consilience.models.plausible import check_end, check_order

MISSING_BELOW = -9000.0
"""Servers write −9999 or −3.4e38 where they have no value; no log-probability is this low."""

_ROUNDING = 1e-6
"""How far the listed probabilities may sum from the truth: they are 32-bit floats."""

PREFIX = 3
"""The fewest characters of a label name that a listed token must hold to stand for it."""


class Token(NamedTuple):
    """One entry of a next-token list; `sampled` marks one that is there only because it was drawn.

    A sampled token may be less probable than others that were left out.
    """

    text: str
    data: bytes | None
    id: int | None
    logprob: float
    sampled: bool = False


@dataclass(frozen=True, slots=True)
class FirstToken:
    """How a label name begins after a prompt, by the server's own tokenizer.

    `id` is the first token of the name as it is written after the prompt, the `whole` name or only
    its beginning; `ids` holds it and the declared variants that are one token each.
    """

    id: int
    ids: frozenset[int]
    whole: bool = True


@dataclass(frozen=True, slots=True)
class LabelLogprobs:
    """The log-probability of each label (nats), or an upper bound where `exact` is False.

    `mass` is the probability of all exact labels together.
    """

    logprobs: tuple[float, ...]
    exact: tuple[bool, ...]
    mass: float

    @classmethod
    def of(cls, logprobs: Sequence[float], exact: Sequence[bool]) -> LabelLogprobs:
        """These log-probabilities with their mass."""
        return cls(tuple(logprobs), tuple(exact), _mass(logprobs, exact))

    def with_exact(self, label: int, logprob: float) -> LabelLogprobs:
        """The same with one bounded label made exact."""
        logprobs = list(self.logprobs)
        exact = list(self.exact)
        logprobs[label], exact[label] = logprob, True
        return LabelLogprobs.of(logprobs, exact)


# ---- a response becomes a list of next tokens -----------------------------------------------


def next_tokens(response: object, server: str = "the server") -> list[Token]:
    """The next-token list of a response, its sampled token included, in the server's order.

    NoLogprobs where the answer has none; AnswerError where it is malformed, empty, not a number,
    or none because a content filter (`reason`) or a fault ended it.
    """
    if not isinstance(response, Mapping):
        raise AnswerError("the answer is not a JSON object", body=_body(response))
    choices = response.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        raise AnswerError("the answer has no choices", body=_body(response))
    check_order(choices[0])
    logprobs = choices[0].get("logprobs")
    if not isinstance(logprobs, Mapping):
        check_end(choices[0])
        raise _none(response, server)
    try:
        tokens = _from_content(logprobs.get("content"))
        if tokens is None:
            tokens = _from_arrays(logprobs)
    except AnswerError as error:
        error.body = _body(response)
        raise
    if not tokens:
        check_end(choices[0])
    if tokens is None:
        raise _none(response, server)
    if not tokens:
        raise AnswerError("the list of log-probabilities is empty", body=_body(response))
    return tokens


def sampled_token(response: Mapping[str, Any]) -> Token | None:
    """The token that was drawn, of a response that `next_tokens` could read; None if unknown."""
    logprobs = response["choices"][0]["logprobs"]
    content = logprobs.get("content")
    drawn = _tokens(_pairs(content[:1])) if content else _drawn(logprobs)
    return drawn[0] if drawn else None


def _none(response: object, server: str) -> NoLogprobs:
    return NoLogprobs(
        f"{server} answered without log-probabilities, and a label cannot be read without them; "
        "use a server that returns them (vLLM, SGLang, llama-server, llama-cpp-python with "
        "--logits_all true, OpenAI), or on OpenRouter one provider that does "
        '(extra_body {"provider": {"only": [...], "require_parameters": true}})',
        body=_body(response),
    )


def _body(response: object) -> str:
    return json.dumps(response, ensure_ascii=False)


def _from_content(content: object) -> list[Token] | None:
    """The tokens of a list of entries; None where there is no such list."""
    if not isinstance(content, list):
        return None
    if not content:
        return []
    if not isinstance(content[0], Mapping):
        raise AnswerError("an entry of `content` is not an object")
    listed = _tokens(_pairs(content[0].get("top_logprobs")))
    return _with_sampled(listed, _tokens(_pairs([content[0]])))


def _from_arrays(logprobs: Mapping[str, Any]) -> list[Token] | None:
    """The tokens of arrays beside each other; None where there are none."""
    if not isinstance(logprobs.get("tokens"), list):
        return None
    drawn = _drawn(logprobs)
    top = logprobs.get("top_logprobs")
    if isinstance(top, list) and top and not _is_entry(top[0]):
        top = top[0]  # one element per position; else one flat list of entries
    return _with_sampled(_texts(top) if type(top) is dict else _tokens(_pairs(top)), drawn)


def _texts(top: Mapping[str, Any]) -> list[Token]:
    """The tokens of a mapping from strings, which has no bytes and no numbers."""
    found = []
    for text, value in top.items():
        if (logprob := _value(value)) is None:
            continue
        if text[:9] == "token_id:":
            found.append(_token({"token": text}, logprob))
        else:
            found.append(Token(_spaced(text), None, None, logprob))
    return found


def _spaced(text: str) -> str:
    """A token as it is meant: some tokenizers write another character for a space."""
    return " " + text[1:] if text[:1] in ("Ġ", "▁") else text


def _drawn(logprobs: Mapping[str, Any]) -> list[Token]:
    """The token that was drawn, from arrays beside each other; an empty list if it has no value."""
    given = map(logprobs.get, ("tokens", "token_logprobs", "token_ids"))
    text, value, id = (each[0] if isinstance(each, list) and each else None for each in given)
    if not isinstance(text, str) or (logprob := _value(value)) is None:
        return []
    return [_token({"token": text, "id": id}, logprob)]


def _is_entry(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("token"), str)


def _pairs(top: object) -> Iterable[Mapping[str, Any]]:
    """The entries of one position, whether it is a list of entries or a mapping from strings."""
    if top is None:
        return []
    if isinstance(top, Mapping):
        return [{"token": text, "logprob": value} for text, value in top.items()]
    if isinstance(top, list) and all(_is_entry(entry) for entry in top):
        return top
    raise AnswerError("a list of log-probabilities has an unknown shape")


def _tokens(entries: Iterable[Mapping[str, Any]]) -> list[Token]:
    found = []
    for entry in entries:
        value = _value(entry.get("logprob"))
        if value is not None:
            found.append(_token(entry, value))
    return found


def _token(entry: Mapping[str, Any], logprob: float) -> Token:
    text = entry["token"]
    if text[:9] == "token_id:" and (numbered := re.fullmatch(r"token_id:(\d+)", text)):
        # What looks like bytes then spells this string, not the token.
        return Token("", None, int(numbered.group(1)), logprob)
    data, id = entry.get("bytes"), entry.get("id")
    if isinstance(data, list) and data and all(type(b) is int and 0 <= b < 256 for b in data):
        data = bytes(data)
        text = data.decode("utf-8", errors="replace")
    else:
        data = None
    return Token(_spaced(text), data, id if type(id) is int else None, logprob)


def _value(value: object) -> float | None:
    """A log-probability, or None where the server has none to give."""
    if value is None:
        return None
    if type(value) is float and MISSING_BELOW <= value <= 0.0:
        return value
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= 1e-3:
        raise AnswerError(f"{value!r} stands where a log-probability should")
    return None if value < MISSING_BELOW else min(float(value), 0.0)


def _with_sampled(listed: list[Token], drawn: list[Token]) -> list[Token]:
    """The list with the sampled token in it once, flagged if only that may have brought it there.

    Servers put it beside the k most probable tokens or in the place of the last of them, and do
    not say so.
    """
    for token in drawn:
        i = next((i for i, other in enumerate(listed) if _same(token, other)), len(listed))
        # A mapping from strings keeps one of several tokens that decode alike, on some servers
        # the least probable; the sampled token's own value is then the larger.
        value = max(t.logprob for t in [token, *listed[i : i + 1]])
        extra = all(value <= t.logprob for t in listed) or i == len(listed)
        listed[i : i + 1] = [Token(token.text, token.data, token.id, value, extra)]
    return listed


def _same(a: Token, b: Token) -> bool:
    if a.id is not None and b.id is not None:
        return a.id == b.id
    if a.data is not None and b.data is not None:
        return a.data == b.data
    return a.text == b.text


# ---- a list of next tokens becomes log-probabilities --------------------------------------------


@lru_cache(maxsize=4096)
def spellings(name: str) -> tuple[str, ...]:
    """The declared variants of a label name, without the space that may stand before each.

    A single letter has one; words also come in lower case, upper case and capitalised.
    """
    if sum(character.isalpha() for character in name) < 2:
        return (name,)
    return tuple(dict.fromkeys([name, name.lower(), name.upper(), name.capitalize()]))


def check_names(
    names: Sequence[str], first: Sequence[FirstToken | None] | None = None, server: str = ""
) -> None:
    """Refuses label names that one next token cannot tell apart, with an InputError.

    `first` says how each begins by the server's tokenizer; where that is not known, names collide
    if one begins with the other or both begin with the same word, whatever the case.
    """
    for i, a in enumerate(names):
        if not a.strip() or a != a.strip():
            raise InputError(f"the label name {a!r} is empty or begins or ends with a space")
        for j in range(i):
            if _share(names[j], a, (first[j], first[i]) if first else (None, None)):
                where = f" on {server}" if server else ""
                raise InputError(
                    f"the label names {names[j]!r} and {a!r} begin with the same token{where}, so "
                    "that the next token cannot tell them apart; use the framing `letters`, or "
                    "`codes` for more than 26 classes"
                )


def _share(a: str, b: str, known: tuple[FirstToken | None, FirstToken | None]) -> bool:
    one, two = known
    if one and two:
        return one.id in two.ids or two.id in one.ids
    a, b = a.casefold(), b.casefold()
    return a.startswith(b) or b.startswith(a) or a.split()[0] == b.split()[0]


def read_labels(
    tokens: Sequence[Token],
    names: Sequence[str],
    first: Sequence[FirstToken | None] | None = None,
    *,
    top: bool = True,
) -> LabelLogprobs:
    """The log-probability of each label name from a next-token list.

    A label is exact if the list holds one of its variants, whose probabilities are added up. A
    token matches by its id where `first` gives the label's ids and the list has ids; by its whole
    text; or, where the tokenizer has not decided it, as the beginning of this name and no other.
    A label that is not there is bounded above, as each of its variants is, by the least probable
    listed token (if the list is the `top` of the distribution) and by what the list leaves over.
    """
    outside: float | None = None
    logprobs, exact = [], []
    bare = [_bare(token) for token in tokens]
    for c, name in enumerate(names):
        known = first[c] if first else None
        written, ids = spellings(name), known.ids if known else frozenset()
        hits = [t for t, said in zip(tokens, bare, strict=True) if said in written or t.id in ids]
        undecided = not (known and (known.whole or all(t.id is not None for t in tokens)))
        seen = hits if any(_vouches(t, name, known) for t in hits) else []
        through = [] if seen else hits
        if undecided and not seen:
            through = [t for t in tokens if _may_lead_to(t, name, in_pieces=known is not None)]
        hits = seen
        if undecided and not any(_bare(t) == name for t in seen):
            # In other letters it may be there by the way: as it is written it begins elsewhere.
            hits = seen + [t for t in _prefixes(tokens, name, names) if t not in seen]
        if hits:
            logprobs.append(_logsumexp([t.logprob for t in hits]))
        else:
            outside = _bound(tokens, top) if outside is None else outside
            # Half letters share a text, under which a mapping may keep the least of them.
            halved = undecided and known and not name.isascii()
            most = _bound(tokens, top=False) if halved else outside
            logprobs.append(_logsumexp([most, *(t.logprob for t in through)]))
        exact.append(bool(hits))
    return LabelLogprobs.of(logprobs, exact)


def _vouches(token: Token, name: str, known: FirstToken | None) -> bool:
    """Whether a variant shows that the name is in the list, and not only that it was drawn."""
    if known and token.id is not None:
        return not token.sampled or token.id == known.id
    return not token.sampled or _bare(token) == name


def _bare(token: Token) -> str:
    return token.text.removeprefix(" ")


def _may_lead_to(token: Token, name: str, *, in_pieces: bool = False) -> bool:
    """Whether the name, or a variant of it, may have been meant by the token.

    A single letter counts if the name is known to be written `in_pieces`, of which the first may
    end within a character: servers write a replacement character there, or nothing.
    """
    text = _bare(token).rstrip("\ufffd") if in_pieces else _bare(token)
    if in_pieces and not text:
        return token.text == " " or not name.isascii()
    return len(text) >= 2 - in_pieces and any(s.startswith(text) for s in spellings(name))


def _prefixes(tokens: Sequence[Token], name: str, names: Sequence[str]) -> list[Token]:
    """The tokens that are the longest listed beginning of the name, if it is no one else's."""
    own = [
        t
        for t in tokens
        if len(_bare(t)) >= PREFIX
        and _may_lead_to(t, name)
        and _bare(t) not in spellings(name)
        and not any(_may_lead_to(t, other) for other in names if other != name)
    ]
    longest = max((len(_bare(t)) for t in own), default=0)
    return [t for t in own if len(_bare(t)) == longest]


def _bound(tokens: Sequence[Token], top: bool) -> float:
    """The most that a token outside the list can have, in nats."""
    left = max(0.0, 1.0 - math.fsum(math.exp(t.logprob) for t in tokens)) + _ROUNDING
    listed = [t.logprob for t in tokens if top and not t.sampled]
    return min(0.0, math.log(left), *listed)


def _mass(logprobs: Sequence[float], exact: Sequence[bool]) -> float:
    known = zip(logprobs, exact, strict=True)
    return min(1.0, math.fsum([math.exp(value) for value, sure in known if sure]))


def _logsumexp(values: Sequence[float]) -> float:
    if len(values) == 1:
        return min(0.0, values[0])
    most = max(values)
    return min(0.0, most + math.log(math.fsum(math.exp(v - most) for v in values)))
