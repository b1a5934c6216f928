from __future__ import annotations

import random
import string
import time

import pytest

from rules.detectors.secrets import SecretDetector, entropy_bits, is_placeholder

DETECTOR = SecretDetector()
_RANDOM = random.Random(7)
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits


def rnd(n: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Made-up characters, with a digit so that they never look like a name; tokens are built here, never written out."""
    return "7" + "".join(_RANDOM.choice(alphabet) for _ in range(n - 1))


TOKENS = [
    ("ANTHROPIC_KEY", "sk-" + "ant-api03-" + rnd(93)),
    ("OPENROUTER_KEY", "sk-" + "or-v1-" + rnd(64, HEX)),
    ("OPENAI_KEY", "sk-" + "proj-" + rnd(60)),
    ("OPENAI_KEY", "sk-" + rnd(48)),
    ("AWS_ACCESS_KEY", "AK" + "IA" + rnd(16, UPPER)),
    ("GITHUB_TOKEN", "gh" + "p_" + rnd(36)),
    ("GITHUB_TOKEN", "gh" + "o_" + rnd(36)),
    ("GITHUB_TOKEN", "github" + "_pat_" + rnd(22) + "_" + rnd(59)),
    ("GITLAB_TOKEN", "gl" + "pat-" + rnd(20)),
    ("SLACK_TOKEN", "xo" + "xb-" + rnd(12, string.digits) + "-" + rnd(24)),
    ("SLACK_WEBHOOK", "hooks.slack" + ".com/services/T" + rnd(8, UPPER) + "/B" + rnd(8, UPPER) + "/" + rnd(24)),
    ("DISCORD_WEBHOOK", "discord" + ".com/api/webhooks/" + rnd(18, string.digits) + "/" + rnd(68)),
    ("STRIPE_KEY", "sk" + "_live_" + rnd(24)),
    ("STRIPE_KEY", "rk" + "_live_" + rnd(24)),
    ("GOOGLE_KEY", "AI" + "za" + rnd(35)),
    ("GOOGLE_OAUTH", "GOC" + "SPX-" + rnd(28)),
    ("AZURE_KEY", rnd(3) + "8Q~" + rnd(34)),
    ("HUGGINGFACE_TOKEN", "h" + "f_" + rnd(34)),
    ("NPM_TOKEN", "np" + "m_" + rnd(36)),
    ("PYPI_TOKEN", "py" + "pi-AgEIcHlwaS5vcmc" + rnd(60)),
    ("SENDGRID_KEY", "S" + "G." + rnd(22) + "." + rnd(43)),
    ("TWILIO_KEY", "S" + "K" + rnd(32, HEX)),
    ("TWILIO_KEY", "A" + "C" + rnd(32, HEX)),
    ("MAILGUN_KEY", "ke" + "y-" + rnd(32, HEX)),
    ("TELEGRAM_TOKEN", rnd(9, string.digits) + ":A" + "A" + rnd(33)),
    ("DIGITALOCEAN_TOKEN", "do" + "p_v1_" + rnd(64, HEX)),
    ("SHOPIFY_TOKEN", "shp" + "at_" + rnd(32, HEX)),
    ("DATABRICKS_TOKEN", "da" + "pi" + rnd(32, HEX)),
    ("DOCKER_TOKEN", "dckr" + "_pat_" + rnd(27)),
    ("VAULT_TOKEN", "hv" + "s." + rnd(90)),
    ("GROQ_KEY", "gs" + "k_" + rnd(52)),
    ("XAI_KEY", "xa" + "i-" + rnd(80)),
    ("PERPLEXITY_KEY", "pp" + "lx-" + rnd(48)),
    ("REPLICATE_TOKEN", "r" + "8_" + rnd(37)),
    ("GRAFANA_TOKEN", "gl" + "sa_" + rnd(32)),
    ("LINEAR_KEY", "lin" + "_api_" + rnd(40)),
    ("AGE_KEY", "AGE-SECRET" + "-KEY-1" + rnd(58, UPPER)),
    ("JWT", "ey" + "JhbGciOiJIUzI1NiJ9.ey" + "J" + rnd(60) + "." + rnd(43)),
]


@pytest.mark.parametrize(("label", "token"), TOKENS, ids=[f"{label}-{i}" for i, (label, _) in enumerate(TOKENS)])
@pytest.mark.parametrize(
    "around", ["{}", "use {} please", 'x = "{}"', "\n{}\n", "é→{},"], ids=["alone", "prose", "code", "line", "unicode"]
)
def test_a_token_is_found_whole_with_its_label(label: str, token: str, around: str) -> None:
    text = around.format(token)
    start = text.index(token)
    assert [(s.label, s.start, s.end) for s in DETECTOR.find(text)] == [(label, start, start + len(token))]


@pytest.mark.parametrize(
    ("label", "before", "secret", "after"),
    [
        pytest.param("AWS_SECRET_KEY", "aws_secret_access_key = ", rnd(40), "", id="aws file"),
        pytest.param("AWS_SECRET_KEY", "secretAccessKey: '", rnd(40), "'", id="aws code"),
        pytest.param("AZURE_KEY", "AccountKey=", rnd(86) + "==", ";Endpoint", id="azure"),
        pytest.param("URL_CREDENTIALS", "postgres://app:", "blue-Horse9", "@db:5432/x", id="url"),
        pytest.param("URL_CREDENTIALS", "see https://joe:", "s3cr3t", "@host.test/", id="basic auth"),
        pytest.param("BEARER_TOKEN", "Authorization: Bearer ", rnd(40), "", id="bearer"),
        pytest.param("SECRET", 'api_key = "', rnd(32), '"', id="assignment"),
        pytest.param("SECRET", '{"clientSecret": "', rnd(24), '"}', id="json"),
        pytest.param("SECRET", '{\\"api_key\\": \\"', rnd(24), '\\"}', id="json in a string"),
        pytest.param("SECRET", "DB_PASSWORD=", rnd(20), "\nX=1", id="environment file"),
        pytest.param("SECRET", "api_key: ", rnd(32, HEX), "", id="yaml"),
    ],
)
def test_a_secret_is_known_by_its_context_and_only_its_value_is_marked(
    label: str, before: str, secret: str, after: str
) -> None:
    text = before + secret + after
    assert [(s.label, text[s.start : s.end]) for s in DETECTOR.find(text)] == [(label, secret)]


@pytest.mark.parametrize("ending", ["\n-----END {}PRIVATE KEY-----", ""], ids=["whole", "cut off"])
@pytest.mark.parametrize("kind", ["", "RSA ", "OPENSSH ", "EC "], ids=["pkcs8", "rsa", "openssh", "ec"])
def test_a_private_key_is_found_with_its_body(kind: str, ending: str) -> None:
    block = f"-----BEGIN {kind}PRIVATE " + f"KEY-----\n{rnd(64)}\n{rnd(64)}" + ending.format(kind)
    text = f"Here: {block}"
    assert [(s.label, text[s.start : s.end]) for s in DETECTOR.find(text)] == [("PRIVATE_KEY", block)]


@pytest.mark.parametrize(
    "text",
    [
        "sk-" + "x" * 48,
        "sk-" + "proj-your-key-here-0123456789",
        "AKIA" + "IOSFODNN7EXAMPLE",
        'api_key = "<your key here 1>"',
        'api_key = "your-api-key-goes-here-1234"',
        'password = "********1234"',
        "API_KEY=${API_KEY_FROM_VAULT_1}",
        "OPENAI_API_KEY=os.environ['OPENAI_API_KEY_2']",
        "https://user:pass@host.test/",
        "https://user:${PASSWORD}@host.test/",
        "https://host.test:8080/a@b",
        "task-1234567890123456789012345678",
        "the secret of success: hard work and 10 coffees",
        '{"max_tokens": 4096, "token": "hello world, hello"}',
        '{"next_page_token": "CAUQAA83jd7shd83jdk"}',
        "commit 9fceb02d0ae598e95dc970b74767f19372d61af8",
        "-----BEGIN PRIVATE " + "KEY-----\n...\n-----END PRIVATE KEY-----",
        "-----BEGIN PUBLIC " + "KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA\n-----END PUBLIC KEY-----",
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7 joe",
        "password = getpass.getpass('Password 1: ')",
        "sk-fading-circle-animation-for-spinners",
        "bearer of good news",
        'TOKEN_TYPE = "urn:openai:params:oauth:token-type:x509"',
        "eyJ is how they begin",
    ],
)
def test_placeholders_and_look_alikes_are_left_alone(text: str) -> None:
    assert DETECTOR.find(text) == []


def test_a_token_with_invisible_characters_is_found() -> None:
    token = "gh" + "p_" + rnd(36)
    text = f"x {token[:10]}\u200b{token[10:]} y"
    assert [text[s.start : s.end] for s in DETECTOR.find(text)] == [text[2:-2]]


def test_entropy_and_placeholders() -> None:
    assert entropy_bits("") == 0
    assert entropy_bits("aaaa") == 0
    assert entropy_bits("abcd") == 2
    assert is_placeholder("aaaabbbb")
    assert not is_placeholder(rnd(20))


def test_many_beginnings_of_keys_take_linear_time() -> None:
    started = time.process_time()
    DETECTOR.find(("-----BEGIN PRIVATE " + "KEY-----\nabc\n") * 5000)
    DETECTOR.find("eyJ" + "aaaaaaaaaa-eyJ" * 20_000)
    assert time.process_time() - started < 10
