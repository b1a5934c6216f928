"""Closed wire schemas: a disposition for every field, and one walk that cleans an object and collects its text.

Theory. An object crosses only as what this walk returns, and every string in what it returns was either put into the
collection of leaves (and is judged), or is one of a fixed set of words, or is a number. So no field can carry text past
the rules, also none that we forgot: what no schema names is judged as metadata (requests, ``unknown_fields: screen``),
refused (``unknown_fields: refuse``), or dropped (responses).

A request that does not fit raises `Misfit` (the client is told where). In a response the misfitting value is dropped:
an upstream's extra field is no reason to fail, and what is dropped cannot leak.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from proxy.strict_json import JsonError, check_text, parse_json_text
from rules.content import Leaf, LeafKind, Path, Surface, show_path
from rules.detectors.fold import fold
from rules.detectors.runs import joins_words, says_text

MAX_DEPTH = 64
MAX_LEAVES = 50_000
"""More strings and keys than this in one object are refused: nothing honest has them."""
MAX_VALUES = 200_000
"""So are more values of any kind: fields of objects and items of lists."""

MAX_IDS = 16
"""More whole numbers than this in one list of an unknown field are taken for token ids, which no rule here can read."""

HIDDEN = "<HIDDEN>"
MIN_KEY_CHARS = 12


def hiding(key: str | None) -> Mapping[str, str]:
    """What to put in place of the upstream's key in a stream; see `Collection.hidden`."""
    return {key: HIDDEN} if key is not None and len(key) >= MIN_KEY_CHARS else {}


class Misfit(ValueError):
    """A request does not fit the schema: where, why, and a short stable code."""

    def __init__(self, path: Path, reason: str, code: str = "invalid_value") -> None:
        super().__init__(reason)
        self.path = tuple(step if isinstance(step, int) or _sayable(step) else "…" for step in path)
        self.code = code

    def said(self, otherwise: str = "") -> str:
        """Where and why; what is wrong as a whole is called ``otherwise``, if that says anything."""
        where = show_path(self.path) or otherwise
        return f"{where}: {self}" if where else str(self)


class _Drop:
    """Says: leave this value out."""


DROP = _Drop()


@dataclass(slots=True)
class Collection:
    """What one walk has found, and how strict it is."""

    strict: bool
    """Requests: a misfit raises. Responses: it is dropped."""
    screen_unknown: bool = True
    """Requests: judge unknown fields as metadata instead of refusing them."""
    hidden: str | None = field(default=None, repr=False)
    """The upstream's key: masked wherever it stands. Shorter ones than `MIN_KEY_CHARS` are words, not keys."""
    has_hidden: bool = False
    """Whether ``hidden`` was found and masked."""
    allows_state: bool = False
    """Requests: `ServerState` may cross."""
    unseen: list[Path] = field(default_factory=list)
    """Where a request refers to text on the server, which nobody here can judge."""
    may_act: bool = False
    """Requests: whether the upstream could do more than answer, by a tool, or by a field or word that nobody here knows."""
    leaves: list[Leaf] = field(default_factory=list, repr=False)
    opaque: list[Path] = field(default_factory=list)
    n_values: int = 0
    """Fields of objects and items of lists that were met so far."""

    def wrong(self, path: Path, reason: str, code: str = "invalid_value") -> _Drop:
        """A value that does not fit."""
        if self.strict:
            raise Misfit(path, reason, code)
        return DROP

    def count(self, n: int, path: Path) -> None:
        """Before so many fields or items are walked."""
        self.n_values += n
        if self.n_values > MAX_VALUES:
            raise Misfit(path[:8], f"more than {MAX_VALUES} values in one object", "too_many_values")

    def add(
        self,
        path: Path,
        surface: Surface,
        text: str,
        kind: LeafKind = LeafKind.TEXT,
        *,
        is_json: bool = False,
        is_unknown: bool = False,
    ) -> str:
        """Take a string into the collection; gives back what crosses in its place."""
        problem = check_text(text)
        if problem is not None:
            if self.strict:
                raise Misfit(path, problem, "invalid_string")
            text = text.encode("utf-8", "replace").decode(
                "utf-8"
            )  # upstreams cut emoji in two; the halves are lost anyway
        if self.spells_hidden(text):
            text = text.replace(self.hidden or "", HIDDEN)
            self.has_hidden = True
        if len(self.leaves) >= MAX_LEAVES:
            raise Misfit(path, f"more than {MAX_LEAVES} strings", "too_many_strings")
        self.leaves.append(Leaf(path, surface, text, kind, is_json, is_unknown))
        return text

    def add_or_count(self, path: Path, surface: Surface, text: str, *, is_unknown: bool = False) -> str:
        """Take in a string that an upstream may read as a file: a file is opaque, and judged unless it `is_data`."""
        before = len(self.leaves)
        text = self.add(path, surface, text, is_unknown=is_unknown)
        if holds_file(text):
            self.opaque.append(path)
            self.may_act = True
            if is_data(text):
                del self.leaves[before:]
        return text

    def spells_hidden(self, text: str) -> bool:
        """Whether the upstream's key stands in a text."""
        return self.hidden is not None and len(self.hidden) >= MIN_KEY_CHARS and self.hidden in text


class Spec(Protocol):
    """The disposition of one place in an object."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """What crosses in place of ``value``; `DROP` leaves it out."""
        ...


@dataclass(frozen=True, slots=True)
class Text:
    """Judged text."""

    surface: Surface
    nullable: bool = True
    may_be_file: bool = False
    """Whether some upstreams read a file where one stands in place of text."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None and self.nullable:
            return None
        if not isinstance(value, str):
            return into.wrong(path, "must be a string", "invalid_type")
        return (into.add_or_count if self.may_be_file else into.add)(path, self.surface, value)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of a few known words; another word is judged like any text, so new ones need no new release."""

    words: frozenset[str]
    closed: bool = False

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None and not self.closed:
            return None
        if isinstance(value, str) and value in self.words:
            return value
        if isinstance(value, str) and not self.closed:
            into.may_act = True
            return into.add(path, Surface.METADATA, value, is_unknown=True)
        return into.wrong(path, f"must be one of {', '.join(sorted(self.words))}")


def choice(*words: str) -> Choice:
    """An open choice."""
    return Choice(frozenset(words))


@dataclass(frozen=True, slots=True)
class Number:
    """A number within bounds; ``whole`` refuses floats."""

    low: float = -1e9
    high: float = 2**53
    whole: bool = False

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int if self.whole else (int, float)):
            return into.wrong(path, f"must be {'an integer' if self.whole else 'a number'}", "invalid_type")
        if not self.low <= value <= self.high:
            return into.wrong(path, f"must lie in [{self.low:g}, {self.high:g}]")
        return value


@dataclass(frozen=True, slots=True)
class Flag:
    """true or false, nothing that merely looks so."""

    nullable: bool = True

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if isinstance(value, bool) or (value is None and self.nullable):
            return value
        return into.wrong(path, "must be true or false", "invalid_type")


@dataclass(frozen=True, slots=True)
class Dropped:
    """Never crosses."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        return DROP


@dataclass(frozen=True, slots=True)
class Forced:
    """Crosses as this, whatever it was."""

    value: Any

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        return self.value


@dataclass(frozen=True, slots=True)
class Refused:
    """A field that changes how an upstream reads the prompt, or refers to text that cannot be seen here."""

    reason: str

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        return into.wrong(path, self.reason, "unsupported_field")


@dataclass(frozen=True, slots=True)
class Acting:
    """A field with which the upstream may do more than answer; null and an empty list ask for nothing."""

    spec: Spec

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is not None and value != []:
            into.may_act = True
        return self.spec.clean(value, path, into)


@dataclass(frozen=True, slots=True)
class ServerState(Refused):
    """A field that refers to text on the server: refused, or counted as unseen where the route allows it; null is left out."""

    spec: Spec

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None:
            return DROP
        if not into.allows_state:
            return into.wrong(path, self.reason, "unsupported_field")
        into.unseen.append(path)
        return self.spec.clean(value, path, into)


@dataclass(frozen=True, slots=True)
class Stored:
    """Whether the upstream keeps what it answers: no, unless the route allows state on the server."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        wanted = Flag().clean(value, path, into)
        return wanted if into.allows_state else False


_DIGITS = 7
"""From so many significant digits on a number can be a card's, a phone's, a person's; token ids stay below."""
_LONG = 10 ** (_DIGITS - 1)


def _spellings(number: float) -> Iterator[str]:
    """A long number as it is written, and its digits by themselves where a point stands among them; none of a short one."""
    if isinstance(number, bool) or (abs(number) < _LONG and number % 1 == 0):
        return
    if number % 1 == 0:
        yield str(int(number))
        return
    written = repr(number)
    digits = written.lower().partition("e")[0].lstrip("-").replace(".", "").lstrip("0")
    if len(digits) >= _DIGITS:
        yield written
        yield digits


@dataclass(frozen=True, slots=True)
class Anything:
    """Any JSON; every string, every key and every long number in it is judged.

    Of unknown fields, so are the digits of a long number with a point, and a short list of whole numbers read as one: together
    they can be what none is by itself. A file in an unknown field is opaque, as in known ones.
    """

    surface: Surface
    only: type | tuple[type, ...] = object
    is_unknown: bool = False
    refuses_ids: bool = False
    """Whether a list of whole numbers may be token ids, because nobody knows what the upstream makes of it."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is not None and not isinstance(value, self.only):
            return into.wrong(path, "has the wrong type", "invalid_type")
        return self._walk(value, path, into, 0)

    def _walk(self, value: Any, path: Path, into: Collection, depth: int, *, in_list: bool = False) -> Any:
        if isinstance(value, str):
            add = into.add_or_count if self.is_unknown else into.add
            return add(path, self.surface, value, is_unknown=self.is_unknown)
        if depth > MAX_DEPTH:
            raise Misfit(path[:8], f"nested more than {MAX_DEPTH} deep", "too_deep")
        if isinstance(value, dict):
            into.count(len(value), path)
            out = {}
            for key, item in value.items():
                clean_key = into.add((*path, key), self.surface, key, LeafKind.KEY, is_unknown=self.is_unknown)
                out[clean_key] = self._walk(item, (*path, clean_key), into, depth + 1)
            return out
        if isinstance(value, list):
            into.count(len(value), path)
            if self.refuses_ids and not in_list:
                self._read_together(value, path, into)
            return [self._walk(item, (*path, i), into, depth + 1, in_list=True) for i, item in enumerate(value)]
        if isinstance(value, (int, float)):
            for text in islice(_spellings(value), 2 if self.is_unknown else 1):
                into.add(path, self.surface, text, LeafKind.KEY, is_unknown=self.is_unknown)
        return value

    def _read_together(self, values: list[Any], path: Path, into: Collection) -> None:
        numbers = list(islice(_whole_numbers(values), MAX_IDS + 1))
        if len(numbers) > MAX_IDS:
            reason = f"holds more than {MAX_IDS} whole numbers; token ids cannot be judged: send text, or fewer"
            raise Misfit(path, reason, "token_ids")
        text = " ".join(str(int(number)) for number in numbers)
        if len(numbers) > 1 and sum(map(str.isdigit, text)) >= _DIGITS:
            into.add(path, self.surface, text, LeafKind.KEY, is_unknown=self.is_unknown)


def _whole_numbers(values: list[Any]) -> Iterator[float]:
    """The whole numbers of a list and of the lists in it, in order."""
    stack = [iter(values)]
    while stack:
        for item in stack[-1]:
            if isinstance(item, list):
                stack.append(iter(item))
                break
            if isinstance(item, (int, float)) and not isinstance(item, bool) and item % 1 == 0:
                yield item
        else:
            stack.pop()


UNKNOWN = Anything(Surface.METADATA, is_unknown=True, refuses_ids=True)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A part that no guard here can read: counted, and handled by the route's ``opaque``.

    The upstream may call an address in it, which is more than to answer.
    Only base64 data that is no text is unreadable; whatever else stands in the part (text files, drawings in SVG, addresses,
    names, fields nobody knows) is judged.
    """

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        into.may_act = True
        before, n_opaque = len(into.leaves), len(into.opaque)
        out = UNKNOWN.clean(value, path, into)
        into.opaque[n_opaque:] = [path]  # one part, whatever stands in it
        found = into.leaves[before:]
        into.leaves[before:] = [leaf for leaf in found if leaf.kind is LeafKind.KEY or not is_data(leaf.text)]
        return out


_BASE64 = re.compile(r"(?:data:[\w.+-]{1,40}/[\w.+-]{1,60};base64,)?[A-Za-z0-9+/]{256,}={0,2}", re.ASCII)
"""Shorter runs can be words: they are judged."""


def is_data(text: str) -> bool:
    """Whether a string is base64 data in which no guard here can read: images and sounds, but not text."""
    if _BASE64.fullmatch(text) is None:
        return False
    data = text.rpartition(",")[2]
    return not says_text(data) and not joins_words(data)


_DATA_URL = re.compile(r"data:([^,;\s]{0,100})(?:;[^,]{0,200})?,", re.ASCII | re.IGNORECASE)
_MIN_FILE_CHARS = 32
_ALL_BASE64 = re.compile(rf"[A-Za-z0-9+/_\r\n-]{{{_MIN_FILE_CHARS},}}={{0,2}}", re.ASCII)
_MAGIC = (b"\x89PNG\r\n", b"\xff\xd8\xff", b"GIF8", b"RIFF", b"%PDF-", b"ID3", b"OggS")
"""How images (PNG, JPEG, GIF, WebP), PDF and sounds (WAV, MP3, Ogg) begin."""


def holds_file(text: str) -> bool:
    """Whether a string is an image, a sound or another file in place of text: a ``data:`` URL or base64 of one.

    >>> holds_file("data:image/png;base64,AAAA"), holds_file("data:text/plain;base64,aGk="), holds_file("data: see below")
    (True, False, False)
    """
    text = text.strip()
    url = _DATA_URL.match(text)
    if url is not None:
        if "/" in url[1] and not url[1].lower().startswith("text/"):
            return True
        text = text[url.end() :]
    if _ALL_BASE64.fullmatch(text) is None:
        return False
    head = "".join(text[: 2 * _MIN_FILE_CHARS].split())[:12].replace("-", "+").replace("_", "/")
    return len(head) == 12 and binascii.a2b_base64(head).startswith(_MAGIC)


@dataclass(frozen=True, slots=True)
class Object:
    """An object with known fields.

    In a request, null in a field that need not be there says that it is not given: where it may not cross, it is left out.
    """

    fields: Mapping[str, Spec]
    required: tuple[str, ...] = ()
    never: Mapping[str, Spec] = field(default_factory=dict)
    """Fields that are refused however they are spelled, by their `plain_name`."""

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None and path and not isinstance(path[-1], int):
            return None
        if not isinstance(value, dict):
            return into.wrong(path, "must be an object", "invalid_type")
        for name in self.required:
            if value.get(name) is None:
                return into.wrong((*path, name), "is missing", "missing_field")
        into.count(len(value), path)
        out = {}
        fields = self.fields
        for key, item in value.items():
            spec = fields.get(key)
            here = path + (key,)  # noqa: RUF005 - twice as fast as unpacking, and this is done for every field
            if spec is None:
                if not into.strict:
                    continue
                if not into.screen_unknown:
                    raise Misfit(here, "is not a known field", "unknown_field")
                if fold(key).strip().casefold() in fields:
                    # Go reads keys without regard to case, the last one wins: another model, another prompt, `store`
                    raise Misfit(here, "is another spelling of a known field", "unknown_field")
                spec = self.never.get(plain_name(key))
                if spec is None:
                    into.add(here, Surface.METADATA, key, LeafKind.KEY, is_unknown=True)
                    into.may_act = True
                    spec = UNKNOWN
            cleaned = _null(spec, here, into) if item is None else spec.clean(item, here, into)
            if cleaned is not DROP:
                out[key] = cleaned
        return out


def _null(spec: Spec, path: Path, into: Collection) -> Any:
    """What crosses in place of a null; what would be refused is left out."""
    try:
        return spec.clean(None, path, into)
    except Misfit:
        return DROP


def plain_name(key: str) -> str:
    """A key without what spellings of one name differ in: case, underscores, hyphens, odd characters.

    >>> plain_name("promptTokenIds") == plain_name("prompt-token-ids") == plain_name("prompt_token_ids")
    True
    """
    return fold(key).strip().casefold().replace("_", "").replace("-", "")


def _sayable(key: str) -> bool:
    """Whether a key may stand in an error message: others can hold content, or what JSON cannot spell."""
    return len(key) <= 64 and key.isascii() and key.replace("_", "a").replace("-", "a").isalnum()


@dataclass(frozen=True, slots=True)
class Array:
    """A list of like items."""

    item: Spec
    max_items: int = 4096
    min_items: int = 0

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None and not self.min_items:
            return None
        if not isinstance(value, list):
            return into.wrong(path, "must be a list", "invalid_type")
        if not self.min_items <= len(value) <= self.max_items:
            wanted = f"at least {self.min_items}" if len(value) < self.min_items else f"at most {self.max_items}"
            raise Misfit(path, f"must have {wanted} items", "invalid_length")
        into.count(len(value), path)
        out: list[Any] = []
        for (
            item
        ) in value:  # paths name places in what crosses: a rewrite finds its leaf there, also behind a dropped item
            cleaned = self.item.clean(item, (*path, len(out)), into)
            if cleaned is not DROP:
                out.append(cleaned)
        return out


@dataclass(frozen=True, slots=True)
class ByType:
    """One disposition per JSON type."""

    text: Spec | None = None
    array: Spec | None = None
    object: Spec | None = None

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None:
            return None
        spec = self.text if isinstance(value, str) else self.array if isinstance(value, list) else None
        if isinstance(value, dict):
            spec = self.object
        if spec is None:
            return into.wrong(path, "has the wrong type", "invalid_type")
        return spec.clean(value, path, into)


@dataclass(frozen=True, slots=True)
class ByWord:
    """Objects told apart by one of their fields, e.g. ``role`` or ``type``."""

    key: str
    cases: Mapping[str, Spec]
    default: str | None = None

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if not isinstance(value, dict):
            return into.wrong(path, "must be an object", "invalid_type")
        word = value.get(self.key, self.default)
        spec = self.cases.get(word) if isinstance(word, str) else None
        if spec is None:
            return into.wrong((*path, self.key), f"must be one of {', '.join(self.cases)}")
        return spec.clean(value, path, into)


@dataclass(frozen=True, slots=True)
class JsonText:
    """A string that holds JSON (tool-call arguments): judged as it stands, and by what it says once decoded."""

    surface: Surface

    def clean(self, value: Any, path: Path, into: Collection) -> Any:
        """See `Spec`."""
        if value is None:
            return None
        if not isinstance(value, str):
            return into.wrong(path, "must be a string", "invalid_type")
        out = into.add(path, self.surface, value, is_json=True)
        read_decoded(out, path, self.surface, into)
        return out


def read_decoded(value: str, path: Path, surface: Surface, into: Collection, depth: int = 0) -> None:
    """Add what a JSON text says once decoded, where that differs from how it is spelled; JSON within JSON, two deep."""
    if not value[:1].strip() and not value.strip():
        return
    if "\\" not in value and depth == 0:
        # Without escapes every decoded string and key already stands in the raw text, letter by letter.
        return
    try:
        decoded = parse_json_text(value)
    except JsonError:
        # Another parser may be laxer (a duplicate key, a huge number): judged as the text that it is, its escapes undone.
        decoded = _ESCAPE.sub(_unescaped, value)
        depth = 2
    _add_decoded(decoded, path, surface, into, depth)


_ESCAPE = re.compile(r"""\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))""")
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16)) if match[1] else _SHORT.get(match[2], match[2])


def _add_decoded(value: Any, path: Path, surface: Surface, into: Collection, depth: int) -> None:
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            text = item.encode("utf-8", "replace").decode("utf-8")
            if into.spells_hidden(text):  # spelled with escapes: it cannot be masked where it stands
                raise Misfit(path, "spells a key of this service", "hidden")
            if len(into.leaves) >= MAX_LEAVES:
                raise Misfit(path, f"more than {MAX_LEAVES} strings", "too_many_strings")
            into.leaves.append(Leaf(path, surface, text, LeafKind.DERIVED))
            if depth < 2 and text.lstrip()[:1] in '{["':
                read_decoded(text, path, surface, into, depth + 1)
        elif isinstance(item, dict):
            into.count(len(item), path)
            stack.extend(item.values())
            stack.extend(item.keys())
        elif isinstance(item, list):
            into.count(len(item), path)
            stack.extend(item)
