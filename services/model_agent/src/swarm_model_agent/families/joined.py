"""Families whose answer must be joined from pieces, or made in stages: what topologies differ in."""

from __future__ import annotations

from collections import Counter
from random import Random

from swarm_common.events.agent import Item
from swarm_common.llm import Choices, Grammar
from swarm_model_agent.families import words
from swarm_model_agent.families.core import Family, pick, some
from swarm_model_agent.families.single import MAIL, report, review

_PIECES = 5
_NOISE = 0.12


def _split_evidence(random: Random) -> Item:
    """Five reviews, one an agent: what do most of them say? An odd number, so most is always more than half."""
    reviews = [review(random) for _ in range(_PIECES)]
    (most, _), *_ = Counter(sentiment for _, sentiment in reviews).most_common()
    return Item(
        id="",
        question="What do most of the reviews say of their thing?\nSentiment:",
        parts=tuple(f"Review: {text}\nSentiment:" for text, _ in reviews),
        constraint=Choices(("positive", "negative")),
        part_constraint=Choices(("positive", "negative")),
        answer=most,
        checker="exact",
    )


def _document(random: Random) -> Item:
    """Sentences of one page, most of one topic: the topic of the whole."""
    while True:
        reports = [report(random) for _ in range(_PIECES)]
        (most, count), *_ = Counter(topic for _, topic in reports).most_common()
        if count > _PIECES // 2:
            break
    return Item(
        id="",
        question="What is the page about as a whole?\nTopic:",
        parts=tuple(f"Text: {text}\nTopic:" for text, _ in reports),
        constraint=Choices(tuple(words.TOPICS)),
        part_constraint=Choices(tuple(words.TOPICS)),
        answer=most,
        checker="exact",
    )


def _addresses(random: Random) -> Item:
    """One address in each piece of a document: all of them are wanted."""
    names = some(random, words.FIRST, 3)
    found = [f"{name}.{pick(random, words.LAST)}@{pick(random, words.HOSTS)}.com" for name in names]
    return Item(
        id="",
        question="List all email addresses in the text, with commas between them.\nEmails:",
        parts=tuple(
            f"Text: {pick(random, ('Please write to', 'You can reach us at', 'Send it to'))} {address} "
            f"about the {pick(random, words.THINGS)}.\nEmail:"
            for address in found
        ),
        part_constraint=Grammar(MAIL),
        answer=", ".join(found),
        checker="set_f1",
    )


def _pipeline(random: Random) -> Item:
    """First repeat the last word, then say of what kind it is: the second needs the first."""
    kinds = some(random, ("fruit", "animal", "color", "vehicle"), 3)
    said = [pick(random, words.KINDS[kind]) for kind in kinds]
    return Item(
        id="",
        question=f"Words: {' '.join(said)}\nWhat kind of thing is the last word: {', '.join(sorted(kinds))}?",
        stages=(
            f"Words: {' '.join(said)}\nLast word:",
            "Kind:",
        ),
        stage_constraints=(Choices(tuple(sorted(said))), Choices(tuple(sorted(kinds)))),
        constraint=Choices(tuple(sorted(kinds))),
        answer=kinds[-1],
        checker="exact",
    )


def _pipeline_shots(item: Item) -> tuple[tuple[str, str], ...]:
    first, second = item.stages
    last = first.partition("\n")[0].split()[-1]
    return (first, last), (f"Word: {last}\n{second}", item.answer)


def _noisy(random: Random) -> Item:
    """A review with letters lost: each agent reads it in another instruction's light, and votes."""
    text, answer = review(random)
    worn = "".join("_" if letter.isalpha() and random.random() < _NOISE else letter for letter in text)
    return Item(
        id="",
        question=f"Review: {worn}\nSentiment:",
        constraint=Choices(("positive", "negative")),
        answer=answer,
        checker="exact",
    )


JOINED = (
    Family(
        name="split_evidence",
        description="What most of five reviews say, each known to one agent",
        chance=1 / 2,
        guide="Classify the sentiment of the review as positive or negative.",
        make=_split_evidence,
    ),
    Family(
        name="document",
        description="The topic of a page, sentence by sentence",
        chance=1 / 4,
        guide="Name the topic of the text: sports, cooking, weather or computers.",
        make=_document,
        shots=4,
        shots_of="topic",
    ),
    Family(
        name="addresses",
        description="All addresses of a document in pieces",
        chance=0.0,
        guide="Copy the email address from the text.",
        make=_addresses,
        shots=3,
        shots_of="email",
    ),
    Family(
        name="pipeline",
        description="Two steps, the second on the outcome of the first",
        chance=1 / 3,
        guide="Answer with one word.",
        make=_pipeline,
        shots=4,
        stage_shots=_pipeline_shots,
    ),
    Family(
        name="noisy_vote",
        description="A review with letters lost, for several to vote on",
        chance=1 / 2,
        guide="Classify the sentiment of the review as positive or negative.",
        make=_noisy,
    ),
)
