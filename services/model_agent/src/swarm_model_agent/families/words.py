"""Words that questions are made of."""

from __future__ import annotations

from collections.abc import Mapping

THINGS = (
    "film", "book", "hotel", "phone", "meal", "concert", "game", "laptop", "camera", "coffee", "course", "jacket",
    "song", "garden tour", "train ride", "soup", "museum", "bicycle", "lamp", "podcast",
)  # fmt: skip
GOOD = (
    "wonderful", "excellent", "delightful", "superb", "fantastic", "lovely", "brilliant", "amazing", "perfect",
    "charming", "great", "beautiful",
)  # fmt: skip
BAD = (
    "terrible", "awful", "dreadful", "horrible", "disappointing", "boring", "broken", "useless", "ugly", "dirty",
    "rude", "painful",
)  # fmt: skip
GOOD_ENDS = (
    "I loved every minute of it", "I would buy it again", "I recommend it to all my friends", "it made me smile",
    "it was worth every penny", "I am very happy with it",
)  # fmt: skip
BAD_ENDS = (
    "I want my money back", "I hated it", "I would never buy it again", "it was a waste of time",
    "I am very unhappy with it", "nobody should buy it",
)  # fmt: skip
TOPICS: Mapping[str, tuple[str, ...]] = {
    "sports": (
        "The {a} team scored twice in the second half", "The runner from {p} won the marathon",
        "Fans cheered when the goalkeeper of {p} saved the penalty", "The tennis final in {p} took five sets",
        "The coach named a new captain for the match in {p}", "The swimmer from {p} broke the record",
        "The basketball game in {p} ended with a last-second shot",
    ),
    "cooking": (
        "Fry the onions in {o} until they are soft", "Bake the bread for {n} minutes in a hot oven",
        "Add {o} and salt to the soup and let it simmer", "Chop the carrots and boil them for {n} minutes",
        "Whisk the eggs with {o} for the omelette", "Season the chicken and roast it for {n} minutes",
        "Stir the sauce with {o} until it thickens",
    ),
    "weather": (
        "Heavy rain is expected in {p} tonight", "A storm with strong wind will reach {p} by noon",
        "The sun will shine over {p} all week", "Snow fell on {p} for {n} hours",
        "Fog covers the valley near {p} this morning", "The temperature in {p} drops to {n} degrees",
        "Clouds and showers move across {p} tomorrow",
    ),
    "computers": (
        "The new processor has {n} cores", "Install the software update and restart the laptop",
        "The programmer from {p} fixed a bug in the code", "The server in {p} ran out of memory",
        "The keyboard and the screen are connected by {n} cables", "The database query took {n} seconds",
        "The website of {p} was hacked and its passwords stolen",
    ),
}  # fmt: skip
PLACES = (
    "Oslo", "Lisbon", "Kyoto", "Nairobi", "Lima", "Boston", "Cairo", "Geneva", "Dublin", "Madrid", "Perth", "Quito",
)  # fmt: skip
OILS = ("butter", "olive oil", "a little oil", "fresh cream", "warm milk")
TEAMS = ("home", "visiting", "national", "youth", "red", "blue")
FIRST = ("anna", "ben", "carla", "david", "emma", "felix", "greta", "henry", "iris", "jonas", "karen", "leo")
LAST = (
    "smith",
    "jones",
    "brown",
    "miller",
    "wilson",
    "moore",
    "taylor",
    "clark",
    "lewis",
    "walker",
    "young",
    "king",
)
HOSTS = ("example", "mailbox", "webpost", "office", "school", "garden", "library", "market")
KINDS: Mapping[str, tuple[str, ...]] = {
    "fruit": ("apple", "banana", "orange", "pear", "grape", "cherry", "lemon", "mango", "peach", "plum"),
    "animal": ("dog", "cat", "horse", "cow", "lion", "tiger", "sheep", "rabbit", "bear", "mouse"),
    "tool": ("hammer", "screwdriver", "saw", "drill", "wrench", "shovel", "axe", "pliers", "chisel", "ladder"),
    "color": ("red", "blue", "green", "yellow", "purple", "pink", "brown", "white", "black", "gray"),
    "vehicle": ("car", "bus", "train", "truck", "bicycle", "airplane", "boat", "tram", "motorcycle", "van"),
    "instrument": ("piano", "guitar", "violin", "drum", "flute", "trumpet", "harp", "cello", "clarinet", "organ"),
}  # fmt: skip
CITIES = PLACES
MONTHS = ("January", "March", "April", "May", "June", "August", "October", "December")
