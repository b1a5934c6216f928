"""What pages show: what is on record, escaped, filtered, a page at a time; content only where it was asked for."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import pytest

from models.engine import Tier
from models.host import LocalEngine
from models.specs import LocalSpec
from models.usage import Usage
from models.verdict_cache import CachedEngine
from proxy.audit.entry import PolicyText
from proxy.audit.sqlite import SqliteSink
from proxy.audit.store import AuditError, Filter, Folder, Retention
from proxy.console import reading
from proxy.console.guards import GuardWatch
from proxy.console.judged import Histogram
from proxy.console.rendering import Pages, visible
from proxy.console.shown import bars, columns, row
from proxy.reload_record import Outcome
from tests.proxy.configs import SMALL, load
from tests.proxy.console.conftest import Shop, open_shop
from tests.proxy.console.shop import CONFIG, day, entry, later, record, request_id, verdict

HOSTILE = "\"><script>alert(1)</script>'{{7*7}}<img src=x onerror=alert(1)>&\u202egpj\u2066\x00\u200bend"
SHOWN = "⟨U+202E⟩gpj⟨U+2066⟩⟨U+0000⟩⟨U+200B⟩end"


def rows(page: str) -> list[str]:
    """The ids of the decisions that a page lists."""
    return re.findall(
        r'<tr role="row" data-seq="\d+">\n<td role="cell" class="c-time"><a href="/console/decision\?id=([^"]+)"', page
    )


def detail(n: int, stage: str = "input", more: str = "") -> str:
    return f"/console/decision?id={request_id(n)}-{stage}{more}"


# ------------------------------------------------------------------ decisions


async def test_decisions_are_listed_the_newest_first_and_page_by_page(shop: Shop) -> None:
    await shop.keep(*(entry(record(n)) for n in range(120)))
    seen: list[str] = []
    target = "/console"
    while target:
        page = await shop.page(target)
        seen += rows(page)
        older = re.search(r'<a href="([^"]+)" rel="next">', page)
        target = html.unescape(older[1]) if older else ""
    assert seen == [f"{request_id(n)}-input" for n in reversed(range(120))]


async def test_the_filter_is_in_the_address_and_is_kept_by_what_leads_on(shop: Shop) -> None:
    entries = [entry(record(n, action="refuse" if n % 2 else "forward")) for n in range(110)]
    other = entry(record(200, action="refuse", route="music-desk", policies=["order-numbers"]))
    await shop.keep(*entries, other)
    page = await shop.page("/console?action=refuse&route=fruit-shop")
    assert set(rows(page)) <= {f"{request_id(n)}-input" for n in range(1, 110, 2)}
    assert "<option selected>refuse</option>" in page
    assert 'rel="next"' in page
    assert re.search(r'href="/console\?route=fruit-shop&amp;action=refuse&amp;before=\d+" rel="next"', page)
    assert re.search(r'data-live="/api/decisions/live\?route=fruit-shop&amp;action=refuse&amp;after=\d+"', page)
    assert rows(await shop.page("/console?policy=order-numbers")) == [f"{request_id(200)}-input"]
    assert rows(await shop.page("/console?stage=output")) == []


async def test_a_decision_is_shown_with_its_bars_facts_findings_and_its_other_stage(shop: Shop) -> None:
    await shop.keep(*day(3), entry(record(3, stage="output", action="refuse")))
    page = await shop.page(detail(3))
    assert 'aria-label="Score 0.624; flag from 0.5, refuse from 0.8"' in page
    assert '<rect class="fill flag" x="0" y="3" width="124.86" height="8"/>' in page
    for fact in (
        "reasoned",
        "gpt-oss-safeguard-20b@1f2e3d4c",
        "2,140 ms",
        "no: the score is no probability",
        "in shadow",
    ):
        assert fact in page
    assert "<td>FRUIT</td><td><code>messages[0].content</code></td>" in page
    assert f'<a href="{detail(3, "output")}">output: refuse</a>' in page


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"outcome": "passed", "score": 0.01, "pass_below": 0.02}, "0.01 is below 0.02, so it passed"),
        (
            {"outcome": "escalated", "score": 0.02, "pass_below": 0.02},
            "0.02 is not below 0.02, so the next guard was asked",
        ),
        ({"outcome": "failed", "error": "timeout"}, "no verdict (timeout), so the next guard was asked"),
    ],
    ids=["passed", "escalated", "failed"],
)
async def test_a_decision_of_a_cascade_says_what_the_first_guard_said(
    shop: Shop, said: dict[str, Any], shown: str
) -> None:
    cascade = [{"guard": "embedded", "latency_ms": 2.0, **said}]
    await shop.keep(entry(record(1, verdicts=[verdict("rival-fruit", "forward", 0.1, cascade=cascade)])))
    page = await shop.page(detail(1))
    assert f"<dt>first, embedded</dt><dd>{shown}</dd>" in page


async def test_a_policy_with_a_cascade_says_what_share_went_on_and_what_came_of_it(tmp_path: Path) -> None:
    config = CONFIG.replace("guards:\n", "guards:\n  embedded: {engine: encoder}\n").replace(
        "flag: 0.5, refuse: 0.8", "guard: [embedded, safeguard], flag: 0.5, refuse: 0.8"
    )

    def one(n: int, outcome: str, step: str) -> Any:
        said = [{"guard": "embedded", "outcome": step, "score": 0.1, "pass_below": 0.2}]
        return entry(record(n, action=outcome, verdicts=[verdict("rival-fruit", outcome, 0.1, cascade=said)]))

    async with open_shop(tmp_path, config=config) as shop:
        page = await shop.page("/console/policy?name=rival-fruit")
        assert "<bdi>embedded</bdi> was asked about nothing yet." in page
    async with open_shop(tmp_path, config=config) as shop:
        passed = [one(n, "forward", "passed") for n in range(7)]
        rest = [one(8, "forward", "escalated"), one(9, "flag", "escalated"), one(10, "refuse", "failed")]
        await shop.keep(*passed, *rest)
        page = await shop.page("/console/policy?name=rival-fruit")
    assert "gave <strong>30.0%</strong> of 10 contents to the next guard: 7 passed, 2 were in doubt" in page
    assert "1 it could not judge. In the end 2 of those that went on asked for an action." in page
    assert page.count('<p class="stage">') == 1, "the rule of the other stage asks one guard"


async def test_content_and_reasons_are_shown_on_a_click_only(shop: Shop) -> None:
    await shop.keep(*day(3))
    page = await shop.page(detail(3))
    assert "pears" not in page
    assert "The customer names a rival" not in page
    [target] = re.findall(r'href="([^"]+)#content">Show the content', page)
    page = await shop.page(html.unescape(target))
    assert "or the pears of the shop across the street?" in page
    assert "The customer names a rival" in page


@pytest.mark.parametrize(
    "target",
    [
        "/console/decision",
        "/console/decision?id=none-input",
        "/console/decision?id=" + "a" * 5000,
        "/console/decision?id=%D9%A1",
        "/console/policy?name=none",
    ],
)
async def test_what_is_not_on_record_is_404(shop: Shop, target: str) -> None:
    await shop.page(target, status=404)


async def test_what_is_added_to_a_record_is_shown(shop: Shop) -> None:
    begun = entry(record(1, state="begun"))
    await shop.keep(begun)
    assert "begun" in await shop.page("/console")
    await shop.keep(later(begun, state="decided", action="refuse", cause="undecided"))
    page = await shop.page("/console")
    assert "begun" not in page
    assert '<span class="action refuse">refuse</span> <small>undecided</small>' in page


# ------------------------------------------------------------------ hostile words


def everywhere(words: str) -> dict[str, Any]:
    """A record that says it in every place."""
    judged = verdict(words, "refuse", 0.9, model=words, tier=words, revision=words, error=words)
    places = ("route", "endpoint", "region", "cause", "error", "configuration", "policy_set", "state")
    found = [{"policy": words, "path": words, "label": words, "start": 0, "end": 1}]
    return record(
        1,
        **dict.fromkeys(places, words),
        policies=[words],
        verdicts=[judged],
        shadow=[{**judged, "mode": words, "thresholds": {words: 0.5}, "outcome": words}],
        findings=found,
        unjudged=[words],
        unseen=[words],
        content={"fingerprint": words, "texts": 1, "chars": 1},
    )


async def test_words_of_others_never_become_markup(shop: Shop) -> None:
    kept = {
        "keep": "full",
        "texts": [{"path": HOSTILE, "surface": HOSTILE, "text": HOSTILE}],
        "rationales": {HOSTILE: HOSTILE},
    }
    await shop.keep(entry(everywhere(HOSTILE), kept))
    for target in ("/console", detail(1), detail(1, more="&content=shown"), "/console/policy?name=rival-fruit"):
        page = await shop.page(target)
        assert "<script>alert" not in page
        assert "<img" not in page
        assert "49" not in re.sub(r"\d{3,}|U\+\d+", "", page), "a template was made of data"
        assert not set("\u202e\u2066\u200b\x00") & set(page)
    assert SHOWN in await shop.page(detail(1, more="&content=shown"))


async def test_words_of_the_address_never_become_markup(shop: Shop) -> None:
    words = "%22%3E%3Cscript%3Ealert(1)%3C/script%3E%E2%80%AE"
    for target in (
        f"/console?route={words}&policy={words}",
        f"/console/policy?name={words}",
        f"/console/decision?id={words}",
    ):
        async with shop.client.get(shop.url + target) as answer:
            page = await answer.text()
        assert "<script>alert" not in page
        assert "\u202e" not in page


async def test_no_page_has_script_or_style_of_its_own(shop: Shop) -> None:
    await shop.keep(*day(30))
    for target in (
        "/console",
        detail(30, more="&content=shown"),
        "/console/policies",
        "/console/policy?name=rival-fruit",
        "/console/guards",
        "/console/configuration",
        "/console/none",
    ):
        async with shop.client.get(shop.url + target) as answer:
            page = await answer.text()
        assert re.findall(r"<script[^>]*>", page) == ['<script src="/console/static/console.js" defer>']
        assert not re.search(r'<style|\sstyle="|\son[a-z]+="|javascript:|https?://', page)


async def test_a_very_long_name_and_ten_thousand_verdicts_are_shown_in_full(shop: Shop) -> None:
    await shop.keep(entry(record(1, verdicts=[verdict("a" * 20_000, "refuse", 0.9)])))
    assert "a" * 20_000 in await shop.page(detail(1))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("زنجبیل", "زنجبیل"),
        ("👩\u200d🌾", "👩\u200d🌾"),
        ("a\u202eb\u2069", "a⟨U+202E⟩b⟨U+2069⟩"),
        ("\x1b[31m\x7f\x85\u2028\ufeff\U000e0041", "⟨U+001B⟩[31m⟨U+007F⟩⟨U+0085⟩⟨U+2028⟩⟨U+FEFF⟩⟨U+E0041⟩"),
        (None, ""),
        (7, 7),
    ],
)
def test_what_cannot_be_seen_is_made_visible(value: object, shown: object) -> None:
    assert visible(value) == shown


# ------------------------------------------------------------------ policies


async def test_a_policy_is_shown_with_its_text_its_earlier_ones_and_its_scores(shop: Shop) -> None:
    assert shop.audit is not None
    now = shop.loaded.policies["rival-fruit"].revision
    await shop.audit.keep_policies(
        [PolicyText("rival-fruit", "0ld", "Only <apples> here.", "2026-01-01T00:00:00.000000Z")]
    )
    await shop.keep(
        entry(record(1, verdicts=[verdict("rival-fruit", "forward", 0.1, revision="0ld")])),
        entry(record(2, action="flag", verdicts=[verdict("rival-fruit", "flag", 0.6, revision=now)])),
    )
    page = await shop.page("/console/policy?name=rival-fruit")
    assert "Other shops&#39; fruit" in page
    assert "Only &lt;apples&gt; here." in page
    assert re.findall(r"<title>(0\.\d+ to 0\.\d+: [1-9])</title>", page) == ["0.10 to 0.15: 1", "0.60 to 0.65: 1"]
    assert 'name="refuse" min="0" max="1" step="0.01" value="0.8"' in page
    assert "As configured." in page


async def test_a_tried_threshold_says_what_it_would_have_changed_with_and_without_scripts(shop: Shop) -> None:
    await shop.keep(*(entry(record(n, verdicts=[verdict("rival-fruit", "forward", n / 100)])) for n in range(50)))
    query = "name=rival-fruit&rule=input:enforce:fruit-shop&flag=0.4&refuse=0.45"
    for target in (f"/api/what-if?{query}", f"/console/policy?{query}"):
        page = await shop.page(target)
        assert '<span class="action refuse">5</span> newly refused' in page
        assert '<span class="action flag">5</span> newly flagged' in page
        assert request_id(49) in page
        assert request_id(39) not in page


async def test_many_changed_decisions_are_counted_and_the_last_are_named(shop: Shop) -> None:
    await shop.keep(*(entry(record(n, verdicts=[verdict("rival-fruit", "forward", 0.4)])) for n in range(60)))
    page = await shop.page("/api/what-if?name=rival-fruit&rule=input:enforce:fruit-shop&refuse=0.3")
    assert '<span class="action refuse">60</span>' in page
    assert page.count("/console/decision?id=") == 20
    assert "and 40 older ones" in page


async def test_thresholds_and_decisions_are_what_they_were_after_trying(shop: Shop) -> None:
    before = shop.loaded.routes[0].input.rules[0].thresholds_by_word
    await shop.page("/api/what-if?name=rival-fruit&rule=input:enforce:fruit-shop&refuse=0.1")
    assert shop.loaded.routes[0].input.rules[0].thresholds_by_word == before == {"flag": 0.5, "refuse": 0.8}


async def test_the_list_names_every_policy_and_where_it_is_used(shop: Shop) -> None:
    page = await shop.page("/console/policies")
    for name in ("bulk-orders", "order-numbers", "rival-fruit", "secrets"):
        assert f'/console/policy?name={name}"' in page
    assert "output, in shadow" in page


# ------------------------------------------------------------------ guards and configuration


def test_a_guard_is_read_with_its_speed_its_tiers_and_its_cache() -> None:
    now = 100.0
    watch = GuardWatch(lambda: now)
    local = LocalEngine(LocalSpec(name="g", engine="llama", model="m"))
    cached = CachedEngine(local)
    local._past_usage = Usage(10, 1_000, 2.0)
    local.verdicts.update({Tier.DIRECT: 3, Tier.REASONED: 1})
    cached.counts.hits, cached.counts.misses = 1, 3
    [guard] = watch.look({"g": cached})
    assert (guard.tokens_per_s, guard.recent_tokens_per_s) == (500.0, None)
    assert (guard.reasoned_share, guard.hit_share) == (0.25, 0.25)
    assert (guard.ready, guard.state, guard.last_error) == (False, "down", "not started")
    now += 10
    local._past_usage = Usage(20, 1_600, 3.0)
    [guard] = watch.look({"g": cached})
    assert guard.recent_tokens_per_s == 60.0
    local._past_usage = Usage(1, 10, 0.1)  # another configuration's guard of the same name
    now += 10
    [guard] = watch.look({"g": cached})
    assert guard.recent_tokens_per_s is None


async def test_the_guards_page_says_what_is_wrong(shop: Shop) -> None:
    page = await shop.page("/console/guards")
    assert '<span class="state bad">not ready</span>' in page
    assert "not started" in page


async def test_the_configuration_page_says_what_judges_and_why_a_change_was_refused(shop: Shop) -> None:
    assert shop.loaded.configuration in await shop.page("/console/configuration")
    shop.admin._reloads.note(Outcome.REFUSED, "c.yaml:3: routes.0: <unknown> key")
    page = await shop.page("/console/configuration")
    assert "c.yaml:3: routes.0: &lt;unknown&gt; key" in page
    assert "1 refused" in page


async def test_another_configuration_is_shown_from_the_moment_it_judges(tmp_path: Path, shop: Shop) -> None:
    (tmp_path / "other").mkdir()
    other = load(tmp_path / "other", CONFIG.replace("music-desk", "record-store"), TOKEN="sesame")
    shop.admin.follow(other)
    assert "record-store" in await shop.page("/console/configuration")
    assert "record-store" in await shop.page("/console/policies")


async def test_without_an_audit_the_console_says_what_to_configure(tmp_path: Path) -> None:
    async with open_shop(tmp_path, SMALL + "guards: {}\nadmin: {}\n", token=None) as shop:
        for target in ("/console", detail(1)):
            assert "audit:\n  store: sqlite" in await shop.page(target)
        assert "marker" in await shop.page("/console/policies")
        page = await shop.page("/console/policy?name=marker")
        assert "the configuration has none" in page
        assert "No guard is used" in await shop.page("/console/guards")
        assert "none" in await shop.page("/console/configuration")
        await shop.page("/api/decisions/live", status=404)


# ------------------------------------------------------------------ limits


@pytest.fixture(params=["sqlite", "jsonl"])
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_both_stores_are_shown_alike(tmp_path: Path, store: str) -> None:
    config = CONFIG.replace("audit: {path: audit", f"audit: {{store: {store}, path: audit")
    async with open_shop(tmp_path, config) as shop:
        await shop.keep(*day(120))
        assert len(rows(await shop.page("/console"))) == 50
        assert len(rows(await shop.page("/console?action=flag"))) > 3
        assert "reasoned" in await shop.page(detail(120))
        assert "pears" in await shop.page(detail(120, more="&content=shown"))
        assert "<title>0.00 to 0.05: " in await shop.page("/console/policy?name=rival-fruit")


def test_looking_ends_when_it_takes_too_long_and_goes_on_from_there(tmp_path: Path) -> None:
    sink = SqliteSink(Folder(tmp_path), sync=False, retention=Retention(30))
    sink.open()
    sink.write([entry(record(n)) for n in range(10)])
    ticks = iter(range(100))
    slow = reading.Records(tmp_path, clock=lambda: next(ticks) * reading.PATIENCE_S / 4)
    page = slow.page(Filter(), before=None, limit=50)
    assert page.gave_up
    seen = len(page.records)
    assert 0 < seen < 10
    rest = reading.Records(tmp_path).page(Filter(), before=page.more_before, limit=50)
    assert len(rest.records) == 10 - seen
    assert not rest.gave_up
    sink.close()


def test_the_last_decisions_are_read_once_while_a_threshold_is_dragged_and_forgotten_then(tmp_path: Path) -> None:
    sink = SqliteSink(Folder(tmp_path), sync=False, retention=Retention(30))
    sink.open()
    sink.write([entry(record(1))])
    now = 0.0
    records = reading.Records(tmp_path, clock=lambda: now)
    first = records.last(500)
    sink.write([entry(record(2))])
    assert records.last(500) is first
    assert len(records.last(2_000)) == 2
    records.forget()
    now += reading.SAMPLE_S
    assert records._sample is not None
    records.forget()
    assert records._sample is None
    assert len(records.last(500)) == 2
    sink.close()


async def test_too_many_pages_at_once_are_told_to_come_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "THREADS", 0)
    monkeypatch.setattr(reading, "MOST_WAITING", 0)
    assert "Too many pages at once" in await shop.page("/console", status=503)


async def test_an_audit_that_cannot_be_read_is_said_in_one_line(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AuditError("audit: the disk is gone")

    monkeypatch.setattr(reading.Records, "page", fails)
    assert "The audit cannot be read: audit: the disk is gone" in await shop.page("/console", status=503)


# ------------------------------------------------------------------ drawing


def test_a_score_is_drawn_within_its_bar() -> None:
    [bar] = bars(record(1, verdicts=[verdict("a", "refuse", 1.0)]))
    assert bar.x == 200
    [bar] = bars(record(1, verdicts=[verdict("a", "error", None, error="guard_timeout")]))
    assert (bar.x, bar.score, bar.error) == (None, "", "guard_timeout")


def test_every_count_is_seen_and_none_is_higher_than_the_drawing() -> None:
    drawn = columns(Histogram([10_000, 0, 1, *[0] * 17], 10_001, 0, 0))
    assert [c.height for c in drawn[:3]] == [60.0, 0.0, 1.0]
    assert all(c.y >= 0 and c.x + c.width <= 200 for c in drawn)
    assert len(columns(Histogram([0] * 20, 0, 0, 0))) == 20


def test_a_row_of_a_bare_record_is_drawn() -> None:
    bare = {"seq": 1, "decision_id": "a-input", "stage": "input", "time": "2026-01-01T00:00:00.000000Z"}
    assert "01-01 00:00:00.000" in Pages().draw("row.html", row=row(bare))
