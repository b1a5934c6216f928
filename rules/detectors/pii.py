"""Detector ``pii``: personal data that can be recognised by its shape and its check digits.

Each kind has a *candidate* expression and a check. One alternation of all candidates answers for clean text; only where
it matches are the candidates of each kind looked up and checked. Names, postal addresses and dates have neither shape
nor check digits: they are a model's affair.

Phone numbers cost up to half a millisecond each, so each is checked once in a content, and the number of such checks per
content is bounded; beyond the bound a candidate counts by its shape alone, and beyond `MAX_MATCHES` candidates of a kind
the rest of the text counts as one: too much is masked then, never too little. Kinds that need a word nearby are not even
sought in a text without it.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from stdnum import iban, luhn
from stdnum.br import cpf
from stdnum.de import idnr
from stdnum.es import dni, nie
from stdnum.fr import nir
from stdnum.gb import nhs
from stdnum.in_ import aadhaar
from stdnum.it import codicefiscale
from stdnum.jp import in_ as my_number
from stdnum.us import ssn

from rules.detectors.fold import View
from rules.detectors.linear import MAX_MATCHES, Offsets, Regex, compile_any, compile_pattern, encode
from rules.detectors.spans import Detector, Span, merge_spans
from rules.detectors.views import HINTS, views
from rules.errors import PolicyError

MAX_PHONE_CHECKS = 300
"""Different candidates of phone numbers in one content that are checked."""

_CONTEXT_BEFORE = 60
_CONTEXT_AFTER = 20

Found: TypeAlias = tuple[int, int] | None
Check: TypeAlias = Callable[[str, int, int], Found]
"""(text, start, end) of a candidate → the part of it that is personal data, or None."""


@dataclass(frozen=True, slots=True)
class _Kind:
    label: str
    candidate: str
    check: Check
    is_costly: bool = False
    """Whether its check takes so long that it is bounded, see `_Costly`."""
    nests: bool = True
    """Whether another candidate may begin inside one that failed; not where candidates have no longest length."""
    context: Regex | None = None
    """What must stand near the candidate: for numbers that are too common by themselves."""


_AFTER_PHONE = 14
"""Characters behind a phone number in which an extension may stand."""


class _Costly:
    """The costly checks of one content: what was checked is remembered, because the same text is read several times."""

    def __init__(self) -> None:
        self._left = MAX_PHONE_CHECKS
        self._known: dict[tuple[str, int], Found] = {}

    def check(self, check: Check, text: str, start: int, end: int) -> Found:
        """What the check says about the candidate; the whole candidate once too many were checked."""
        if not _stands_alone(text, start, end):
            return None
        key = text[start : end + _AFTER_PHONE], end - start
        if key not in self._known:
            if self._left == 0:
                return start, end
            self._left -= 1
            self._known[key] = check(key[0], 0, key[1])
        found = self._known[key]
        return None if found is None else (start + found[0], start + found[1])


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether the candidate is not a part of a longer word, number or decimal."""
    before, after = text[start - 1 : start], text[end : end + 1]
    if before and ((before.isascii() and before.isalnum()) or before == "_"):
        return False
    if after and ((after.isascii() and after.isalnum()) or after == "_"):
        return False
    if before in (".", ",", "-") and text[start - 2 : start - 1].isdigit() and start >= 2:
        return False
    return not (after in (".", ",", "-") and text[end + 1 : end + 2].isdigit())


def _digits(value: str) -> str:
    return "".join(c for c in value if c.isdigit())


def _words(pattern: str) -> Regex:
    return compile_pattern(pattern, ignore_case=True)


def _has_context(context: Regex, text: str, start: int, end: int) -> bool:
    around = text[max(0, start - _CONTEXT_BEFORE) : start] + " " + text[end : end + _CONTEXT_AFTER]
    return context.search(encode(around)) is not None


def _alone(valid: Callable[[str], bool]) -> Check:
    """A check for numbers whose form and check digits suffice."""

    def check(text: str, start: int, end: int) -> Found:
        return (start, end) if _stands_alone(text, start, end) and valid(text[start:end]) else None

    return check


_FILE_ENDINGS = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "ico", "bmp", "css", "js", "jsx", "tsx", "html"})
"""What stands behind the dot in names such as ``icon@2x.png``."""


def _email(text: str, start: int, end: int) -> Found:
    while text[start] in ".'-":
        start += 1
    if text[start] == "@" or text[start : text.index("@", start)] == "git":  # git@host is a remote, not a person
        return None
    return None if text[start:end].rpartition(".")[2].lower() in _FILE_ENDINGS else (start, end)


_VERSION = re.compile(r"(?:\b[vV]|[vV]ersion[ :=]*|[vV]er\.? ?|[rR]elease )$")


def _ip_address(text: str, start: int, end: int) -> Found:
    value = text[start:end]
    before, after = text[start - 1 : start], text[end : end + 1]
    if (before.isalnum() and before.isascii()) or before in (".", ":", "_") or (after.isalnum() and after.isascii()):
        return None
    if after in (".", ":") and text[end + 1 : end + 2].isalnum() and (after == "." or ":" in value):
        return None
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return None
    if address.is_loopback or address.is_unspecified or address.is_multicast:
        return None
    if isinstance(address, ipaddress.IPv4Address):
        if value.startswith(("0.", "255.")) or _VERSION.search(text, max(0, start - 12), start):
            return None
    elif sum(c not in ":" for c in value) < 4 or not any(c.isdigit() for c in value):  # std::, A::B
        return None
    return start, end


_CARD_LENGTHS: tuple[tuple[range, int, frozenset[int]], ...] = (
    (range(4, 5), 1, frozenset({13, 16, 19})),  # Visa
    (range(51, 56), 2, frozenset({16})),  # Mastercard
    (range(2221, 2721), 4, frozenset({16})),
    (range(34, 35), 2, frozenset({15})),  # American Express
    (range(37, 38), 2, frozenset({15})),
    (range(6011, 6012), 4, frozenset(range(16, 20))),  # Discover
    (range(644, 650), 3, frozenset(range(16, 20))),
    (range(65, 66), 2, frozenset(range(16, 20))),
    (range(300, 306), 3, frozenset(range(14, 20))),  # Diners Club
    (range(36, 37), 2, frozenset(range(14, 20))),
    (range(38, 40), 2, frozenset(range(14, 20))),
    (range(35, 36), 2, frozenset({16})),  # JCB
    (range(1800, 1801), 4, frozenset({15})),
    (range(2131, 2132), 4, frozenset({15})),
    (range(62, 63), 2, frozenset(range(16, 20))),  # UnionPay
    (range(50, 51), 2, frozenset(range(13, 20))),  # Maestro
    (range(56, 59), 2, frozenset(range(13, 20))),
    (range(6304, 6305), 4, frozenset(range(13, 20))),
    (range(6759, 6764), 4, frozenset(range(13, 20))),
    (range(2200, 2205), 4, frozenset(range(16, 20))),  # Mir
)


def _is_card(number: str) -> bool:
    if not any(int(number[:n]) in prefixes and len(number) in lengths for prefixes, n, lengths in _CARD_LENGTHS):
        return False
    return len(set(number)) > 1 and bool(luhn.is_valid(number))


_CARD_SHAPES = (
    r"\d{13,19}"
    r"|\d{4}(?:[ -]\d{4}){2}[ -](?:\d{4}[ -]\d{3}|\d{1,7})"
    r"|\d{4}[ -]\d{6}[ -]\d{4,5}"
    r"|\d(?:[ -]\d){12,18}"
    r"|\d{3}(?:[ -]\d{3}){3,5}(?:[ -]\d{1,3})?"
)
"""How people write card numbers: in one piece, 4-4-4-4(-3), 4-6-5, 4-6-4, in threes, or digit by digit. Pairs are bytes."""

_LAST_GROUP = re.compile(r"[ -]\d+$")


def _card(text: str, start: int, end: int) -> Found:
    """The card number at the start of the candidate; what follows it in groups of its own may be something else."""
    while True:
        number = _digits(text[start:end])
        if len(number) < 13:
            return None
        if len(number) <= 19 and _is_card(number) and _stands_alone(text, start, end):
            return start, end
        last = _LAST_GROUP.search(text, start, end)
        if last is None:
            return None
        end = last.start()


@functools.lru_cache(maxsize=512)
def _iban_length(country: str) -> int:
    """Characters of an IBAN of this country; 0 if it has none."""
    info = iban._ibandb.info(country)[0][1]
    return 4 + sum(map(int, re.findall(r"(\d+)!", info["bban"]))) if "bban" in info else 0


def _iban(text: str, start: int, end: int) -> Found:
    before = text[start - 1 : start]
    length = _iban_length(text[start : start + 2].upper())
    if (before.isascii() and before.isalnum()) or not length:
        return None
    at = start
    compact = ""
    while at < end and len(compact) < length:
        if text[at] not in " -":
            compact += text[at]
        at += 1
    after = text[at : at + 1]
    if len(compact) < length or (after.isascii() and after.isalnum()):
        return None
    return (start, at) if iban.is_valid(compact, check_country=False) else None


def _phone(region: str | None) -> Check:
    import phonenumbers  # here, because it takes longer than everything else in this package together

    if region is not None and region not in phonenumbers.SUPPORTED_REGIONS:
        raise PolicyError(f"unknown region {region!r}: use two capital letters such as 'US'")

    def check(text: str, start: int, end: int) -> Found:
        for match in phonenumbers.PhoneNumberMatcher(text[start : end + _AFTER_PHONE], region):
            if match.start < end - start:
                return start + match.start, start + match.end
        return None

    return check


_PHONE_INTERNATIONAL = r"\+[ \t(.\-]{0,2}\d(?:[ \t().\-/]{0,3}\d){6,14}"
_PHONE_NATIONAL = rf"{_PHONE_INTERNATIONAL}|\(?\d(?:[ \t().\-/]{{0,3}}\d){{5,15}}"


def _kinds(region: str | None) -> tuple[_Kind, ...]:
    return (
        _Kind(
            "EMAIL",
            r"[A-Za-z0-9._%+'-]+@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})\.){1,8}[A-Za-z]{2,24}",
            _email,
            nests=False,
        ),
        _Kind("PHONE", _PHONE_NATIONAL if region else _PHONE_INTERNATIONAL, _phone(region), is_costly=True),
        _Kind("CARD", _CARD_SHAPES, _card),
        _Kind("IBAN", r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?", _iban),
        _Kind("US_SSN", r"\d{3}-\d{2}-\d{4}", _alone(ssn.is_valid)),
        _Kind(
            "US_SSN",
            r"\d{3}[ -]?\d{2}[ -]?\d{4}",
            _alone(lambda v: ssn.is_valid(_digits(v))),
            context=_words(r"\bssn\b|social[ -]?security|\bsoc\.? ?sec\b|taxpayer id"),
        ),
        _Kind(
            "IP_ADDRESS",
            r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}"
            r"|(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\d{1,3}\.){3}\d{1,3}|[0-9A-Fa-f]{0,4})",
            _ip_address,
        ),
        _Kind("ES_DNI", r"(?:\d{8}|[XYZxyz]-?\d{7})-?[A-Za-z]", _alone(lambda v: dni.is_valid(v) or nie.is_valid(v))),
        _Kind("FR_NIR", r"[12] ?\d{2} ?\d{2} ?\d[\dABab] ?\d{3} ?\d{3} ?\d{2}", _alone(nir.is_valid)),
        _Kind(
            "IT_FISCAL_CODE",
            r"[A-Za-z]{6}[0-9LMNPQRSTUVlmnpqrstuv]{2}[A-Ea-eHhLlMmPpR-Tr-t][0-9LMNPQRSTUVlmnpqrstuv]{2}[A-Za-z][0-9LMNPQRSTUVlmnpqrstuv]{3}[A-Za-z]",
            _alone(codicefiscale.is_valid),
        ),
        _Kind("BR_CPF", r"\d{3}\.\d{3}\.\d{3}-\d{2}", _alone(cpf.is_valid)),
        _Kind(
            "UK_NHS",
            r"\d{3}[ -]?\d{3}[ -]?\d{4}",
            _alone(nhs.is_valid),
            context=_words(r"\bnhs\b|national health|health service"),
        ),
        _Kind(
            "DE_IDNR",
            r"\d{2}[ /]?\d{3}[ /]?\d{3}[ /]?\d{3}",
            _alone(lambda v: idnr.is_valid(_digits(v))),
            context=_words(r"steuer|\bid-?nr\b|identifikationsn|\btin\b|tax id|taxpayer"),
        ),
        _Kind(
            "JP_MY_NUMBER",
            r"\d{4}[ -]?\d{4}[ -]?\d{4}",
            _alone(my_number.is_valid),
            context=_words(r"my ?number|マイナンバー|個人番号|individual number"),
        ),
        _Kind(
            "IN_AADHAAR",
            r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}",
            _alone(aadhaar.is_valid),
            context=_words(r"aadha?ar|आधार|uidai|\buid\b"),
        ),
    )


PII_KINDS: tuple[str, ...] = (
    *("EMAIL", "PHONE", "CARD", "IBAN", "US_SSN", "IP_ADDRESS"),
    *("ES_DNI", "FR_NIR", "IT_FISCAL_CODE", "BR_CPF", "UK_NHS", "DE_IDNR", "JP_MY_NUMBER", "IN_AADHAAR"),
)
"""Kinds that can be chosen."""


class PiiDetector:
    """Finds personal data of the chosen kinds."""

    def __init__(self, kinds: Sequence[str] | None = None, region: str | None = None) -> None:
        """Compile the candidates.

        Args:
            kinds: Labels from `PII_KINDS`; None: all.
            region: Two-letter region whose national phone numbers are recognised; None: international form only.

        Raises:
            PolicyError: An unknown kind or region, or no kind at all.
        """
        chosen = PII_KINDS if kinds is None else tuple(kinds)
        unknown = [kind for kind in chosen if kind not in PII_KINDS]
        if unknown:
            raise PolicyError(f"unknown kind {unknown[0]!r}: use some of {', '.join(PII_KINDS)}")
        if not chosen:
            raise PolicyError("kinds is empty: name some, or leave it out for all")
        self._kinds = [(k, compile_pattern(k.candidate)) for k in _kinds(region) if k.label in chosen]
        candidates = [k.candidate for k, _ in self._kinds]
        self._any = compile_any(candidates)
        self._any_or_encoded = compile_any([*candidates, HINTS])

    def find(self, text: str) -> list[Span]:
        """See `rules.detectors.Detector`: a text that is the whole content."""
        return self.find_in(text, _Costly())

    def for_content(self) -> Detector:
        """See `rules.detectors.spans.Bounded`."""
        return _OneContent(self, _Costly())

    def find_in(self, text: str, costly: _Costly) -> list[Span]:
        """Everything found in a text of a content."""
        if text.isascii() and self._any_or_encoded.search(text.encode()) is None:
            return []
        spans: list[Span] = []
        for view in views(text):
            if not _may_hold_any(view.text):
                continue
            data = encode(view.text)
            if self._any.search(data) is not None:
                for kind, regex in self._kinds:
                    spans.extend(_matches(kind, regex, view, data, costly))
        return merge_spans(spans) if spans else spans


@dataclass(frozen=True, slots=True)
class _OneContent:
    """Reads the texts of one content."""

    detector: PiiDetector
    costly: _Costly

    def find(self, text: str) -> list[Span]:
        return self.detector.find_in(text, self.costly)


_DIGIT = re.compile(r"[0-9]")


def _may_hold_any(text: str) -> bool:
    """Every kind has an ``@`` or digits in it (an IPv6 address without a digit is not taken for one)."""
    return "@" in text or _DIGIT.search(text) is not None


def _matches(kind: _Kind, regex: Regex, view: View, data: bytes, costly: _Costly) -> Iterator[Span]:
    """Candidates that pass the kind's check. Where one fails, another may begin inside it."""
    text = view.text
    if kind.context is not None and kind.context.search(data) is None:
        return
    offsets = Offsets(data)
    n = 0
    match = regex.search(data)
    while match is not None:
        start, end = offsets.chars(match.start(), match.end())
        n += 1
        if n > MAX_MATCHES:
            yield Span(*view.to_raw(start, len(text)), kind.label)
            return
        found = _check(kind, text, start, end, costly)
        if found is None:
            after = _next_start(text, start, end) if kind.nests else end
        else:
            yield Span(*view.to_raw(*found), kind.label)
            after = found[1]
        match = regex.search(data, match.start() + (after - start))  # candidates are ASCII: bytes are code points


def _check(kind: _Kind, text: str, start: int, end: int, costly: _Costly) -> Found:
    if kind.context is not None and not _has_context(kind.context, text, start, end):
        return None
    return costly.check(kind.check, text, start, end) if kind.is_costly else kind.check(text, start, end)


def _next_start(text: str, start: int, end: int) -> int:
    """Where the search goes on after a candidate that failed: behind its first run of letters and digits."""
    at = start
    while at < end and text[at].isalnum():
        at += 1
    return max(at, start + 1)
