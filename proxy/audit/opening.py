"""From a configuration to its audit: for writing (`audit_of`), for reading (`reader_of`), and the texts of its policies."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from proxy.audit import jsonl, sqlite
from proxy.audit.audit import Audit
from proxy.audit.entry import PolicyText, moment
from proxy.audit.jsonl_reader import JsonLinesReader
from proxy.audit.store import AuditError, AuditReader, AuditSink, Folder, Retention
from rules.policy import Policy

if TYPE_CHECKING:  # who only reads records needs none of it
    from proxy.config import PolicyEntry
    from proxy.loading.loaded import Loaded


def audit_of(loaded: Loaded) -> Audit | None:
    """The audit of a configuration, not started yet; None if it has none."""
    config, path = loaded.config.audit, loaded.audit_folder
    if config is None or path is None:
        return None
    folder, sync = Folder(path), config.durability == "power"
    retention = Retention(config.keep_days, config.keep_records_days)
    sink: AuditSink
    if config.store == "sqlite":
        sink = sqlite.SqliteSink(folder, sync=sync, retention=retention)
    else:
        sink = jsonl.JsonLinesSink(
            folder,
            sync=sync,
            rotate_bytes=config.rotate_mb * 1_000_000,
            rotate_s=config.rotate_hours * 3600,
            retention=retention,
        )
    return Audit(sink, folder, must=config.on_audit_error == "refuse")


def policy_texts(loaded: Loaded) -> list[PolicyText]:
    """The texts of a configuration's policies, as they are kept for later."""
    now = moment(time.time_ns() // 1000)
    entries: Mapping[str, PolicyEntry] = loaded.config.policies
    return [
        PolicyText(name, policy.revision, _text(policy, entries.get(name)), now)
        for name, policy in loaded.policies.items()
    ]


def _text(policy: Policy, entry: PolicyEntry | None) -> str:
    if policy.detector is not None:
        options = {} if entry is None else entry.model_dump(mode="json", exclude_unset=True, exclude={"refusal_text"})
        return orjson.dumps(options, option=orjson.OPT_INDENT_2).decode()
    about = [("category", policy.category), ("summary", policy.summary)]
    head = "".join(f"{name}: {value}\n" for name, value in about if value)
    return f"---\n{head}---\n{policy.text}\n" if head else f"{policy.text}\n"


def reader_of(folder: Path) -> AuditReader:
    """What reads the audit in a folder.

    Raises:
        AuditError: There is none.
    """
    readers: dict[str, Callable[[Path], AuditReader]] = {
        sqlite.FILE: sqlite.SqliteReader,
        "audit*.jsonl": JsonLinesReader,
    }
    for pattern, reader in readers.items():
        if any(folder.glob(pattern)):
            return reader(folder)
    raise AuditError(f"{folder}: there is no audit here")
