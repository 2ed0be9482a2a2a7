"""Families whose question is whole: one agent can answer it alone."""

from __future__ import annotations

import json
from random import Random

from swarm_common.events.agent import Item
from swarm_common.llm import Choices, Grammar, Schema
from swarm_model_agent.families import words
from swarm_model_agent.families.core import Family, pick, some

MAIL = 'root ::= [a-z] [a-z]{1,9} "." [a-z] [a-z]{1,9} "@" [a-z] [a-z]{1,9} ".com"'
_RECORD = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 12},
        "city": {"type": "string", "maxLength": 12},
        "month": {"type": "string", "maxLength": 12},
        "item": {"type": "string", "maxLength": 12},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
    },
    "required": ["name", "city", "month", "item", "count"],
    "additionalProperties": False,
}


def review(random: Random) -> tuple[str, str]:
    """Return a review of a thing, and whether it is ``positive`` or ``negative``."""
    good = random.random() < 0.5
    thing, word = pick(random, words.THINGS), pick(random, words.GOOD if good else words.BAD)
    end = pick(random, words.GOOD_ENDS if good else words.BAD_ENDS)
    first = pick(random, ("The {t} was {w}", "What a {w} {t}", "This {t} is {w}", "I found the {t} {w}"))
    return f"{first.format(t=thing, w=word)}, {end}.", "positive" if good else "negative"


def report(random: Random) -> tuple[str, str]:
    """Return a sentence and its topic."""
    topic = pick(random, list(words.TOPICS))
    text = pick(random, words.TOPICS[topic]).format(
        p=pick(random, words.PLACES),
        o=pick(random, words.OILS),
        a=pick(random, words.TEAMS),
        n=2 + int(random.random() * 40),
    )
    return f"{text}.", topic


def _sentiment(random: Random) -> Item:
    text, answer = review(random)
    return Item(
        id="",
        question=f"Review: {text}\nSentiment:",
        constraint=Choices(("positive", "negative")),
        answer=answer,
        checker="exact",
    )


def _topic(random: Random) -> Item:
    text, answer = report(random)
    return Item(
        id="",
        question=f"Text: {text}\nTopic:",
        constraint=Choices(tuple(words.TOPICS)),
        answer=answer,
        checker="exact",
    )


def _email(random: Random) -> Item:
    address = f"{pick(random, words.FIRST)}.{pick(random, words.LAST)}@{pick(random, words.HOSTS)}.com"
    frame = pick(
        random,
        (
            "Please write to {m} before Friday.",
            "You can reach the office at {m} in {p}.",
            "Send the {t} invoice to {m} today.",
            "The {t} was ordered by {m} from {p}.",
            "Contact {m} about the {t}.",
        ),
    )
    text = frame.format(m=address, p=pick(random, words.PLACES), t=pick(random, words.THINGS))
    return Item(
        id="",
        question=f"Text: {text}\nEmail:",
        constraint=Grammar(MAIL),
        answer=address,
        checker="exact",
    )


def _fact(random: Random) -> Item:
    kind, *others = some(random, list(words.KINDS), 3)
    answer = pick(random, words.KINDS[kind])
    options = some(random, [answer, *(pick(random, words.KINDS[other]) for other in others)], 3)
    article = "an" if kind[0] in "aeiou" else "a"
    first, second, third = options
    return Item(
        id="",
        # Of five forms tried on questions of `train`, the one that the embedded model answered best.
        question=f"{first.title()}, {second} or {third}: which one is {article} {kind}?",
        constraint=Choices(tuple(options)),
        answer=answer,
        checker="exact",
    )


def _last_word(random: Random) -> Item:
    said = some(random, [word for kind in words.KINDS.values() for word in kind], 3)
    return Item(
        id="",
        question=f"Words: {' '.join(said)}\nLast word:",
        constraint=Choices(tuple(sorted(said))),
        answer=said[-1],
        checker="exact",
    )


def _record(random: Random) -> Item:
    record = {
        "name": pick(random, words.FIRST).title(),
        "city": pick(random, words.CITIES),
        "month": pick(random, words.MONTHS),
        "item": pick(
            random, [word for kind in ("fruit", "tool", "instrument") for word in words.KINDS[kind]]
        ),
        "count": 2 + int(random.random() * 30),
    }
    text = "In {month}, {name} from {city} bought {count} pieces of {item}.".format(**record)
    return Item(
        id="",
        question=f"Text: {text}\nJSON:",
        constraint=Schema(_RECORD),
        answer=json.dumps(record, sort_keys=True),
        checker="json_fields",
    )


def _sum(random: Random) -> Item:
    one, other = (100 + int(random.random() * 900) for _ in range(2))
    return Item(
        id="",
        question=f"{one} + {other} =",
        constraint=Grammar("root ::= [0-9]{1,5}"),
        answer=str(one + other),
        checker="number",
    )


def _copy(random: Random) -> Item:
    said, *others = some(random, words.PLACES, 3)
    thing = pick(random, words.THINGS)
    return Item(
        id="",
        question=f"The {thing} is in {said}. The {thing} is in",
        constraint=Choices(tuple(sorted([said, *others]))),
        answer=said,
        checker="exact",
    )


SINGLE = (
    Family(
        name="sentiment",
        description="Is a review positive or negative?",
        chance=1 / 2,
        guide="Classify the sentiment of the review as positive or negative.",
        make=_sentiment,
    ),
    Family(
        name="topic",
        description="Which of four topics is a sentence about?",
        chance=1 / 4,
        guide="Name the topic of the text: sports, cooking, weather or computers.",
        make=_topic,
        shots=4,
    ),
    Family(
        name="email",
        description="Find the address in a sentence",
        chance=0.0,
        guide="Copy the email address from the text.",
        make=_email,
        shots=3,
    ),
    Family(
        name="fact",
        description="Which of three words is of a kind?",
        chance=1 / 3,
        guide="Answer the question with one of the words given.",
        make=_fact,
        shots=4,
    ),
    Family(
        name="last_word",
        description="Which of three words came last?",
        chance=1 / 3,
        guide="Repeat the last of the words.",
        make=_last_word,
        shots=6,
    ),
    Family(
        name="record",
        description="Five fields of a sentence as JSON, with partial credit",
        chance=0.0,
        guide="Write the facts of the text as JSON with name, city, month, item and count.",
        make=_record,
        shots=2,
    ),
    Family(
        name="sum",
        description="The sum of two numbers of three digits",
        chance=0.0,
        guide="Add the numbers.",
        make=_sum,
        shots=3,
        control="floor",
    ),
    Family(
        name="copy",
        description="Repeat a place just named",
        chance=1 / 3,
        guide="Repeat where it is.",
        make=_copy,
        shots=3,
        control="ceiling",
    ),
)
