"""What is sent to an OpenAI-compatible server, and what is decided from what comes back.

Pure functions: request bodies, and for every failure whether to ask again, after how long, and
the one line that says what was attempted, what came back and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from consilience.errors import AnswerError, InputError, ModelError, Reason, ServerError
from consilience.models.base import MOST_COUNTED, plain_usage
from consilience.models.capabilities import Capabilities, Length
from consilience.models.plausible import check_end
from consilience.models.refusals import CURES, doubtful, row_reason
from consilience.prompts.framing import Prompt

EXCERPT = 200
"""How many characters of a body an error message shows; the error keeps all of it."""

ASK_AGAIN = frozenset({408, 409, 424, 425, 429, 498, 499})
"""Refusals that another attempt may not meet, besides all of 500 and above.

424 is what is behind TGI that failed, 498 Groq's "over capacity", 499 a gateway that gave up."""

OVERLOADED = frozenset({408, 425, 429, 498})
"""Those among them that fewer requests at once might not have met."""

NOT_EXTRA = frozenset(
    {
        *("model", "prompt", "messages", "temperature", "top_p", "logprobs", "top_logprobs"),
        *("echo", "stream", "n", "best_of", "logit_bias", "logprob_token_ids"),
        *("continue_final_message", "add_generation_prompt"),
    }
)
"""Fields that `extra_body` may not set: the package does, or relies on their default."""


def check_extra(extra: Mapping[str, Any]) -> None:
    """Refuses extra fields that would change what the settings say, with an InputError."""
    taken = sorted(NOT_EXTRA.intersection(extra))
    if taken:
        raise InputError(
            f"extra_body may not set {', '.join(taken)}; the package sets these itself"
        )


def completion_body(
    model: str,
    prompt: Prompt,
    k: int,
    extra: Mapping[str, Any] | None = None,
    length: Length = "max_tokens",
) -> dict[str, Any]:
    """The body of a /completions request for the distribution of one next token.

    Temperature and top_p are 1, where all servers' conventions agree. A field that `extra` sets
    to None is left out.
    """
    return _merged({"model": model, "prompt": prompt, "logprobs": k}, extra, length)


def chat_body(
    model: str,
    messages: Prompt,
    k: int,
    extra: Mapping[str, Any] | None = None,
    *,
    count: bool = False,
    continued: bool = False,
    length: Length = "max_tokens",
) -> dict[str, Any]:
    """The body of a /chat/completions request for the distribution of one next token.

    `count` sends the number of log-probabilities where others take a switch and a number
    (Together); `continued` asks for the last message to be continued by name (vLLM, SGLang).
    """
    wanted: dict[str, Any] = {"logprobs": k} if count else {"logprobs": True, "top_logprobs": k}
    if continued:
        wanted |= {"continue_final_message": True, "add_generation_prompt": False}
    return _merged({"model": model, "messages": messages} | wanted, extra, length)


def request_for(
    found: Capabilities, prompt: Prompt, k: int, extra: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The path and the body of one question, in the dialect that was found."""
    if found.api == "completions":
        return "/completions", completion_body(found.model, prompt, k, extra, found.length)
    body = chat_body(
        found.model,
        prompt,
        k,
        extra,
        count=found.count_logprobs,
        continued=found.style == "chat-prefill" and found.prefill == "flag",
        length=found.length,
    )
    return "/chat/completions", body


_USUAL = {
    "input_tokens": "prompt_tokens",
    "output_tokens": "completion_tokens",
    "input_tokens_details": "prompt_tokens_details",
}
"""What endpoints for decisions call the counts of a usage."""

_CACHED = ("cached_tokens", "prompt_cache_hit_tokens")
"""What servers call the tokens that a cache served, where they are not in the details."""

_BLANK = "\n\n"
"""Where a text ends that is no chat's; a chat's own end is the end of the turn."""


def writing_settings(found: Capabilities, extra: Mapping[str, Any]) -> dict[str, Any]:
    """What changes a text that is written, besides its greatest length."""
    settings = {"api": found.api, "temperature": 0, "top_p": 1, "extra": dict(extra)}
    return settings if found.api == "chat" else settings | {"stop": _BLANK}


def writing_for(
    found: Capabilities, prompt: Prompt, max_tokens: int, extra: Mapping[str, Any]
) -> tuple[str, dict[str, Any]]:
    """The path and the body of a request for a text, the most likely one word for word."""
    # A server that takes another field for the length (OpenAI's newer models) has it in `extra`.
    limit = "max_completion_tokens" if extra.get("max_completion_tokens") else found.length
    body = {"model": found.model, "temperature": 0, "top_p": 1}
    if found.api == "completions":
        path, body = "/completions", body | {"prompt": prompt, "stop": [_BLANK]}
    else:
        path, body = "/chat/completions", body | {"messages": prompt}
    body |= dict(extra) | {limit: max_tokens}
    return path, {key: value for key, value in body.items() if value is not None}


def written_text(response: Any) -> str:  # noqa: ANN401
    """The text of a response; AnswerError where it has none, not even an empty one.

    One that a content filter ended has none, whatever was written before that.
    """
    try:
        choice = response["choices"][0]
        check_end(choice)
        # A model whose tokens all went into thinking has said nothing, which is no mistake.
        text = choice["text"] if "text" in choice else choice["message"]["content"] or ""
    except (LookupError, TypeError) as error:
        raise AnswerError("it has no text") from error
    if not isinstance(text, str):
        raise AnswerError("its text is no text")
    return text


def _merged(
    body: dict[str, Any], extra: Mapping[str, Any] | None, length: Length
) -> dict[str, Any]:
    merged = body | {length: 1, "temperature": 1, "top_p": 1}
    if not extra:
        return merged
    return {key: value for key, value in (merged | dict(extra)).items() if value is not None}


def by_ids(ids: list[int]) -> dict[str, Any]:
    """The fields that ask vLLM for the log-probabilities of named tokens, keyed by their ids."""
    return {"logprob_token_ids": ids, "return_tokens_as_token_ids": True}


def forced(id: int) -> dict[str, Any]:
    """The field that makes a server sample one token."""
    return {"logit_bias": {str(id): 100}}


@dataclass(frozen=True, slots=True)
class Failure:
    """What came of one failed attempt: the error, and whether and when to try again.

    `wait` is what the server asks for, in seconds, or None; `overloaded` says that fewer requests
    at once might have been answered.
    """

    error: ModelError
    again: bool
    wait: float | None = None
    overloaded: bool = False


class Refused(ServerError):
    """An HTTP status other than success, which it keeps."""

    def __init__(
        self, message: str, status: int, *, body: str, fatal: bool, reason: Reason | None = None
    ) -> None:
        super().__init__(message, body=body, fatal=fatal, reason=reason)
        self.status = status


def refused(what: str, status: int, headers: Mapping[str, str], text: str) -> Failure:
    """The failure of an HTTP status other than success; `what` is method, URL and model."""
    broke = status == 429 and "insufficient_quota" in text
    reason = None if broke else row_reason(status, text)
    again = (status in ASK_AGAIN or status >= 500) and not broke and reason is None
    cure = _cure(402 if broke else status, text, reason)
    error = Refused(
        f"{what}: HTTP {status} {excerpt(text)}; {cure}",
        status,
        body=text,
        fatal=not again and reason is None,
        reason=reason,
    )
    error.doubtful = doubtful(status, text)
    wait = retry_after(headers) if again else None
    return Failure(error, again, wait, overloaded=status in OVERLOADED)


def _cure(status: int, text: str, reason: Reason | None) -> str:
    if status in (400, 422) and "logprob" in text.lower():
        return "ask for fewer log-probabilities (a smaller k), or run `consilience probe`"
    if reason is not None:
        return CURES[reason]
    cures = {
        401: "set CONSILIENCE_API_KEY to a key that this server accepts (OPENAI_API_KEY goes to "
        "OpenAI and to the host of OPENAI_BASE_URL alone), or send the header that it wants "
        "(--set model.headers.NAME=VALUE)",
        402: "the account is out of credit: add some, or choose another server",
        403: "this key may not use this model: choose another model, or another key in "
        "CONSILIENCE_API_KEY",
        404: "check the model's name, and that the base URL ends where the API begins "
        "(usually in /v1)",
        408: "the server is slow: lower the concurrency, or raise the time-out",
        429: "the server limits the rate: lower the concurrency, or set requests per minute",
    }
    if status in cures:
        return cures[status]
    if status >= 500 or status in ASK_AGAIN:
        return "the server is in trouble: look at its log, or run again later"
    if 300 <= status < 400:
        return "the base URL is moved: use the address that it redirects to"
    return CURES["refused"]


def inner_status(response: object) -> int | None:
    """The status of an error that came with HTTP 200, as OpenRouter sends it; None without one.

    The error stands beside the choices, or in the first of them.
    """
    choices = response.get("choices") if isinstance(response, Mapping) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (response, first):
        error = holder.get("error") if isinstance(holder, Mapping) else None
        code = error.get("code") if isinstance(error, Mapping) else None
        if type(code) is int and 400 <= code < 600:
            return code
    return None


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """How long the server asks to wait, in seconds; None if it does not say, or not clearly."""
    for name, unit in (("retry-after-ms", 1e-3), ("retry-after", 1.0)):
        value = headers.get(name, "").strip()
        if re.fullmatch(r"\d+(\.\d*)?", value):
            return float(value) * unit
    try:
        when = parsedate_to_datetime(headers.get("retry-after", ""))
        if when.tzinfo is None:
            when = when.replace(tzinfo=UTC)
        return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())
    except (ValueError, OverflowError, TypeError):
        return None


def excerpt(text: str) -> str:
    """The beginning of a body, on one line, in quotes."""
    return repr(" ".join(text.split())[:EXCERPT]) if text.strip() else "with an empty body"


def usage_of(response: object) -> Mapping[str, Any]:
    """What a response says it took, as far as that can be true: counts, and counts within."""
    usage = response.get("usage") if isinstance(response, Mapping) else None
    if not isinstance(usage, Mapping):
        return {}
    if "prompt_tokens" not in usage:
        usage = {_USUAL.get(key, key): value for key, value in usage.items()}
    counts = _counts(plain_usage(usage))
    for name in _CACHED:
        details = counts.setdefault("prompt_tokens_details", {}) if name in counts else None
        if isinstance(details, dict):
            details.setdefault("cached_tokens", counts[name])
    return counts


def _counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _counts(value) if isinstance(value, dict) else value
        for key, value in usage.items()
        if isinstance(value, dict) or 0 <= value <= MOST_COUNTED
    }


def total_usage(responses: list[Any]) -> dict[str, Any]:
    """The usage of several responses, every number added up."""
    if len(responses) == 1:
        return dict(usage_of(responses[0]))
    total: dict[str, Any] = {}
    for response in responses:
        add_usage(total, usage_of(response))
    return total


def add_usage(total: dict[str, Any], usage: Mapping[str, Any]) -> None:
    """Adds every number of a usage to those of a total."""
    for key, value in usage.items():
        if isinstance(value, Mapping):
            inner = total.setdefault(key, {})
            if isinstance(inner, dict):
                add_usage(inner, value)
        elif not isinstance(total.get(key), dict):
            total[key] = total.get(key, 0) + value
