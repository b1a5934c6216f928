"""The review page: what waits for people, one item at a time, what they say, and the exceptions that follow from it."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlencode

import pytest
import yaml

from proxy.console.rendering import Pages
from proxy.console.review import ReviewPages
from proxy.review.item import Flagged, Held, ReviewConflict, ReviewError, State
from proxy.review.queue import ReviewQueue
from tests.proxy.console.conftest import Shop
from tests.proxy.console.shop import CONFIG, flagged, request_id
from tests.proxy.console.test_access import ask, cookie, form_token, origin
from tests.proxy.console.test_pages import HOSTILE
from tests.proxy.review.things import DAY_US, START_US, Clock

FRAME = {"here": "review", "can_leave": True, "form_token": "f", "has_session": True, "has_review": True}


@pytest.fixture
def pages(queue: ReviewQueue) -> ReviewPages:
    return ReviewPages(queue, Pages())


def draw(pages: ReviewPages, **query: str) -> str:
    return pages.draw(FRAME, query, "Ana")


def shown(page: str) -> int | None:
    """The item that a page is about."""
    found = re.search(r'aria-label="Item (\d+)"', page)
    return int(found[1]) if found else None


def link(page: str, rel: str) -> str | None:
    found = re.search(rf'<a href="([^"]+)" rel="{rel}"', page)
    return html.unescape(found[1]) if found else None


def word(item: int, **more: str) -> dict[str, str]:
    return {"item": str(item), "expected": "pending", "word": "upheld", "reviewer": "Ana", "note": "", **more}


def test_the_newest_comes_first_and_the_others_are_reached_from_it(queue: ReviewQueue, pages: ReviewPages) -> None:
    first, second, third = queue.add([flagged(n) for n in (1, 2, 3)])
    page = draw(pages)
    assert (shown(page), link(page, "prev")) == (third, None)
    assert link(page, "next") == f"/console/review?item={second}"
    page = draw(pages, item=str(second))
    assert (link(page, "prev"), link(page, "next")) == (
        f"/console/review?item={third}",
        f"/console/review?item={first}",
    )
    assert link(draw(pages, item=str(first)), "next") is None


def test_a_request_that_waits_goes_first(queue: ReviewQueue, pages: ReviewPages, clock: Clock) -> None:
    until = clock() + 20_000_000
    _, held, _ = queue.add([flagged(1), replace(flagged(2), held=Held.WAITING, held_until_us=until), flagged(3)])
    page = draw(pages)
    assert shown(page) == held
    assert "The client waits for an answer, until" in page
    clock.advance(seconds=21)
    assert shown(draw(pages)) != held
    queue.end_hold(held, Held.NOBODY)
    assert "Its request waited for a reviewer: nobody decided in time." in draw(pages, item=str(held))


def test_an_empty_queue_says_so(pages: ReviewPages) -> None:
    page = draw(pages)
    assert "Nothing here." in page
    assert shown(page) is None


def test_what_is_said_is_kept_and_leads_to_the_next_with_the_same_filter(
    queue: ReviewQueue, pages: ReviewPages
) -> None:
    first, second = queue.add([flagged(1), flagged(2)])
    said = word(second, word="overturned", note="Just\r\na question.", policy="rival-fruit", content="shown")
    assert pages.say(said) == f"/console/review?policy=rival-fruit&content=shown&item={first}"
    item = queue.get(second)
    assert (item.state, item.reviewer, item.note) == (State.OVERTURNED, "Ana", "Just\na question.")
    assert pages.say(word(first)) == "/console/review"
    assert "Nothing here." in draw(pages)
    page = draw(pages, state="overturned")
    assert "<strong>overturned</strong> by <bdi>Ana</bdi>" in page
    assert shown(draw(pages, state="all", item=str(first))) == first


async def test_what_somebody_else_has_decided_meanwhile_is_not_decided_again_by_mistake(shop: Shop) -> None:
    [number] = shop.queue.add([flagged(1)])
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console/review", mine))
    shop.queue.decide(number, State.OVERTURNED, "Ben")
    form = {"form_token": token, **word(number)}
    reply = await ask(shop, "/console/review", mine, origin(shop), method="POST", form=form)
    assert reply.status == 409
    assert b"overturned by &#39;Ben&#39; in the meantime" in reply.body
    assert shop.queue.get(number).state is State.OVERTURNED


async def test_a_form_says_it_and_the_name_is_filled_in_the_next_time(shop: Shop) -> None:
    one, two = shop.queue.add([flagged(1), flagged(2)])
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console/review", mine))
    form = {"form_token": token, **word(two, reviewer="Ana; Söder=")}
    reply = await ask(shop, "/console/review", mine, origin(shop), method="POST", form=form)
    assert (reply.status, reply.headers["location"]) == (303, f"/console/review?item={one}")
    assert {"HttpOnly", "SameSite=Strict", "Path=/console"} <= set(reply.headers["set-cookie"].split("; "))
    assert shop.queue.get(two).reviewer == "Ana; Söder="
    page = await ask(shop, "/console/review", f"{mine}; {reply.headers['set-cookie'].partition(';')[0]}")
    assert 'name="reviewer" value="Ana; Söder="' in page.body.decode()


@pytest.mark.parametrize(
    "headers", [(), ("Origin: http://evil.test",), ("Origin: null",), ("Origin: {url}", "Sec-Fetch-Site: cross-site")]
)
@pytest.mark.parametrize("target", ["/console/review", "/console/exceptions"])
async def test_another_site_cannot_say_anything(shop: Shop, target: str, headers: tuple[str, ...]) -> None:
    [number] = shop.queue.add([flagged(1)])
    exception = shop.queue.add_exception(flagged(1).flagged[0], expires_us=shop.queue.clock() + DAY_US, by="Ana")
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console/review", mine))
    form = {"form_token": token, "exception": str(exception.id), **word(number)}
    given = [header.format(url=shop.url) for header in headers]
    assert (await ask(shop, target, mine, *given, method="POST", form=form)).status == 403
    assert (await ask(shop, target, mine, origin(shop), method="POST", form={**form, "form_token": "0"})).status == 403
    assert (await ask(shop, target, origin(shop), method="POST", form=form)).status == 401
    assert shop.queue.get(number).state is State.PENDING
    assert len(shop.queue.exceptions()) == 1


@pytest.mark.parametrize(
    "form",
    [
        {"word": "pending"},
        {"word": ""},
        {"word": "banned"},
        {"reviewer": " "},
        {"reviewer": "a" * 201},
        {"note": "a" * 4001},
        {"expected": "maybe"},
        {"item": "77"},
        {"item": ""},
        {"item": "../1"},
        {"word": "exception", "exempt": "another", "days": "3"},
        {"word": "exception", "exempt": "rival-fruit", "days": "0"},
        {"word": "exception", "exempt": "rival-fruit", "days": "366"},
        {"word": "exception", "exempt": "rival-fruit", "days": "-1"},
        {"word": "exception", "exempt": "rival-fruit", "days": "٣"},
    ],
)
async def test_what_makes_no_sense_is_400_and_changes_nothing(shop: Shop, form: dict[str, str]) -> None:
    [number] = shop.queue.add([flagged(1)])
    mine = await cookie(shop)
    token = form_token(await ask(shop, "/console/review", mine))
    sent = urlencode({"form_token": token, **word(number), **form})
    assert (await ask(shop, "/console/review", mine, origin(shop), method="POST", form=sent)).status == 400
    assert shop.queue.get(number).state is State.PENDING
    assert shop.queue.exceptions() == []


@pytest.mark.parametrize("query", ["state=maybe", "item=99", "item=%ff", "item=x"])
async def test_an_address_that_makes_no_sense_is_400(shop: Shop, query: str) -> None:
    await shop.page(f"/console/review?{query}", status=400)


def test_an_exception_is_made_for_days_and_taken_back(queue: ReviewQueue, pages: ReviewPages, clock: Clock) -> None:
    [number] = queue.add([flagged(1)])
    form = word(number, word="exception", exempt="rival-fruit", days="7", note="Our own newsletter.")
    assert pages.say(form) == f"/console/review?item={number}"
    [exception] = queue.exceptions()
    assert (exception.expires_us, exception.item, exception.why) == (
        START_US + 7 * DAY_US,
        number,
        "Our own newsletter.",
    )
    assert (queue.get(number).state, queue.get(number).reviewer) == (State.OVERTURNED, "Ana"), (
        "somebody must have looked"
    )
    assert "1 exception applies" in draw(pages)
    page = pages.draw_exceptions(FRAME, "Ana")
    assert "Our own newsletter." in page
    assert pages.revoke({"exception": str(exception.id), "reviewer": "Ben"}) == "/console/exceptions"
    assert queue.exceptions() == []
    assert "None applies." in pages.draw_exceptions(FRAME, "Ana")


def test_an_exception_leaves_what_was_said_before(queue: ReviewQueue, pages: ReviewPages) -> None:
    [number] = queue.add([flagged(1)])
    queue.decide(number, State.UPHELD, "Ben")
    pages.say(word(number, word="exception", exempt="rival-fruit", days="7", expected="upheld"))
    assert (queue.get(number).state, queue.get(number).reviewer) == (State.UPHELD, "Ben")
    assert len(queue.exceptions()) == 1


def test_no_exception_is_made_where_somebody_else_has_decided_meanwhile(queue: ReviewQueue, pages: ReviewPages) -> None:
    [number] = queue.add([flagged(1)])
    queue.decide(number, State.UPHELD, "Ben")
    with pytest.raises(ReviewConflict):
        pages.say(word(number, word="exception", exempt="rival-fruit", days="7"))
    assert queue.exceptions() == []


@pytest.mark.parametrize("said", [{"word": "overturned"}, {"word": "exception", "exempt": "rival-fruit", "days": "7"}])
def test_nothing_is_said_about_what_was_flagged_after_the_page_was_drawn(
    queue: ReviewQueue, pages: ReviewPages, said: dict[str, str]
) -> None:
    [number] = queue.add([flagged(1)])
    found = re.search(r'name="edition" value="(\w+)"', draw(pages))
    assert found is not None
    queue.add([flagged(1, score=0.7)])
    with pytest.raises(ReviewConflict, match="more of it was flagged"):
        pages.say(word(number, edition=found[1], **said))
    assert (queue.get(number).state, queue.exceptions()) == (State.PENDING, [])


@pytest.mark.parametrize("now", [State.PENDING, State.UPHELD, State.UNSURE])
def test_no_exception_is_made_of_a_word_that_nobody_has_said_or_that_stands_no_more(
    queue: ReviewQueue, pages: ReviewPages, now: State
) -> None:
    [number] = queue.add([flagged(1)])
    if now is not State.PENDING:
        queue.decide(number, State.OVERTURNED, "Ana")
        queue.decide(number, now, "Ben")
    with pytest.raises(ReviewConflict, match=f"is {now}"):
        pages.say(word(number, word="exception", exempt="rival-fruit", days="7", expected="overturned"))
    assert queue.exceptions() == []


def test_a_word_can_make_an_example_too(queue: ReviewQueue, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(
        CONFIG.replace("  rival-fruit:\n", "  rival-fruit:\n    examples: fruit.yaml\n"), encoding="utf-8"
    )
    (tmp_path / "fruit.yaml").write_text(
        "# Fruit.\n- {id: a, text: Plums, stage: input, violates: false}\n", encoding="utf-8"
    )
    pages = ReviewPages(queue, Pages(), config)
    one, two, three = queue.add([flagged(n, asked=f"Pears {n}?") for n in (1, 2, 3)])
    assert 'name="example"' in draw(pages)
    pages.say(word(one, example="yes"))
    pages.say(word(two, word="overturned", example="yes", example_of="rival-fruit"))
    pages.say(word(three))
    text = (tmp_path / "fruit.yaml").read_text(encoding="utf-8")
    assert text.startswith("# Fruit.\n")
    assert [(e["text"], e["violates"]) for e in yaml.safe_load(text)] == [
        ("Plums", False),
        ("Pears 1?", True),
        ("Pears 2?", False),
    ]


def test_what_cannot_be_an_example_is_decided_all_the_same_and_said_so(queue: ReviewQueue, tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(CONFIG, encoding="utf-8")
    pages = ReviewPages(queue, Pages(), tmp_path / "c.yaml")
    [number] = queue.add([flagged(1)])
    with pytest.raises(
        ReviewError, match=r"is upheld, but it is no example: policy .rival-fruit. has no file of examples"
    ):
        pages.say(word(number, example="yes"))
    assert queue.get(number).state is State.UPHELD


def test_no_exception_is_offered_for_what_could_not_be_known_again(queue: ReviewQueue, pages: ReviewPages) -> None:
    queue.add([replace(flagged(1), flagged=(Flagged("rival-fruit", "r", None, {"error": "guard_timeout"}),))])
    page = draw(pages)
    assert "Make an exception" not in page
    assert "No verdict: guard_timeout" in page


def test_content_is_shown_where_it_was_asked_for(queue: ReviewQueue, pages: ReviewPages) -> None:
    _, second = queue.add([flagged(1), flagged(2)])
    assert "for a cake" not in draw(pages)
    page = draw(pages, content="shown")
    assert "for a cake" in page
    assert link(page, "next") == f"/console/review?content=shown&item={second - 1}"
    queue.add([replace(flagged(3), content=None)])
    assert "were not kept" in draw(pages, content="shown")


def test_words_of_others_never_become_markup(queue: ReviewQueue, pages: ReviewPages) -> None:
    words = HOSTILE.replace("\x00", "")
    one = flagged(1, asked=words)
    policy = Flagged(words, words, words, {"score": 0.7, "model": words, "tier": words, "thresholds": {words: 0.5}})
    [number] = queue.add([replace(one, route=words, region=words, endpoint=words, action=words, flagged=(policy,))])
    queue.decide(number, State.UNSURE, words, words)
    queue.add_exception(policy, expires_us=START_US + DAY_US, by=words, why=words)
    query = {"state": "all", "content": "shown", "policy": words, "item": str(number)}
    for page in (pages.draw(FRAME, query, words), pages.draw_exceptions(FRAME, words)):
        assert "<script>alert" not in page
        assert "<img" not in page
        assert not set("\u202e\u2066\u200b") & set(page)


async def test_without_a_queue_there_is_no_review_page(shop: Shop) -> None:
    shop.admin._console._views._reviews = None
    await shop.page("/console/review", status=404)
    assert "/console/review" not in await shop.page("/console/policies")


async def test_what_stands_in_the_queue_is_found_from_the_page_of_its_decision(shop: Shop) -> None:
    shop.queue.add([flagged(1)])
    assert f"/console/decision?id={request_id(1)}-input" in await shop.page("/console/review")
