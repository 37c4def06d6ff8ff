"""What two questions must have in common to the letter before one may be answered with the other's answer.

Encoders of sentences hear what a question is about, and hardly how it is meant: to all-MiniLM-L6-v2 `not harmful`
is as near to `harmful` as a paraphrase is (cosine 0.99), and so are `ascending` to `descending` and `from A to B` to
`from B to A`. So a threshold alone gives wrong answers, whatever it is. Here is what it is helped by:

- `telling`: words that may not differ at all: with digits, signs of arithmetic, names (written with a capital where no
  sentence begins), what is quoted, what is not plain ASCII, negations, and words that have an opposite.
- `are_alike`: words that both questions have, in the same order in both; and where a question is long, so that one
  word more or less hardly moves its vector, all that carry it.

Both err to the safe side: a paraphrase that is not taken for one costs a call, nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_TOKEN: Final = re.compile(r"[\"“”'‘’`«»„]?[^\W_](?:[\w'’.,:/@#%&+\-]*[\w#%+])?|[^\w\s]", re.UNICODE)
_SIGNS: Final = frozenset("+-*/=<>^%|&~$€£¥@#{}[]\\×÷±≤≥≠")
_OPENING: Final = "\"“'‘`«„"
_SENTENCE_ENDS: Final = frozenset(".!?:\n")
_ALWAYS_CAPITAL: Final = frozenset({"i", "i'm", "i've", "i'd", "i'll"})

_OPPOSITES: Final = """
    no not never none nor neither nothing nobody nowhere without except but only unless cannot
    first second third fourth fifth sixth seventh eighth ninth tenth last next previous former latter final initial
    one two three four five six seven eight nine ten eleven twelve hundred thousand million billion half double twice
    before after until since during while earlier later early late old older oldest new newer newest young younger
    more less most least fewer few all any some every each both either
    up down over under above below left right top bottom front back out inside outside on off
    uppercase lowercase
    high higher highest low lower lowest upper big bigger biggest small smaller smallest large larger largest little
    long longer longest short shorter shortest tall wide narrow deep shallow thick thin heavy light fast faster fastest
    slow slower slowest hot hotter cold colder warm cool wet dry hard soft strong weak rich poor full empty open closed
    good better best bad worse worst right wrong true false correct incorrect same different similar opposite
    safe unsafe dangerous healthy unhealthy legal illegal valid invalid impossible public private
    internal external import export input output read write push pull send receive upload download
    add remove subtract multiply divide plus minus sum product insert delete create destroy start stop begin end
    enable disable activate deactivate allow deny grant revoke block unblock lock unlock install uninstall
    increase decrease raise reduce maximum minimum max min maximise minimise maximize minimize
    ascending descending positive negative odd even male female man woman men women boy girl mother father
    buy sell win lose won lost take borrow lend teach learn ask answer love hate like dislike
    pros cons advantage advantages disadvantage disadvantages benefit benefits drawback drawbacks risk risks
    cause causes effect effects reason reasons include exclude including excluding accept reject
    from between against versus vs
    north south east west northern southern eastern western today tomorrow yesterday morning evening night day
    am pm ad bc who whom whose when where why my mine your yours our ours he him his she her hers
"""
"""English words whose exchange turns a question around, and those that ask for another thing (`when`, `where`)."""
_NEGATED: Final = re.compile(r"(?:n't|n’t)\Z")
_EMPTY: Final = """
    a an the of is are was were be been am do does did can could would should will shall may might must has have had
    i me we us you it its they them their this that these those there here please
    and or if then as at so just also very really tell explain give show what which how to for with by via about in into
"""
"""Words that say little; their order and number are free."""
_FOREIGN_WORDS: Final = """
    ist sind der das dem den des ein eine einen und oder nicht kein keine ohne wie wo wer wann warum wieso ich wir
    mein meine kann muss soll auf aus bei mit nach von zu im zum zur fuer ueber
    le les du des une est et ne pas sans jamais je tu nous vous mon mes que qui quoi quel quelle comment pourquoi dans
    avec pour sur el los las una es y sin nunca yo mi como cual cuando donde por para que quien con del
    il lo gli che non senza mai di da per come quando dove perche sono e ed o os um uma sem nunca eu meu minha ao da
    het een niet geen zonder hoe waar wie waarom ik wij mijn van naar bij met op
"""
_OPPOSITE: Final = frozenset(_OPPOSITES.split())
_LITTLE: Final = frozenset(_EMPTY.split())
_FOREIGN: Final = frozenset(_FOREIGN_WORDS.split()) - _LITTLE - _OPPOSITE
_ENGLISH_SHARE: Final = 0.25
"""Of a question's words, so many at least are English little words, or words with an opposite."""
MAX_WORDS: Final = 96
SHORT_WORDS: Final = 4
"""Up to so many words that carry it, a question's vector moves with each of them."""
MAX_CHARS: Final = 400
"""Of a question. MiniLM reads 126 pieces of a text, and what it does not read can't be compared."""


def _words(text: str) -> list[tuple[str, bool, bool]]:
    """(the word, it begins a sentence, it stands in quotes)."""
    found = []
    begins, quote = True, ""
    for match in _TOKEN.finditer(text):
        piece = match[0]
        if piece[0] in _OPENING and len(piece) > 1:
            quote, piece = piece[0], piece[1:]
        elif len(piece) == 1 and not piece.isalnum():
            if piece in "\"“”'‘’`«»„":
                quote = "" if quote else piece
            elif piece in _SIGNS:
                found.append((piece, False, bool(quote)))
            begins = begins or piece in _SENTENCE_ENDS
            continue
        found.append((piece, begins, bool(quote)))
        begins = piece[-1] in _SENTENCE_ENDS
    return found


def is_english(text: str) -> bool:
    """Whether the words above are its language's; where they are not, nothing would hold a question and its opposite
    apart."""
    words = [word.lower() for word, _, _ in _words(text)]
    known = sum(word in _LITTLE or word in _OPPOSITE for word in words)
    return known >= _ENGLISH_SHARE * max(1, len(words)) and _FOREIGN.isdisjoint(words)


def telling(text: str) -> tuple[str, ...]:
    """What must be equal, in its order."""
    told = []
    for word, begins, is_quoted in _words(text):
        plain = word.lower()
        is_name = not begins and word[0].isupper() and plain not in _ALWAYS_CAPITAL
        has_more = any(map(str.isdigit, word)) or any(map(str.isupper, word[1:])) or not word.isascii()
        if is_quoted or has_more or word in _SIGNS:
            told.append(word)
        elif is_name or plain in _OPPOSITE:
            told.append(plain)
        elif _NEGATED.search(plain):
            told.append("not")
    return tuple(told)


def content(text: str) -> tuple[str, ...]:
    """Words that carry what is asked, lower case, without endings; at most `MAX_WORDS`."""
    return tuple([_stem(plain) for word, _, _ in _words(text) if (plain := word.lower()) not in _LITTLE])[:MAX_WORDS]


def _stem(word: str) -> str:
    for ending in ("ing", "es", "ed", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 4:
            return word[: -len(ending)]
    return word


def are_alike(first: Sequence[object], second: Sequence[object]) -> bool:
    """Whether two questions' `content` may be that of one."""
    if len(first) > SHORT_WORDS or len(second) > SHORT_WORDS:
        return first == second
    shared = set(first) & set(second)
    return [word for word in first if word in shared] == [word for word in second if word in shared]
