"""Peers that are Python packages, on the items that `evaluate --write-items` wrote.

    peers.py sentiment vader|afinn|textblob ITEMS.tsv ANSWERS
    peers.py tag nltk|udpipe ITEMS.conllu ANSWERS MODEL
    peers.py raw udpipe ITEMS.txt ANSWERS MODEL
    peers.py train-nltk TRAIN.conllu MODEL
    peers.py train-udpipe TRAIN.conllu DEVELOPMENT.conllu MODEL

Answers are a line for each item, or CoNLL-U. What is printed is seconds of a core for one pass over the items, after one
to warm up; passes are repeated until a second has passed.
"""

import json
import os
import re
import sys
import time


def seconds_each(work):
    """Seconds of a core for one pass, of as many as fit a second."""
    begun, before, passes = time.monotonic(), time.process_time(), 0
    while time.monotonic() - begun < 1:
        work()
        passes += 1
    return (time.process_time() - before) / passes


def texts(path):
    """The texts of `label<TAB>text`."""
    unescape = lambda text: re.sub(r"\\(n|\\)", lambda m: "\n" if m[1] == "n" else "\\", text)
    with open(path, encoding="utf-8", newline="\n") as file:
        return [unescape(line.rstrip("\n").split("\t", 1)[1]) for line in file]


def sentences(path):
    """The words and tags of each sentence of CoNLL-U."""
    with open(path, encoding="utf-8", newline="\n") as file:
        blocks = file.read().split("\n\n")
    for block in blocks:
        rows = [line.split("\t") for line in block.split("\n") if line and line[0] != "#"]
        words = [(row[1], row[3]) for row in rows if row[0].isdigit()]
        if words:
            yield words


# --- sentiment: what a text is, by the sign of its score


def vader():
    from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

    analyser = SentimentIntensityAnalyzer()
    # The threshold that its authors name.
    return lambda text: analyser.polarity_scores(text)["compound"], 0.05


def afinn():
    from afinn import Afinn

    return Afinn(emoticons=True).score, 0


def textblob():
    from textblob import TextBlob

    # At 0.1 it does better than at 0 (48.5 instead of 47.1).
    return lambda text: TextBlob(text).sentiment.polarity, 0.1


def sentiment(peer, items, answers):
    score, threshold = {"vader": vader, "afinn": afinn, "textblob": textblob}[peer]()
    items = texts(items)

    def label(text):
        value = score(text)
        if value == 0 or abs(value) < threshold:
            return "neutral"
        return "positive" if value > 0 else "negative"

    with open(answers, "w", encoding="utf-8") as out:
        out.writelines(label(text) + "\n" for text in items)
    return seconds_each(lambda: [label(text) for text in items])


# --- tags


def tag(peer, items, answers, model):
    given = [[word for word, _ in sentence] for sentence in sentences(items)]
    if peer == "nltk":
        from nltk.tag.perceptron import PerceptronTagger

        tagger = PerceptronTagger(load=False)
        with open(model, encoding="utf-8") as file:
            tagger.model.weights, tagger.tagdict, classes = json.load(file)
        tagger.classes = tagger.model.classes = set(classes)
        work = lambda: [[tag for _, tag in tagger.tag(words)] for words in given]
    else:
        from ufal.udpipe import Sentence

        tagger = udpipe(model)

        def work():
            out = []
            for words in given:
                sentence = Sentence()
                for word in words:
                    sentence.addWord(word)
                tagger.tag(sentence, tagger.DEFAULT)
                out.append([word.upostag for word in list(sentence.words)[1:]])
            return out

    with open(answers, "w", encoding="utf-8") as out:
        out.writelines(" ".join(tags) + "\n" for tags in work())
    return seconds_each(work)


def udpipe(model):
    from ufal.udpipe import Model

    return Model.load(model) or sys.exit(f"{model} cannot be read")


def raw(_, items, answers, model):
    from ufal.udpipe import Pipeline

    loaded = udpipe(model)
    pipeline = Pipeline(loaded, "tokenizer", Pipeline.DEFAULT, Pipeline.NONE, "conllu")
    with open(items, encoding="utf-8", newline="\n") as file:
        # It takes a line end for a space, an empty line for the end of a paragraph.
        text = file.read().replace("\n", "\n\n")
    with open(answers, "w", encoding="utf-8") as out:
        out.write(pipeline.process(text))
    return seconds_each(lambda: pipeline.process(text))


# --- training


def train_nltk(train, model):
    from nltk.tag.perceptron import PerceptronTagger

    tagger = PerceptronTagger(load=False)
    # Its own default of five rounds, and its own seed.
    tagger.train(list(sentences(train)))
    store(model, json.dumps([tagger.model.weights, tagger.tagdict, sorted(tagger.classes)]).encode())


def train_udpipe(train, development, model):
    """Tokenizer and tagger with their own defaults; the development treebank decides when the tokenizer has learned enough."""
    from ufal.udpipe import InputFormat, ProcessingError, Sentence, Sentences, Trainer

    error = ProcessingError()

    def read(path):
        reader = InputFormat.newConlluInputFormat()
        with open(path, encoding="utf-8") as file:
            reader.setText(file.read())
        found, sentence = Sentences(), Sentence()
        while reader.nextSentence(sentence, error):
            found.append(sentence)
            sentence = Sentence()
        return found

    options = [Trainer.DEFAULT, Trainer.DEFAULT, Trainer.NONE]
    trained = Trainer.train("morphodita_parsito", read(train), read(development), *options, error)
    if error.occurred():
        sys.exit(error.message)
    store(model, trained)


def store(path, content):
    """Writes all of a file, or none."""
    with open(path + ".new", "wb") as file:
        file.write(content)
    os.replace(path + ".new", path)


if __name__ == "__main__":
    kind, *arguments = sys.argv[1:]
    if kind.startswith("train-"):
        {"train-nltk": train_nltk, "train-udpipe": train_udpipe}[kind](*arguments)
    else:
        print({"sentiment": sentiment, "tag": tag, "raw": raw}[kind](*arguments))
