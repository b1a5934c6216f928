"""From the section `audit` to an audit: what goes together, where it lies, what is kept of whose content."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.audit.entry import Keep
from proxy.audit.jsonl import JsonLinesSink
from proxy.audit.opening import audit_of, policy_texts
from proxy.audit.sqlite import SqliteSink
from tests.proxy.configs import SMALL, complaint, load

ROUTE = "routes:\n  - name: one\n"


def test_without_the_section_there_is_none(tmp_path: Path) -> None:
    loaded = load(tmp_path, SMALL)
    assert audit_of(loaded) is None
    assert loaded.audit_folder is None
    assert list(tmp_path.iterdir()) == [tmp_path / "c.yaml"]


@pytest.mark.parametrize(
    ("section", "kind"),
    [
        pytest.param("{}", SqliteSink, id="left out"),
        pytest.param("{store: sqlite}", SqliteSink, id="sqlite"),
        pytest.param("{store: jsonl, rotate_mb: 5, rotate_hours: 1}", JsonLinesSink, id="jsonl"),
    ],
)
def test_the_section_says_which_store_and_nothing_is_made_yet(tmp_path: Path, section: str, kind: type) -> None:
    audit = audit_of(load(tmp_path, f"audit: {section}\n{SMALL}"))
    assert audit is not None
    assert isinstance(audit.sink, kind)
    assert audit.folder.path == tmp_path / "audit"
    assert audit.must
    assert not audit.folder.path.exists()


def test_a_path_is_looked_up_beside_the_configuration(tmp_path: Path) -> None:
    assert load(tmp_path, "audit: {path: a/b}\n" + SMALL).audit_folder == tmp_path / "a" / "b"
    assert load(tmp_path, "audit: {path: /var/a}\n" + SMALL).audit_folder == Path("/var/a")


def test_a_route_says_what_is_kept_of_its_content(tmp_path: Path) -> None:
    def keeps(audit: str, route: str) -> Keep:
        text = f"audit: {audit}\n" + SMALL.replace(ROUTE, f"{ROUTE}    {route}\n")
        return load(tmp_path, text).routes[0].keep

    assert keeps("{}", "") is Keep.NONE
    assert keeps("{content: full}", "") is Keep.FULL
    assert keeps("{content: full}", "audit_content: redacted") is Keep.REDACTED
    assert keeps("{content: full}", "audit_content: none") is Keep.NONE
    assert keeps("{}", "audit_content: full") is Keep.FULL


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("audit: {stor: jsonl}\n" + SMALL, "audit.stor: unknown key", id="an unknown key"),
        pytest.param("audit: {store: csv}\n" + SMALL, "audit.store", id="an unknown store"),
        pytest.param("audit: {rotate_mb: 5}\n" + SMALL, "belong to `store: jsonl`", id="rotation of a database"),
        pytest.param(
            "audit: {content: full, keep_days: 30, keep_records_days: 7}\n" + SMALL,
            "must not be less than keep_days",
            id="content longer than records",
        ),
        pytest.param("audit: {keep_days: 0}\n" + SMALL, "audit.keep_days", id="no days"),
        pytest.param("audit: {durability: most}\n" + SMALL, "audit.durability", id="another durability"),
        pytest.param("audit: {on_audit_error: flag}\n" + SMALL, "audit.on_audit_error", id="another fault mode"),
        pytest.param(
            SMALL.replace(ROUTE, f"{ROUTE}    audit_content: full\n"),
            "routes[0].audit_content: there is no audit",
            id="content without an audit",
        ),
    ],
)
def test_what_does_not_go_together_is_named(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_the_configuration_has_a_revision_that_any_change_changes(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("No spam.")
    base = SMALL.replace("policies:\n", "policies:\n  spam: {file: p.md}\n")
    texts = [base, base.replace("0.5", "0.6"), base.replace("name: one", "name: two"), "listen: {port: 9}\n" + base]
    revisions = [load(tmp_path, text).configuration for text in texts]
    (tmp_path / "p.md").write_text("No spam at all.")
    revisions.append(load(tmp_path, base).configuration)
    assert len(set(revisions)) == 5
    assert load(tmp_path, "# a comment\n" + base).configuration == revisions[-1]


def test_policies_are_kept_as_guards_and_detectors_read_them(tmp_path: Path) -> None:
    (tmp_path / "p.md").write_text("---\ntitle: Spam\nsummary: Unwanted advertising.\n---\nNo spam.\n")
    text = SMALL.replace("policies:\n", "policies:\n  spam: {file: p.md}\n  ads: {text: No ads.}\n")
    texts = {p.name: p for p in policy_texts(load(tmp_path, text))}
    assert texts["spam"].text == "---\nsummary: Unwanted advertising.\n---\nNo spam.\n"
    assert texts["ads"].text == "No ads.\n"
    assert '"literals": [\n    "MARK"\n  ]' in texts["marker"].text
    assert {p.revision for p in texts.values()} == {p.revision for p in load(tmp_path, text).policies.values()}
