"""Patterns of thinking that the neural suite knows. The coordinator offers them by name; model-agent learns them."""

from __future__ import annotations

from collections.abc import Mapping

PATTERNS: Mapping[str, str] = {
    "convergent": "one right answer: the sum of two handwritten digits",
    "divergent": "many valid answers: new words of a language whose rules were never told",
    "lateral": "an analogy carried to another domain",
    "systems": "what an intervention does in a graph of influences",
    "critical": "the one record of five that does not hang together",
    "abstract": "a rule from a few cases, of a kind never taught",
}
"""By name, what is asked in a few words; docs/neural.md tells the rest."""
