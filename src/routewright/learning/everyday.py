"""Prompts as people type them, with assumed scores: what no exam set holds.

Every public set with recorded scores asks exam questions. A gateway mostly sees greetings, rewriting, small look-ups,
short code, and now and then a hard problem. These prompts, written for this project, say where such requests stand.
Their scores are ASSUMED from a model's general level, not measured: on `easy` ones a small model is nearly as good as a
large one; on `hard` ones the gap is wide. They go into the packaged default router only, which states their number;
never into an evaluation.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import exp
from typing import Final

import numpy as np

from routewright.routing.objective import logit
from routewright.routing.router import Float32

_PLACES: Final = ("Norway", "Kenya", "Japan", "Peru", "Canada", "Italy", "Egypt", "Australia")
_LANGUAGES: Final = ("German", "French", "Italian", "Portuguese", "Dutch", "Polish")
_SIMPLE: Final = (
    "good evening",
    "where is the station?",
    "thank you very much",
    "the weather is nice today",
    "see you soon",
)
_TOPICS: Final = ("winter", "the sea", "friendship", "coffee", "a cat", "spring rain", "my grandmother's garden")
_WORDS: Final = ("big", "quick", "tired", "clever", "sad", "important")
_THINGS: Final = ("a sourdough starter", "a vegetable soup", "a paper plane", "a weekend in Lisbon", "a birthday party")
_MAILS: Final = (
    "we moved the planning call to Thursday at ten",
    "the invoice from March is still open, please check",
    "I will be out of the office next week",
    "the new printer is on the second floor",
)
_SNIPPETS: Final = (
    "reverses a string",
    "checks whether a number is prime",
    "sums the even numbers of a list",
    "counts the words in a sentence",
    "returns the largest of three numbers",
    "removes duplicates from a list",
    "computes a factorial",
)
_FACTS: Final = (
    "How many days are in a leap year?",
    "Who painted the Mona Lisa?",
    "Who wrote Hamlet?",
    "Who invented the telephone?",
    "When did the Second World War end?",
    "What is the largest planet in the solar system?",
    "What colour do you get from blue and yellow?",
    "At what temperature does water boil?",
    "How many legs does a spider have?",
    "What is the chemical symbol for gold?",
    "Which ocean is the largest?",
    "What does HTML stand for?",
    "Who was the first president of the United States?",
    "What is the opposite of hot?",
    "How many minutes are in three hours?",
    "What is the currency of Switzerland?",
)
_CHAT: Final = (
    "Hi",
    "Hi there!",
    "hello, how are you?",
    "Good morning",
    "thanks, that helps",
    "ok great",
    "Tell me a joke.",
    "What can you do?",
    "Who are you?",
    "Can you help me?",
    "tell me something interesting",
    "What should I cook tonight?",
    "I am bored",
    "Please repeat that.",
    "yes please",
    "Give me a fun fact.",
)

_FIELDS: Final = (
    "real analysis",
    "group theory",
    "algebraic topology",
    "measure theory",
    "number theory",
    "linear algebra",
)
_CLAIMS: Final = (
    "that every compact metric space is separable",
    "that a continuous bijection from a compact space to a Hausdorff space is a homeomorphism",
    "that there are infinitely many primes congruent to 3 modulo 4",
    "the spectral theorem for self-adjoint operators on a finite-dimensional space",
    "that every group of order p squared is abelian",
    "the dominated convergence theorem",
    "that the sum of the reciprocals of the primes diverges",
)
_PHYSICS: Final = (
    "the energy levels of a relativistic electron in a Coulomb potential",
    "the Hawking temperature of a Schwarzschild black hole",
    "the dispersion relation of a diatomic chain with alternating masses",
    "the partition function of the two-dimensional Ising model in the mean-field limit",
    "the equation of motion of a charged rotor in an oscillating magnetic field",
    "the scattering amplitude in the first Born approximation for a Yukawa potential",
)
_LAW: Final = (
    "A supplier repudiated an instalment contract after two late deliveries and the buyer covered at a higher "
    "price. Which "
    "remedies does each side have, what defences are open, and how would a court weigh them?",
    "A tenant assigned a lease without the consent that the lease requires; the assignee then defaulted. Who is "
    "liable to the "
    "landlord, on privity of contract and of estate, and what is the measure of damages?",
    "A state statute taxes goods from other states more than local ones. A trader challenges it as "
    "unconstitutional. Analyse "
    "standing, the dormant commerce clause and any exceptions, and say who should prevail.",
    "A defendant confessed after asking for a lawyer, and then signed a waiver. Discuss whether the confession "
    "may be admitted and "
    "what the prosecution must show.",
)
_SYSTEMS: Final = (
    "Design a globally distributed rate limiter that stays exact under network partitions, and prove its safety "
    "property.",
    "Implement a lock-free hash map with resizing in Rust and argue why every operation is linearizable.",
    "Find the race condition in a work-stealing scheduler in which a thief reads the tail after the owner has "
    "wrapped the buffer.",
    "Write a compiler pass that does sparse conditional constant propagation on SSA form and explain its complexity.",
    "Design the schema and the migration of a ledger that must stay consistent while two data centres write to it.",
    "Optimise this CUDA kernel for a batched matrix product with uneven sizes and reason about occupancy and "
    "bank conflicts.",
    "Write a dynamic program over subsets for the travelling salesman problem with time windows and derive its "
    "memory bound.",
)
_CLINIC: Final = (
    "A patient of 71 with cirrhosis, a new deep vein thrombosis and thrombocytopenia needs anticoagulation. "
    "Weigh the options.",
    "A neonate has bilious vomiting and a normal abdomen on examination. Give the differential diagnosis and the "
    "order of tests.",
    "Interpret: sodium 118, serum osmolality low, urine osmolality 480, urine sodium 52, euvolaemic. What are "
    "the causes and the "
    "safest rate of correction?",
)
_MATHS: Final = (
    "How many ordered triples of positive integers satisfy xyz = 10! with x dividing y?",
    "Evaluate the integral of ln(1 + x^2)/(1 + x) from 0 to 1 in closed form.",
    "Find all functions f from the reals to the reals with f(x + f(y)) = f(x) + y^2 for all x and y, or show "
    "there are none.",
    "In how many ways can a 3 by 12 rectangle be tiled by dominoes with no vertical line of symmetry?",
    "Determine the last three digits of 7^(7^(7^7)).",
)


def easy() -> Iterator[str]:
    """Requests that a small model serves nearly as well as a large one."""
    yield from _CHAT
    yield from _FACTS
    for place in _PLACES:
        yield f"What is the capital of {place}?"
        yield f"which language do people speak in {place}?"
    for phrase, language in product(_SIMPLE, _LANGUAGES):
        yield f"Translate '{phrase}' to {language}."
    for topic in _TOPICS:
        yield f"Write a short poem about {topic}."
        yield f"Give me five ideas for a story about {topic}."
    for word in _WORDS:
        yield f"Give me some synonyms for {word}."
        yield f"Use the word {word} in a sentence."
    for thing in _THINGS:
        yield f"Make a checklist for {thing}."
    for mail in _MAILS:
        yield f"Summarise this message in a few words: Hello all, {mail}. Best regards"
        yield f"Rewrite this more politely: {mail}"
        yield f"Fix the spelling: {mail.replace('e', 'ee', 1)}"
        yield f"Is this message positive, negative or neutral? {mail}"
    for snippet in _SNIPPETS:
        yield f"Write a Python function that {snippet}."
        yield f"write a javascript function that {snippet}"
    for a, b in ((12, 8), (7, 15), (40, 25), (9, 9)):
        yield f"What is {a} + {b}?"
        yield f"What is {a} times {b}?"


def hard() -> Iterator[str]:
    """Requests on which a large model is well ahead."""
    for claim in _CLAIMS:
        yield f"Prove {claim}."
        yield f"Prove rigorously {claim} and say where each hypothesis is used."
    for field in _FIELDS:
        yield f"State and prove a theorem of {field} whose converse fails, with a counterexample to the converse."
    for quantity in _PHYSICS:
        yield f"Derive {quantity}."
        yield f"Starting from first principles, derive {quantity} and discuss where the result breaks down."
    yield from _LAW
    yield from _SYSTEMS
    yield from _CLINIC
    yield from _MATHS


def assumed_scores(levels: Float32, *, is_hard: bool) -> Float32:
    """Scores that models of these levels (n,) are assumed to have; a level of 0.45: 0.95 on easy, 0.28 on hard ones."""
    slope, at_small = (2.2, logit(0.28)) if is_hard else (0.5, logit(0.95))
    return np.array(
        [1 / (1 + exp(-(at_small + slope * (logit(float(level)) - logit(0.45))))) for level in levels], dtype=np.float32
    )
