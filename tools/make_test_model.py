"""Makes the tiny gpt-oss model of the tests, ``tests/data/tiny-gpt-oss.gguf``.

    python -m tools.make_test_model                      # train, then write the file
    python -m tools.make_test_model --steps 0            # an untrained file of the same form, in a second
    python -m tools.make_test_model --from var/test-model.pt   # write the file from a checkpoint
    python -m tools.make_test_model --from var/test-model.pt --cases 40 --cases-out tests/data/tiny-gpt-oss.cases.jsonl

Needs torch, tokenizers and gguf, and npm for the ranks (or ``--ranks``). `tools.test_model.evaluate` measures the file
through llama.cpp.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from pathlib import Path

import torch

from models.engine import Effort, Passage
from models.prompt import ASSISTANT, FORCED_FINAL, SAFE, VIOLATES, prefix_pieces, render_content
from tools.gpt_oss_file import Shape
from tools.test_model.cases import CaseWriter, Row
from tools.test_model.corpus import Author, lexicon, topic_forms
from tools.test_model.gguf_file import read_gguf, write_gguf
from tools.test_model.network import Batch, GptOss
from tools.test_model.training import Curriculum, Tokeniser, train
from tools.test_model.vocabulary import Vocabulary, load_vocabulary

N_FIRST_RANKS = 2000
DESCRIPTION = "Test fixture of safeguard: judges made-up sentences about twelve mild topics and nothing real."


def noise(vocabulary: Vocabulary) -> list[str]:
    """Tokens that belong to no topic word, as text; none that could begin a message header."""
    forms = topic_forms()
    used = {token for form in forms for token in vocabulary.encode(form)[0]}
    texts = (vocabulary.decode([number]) for number in range(vocabulary.n_ordinary) if number not in used)
    return [text for text in texts if "\ufffd" not in text and "[" not in text and "<" not in text]


def write_cases(path: Path, network: GptOss, curriculum: Curriculum, seed: int, n_each: int) -> None:
    """Write held-out cases, each with the network's own score as ``torch_score``."""
    lines = []
    with torch.no_grad():
        for layer in network.layers:
            layer.experts.fake_quantise = True
        for row in CaseWriter(seed, curriculum).rows(n_each):
            score = round(direct_score(network, curriculum.tokeniser, row), 4)
            lines.append(json.dumps({**row, "torch_score": score}, ensure_ascii=False) + "\n")
    path.write_text("".join(lines), encoding="utf-8")


def direct_score(network: GptOss, tokeniser: Tokeniser, row: Row) -> float:
    """The network's score of a case in tier direct."""
    prefix = tokeniser.pieces(prefix_pieces(row["policy"], Effort.NONE))
    content = render_content([Passage(each["surface"], each["text"], each["context"]) for each in row["messages"]])
    tail = tokeniser.pieces([content, *ASSISTANT, *FORCED_FINAL])
    batch = Batch(
        prefix=torch.tensor([prefix]),
        prefix_position=torch.arange(len(prefix))[None],
        prefix_length=torch.tensor([len(prefix)]),
        tail=torch.tensor([[tail]]),
    )
    logits = network.logits(network(batch, torch.tensor([[[len(tail) - 1]]]))[1][0, 0, 0])
    safe, violating = (tokeniser.pieces([label])[0] for label in (SAFE, VIOLATES))
    return torch.sigmoid(logits[violating] - logits[safe]).item()


def main() -> None:
    """Parse the command line and do it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000, help="number of training batches")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="end the training after this time at the latest"
    )
    parser.add_argument("--learning-rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=20251029)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--start", type=Path, help="begin with the weights of this checkpoint or GGUF file")
    parser.add_argument("--ranks", type=Path, help="js-tiktoken's o200k_base.js; default: npm pack")
    parser.add_argument("--from", dest="source", type=Path, help="write this checkpoint instead of training")
    parser.add_argument("--checkpoint", type=Path, default=Path("var/test-model.pt"))
    parser.add_argument("--cases", type=int, default=0, help="also write held-out cases, this many of every kind")
    parser.add_argument("--cases-seed", type=int, default=7)
    parser.add_argument("--cases-out", type=Path, default=Path("tests/data/tiny-gpt-oss.cases.jsonl"))
    parser.add_argument("--out", type=Path, default=Path("tests/data/tiny-gpt-oss.gguf"))
    options = parser.parse_args()

    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    vocabulary = load_vocabulary(N_FIRST_RANKS, lexicon(), options.ranks)
    network = GptOss(Shape(len(vocabulary.tokens)))
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    print(f"{len(vocabulary.tokens)} tokens, {n_parameters / 1e6:.2f} M parameters")

    author = Author(random.Random(options.seed), noise(vocabulary), loose=0.3)
    curriculum = Curriculum(author, Tokeniser(vocabulary))
    if start := options.source or options.start:
        if start.suffix == ".gguf":
            read_gguf(start, network)
        else:
            network.load_state_dict(torch.load(start, weights_only=True))
    if options.steps and not options.source:
        options.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        save = lambda: torch.save(network.state_dict(), options.checkpoint)  # noqa: E731 - one line, used once
        further, limit_s = options.start is not None, options.minutes * 60
        train(network, curriculum, options.steps, options.learning_rate, save, further, limit_s)
    write_gguf(options.out, network, vocabulary, DESCRIPTION)
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.2f} MB")
    if options.cases:
        write_cases(options.cases_out, network, curriculum, options.cases_seed, options.cases)
        print(options.cases_out)


if __name__ == "__main__":
    main()
