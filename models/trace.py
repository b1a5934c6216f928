"""What one answer of a safeguard model says, and what it is when it is not a verdict. Pure.

A model that was asked for one character answers with a trace (its reasoning) and a final text. Only a final text that
is exactly one label after trimming is a verdict. Everything else is of some kind, and the kinds mean different things::

    verdict     "0" or "1"
    refusal     "I'm sorry, but …": of the contents that public traces of gpt-oss-safeguard-20b refuse, 55-100 % were
                violations, so it leans to violation
    task        the model did what the content asks for (a story, JSON, a list) and judged nothing: leans to violation,
                because whoever can make it do so has taken it over
    empty       no final text
    runaway     no final text, because reasoning went round in circles or was cut
    malformed   a verdict in another form (two labels, prose around a label, "unsafe", "S1", ``{"violation": 1}``): it is
                not guessed at, since the same form can be quoted from the content

The kinds are told apart by their wording, which is good enough to name an error and to weigh it, never to decide for
"safe". Recorded answers of the real model were read with it, see `tests/models/test_trace.py`.

Evidence beside the label: in the same traces the *length* of the trace says more than the verdict does (`length_score`),
and 81-97 % of the violations that the model missed have a trace that drifts from the given policy to OpenAI's own and to
whether one should comply (9-31 % of all traces do).

All is linear in the length of the text, or looks at a bounded part of it.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Sequence

from models.errors import GuardEmpty, GuardRanTask, GuardRefused, GuardRunaway, VerdictError
from models.evidence import Evidence, Kind
from models.odds import sigmoid
from models.prompt import SAFE, VIOLATES

LONG_TRACE_CHARS = 4_000
"""Of the traces that are longer (1.2-2.8 % of them), 50-67 % end in a wrong verdict."""
LONG_TRACE_TOKENS = 1_000
"""The same in tokens, where they were counted."""

_SHORTEST_CHARS, _LONGEST_CHARS = 60, 12_000
_REPEATED_TAIL_CHARS = 2_000
_REPEATED_MIN_CHARS = 1_000
_REPEATED_RATIO = 0.15
"""zlib makes less than this of a text that goes round in circles; of the recorded traces, never less than 0.25."""

_HEAD_CHARS = 300
_SHORT_ANSWER_CHARS = 400


def read_trace(
    trace: str,
    answer: str,
    *,
    n_tokens: int | None = None,
    cut: bool = False,
    labels: Sequence[str] = (VIOLATES, SAFE),
) -> Evidence:
    """Read one answer.

    Args:
        trace: The reasoning; empty where there is none.
        answer: The final text.
        n_tokens: Tokens of the trace, if known.
        cut: The model did not end by itself: a limit did. Nothing that was cut is a verdict.
        labels: The words that the policy let the model choose from.
    """
    kind, violates = classify(answer, cut=cut)
    n_chars = len(trace)
    runaway = n_chars > LONG_TRACE_CHARS or (n_tokens or 0) > LONG_TRACE_TOKENS or goes_in_circles(trace)
    if kind is Kind.EMPTY and runaway:
        kind = Kind.RUNAWAY
    named = re.compile("|".join(rf"(?<!\w){re.escape(label)}(?!\w)" for label in labels) or r"(?!)", re.IGNORECASE)
    return Evidence(
        kind=kind,
        violates=violates,
        n_chars=n_chars,
        n_tokens=n_tokens,
        runaway=runaway,
        n_drift_words=sum(1 for _ in _DRIFT.finditer(trace)),
        names_label=named.search(trace) is not None,
    )


def classify(answer: str, *, cut: bool = False) -> tuple[Kind, bool | None]:
    """What a final text is, and the verdict if it is one; arguments as `read_trace`."""
    text = answer.strip()
    if not cut and text in (VIOLATES, SAFE):
        return Kind.VERDICT, text == VIOLATES
    if not text:
        return (Kind.RUNAWAY if cut else Kind.EMPTY), None
    if is_refusal(text):
        return Kind.REFUSAL, None
    if _is_malformed_verdict(text):
        return (Kind.RUNAWAY if cut else Kind.MALFORMED), None
    return Kind.TASK, None


def verdict_error(kind: Kind) -> VerdictError:
    """The error that stands for an answer without verdict. Its message says what kind, never what the model said.

    Raises:
        ValueError: ``kind`` is a verdict.
    """
    match kind:
        case Kind.REFUSAL:
            return GuardRefused("the model refused instead of giving a verdict")
        case Kind.TASK:
            return GuardRanTask("the model did what the content asks for instead of judging it")
        case Kind.EMPTY:
            return GuardEmpty("the model's answer is empty")
        case Kind.RUNAWAY:
            return GuardRunaway("the model reasoned without coming to a verdict")
        case Kind.MALFORMED:
            return VerdictError("the model's answer is neither 0 nor 1")
        case Kind.VERDICT:
            raise ValueError("a verdict is not an error")


def length_score(violates: bool, n_chars: int) -> float:
    r"""A score from the verdict and the length of the trace: the longer it took, the less the verdict is worth.

    ``1 - u/2`` for a violation and ``u/2`` for none, with ``u = ln(n_chars / 60) / ln(12000 / 60)`` clipped to
    ``[0, 1]``. Fixed in advance, not fitted; not calibrated. On 2,000 recorded answers of gpt-oss-safeguard-20b (medium
    effort, ToxicChat) for each of three policies, with refusals as violations, it has an AUROC of 0.97-0.98 where the
    verdict alone has 0.69-0.85.

    Args:
        violates: The verdict, or to what the answer leans (`Evidence.leans_to_violation`).
        n_chars: Length of the trace.

    >>> length_score(True, 60), length_score(False, 60), length_score(False, 20_000)
    (1.0, 0.0, 0.5)
    """
    span = math.log(_LONGEST_CHARS / _SHORTEST_CHARS)
    doubt = min(1.0, max(0.0, math.log(max(n_chars, 1) / _SHORTEST_CHARS) / span))
    return 1.0 - doubt / 2 if violates else doubt / 2


def prior_score(evidence: Evidence) -> float:
    """The length score, or what the logit says where that is in more doubt about the verdict.

    A trace that was cut short would have been longer: it makes doubt of an acquittal, but none of a violation.
    """
    by_length = length_score(evidence.leans_to_violation, evidence.n_chars)
    if evidence.logit is None:
        return by_length
    said = sigmoid(evidence.logit)
    if evidence.leans_to_violation:
        return said if evidence.cut else min(by_length, max(said, 0.5))
    return max(by_length, said if evidence.cut else min(said, 0.5))


def goes_in_circles(trace: str) -> bool:
    """Whether the end of a trace repeats itself."""
    tail = trace[-_REPEATED_TAIL_CHARS:].encode("utf-8", "replace")
    return len(tail) >= _REPEATED_MIN_CHARS and len(zlib.compress(tail)) < _REPEATED_RATIO * len(tail)


def is_refusal(answer: str) -> bool:
    """Whether an answer is a refusal ("I'm sorry, but I can't …"), in English or the usual words of some languages."""
    head = _plain(answer[:_HEAD_CHARS])
    if _REFUSES.match(head) or _REFUSES_ELSEWHERE.match(head):
        return True
    if apology := _APOLOGY.match(head):
        rest = head[apology.end() :]
        return len(rest) <= _SHORT_APOLOGY_CHARS or _CANNOT.search(rest) is not None
    return len(answer) <= _SHORT_ANSWER_CHARS and _CANNOT_HELP.search(head) is not None


def _plain(text: str) -> str:
    """Lower case, straight apostrophes, single spaces, no marks of emphasis or quotation at the beginning."""
    return " ".join(text.casefold().translate(_APOSTROPHES).split()).lstrip("*_#>\"'“”`- ")


_APOSTROPHES = str.maketrans("’‘ʼ`´", "'''''")

_DRIFT = re.compile(r"\bopenai|\bdisallow|\brefus|\bcompl(?:y|ies|iance|ying)\b", re.IGNORECASE)

_SHORT_APOLOGY_CHARS = 40
_WHO = r"(?:i|we)(?:'m|'re| am| are)?"
_HOW = r"(?:(?:just|simply|really|afraid|afraid i|currently|only) )*"
_NOT = (
    r"(?:can'?t|can ?not|could ?n'?t|won'?t|will not|would not|unable|not able|not (?:going|allowed|permitted|comfortable)"
    r"|(?:must|have to|need to|will|should) (?:\w+ )?(?:decline|refuse)|decline|refuse)\b"
)
# "I can't wait" and the like begin a story or a chat, not a refusal
_IDIOM = r"(?! (?:wait|believe|stop|remember|imagine|complain|help but|thank|tell you how|say i|be happier)\b)"
_REFUSES = re.compile(
    rf"(?:no[,.:]? )?{_WHO} {_HOW}{_NOT}{_IDIOM}"
    r"|(?:this|the|your) (?:request|content|message|prompt)\b.{0,60}?\b(?:can'?t|can ?not) be \w+ed\b"
    r"|request (?:refused|denied|declined)\b"
)
_APOLOGY = re.compile(
    rf"(?:{_WHO} )?(?:very |so |really |terribly |truly )?sorry\b|(?:my )?apologies\b|i (?:must )?apologi[sz]e\b"
    r"|unfortunately\b|regrettably\b|as an ai\b"
)
_CANNOT = re.compile(rf"\b{_NOT}{_IDIOM}")
_CANNOT_HELP = re.compile(
    r"\b(?:can'?t|can ?not|won'?t|(?:unable|not able|not going) to) (?:be able to )?(?:help|assist|comply|provide|fulfil\w*"
    r"|create|write|generate|engage|continue|support|answer|discuss|share|produce|complete|process|respond|do that)\b"
)
_REFUSES_ELSEWHERE = re.compile(
    r"(?:lo siento|lo lamento|disculpa|desculpe|sinto muito|mi dispiace|je suis désolée?|désolée?|es tut mir leid"
    r"|tut mir leid|entschuldigung|przykro mi|przepraszam|извините|простите|к сожалению|het spijt me|üzgünüm)\b"
    r"|申し訳|すみません|抱歉|对不起|對不起|很抱歉|我无法|我不能|죄송"
)

_WORDS_OF_VERDICTS = (
    "0 1 00 01 10 11 safe unsafe safely valid invalid violation violations violating violates violate nonviolating yes no "
    "true false pass passed fail failed allow allowed block blocked flag flagged benign harmful harmless toxic nontoxic clean "
    "compliant noncompliant controversial verdict label answer output classification category categories result "
    "decision final is the this content message it policy does not non a of and or with to against"
)
_VERDICT_WORDS = frozenset(_WORDS_OF_VERDICTS.split())
_CODE = re.compile(r"[a-z]{1,2}\d{1,2}[a-z]?|[a-z]")
_MAX_VERDICT_WORDS = 16
_KEY = re.compile(
    r'\W{0,12}(?:json\s*)?\{\s*["\']?(?:is_?)?'
    r"(?:violat\w*|verdict|policy_?categor\w*|flagged|safe|unsafe|classification|decision)\b",
    re.IGNORECASE,
)
_LABEL_FIRST = re.compile(
    r"[^\w\s]{0,4}[01](?![\w]|[.,:/-]\d)"
    r"(?=\s*$|\s*\n|\s*[^\w\s]{1,4}(?:\s|$)|\s+(?:because|as|since|the|this|it|for|due|so|and|or|if|is|means|not|no)\b)"
)
_LIST_CHARS = 2_000
_SECOND_ITEM = re.compile(r"^\W{0,4}2\s*[.)]", re.MULTILINE)
_NAMED_LABEL = re.compile(
    r"\b(?:verdict|label|classification|answer|output|decision)\b\W{0,6}(?:is\W{1,4})?(?:0 or 1\W{1,4})?"
    r"(?:[01]|safe|unsafe|valid|invalid|(?:non-?|not )?violat\w*)(?![\w]|[.,:/-]\d)",
    re.IGNORECASE,
)
_STATEMENT = re.compile(
    r"\b(?:content|message|text|request|prompt|input|it|this)\b (?:is|does|would|clearly )* ?(?:not )?"
    r"(?:safe|unsafe|violat\w+|toxic|non-?toxic|harmful|harmless|allowed|disallowed|against|within|compliant)\b",
    re.IGNORECASE,
)
_FORMAT_DEBRIS = re.compile(r"<\|\w{1,20}\|>|^commentary to=|^assistant(?:final|analysis)", re.IGNORECASE)


def _is_malformed_verdict(text: str) -> bool:
    head, tail = text[:_HEAD_CHARS], text[-_HEAD_CHARS:]
    if _FORMAT_DEBRIS.search(head) or _KEY.match(head):
        return True
    words = re.findall(r"[^\W_]+", head.casefold())
    if len(text) <= _HEAD_CHARS and len(words) <= _MAX_VERDICT_WORDS:
        known = (word in _VERDICT_WORDS or _CODE.fullmatch(word) is not None for word in words)
        if all(known):  # also where there are no words: "."
            return True
    if _LABEL_FIRST.match(head) and not _SECOND_ITEM.search(text[:_LIST_CHARS]):
        return True
    if _NAMED_LABEL.search(head) or _NAMED_LABEL.search(tail):
        return True
    return len(text) <= _SHORT_ANSWER_CHARS and _STATEMENT.search(text) is not None
