"""Detector ``secrets``: keys, tokens and passwords in the formats that their issuers gave them.

One scan for the beginnings of all formats answers for clean text; behind it, a format is tried only where one of its
*hints* stands in the text. What a format leaves open is settled by three measures: placeholders (``sk-xxxx``,
``<your key>``, ``EXAMPLE``) are no secrets, a token without any digit is a name rather than a token, and where only the
context says "secret" the value must look random: Shannon entropy of at least 3.5 bits per character.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rules.detectors.fold import View
from rules.detectors.linear import MAX_MATCHES, compile_any, compile_pattern, encode, find_all
from rules.detectors.spans import Span, merge_spans
from rules.detectors.views import HINTS, views

MIN_ENTROPY_BITS = 3.5

_PLACEHOLDER_WORDS = re.compile(
    r"example|xxxx|your(?:[-_ ]|api|key|token|secret|pass)|placeholder|change[-_]?me|redacted|dummy|sample|insert[-_]|"
    r"replace[-_]?(?:me|with|this)|\*\*\*|\.\.\.|<|>|\$\{|\{\{|abcdefghijklm|0123456789abcdef0123|"
    r"process\.env|os\.environ|getenv",
    re.IGNORECASE,
)
_REPEATED = re.compile(r"(.)\1{7,}")
_PASSWORD_PLACEHOLDERS = frozenset({"pass", "password", "passwd", "pwd", "user", "username", "secret", "token", "xxx"})


def entropy_bits(value: str) -> float:
    """Shannon entropy per character.

    >>> entropy_bits("aabb")
    1.0
    """
    n = len(value)
    return -sum(k / n * math.log2(k / n) for k in Counter(value).values()) if n else 0.0


def is_placeholder(value: str) -> bool:
    """Whether the value stands for a secret instead of being one."""
    return bool(_PLACEHOLDER_WORDS.search(value) or _REPEATED.search(value)) or len(set(value)) < 4


def _token(value: str) -> bool:
    """A value whose format alone says that it is a secret."""
    return not is_placeholder(value) and any(c.isdigit() for c in value)


def _random(value: str) -> bool:
    """A value of which only the context says that it is a secret."""
    if value.lower().startswith(("urn:", "http:", "https:", "file:")):
        return False
    return _token(value) and any(c.isalpha() for c in value) and entropy_bits(value) >= MIN_ENTROPY_BITS


def _password(value: str) -> bool:
    """A password in a URL: people choose them, so anything counts that is not a placeholder."""
    return (
        value.casefold() not in _PASSWORD_PLACEHOLDERS
        and not _PLACEHOLDER_WORDS.search(value)
        and value[0] not in "$%{"
    )


def _pem(value: str) -> bool:
    """A key block with a body: at least 40 characters besides header and footer."""
    body = re.sub(r"-----(?:BEGIN|END)[^-]*-----|[\s\\]", "", value)
    return len(body) >= 40 and len(set(body)) >= 8


def _jwt(value: str) -> bool:
    """A JWT is long enough to hold any short word by chance, so that words do not count."""
    return not _REPEATED.search(value) and any(c.isdigit() for c in value)


@dataclass(frozen=True, slots=True)
class _Format:
    """One format of a secret; group 1 of the pattern is the secret itself."""

    label: str
    hints: tuple[str, ...]
    """Lower case; one of them stands in every text that the pattern matches."""
    pattern: str
    accepts: Callable[[str], bool] = _token


_KEY_WORD = (
    r"(?:api[_-]?key|apikey|api[_-]?secret|secret|token|passw(?:or)?d|passphrase|credential|auth[_-]?key|access[_-]?key|"
    r"private[_-]?key|signing[_-]?key|encryption[_-]?key)"
)
_ASSIGN = r"\\?[\"'\x60]?\]?\s{0,5}(?:=>|:=|==?|:)\s{0,5}"

_FORMATS = (
    _Format("ANTHROPIC_KEY", ("sk-ant-",), r"\b(sk-ant-[a-z0-9]{2,12}-[A-Za-z0-9_-]{20,200})"),
    _Format("OPENROUTER_KEY", ("sk-or-",), r"\b(sk-or-(?:v\d-)?[0-9a-f]{40,80})\b"),
    _Format("OPENAI_KEY", ("sk-",), r"\b(sk-(?:proj|svcacct|admin|service|None)-[A-Za-z0-9_-]{20,220})"),
    _Format("OPENAI_KEY", ("sk-",), r"\b(sk-[A-Za-z0-9]{20,64})\b"),
    _Format("AWS_ACCESS_KEY", ("akia", "asia", "abia", "acca"), r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})\b"),
    _Format(
        "AWS_SECRET_KEY",
        ("aws", "secret"),
        r"(?i)(?:aws.{0,20}?|secret[_ -]?access[_ -]?|secret[_ -]?)key.{0,12}?[\"'\s:=]"
        r"([A-Za-z0-9/+]{40})(?:[^A-Za-z0-9/+=]|$)",
        _random,
    ),
    _Format("GITHUB_TOKEN", ("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"(gh[pousr]_[A-Za-z0-9]{36,255})"),
    _Format("GITHUB_TOKEN", ("github_pat_",), r"(github_pat_[A-Za-z0-9_]{40,255})"),
    _Format(
        "GITLAB_TOKEN",
        ("glpat-", "gldt-", "glrt-", "glptt-", "glcbt-", "gloas-"),
        r"\b((?:glpat|gldt|glrt|glptt|glcbt|gloas)-[A-Za-z0-9_.-]{20,255})",
    ),
    _Format("SLACK_TOKEN", ("xox", "xapp-"), r"\b((?:xox[abeoprs]|xapp)-[A-Za-z0-9-]{20,250})"),
    _Format(
        "SLACK_WEBHOOK",
        ("hooks.slack.com",),
        r"(hooks\.slack\.com/(?:services|workflows|triggers)/[A-Za-z0-9/+_-]{40,80})",
    ),
    _Format(
        "DISCORD_WEBHOOK", ("/api/webhooks/",), r"(discord(?:app)?\.com/api/webhooks/\d{15,21}/[A-Za-z0-9_-]{60,80})"
    ),
    _Format("STRIPE_KEY", ("_live_", "_test_", "_prod_"), r"\b((?:sk|rk)_(?:live|test|prod)_[A-Za-z0-9]{16,99})\b"),
    _Format("GOOGLE_KEY", ("aiza",), r"\b(AIza[A-Za-z0-9_-]{35})"),
    _Format("GOOGLE_OAUTH", ("gocspx-", "ya29."), r"\b(GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{30,500})"),
    _Format(
        "AZURE_KEY",
        ("accountkey=", "sharedaccesskey="),
        r"(?i)(?:Account|SharedAccess)Key=([A-Za-z0-9+/]{40,90}={0,2})",
    ),
    _Format("AZURE_KEY", ("q~",), r"(?:^|[^A-Za-z0-9_~.-])([A-Za-z0-9_~.]{3}\dQ~[A-Za-z0-9_~.-]{31,34})"),
    _Format("HUGGINGFACE_TOKEN", ("hf_", "api_org_"), r"\b((?:hf|api_org)_[A-Za-z0-9]{30,40})\b"),
    _Format("NPM_TOKEN", ("npm_",), r"\b(npm_[A-Za-z0-9]{36})\b"),
    _Format("PYPI_TOKEN", ("pypi-",), r"(pypi-[A-Za-z0-9_-]{50,1000})"),
    _Format("SENDGRID_KEY", ("sg.",), r"\b(SG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{30,64})"),
    _Format("TWILIO_KEY", ("sk", "ac"), r"\b((?:SK|AC)[0-9a-f]{32})\b"),
    _Format("MAILGUN_KEY", ("key-",), r"\b(key-[0-9a-f]{32})\b"),
    _Format("TELEGRAM_TOKEN", (":a",), r"\b(\d{8,10}:A[A-Za-z0-9_-]{34})"),
    _Format("DIGITALOCEAN_TOKEN", ("do",), r"\b(do[opr]_v1_[a-f0-9]{64})\b"),
    _Format("SHOPIFY_TOKEN", ("shp",), r"\b(shp(?:at|ca|pa|ss)_[a-fA-F0-9]{32})\b"),
    _Format("DATABRICKS_TOKEN", ("dapi",), r"\b(dapi[a-f0-9]{32}(?:-\d)?)\b"),
    _Format("DOCKER_TOKEN", ("dckr_",), r"\b(dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,40})"),
    _Format("VAULT_TOKEN", ("hvs.", "hvb."), r"\b(hv[sb]\.[A-Za-z0-9_-]{24,300})"),
    _Format("GROQ_KEY", ("gsk_",), r"\b(gsk_[A-Za-z0-9]{40,64})\b"),
    _Format("XAI_KEY", ("xai-",), r"\b(xai-[A-Za-z0-9]{60,100})\b"),
    _Format("PERPLEXITY_KEY", ("pplx-",), r"\b(pplx-[A-Za-z0-9]{40,64})\b"),
    _Format("REPLICATE_TOKEN", ("r8_",), r"\b(r8_[A-Za-z0-9]{37})\b"),
    _Format("GRAFANA_TOKEN", ("glc_", "glsa_"), r"\b((?:glc|glsa)_[A-Za-z0-9+/_]{32,400}={0,2})"),
    _Format("LINEAR_KEY", ("lin_api_",), r"\b(lin_api_[A-Za-z0-9]{40})\b"),
    _Format("AGE_KEY", ("age-secret-key-",), r"(AGE-SECRET-KEY-1[0-9A-Z]{58})"),
    _Format("JWT", ("eyj",), r"\b(eyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{16,})", _jwt),
    _Format(
        "PRIVATE_KEY",
        ("private key",),
        r"(-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----"
        r"(?:(?:\s|\\n)*(?:Proc-Type|DEK-Info|Version|Comment):.{0,80})*"
        r"[A-Za-z0-9+/=\s\\]*(?:-----END [A-Z0-9 ]{0,30}PRIVATE KEY(?: BLOCK)?-----)?)",
        _pem,
    ),
    _Format(
        "URL_CREDENTIALS",
        ("://",),
        r"\b[A-Za-z][A-Za-z0-9+.-]{1,20}://[^\s/:@<>\"'\x60?#]{0,64}:([^\s/@<>\"'\x60?#]{3,128})@[A-Za-z0-9\[]",
        _password,
    ),
    _Format("BEARER_TOKEN", ("bearer",), r"(?i)\bbearer\s{1,3}([A-Za-z0-9._~+/-]{20,1000}={0,2})", _random),
    _Format(
        "SECRET",
        ("key", "secret", "token", "passw", "passphrase", "credential"),
        rf"(?i){_KEY_WORD}[A-Za-z0-9_-]{{0,20}}{_ASSIGN}\\?[\"'\x60]([^\s\"'\x60\\]{{10,150}})\\?[\"'\x60]",
        _random,
    ),
    _Format(  # unquoted: environment files and command lines, where the name is in capitals
        "SECRET",
        ("key", "secret", "token", "passw"),
        r"\b[A-Z0-9_]{0,40}(?:API_?KEY|SECRET|TOKEN|PASSWORD|PASSWD|ACCESS_KEY)[A-Z0-9_]{0,20}\s?[=:]\s?([A-Za-z0-9_.=+/~!@#%^&*-]{10,150})",
        _random,
    ),
    _Format(  # unquoted in lower case: nothing but hexadecimal digits or letters with digits, and long
        "SECRET",
        ("key", "secret", "token"),
        r"(?i)\b(?:api[_-]?key|api[_-]?secret|client[_-]?secret|access[_-]?token|auth[_-]?token|secret[_-]?key)"
        r"\s{0,3}[=:]\s{0,3}([A-Za-z0-9_.+/-]{16,150}={0,2})",
        _random,
    ),
)

_BEGINNINGS = (
    r"\bsk-[A-Za-z0-9]|\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{4}|gh[pousr]_[A-Za-z0-9]{4}|github_pat_|gl(?:pat|dt|rt|ptt|cbt|oas)-",
    r"xox[abeoprs]-|xapp-|hooks\.slack\.com|/api/webhooks/|[sr]k_(?:live|test|prod)_|AIza|GOCSPX-|ya29\.",
    r"(?i:accountkey=|sharedaccesskey=)|\dQ~|\bhf_|api_org_|npm_[A-Za-z0-9]{4}|pypi-[A-Za-z0-9_-]{9}|\bSG\.[A-Za-z0-9_-]{9}",
    r"\b(?:SK|AC)[0-9a-f]{6}|\bkey-[0-9a-f]{6}|\d:A[A-Za-z0-9_-]{6}|\bdo[opr]_v1_|\bshp(?:at|ca|pa|ss)_|dapi[a-f0-9]{6}",
    r"dckr_|\bhv[sb]\.|gsk_|\bxai-|pplx-|\br8_|glc_|glsa_|lin_api_|AGE-SECRET|\beyJ|PRIVATE KEY|://[^\s/]*@",
    r"(?is:bearer\s{1,3}[A-Za-z0-9._~+/-]{9}|secret.{0,32}[A-Za-z0-9/+]{20}|aws.{0,60}[A-Za-z0-9/+]{40})",
    r"(?i:(?:key|secret|token|passw(?:or)?d|passphrase|credential)[A-Za-z0-9_-]{0,20}\\?[\"'\x60]?\]?\s{0,5}[=:])",
)
"""How the formats begin, together: where none of these stands, no format matches."""

_NOT_SECRET_NAMES = re.compile(r"(?:page|next|sync|continuation|cursor|public|csrf)[_-]?(?:token|key)", re.IGNORECASE)
"""Names that hold random values for anybody to see."""

_NAME_CHARS_BEFORE = 60


class SecretDetector:
    """Finds secrets by their formats; the label says whose."""

    def __init__(self) -> None:
        self._formats = [(f, compile_pattern(f.pattern, captures=True)) for f in _FORMATS]
        self._any = compile_any(_BEGINNINGS)
        self._any_or_encoded = compile_any([*_BEGINNINGS, HINTS])

    def find(self, text: str) -> list[Span]:
        """See `rules.detectors.Detector`."""
        if text.isascii() and self._any_or_encoded.search(text.encode()) is None:
            return []
        spans: list[Span] = []
        for view in views(text):
            spans.extend(self._matches(view))
        return merge_spans(spans) if spans else spans

    def _matches(self, view: View) -> Iterator[Span]:
        text = view.text
        data = encode(text)
        if self._any.search(data) is None:
            return
        lowered = text.lower()
        for form, regex in self._formats:
            if not any(hint in lowered for hint in form.hints):
                continue
            for n, (start, end) in enumerate(find_all(regex, text, data, group=1)):
                if n == MAX_MATCHES:
                    yield Span(*view.to_raw(start, len(text)), form.label)
                    break
                if not form.accepts(text[start:end]):
                    continue
                if form.label == "SECRET" and _NOT_SECRET_NAMES.search(text, max(0, start - _NAME_CHARS_BEFORE), start):
                    continue
                yield Span(*view.to_raw(start, end), form.label)
