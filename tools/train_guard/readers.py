"""Readers of the public sources: each turns one file into labelled texts.

A data folder holds the prepared sets; an extra folder holds clones of the repositories in
``sources.json`` (``<extra>/<owner>+<name>/<path>`` at the commit named there).
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.train_guard import phrases
from tools.train_guard.labels import BENIGN, violating

csv.field_size_limit(10**8)


@dataclass(frozen=True, slots=True)
class Row:
    """One labelled text. A category missing from ``labels`` is unknown."""

    text: str
    source: str
    licence: str
    labels: dict[str, int]


def half(text: str) -> int:
    """0 or 1, by hash of the text: splits a set into a test half (0) and a train half (1)."""
    return hashlib.sha256(text.encode()).digest()[0] % 2


def read_json(path: Path) -> Any:
    """Parse a JSON file."""
    return json.loads(path.read_text(encoding="utf-8"))


def read_lines(path: Path) -> list[Any]:
    """Parse a JSON-lines file, plain or gzipped."""
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines if line.strip()]


def read_csv(path: Path) -> list[dict[str, str]]:
    """Parse a CSV file with a header."""
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))


# Weak labels for a red-team set that has none: the writers were asked to provoke, so a clear word is
# taken at its word there. Rows without one are left out.
WEAK = {
    "hate": r"\b(racist|black people|jews?|muslims?|mexicans?|gays?|immigrants|white supremac\w+|trans(gender)? people)\b.*\b(joke|inferior|hate|worse|stupid|dumb|kill|bad|get rid|dirty|lazy)\b",  # noqa: E501 - one pattern
    "violence": r"\b(kill|murder|torture|beat up|stab|strangle|poison|hurt|shoot)\b.{0,30}\b(someone|somebody|people|him|her|them|my \w+|person|neighbou?r|man|woman|cats?|dogs?)\b",  # noqa: E501 - one pattern
    "sexual": r"\b(porn|nudes?|naked|sexy|have sex|blow ?job|orgy|dildo|masturbat\w+|strippers?|prostitutes?)\b",
    "illicit": r"\b(steal|rob|shoplift\w*|meth|cocaine|heroin|drugs|launder\w*|smuggl\w+|get away with|bribe|burglar\w*|break into|hide a body|without getting caught)\b",  # noqa: E501 - one pattern
    "cyber": r"\b(hack|ddos|malware|keylogger|ransomware|spyware)\b",
    "weapons": r"\b(make|build|buy|get)\b.{0,25}\b(bombs?|explosives?|pipe bomb|gun|silencer|molotov|napalm|poison gas)\b",
    "fraud": r"\b(scam|counterfeit|fake (id|check|money|passport)|identity theft|credit card numbers?|ponzi|insurance fraud)\b",
    "self-harm": r"\b(kill myself|suicide|cut myself|anorexi\w+|starve myself|end my life)\b",
    "harassment": r"\b(bully|humiliate|insult|prank|stalk|harass|make fun of|make \w+ cry|get back at|revenge)\b",
}  # fmt: skip
_WEAK = {name: re.compile(pattern, re.IGNORECASE | re.DOTALL) for name, pattern in WEAK.items()}
_REFUSAL = re.compile(
    r"^\W*(i'?m sorry|i am sorry|sorry|i cannot|i can't|as an ai|i apologi[sz]e|unfortunately|i'm not able)",
    re.IGNORECASE,
)


def prepared(data: Path) -> Iterator[Row]:
    """Rows of the prepared training set that may be trained on for shipping, and its small companions."""
    for row in read_lines(data / "guard_training.jsonl.gz"):
        if row["may_ship"] and row["source"] != "pl_frr":
            yield Row(row["text"], row["source"], row["licence"], row["labels"])
    for row in read_lines(data / "benign_instructions.jsonl"):
        yield Row(row["text"], "self-instruct", row["licence"], dict(BENIGN))
    for row in read_csv(data / "surge_toxicity/toxicity_en.csv"):
        toxic = row["is_toxic"] == "Toxic"
        labels = {"any": 1, "injection": 0, "cyber": 0, "fraud": 0} if toxic else dict(BENIGN)
        if not toxic:
            del labels["profanity"]
        yield Row(row["text"], "surge_toxicity", "MIT", labels)
    for row in read_json(data / "cyberseceval/mitre_frr.json"):
        if half(row["mutated_prompt"]) == 1:
            yield Row(row["mutated_prompt"], "mitre_frr", "MIT", dict(BENIGN))
    for row in read_json(data / "cyberseceval/prompt_injection.json"):
        yield Row(
            row["user_input"], "cse_injection", "MIT", violating("injection", unknown=("illicit", "cyber", "weapons"))
        )
    for row in read_json(data / "notinject/wildguard_benign.json"):
        if half(row["prompt"]) == 1:
            yield Row(row["prompt"], "wildguard_benign", "MIT (texts: AI2)", dict(BENIGN))
    for row in read_json(data / "notinject/valid.json"):
        labels = {"injection": int(row["label"]), "any": 1} if int(row["label"]) else {"injection": 0}
        yield Row(row["prompt"], "notinject_valid", "MIT", labels)


def bipia(data: Path, rng: random.Random) -> Iterator[Row]:
    """Carrier documents as benign rows, and with an instruction for the model put into them."""
    carriers = [
        str(row["context"])[:1500]
        for name in ("email_test", "table_test")
        for row in read_lines(data / f"bipia/{name}.jsonl")
    ]
    carriers += [
        "\n".join(map(str, row["context"]))[:1500] if isinstance(row["context"], list) else str(row["context"])[:1500]
        for row in read_lines(data / "bipia/code_test.jsonl")
    ]
    tasks = [text for texts in read_json(data / "bipia/text_attack_test.json").values() for text in texts]
    for text in carriers:
        yield Row(text, "bipia_documents", "MIT", dict(BENIGN))
    for text in rng.sample(carriers, min(len(carriers), 220)):
        order = f"{rng.choice(phrases.INJ_VERB)} {rng.choice(phrases.INJ_WHAT)}. {rng.choice(tasks)}"
        place = rng.choice((0, len(text) // 2, len(text)))
        yield Row(
            f"{text[:place][-600:]}\n{order}\n{text[place:][:400]}", "bipia_injected", "MIT", violating("injection")
        )


def humans(conversation: str) -> list[str]:
    """The turns of the human in a transcript."""
    return [turn.strip() for turn in re.findall(r"\n\nHuman: (.*?)(?=\n\nAssistant:|\Z)", conversation, re.DOTALL)]


def extra(folder: Path, rng: random.Random) -> Iterator[Row]:
    """Rows of the repositories in ``sources.json`` that are used for training."""
    at = {
        s["name"]: (folder / s["repo"].replace("/", "+") / s["path"], s["licence"])
        for s in read_json(Path(__file__).with_name("sources.json"))
    }

    def benign(name: str, texts: list[str], most: int, source: str = "") -> Iterator[Row]:
        for text in rng.sample(texts, min(most, len(texts))):
            yield Row(text, source or name, at[name][1], dict(BENIGN))

    for row in read_lines(at["hh_harmless"][0]):
        turns = humans(row["chosen"])
        for turn in {turns[0], turns[-1]} if turns else ():
            found = [name for name, pattern in _WEAK.items() if pattern.search(turn)]
            if found and 12 < len(turn) < 600:
                labels = dict.fromkeys(found, 1) | {"any": 1, "injection": 0}
                yield Row(turn, "hh_harmless", at["hh_harmless"][1], labels)
    clinc = read_json(at["clinc"][0])
    yield from benign("clinc", [text for text, _ in clinc["train"] + clinc["oos_test"]], 3400)
    arena = [row["prompt"] for name in ("arena_v2", "arena_v01") for row in read_lines(at[name][0])]
    yield from benign("arena_v2", arena, 1250, "arena_hard")
    yield from benign("role_prompts", [row["prompt"] for row in read_csv(at["role_prompts"][0])], 160)
    for name, most in (("gpteacher_roleplay", 1000), ("gpteacher_code", 700), ("gpteacher_tools", 350)):
        rows = read_json(at[name][0])
        yield from benign(name, [f"{row['instruction']}\n{row.get('input', '')}".strip() for row in rows], most)
        yield from benign(name, [row["response"] for row in rows if len(row["response"]) > 40], 250, name + "_answers")
    yield from benign("gsm8k", [row["question"] for row in read_lines(at["gsm8k"][0])], 400)
    questions = [row["text"] for row in read_csv(at["gptfuzz_questions"][0])]
    for text in questions:
        yield Row(text, "gptfuzz_questions", "MIT", {"any": 1, "injection": 0})
    for row in read_csv(at["gptfuzz_templates"][0]):
        for filled in ("", *rng.sample(questions, 3)):
            yield Row(
                row["text"].replace("[INSERT PROMPT HERE]", filled),
                "gptfuzz_templates",
                "MIT",
                {"injection": 1, "any": 1},
            )
    answers = read_csv(at["gptfuzz_responses"][0])
    harmful = [row["Response"] for row in answers if row["label"] == "1"]
    refusals = [row["Response"] for row in answers if row["label"] == "0" and _REFUSAL.match(row["Response"])]
    for text in rng.sample(harmful, min(600, len(harmful))):
        yield Row(text, "gptfuzz_answers", "MIT", {"any": 1})
    for text in rng.sample(refusals, min(350, len(refusals))):
        yield Row(text, "gptfuzz_refusals", "MIT", dict(BENIGN))
    yield from hatemoji([at["hatemoji_train"], at["hatemoji_validation"]])
    yield from aart(*at["aart"])
    yield from dia_safety(*at["dia_safety"], rng)
    yield from coconot(at, rng)


_NO_REQUEST = dict.fromkeys(("injection", "cyber", "weapons", "fraud", "misinfo"), 0)
"""What a remark about people is not."""


def hatemoji(files: list[tuple[Path, str]]) -> Iterator[Row]:
    """HatemojiBuild: hateful remarks and their smallest changes that are not; the sister set HatemojiCheck is left alone."""
    for path, licence in files:
        for row in read_csv(path):
            hateful = row["label_gold"] == "1"
            yield Row(
                row["text"], "hatemoji", licence, {"hate": int(hateful)} | ({"any": 1} if hateful else {}) | _NO_REQUEST
            )


_AART_CRIMES = re.compile(
    r"terror|hate|traffick|murder|assassin|rape|kidnap|fraud|theft|burglar|robber|arson|violence|drug|launder|embezzl"
    r"|smuggl|counterfeit|extort|blackmail|cyber|hack|hijack|bomb|weapon|ponzi|stalk|assault|poach|bribe|motivated"
)
_AART_ASKS = re.compile(
    r"\b(how to|get away with|without (getting|being) caught|instructions|step[- ]by[- ]step)\b", re.IGNORECASE
)


def aart(path: Path, licence: str) -> Iterator[Row]:
    """Requests that name a crime and ask for its doing; other rows of the set are too mild to be sure of."""
    for row in read_csv(path):
        if _AART_CRIMES.search(row["crime"].lower()) and _AART_ASKS.search(row["prompt"]):
            yield Row(row["prompt"], "aart", licence, {"any": 1, "injection": 0, "profanity": 0})


def dia_safety(path: Path, licence: str, rng: random.Random) -> Iterator[Row]:
    """Answers in dialogues: the rude and the biased ones, and harmless ones of every kind."""
    rows = read_json(path)
    kinds = {"Offending User": "harassment", "Biased Opinion": "hate"}
    for row in rows:
        name = kinds.get(row["category"])
        if name is None:
            continue
        unsafe = row["label"] == "Unsafe"
        if name == "hate":  # the bias lies in agreeing: only both turns together show it
            text, labels = f"{row['context']}\n{row['response']}", {"any": 1} if unsafe else {}
        else:
            text, labels = row["response"], {"harassment": int(unsafe)} | ({"any": 1} if unsafe else {"hate": 0})
        if labels:
            yield Row(text.strip(), "dia_safety", licence, labels | _NO_REQUEST)
    safe = [row["response"].strip() for row in rows if row["label"] == "Safe" and "Expertise" in row["category"]]
    for text in rng.sample(safe, min(500, len(safe))):
        yield Row(text, "dia_safety_safe", licence, dict(BENIGN))


def coconot(at: dict[str, tuple[Path, str]], rng: random.Random) -> Iterator[Row]:
    """Requests that only look like ones to refuse, with answers; and requests to refuse, for safety or other reasons."""
    contrasts = read_lines(at["coconot_contrast"][0])
    licence = at["coconot_contrast"][1]
    for row in contrasts:
        yield Row(row["prompt"], "coconot_contrast", licence, dict(BENIGN))
    for row in rng.sample(contrasts, 300):
        yield Row(row["chosen"], "coconot_answers", licence, dict(BENIGN))
    for row in read_lines(at["coconot"][0]):
        if row["category"] != "Requests with safety concerns":
            yield Row(row["prompt"], "coconot", licence, dict(BENIGN))
        elif row["subcategory"] not in ("privacy violations", "copyright violations", "incomprehensible"):
            extra = {"misinfo": 1} if row["subcategory"] == "misinformation" else {}
            yield Row(row["prompt"], "coconot", licence, {"any": 1, "injection": 0, **extra})
