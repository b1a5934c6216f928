"""Who may see the console, and what a browser of somebody who may can be made to do by others."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from proxy.attempts import AT_ONCE, ONE_MORE_S
from proxy.console.session import SESSION_S, Session, Sessions
from tests.end_to_end.servers import Reply, parse_http, raw
from tests.proxy.configs import SMALL
from tests.proxy.console.conftest import TOKEN, Shop, open_shop

PAGES = (
    "/console",
    "/console/decision?id=x",
    "/console/policies",
    "/console/policy?name=rival-fruit",
    "/console/guards",
    "/console/configuration",
)
PIECES = ("/api/decisions/live", "/api/what-if?name=rival-fruit")


async def ask(
    shop: Shop,
    target: str,
    *headers: str,
    method: str = "GET",
    form: dict[str, str] | str | None = None,
    host: str = "",
) -> Reply:
    """What a client without a token gets that sends exactly these headers."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host or f'127.0.0.1:{shop.port}'}", "Connection: close", *headers]
    body = form if isinstance(form, str) else "&".join(f"{k}={quote(v)}" for k, v in (form or {}).items())
    if form is not None:
        lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(body)}"]
    [reply] = parse_http(await raw(shop.port, ("\r\n".join(lines) + f"\r\n\r\n{body}").encode("latin-1")))
    return reply


def origin(shop: Shop) -> str:
    return f"Origin: {shop.url}"


async def sign_in(shop: Shop, token: str = TOKEN, **more: str) -> Reply:
    return await ask(shop, "/console/login", origin(shop), method="POST", form={"token": token, **more})


async def cookie(shop: Shop) -> str:
    """The header of a browser that has signed in."""
    return "Cookie: " + (await sign_in(shop)).headers["set-cookie"].partition(";")[0]


def form_token(page: Reply) -> str:
    found = re.search(r'name="form_token" value="([0-9a-f]+)"', page.body.decode())
    assert found is not None
    return found[1]


# ------------------------------------------------------------------ the token


@pytest.mark.parametrize("target", PAGES)
async def test_without_the_token_a_page_asks_for_it_and_shows_nothing(shop: Shop, target: str) -> None:
    reply = await ask(shop, target)
    assert (reply.status, reply.headers["location"]) == (303, f"/console/login?next={quote(target, safe='')}")
    assert reply.body == b""


@pytest.mark.parametrize("target", PIECES)
async def test_without_the_token_the_api_answers_401(shop: Shop, target: str) -> None:
    assert (await ask(shop, target)).status == 401
    assert (await ask(shop, target, "Authorization: Bearer wrong")).status == 401


@pytest.mark.parametrize(
    "header",
    [
        "Authorization: Bearer wrong",
        "Cookie: safeguard_console=",
        "Cookie: safeguard_console=9999999999.ab.cd",
        "Cookie: safeguard_console=\xff.\xfe.x",
    ],
)
async def test_a_wrong_token_and_a_made_up_cookie_are_none(shop: Shop, header: str) -> None:
    assert (await ask(shop, "/console", header)).status == 303


async def test_the_bearer_token_opens_every_page(shop: Shop) -> None:
    for target in ("/console", "/console/policies", "/console/guards", "/console/configuration"):
        assert (await ask(shop, target, f"Authorization: Bearer {TOKEN}")).status == 200


async def test_the_token_becomes_a_cookie_that_scripts_and_other_sites_never_get(shop: Shop) -> None:
    reply = await sign_in(shop)
    assert (reply.status, reply.headers["location"]) == (303, "/console")
    attributes = reply.headers["set-cookie"].split("; ")[1:]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SESSION_S}"} <= set(attributes)
    assert TOKEN not in reply.headers["set-cookie"]
    assert (await ask(shop, "/console", await cookie(shop))).status == 200


async def test_behind_https_the_cookie_never_travels_in_the_clear(shop: Shop) -> None:
    at = f"https://127.0.0.1:{shop.port}"
    reply = await ask(shop, "/console/login", f"Origin: {at}", method="POST", form={"token": TOKEN})
    assert "Secure" in reply.headers["set-cookie"]
    assert "Secure" not in (await sign_in(shop)).headers["set-cookie"]


async def test_a_wrong_token_begins_no_session(shop: Shop) -> None:
    reply = await sign_in(shop, "sesam")
    assert reply.status == 401
    assert "set-cookie" not in reply.headers
    assert b"another token" in reply.body


async def test_the_token_cannot_be_found_by_trying(shop: Shop) -> None:
    mine = await cookie(shop)
    for i in range(AT_ONCE):
        wrong = await (sign_in(shop, f"sesam{i}") if i % 2 else ask(shop, "/readyz", f"Authorization: Bearer sesam{i}"))
        assert wrong.status == 401
    for token in ("sesam", TOKEN):
        reply = await sign_in(shop, token)
        assert (reply.status, "set-cookie" in reply.headers) == (429, False)
        reply = await ask(shop, "/readyz", f"Authorization: Bearer {token}")
        assert (reply.status, reply.json["error"]["code"]) == (429, "too_many_wrong_tokens")
        assert 0 < int(reply.headers["retry-after"]) <= ONE_MORE_S
    assert (await ask(shop, "/console", mine)).status == 200
    assert (await ask(shop, "/readyz")).status == 401


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("/console/policies", "/console/policies"),
        ("/console?route=a&action=refuse", "/console?route=a&action=refuse"),
        ("https://evil.test/", "/console"),
        ("//evil.test/console", "/console"),
        ("/consoles", "/console"),
        ("/console.evil.test", "/console"),
        ("/metrics", "/console"),
        ("/console/\r\nSet-Cookie: a=b", "/console/%0D%0ASet-Cookie:%20a=b"),
    ],
)
async def test_signing_in_leads_to_a_page_of_ours(shop: Shop, given: str, target: str) -> None:
    reply = await sign_in(shop, next=given)
    assert reply.headers["location"] == target
    assert list(reply.headers).count("set-cookie") == 1


async def test_signing_out_ends_the_session_also_for_a_copy_of_its_cookie(shop: Shop) -> None:
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console", mine))
    reply = await ask(shop, "/console/logout", mine, origin(shop), method="POST", form={"form_token": token})
    assert (reply.status, reply.headers["location"]) == (303, "/console/login")
    assert "Max-Age=0" in reply.headers["set-cookie"]
    assert (await ask(shop, "/console", mine)).status == 303


def test_a_session_ends_by_itself() -> None:
    now = 1_000.0
    sessions = Sessions("t", lambda: now)
    value = sessions.begin("t")
    assert value is not None
    session = sessions.find(f"other=1; safeguard_console={value}")
    assert session is not None
    now += SESSION_S
    assert not sessions.is_valid(session)
    assert sessions.find(f"safeguard_console={value}") is None


def test_a_cookie_that_was_changed_is_none_and_neither_is_one_of_another_process() -> None:
    sessions = Sessions("t")
    value = sessions.begin("t")
    assert value is not None
    expires, id_, signature = value.split(".")
    for changed in (
        f"{int(expires) + 1}.{id_}.{signature}",
        f"{expires}.{id_}x.{signature}",
        f"{expires}.{id_}",
        "..",
        "",
    ):
        assert sessions.find(f"safeguard_console={changed}") is None
    assert Sessions("t").find(f"safeguard_console={value}") is None
    assert sessions.form_token(Session(id_, 1.0)) != signature


# ------------------------------------------------------------------ without a token: this machine only


@pytest.fixture
async def open_here(tmp_path: Path) -> AsyncIterator[Shop]:
    async with open_shop(tmp_path, SMALL + "guards: {}\nadmin: {}\n", token=None) as shop:
        yield shop


async def test_without_a_token_this_machine_needs_none(open_here: Shop) -> None:
    reply = await ask(open_here, "/console/policies")
    assert reply.status == 200
    assert b"Sign out" not in reply.body


@pytest.mark.parametrize("target", [*PAGES, *PIECES, "/console/static/console.js", "/console/login"])
async def test_a_name_that_leads_here_from_elsewhere_is_not_answered(open_here: Shop, target: str) -> None:
    reply = await ask(open_here, target, host="rebound.evil.test:8081")
    assert reply.status == 401
    assert "safeguard" not in reply.body.decode()


# ------------------------------------------------------------------ other sites


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param((), id="no-origin"),
        pytest.param(("Origin: null",), id="null"),
        pytest.param(("Origin: http://evil.test",), id="another"),
        pytest.param(("Origin: http://127.0.0.1",), id="another-port"),
        pytest.param(("Origin: http://[::1",), id="not-a-url"),
        pytest.param(("Origin: {url}", "Origin: http://evil.test"), id="two"),
        pytest.param(("Origin: {url}", "Sec-Fetch-Site: cross-site"), id="said-by-the-browser"),
    ],
)
@pytest.mark.parametrize("target", ["/console/logout", "/console/login"])
async def test_a_form_of_another_site_does_nothing(shop: Shop, headers: tuple[str, ...], target: str) -> None:
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console", mine))
    given = [header.format(url=shop.url) for header in headers]
    reply = await ask(shop, target, mine, *given, method="POST", form={"form_token": token, "token": TOKEN})
    assert reply.status == 403
    assert "set-cookie" not in reply.headers
    assert (await ask(shop, "/console", mine)).status == 200


@pytest.mark.parametrize("form", [{}, {"form_token": ""}, {"form_token": "0" * 64}, {"form_token": "\xff"}])
async def test_a_form_without_its_token_does_nothing(shop: Shop, form: dict[str, str]) -> None:
    mine = await cookie(shop)
    reply = await ask(shop, "/console/logout", mine, origin(shop), method="POST", form=form)
    assert reply.status == 403
    assert (await ask(shop, "/console", mine)).status == 200


async def test_the_form_token_of_one_session_is_none_of_another(shop: Shop) -> None:
    mine, yours = await cookie(shop), await cookie(shop)
    token = form_token(await ask(shop, "/console", yours))
    reply = await ask(shop, "/console/logout", mine, origin(shop), method="POST", form={"form_token": token})
    assert reply.status == 403


@pytest.mark.parametrize(
    ("mode", "dest", "status"),
    [("navigate", "document", 200), ("navigate", "iframe", 403), ("no-cors", "script", 403), ("cors", "empty", 403)],
)
@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_another_site_may_link_here_and_nothing_else(
    open_here: Shop, site: str, mode: str, dest: str, status: int
) -> None:
    said = (f"Sec-Fetch-Site: {site}", f"Sec-Fetch-Mode: {mode}", f"Sec-Fetch-Dest: {dest}")
    assert (await ask(open_here, "/console/policies", *said)).status == status


# ------------------------------------------------------------------ HTTP


@pytest.mark.parametrize("target", ["/console/login", *PAGES, *PIECES, "/console/static/console.css", "/console/none"])
async def test_every_answer_forbids_what_a_page_does_not_need(shop: Shop, target: str) -> None:
    for mine in ((), (await cookie(shop),)):
        headers = (await ask(shop, target, *mine, method="HEAD")).headers
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in headers["content-security-policy"]
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("target", ["/console/login", *PAGES, *PIECES, "/console/static/console.css"])
async def test_head_is_answered_without_a_body(shop: Shop, target: str) -> None:
    full = await ask(shop, target, f"Authorization: Bearer {TOKEN}", method="HEAD")
    assert full.status in (200, 303, 404)
    assert full.body == b""


@pytest.mark.parametrize(
    ("method", "target"),
    [
        *(("POST", page) for page in (*PAGES, *PIECES)),
        ("PUT", "/console"),
        ("DELETE", "/console/policies"),
        ("GET", "/console/logout"),
        ("PATCH", "/console/login"),
        ("POST", "/console/static/console.js"),
        ("OPTIONS", "/console"),
    ],
)
async def test_other_methods_are_refused(shop: Shop, method: str, target: str) -> None:
    reply = await ask(shop, target, f"Authorization: Bearer {TOKEN}", origin(shop), method=method, form={})
    assert reply.status == 405


@pytest.mark.parametrize(
    "name",
    [
        "../console.py",
        "../../__main__.py",
        "..%2fconsole.py",
        "%2e%2e/console.py",
        "..\\console.py",
        "/etc/passwd",
        "",
        ".",
        "console.css/",
        "console.css%00.js",
        "./console.css",
        "CONSOLE.CSS",
        "../templates/base.html",
        "__init__.py",
    ],
)
async def test_only_the_files_that_are_meant_are_served(shop: Shop, name: str) -> None:
    assert (await ask(shop, f"/console/static/{name}")).status == 404


@pytest.mark.parametrize(
    "target", ["/console/", "/console//policies", "/console/%70olicies", "/api/", "/console/policies/", "/consolex"]
)
async def test_an_address_is_ours_exactly_or_not_at_all(shop: Shop, target: str) -> None:
    assert (await ask(shop, target, f"Authorization: Bearer {TOKEN}")).status == 404


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (("Content-Type: application/json", "Content-Length: 2"), "{}", 415),
        (("Content-Type: text/plain", "Content-Length: 7"), "token=a", 415),
        (("Content-Type: application/x-www-form-urlencoded", "Content-Length: 999999"), "a" * 999_999, 413),
        (("Content-Type: application/x-www-form-urlencoded", "Transfer-Encoding: chunked"), "0\r\n\r\n", 413),
        (("Content-Type: application/x-www-form-urlencoded", "Content-Length: 15"), "token=a&token=b", 400),
        (("Content-Type: application/x-www-form-urlencoded", "Content-Length: 7"), "token=\xff", 400),
    ],
)
async def test_what_is_no_small_form_is_not_read(shop: Shop, headers: tuple[str, ...], body: str, status: int) -> None:
    head = ["POST /console/login HTTP/1.1", f"Host: 127.0.0.1:{shop.port}", "Connection: close", origin(shop), *headers]
    [reply] = parse_http(await raw(shop.port, ("\r\n".join(head) + "\r\n\r\n" + body).encode("latin-1")))
    assert reply.status == status


@pytest.mark.parametrize(
    "target",
    [
        "/console?before=x",
        "/console?before=-1",
        "/console?before=99999999999999999999999",
        "/console?before=%D9%A1",
        "/console?action=ban",
        "/console?stage=both",
        "/console?route=%ff",
        "/console?" + "&".join(f"a{i}=1" for i in range(50)),
        "/console/policy?name=rival-fruit&last=7",
        "/console/policy?name=rival-fruit&rule=input:enforce:fruit-shop&refuse=nan",
        "/api/what-if?name=rival-fruit&rule=input:enforce:fruit-shop&refuse=2",
        "/api/decisions/live?after=x",
    ],
)
async def test_an_address_that_makes_no_sense_is_400(shop: Shop, target: str) -> None:
    assert (await ask(shop, target, f"Authorization: Bearer {TOKEN}")).status == 400
