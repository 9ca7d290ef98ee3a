"""Runs ours and all peers in turns, round by round, and prints one table. Called by peers.sh, which prepares what it needs.

    run.py FOLDER ROUNDS    FOLDER has items/, venv/, npm/, text-peers and the models that were trained
"""

import os
import statistics
import subprocess
import sys

folder, rounds = sys.argv[1], int(sys.argv[2])
here = os.path.dirname(os.path.abspath(__file__))
items = f"{folder}/items"
rust = [f"{folder}/text-peers"]
python = [f"{folder}/venv/bin/python", f"{here}/peers.py"]
node = ["node", f"{folder}/npm/peers.js"]


def lines(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        return file.read().splitlines() if path.endswith(".answers") else file.read().split("\n")[:-1]


def labels(path):
    return [line.split("\t", 1)[0] for line in lines(path)]


# --- figures, from the answers to some items


def macro_f1(path, answers):
    given, told = labels(path), lines(answers)

    def f1(label):
        right = sum(g == label == t for g, t in zip(given, told, strict=True))
        return 2 * right / (given.count(label) + told.count(label))

    return 100 * statistics.mean(f1(label) for label in sorted(set(given)))


def languages(path, answers):
    """Percent right, mean of nine languages: whichlang has no Polish."""
    by_code = {}
    for code, told in zip(labels(path), lines(answers), strict=True):
        by_code.setdefault(code, []).append(code == told)
    return 100 * statistics.mean(statistics.mean(right) for code, right in by_code.items() if code != "pl")


def tags(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        for block in file.read().split("\n\n"):
            rows = [line.split("\t") for line in block.split("\n") if line and line[0] != "#"]
            if rows:
                yield [row[3] for row in rows if row[0].isdigit()]


def accuracy(path, answers):
    right = [g == t for given, told in zip(tags(path), lines(answers), strict=True)
             for g, t in zip(given, told.split(" "), strict=True)]
    return 100 * statistics.mean(right)


def from_raw(path, answers):
    scored = subprocess.run([*rust, "score", path.replace(".txt", ".conllu"), answers], check=True, capture_output=True)
    upos, _, sentences = map(float, scored.stdout.split())
    return upos, sentences


# --- what is run: a title, items, what a second is counted in, a figure, and programs with what follows their answers

treebank = f"{items}/tag-en-ewt"
words = sum(map(len, tags(f"{treebank}.conllu")))
udpipe = ("UDPipe 1, same training data", python, "udpipe", [f"{folder}/udpipe-ewt.model"])

benches = [
    ("tag", "UPOS, words given", f"{treebank}.conllu", words, accuracy, [
        ("ours", rust, "ours", []),
        udpipe,
        ("NLTK, same training data", python, "nltk", [f"{folder}/nltk-ewt.json"]),
        ("wink-nlp", node, "wink", []),
        ("compromise", node, "compromise", []),
    ]),
    ("raw", "UPOS, F1 from raw text", f"{treebank}.txt", words, from_raw, [
        ("ours", rust, "ours", []),
        udpipe,
        ("wink-nlp", node, "wink", []),
    ]),
    ("sentiment", "sentiment, UMSAB en, macro-F1", f"{items}/sentiment-en-umsab.tsv", None, macro_f1, [
        ("ours", rust, "ours", []),
        ("VADER", python, "vader", []),
        ("AFINN", python, "afinn", []),
        ("TextBlob", python, "textblob", []),
    ]),
] + [
    ("language", f"language, {name}, mean of nine", f"{items}/language-{name.replace(' ', '-')}.tsv", None, languages,
     [(peer, rust, peer, []) for peer in ("ours", "lingua", "whatlang", "whichlang")])
    for name in ("sentences", "word pairs", "single words")
]

# What learned nothing yet has no rows.
learned = lambda program: all(os.path.exists(model) for model in program[3])
missing = {program[0] for bench in benches for program in bench[5] if not learned(program)}
benches = [(*bench, list(filter(learned, programs))) for *bench, programs in benches]

took = {}
for number in range(rounds):
    for kind, title, path, _, _, programs in benches:
        for name, command, peer, more in programs:
            print(f"-- round {number + 1} of {rounds}: {title}: {name}", file=sys.stderr)
            answers = f"{folder}/{title}-{peer}.answers".replace(" ", "-").replace(",", "")
            done = subprocess.run([*command, kind, peer, path, answers, *more], check=True, stdout=subprocess.PIPE)
            took.setdefault((title, name), []).append(float(done.stdout))

print(f"\n{'what':36} {'program':30} {'figure':>7} {'a second':>10} {'median':>10}  ours is so many times as fast (median)")
for kind, title, path, count, figure, programs in benches:
    count = count or len(lines(path))
    found = {}
    for name, _, peer, _ in programs:
        found[name] = figure(path, f"{folder}/{title}-{peer}.answers".replace(" ", "-").replace(",", ""))
        seconds = took[title, name]
        value = found[name][0] if kind == "raw" else found[name]
        ratio = statistics.median(theirs / ours for ours, theirs in zip(took[title, "ours"], seconds))
        rates = [count / min(seconds), count / statistics.median(seconds)]
        print(f"{title:36} {name:30} {value:7.2f} {rates[0]:10.0f} {rates[1]:10.0f}"
              + (f"  {ratio:.1f}" if name != "ours" else ""))
    if kind == "raw":
        for name, (_, sentences) in found.items():
            print(f"{'sentences, F1 from raw text':36} {name:30} {sentences:7.2f}")
for name in sorted(missing):
    print(f"not trained here, so without a row: {name}")
