"""The constraint on the language of an answer, by a small stop-word test."""

import re
from dataclasses import dataclass
from typing import ClassVar, Final

from tsr.data.constraints import text
from tsr.data.constraints.base import Constraint

NAMES: Final = {"en": "English", "fr": "French", "es": "Spanish", "de": "German"}
_WORDS: Final = re.compile(r"[^\W\d_]+")


def _common(words: str) -> frozenset[str]:
    return frozenset(words.split())


_COMMON: Final = {
    "en": _common(
        """the a an and or but not is are was were be been am i you he she it we they my your his
        her its our their this that these those of to in on at by for with from as has have
        had do does did will would can could should there here what which who how why when
        where if so than then very please good me him us them no yes all some any hello thank
        thanks"""
    ),
    "fr": _common(
        """le la les l un une des du de d et ou mais ne pas n est sont était suis es sommes êtes
        être été ai as avons avez ont je j tu il elle nous vous ils elles on mon ma mes ton ta
        tes son sa ses notre nos votre vos leur leurs ce cet cette ces c qui que qu quoi où
        quand comment pourquoi dans sur sous avec sans pour par en au aux à chez y se s me m
        te t plus très bien bonjour merci oui non si aussi comme quel quelle fait peut tout
        tous"""
    ),
    "es": _common(
        """el la los las un una unos unas de del y o pero no es son era soy eres somos está están
        estoy ser estar he has ha hemos han yo tú él ella nosotros ustedes ellos ellas mi mis
        tu tus su sus nuestro nuestra este esta estos estas ese esa que qué quién dónde cuándo
        cómo por para con sin en al a se me te le lo les más muy bien hola gracias sí también
        como hay puede todo todos cada porque cuando donde hoy si"""
    ),
    "de": _common(
        """der die das den dem des ein eine einen einem einer eines und oder aber nicht kein
        keine ist sind war waren bin bist sein ich du er sie es wir ihr mich dich ihn uns mir
        dir ihm mein meine meinen dein deine unser ihre ihren dieser diese dieses zu zum zur
        in im am an auf aus bei mit nach von vom vor für über unter wer was wo wann wie warum
        welche hat habe haben hast wird werden kann können auch sehr gut guten hallo danke
        bitte ja nein so als wenn dass jeden heute"""
    ),
}
# A few letters that tell short sentences apart; each counts as one word.
_LETTERS: Final = {"en": "", "fr": "çèêàùœëî", "es": "ñ¿¡óáú", "de": "ßäöü"}


@dataclass(frozen=True)
class Language(Constraint):
    """The answer is in this language, as far as its most common words tell.

    A heuristic: the language with the most hits wins and a tie is not met, so that a text without
    any common word (a name, a number) is in no language.
    """

    kind: ClassVar[str] = "language"

    code: str

    def check(self) -> None:
        """See Constraint."""
        if self.code not in NAMES:
            raise self.refusal("code", f"one of {', '.join(NAMES)}")

    def met(self, answer: str) -> bool:
        """See Constraint."""
        found = _WORDS.findall(text.folded(answer))
        hits = {code: _hits(code, found, answer) for code in NAMES}
        return hits[self.code] > max(n for code, n in hits.items() if code != self.code)

    def describe(self) -> str:
        """See Constraint."""
        return f"Answer in {NAMES[self.code]}."


def _hits(code: str, words: list[str], answer: str) -> int:
    letters = sum(letter in answer.lower() for letter in _LETTERS[code])
    return sum(word in _COMMON[code] for word in words) + letters
