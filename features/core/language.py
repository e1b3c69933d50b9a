"""Say sentences in the reader's language: English as it stands in the code, others from catalogs of translations."""

from __future__ import annotations

import gettext
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

LanguageName = Literal["en", "zh_Hans"]
LANGUAGES: tuple[str, ...] = get_args(LanguageName)
_CATALOGS = Path(__file__).parent / "locale"
# No language: each sentence that goes through a catalog is marked and its letters get accents, so that tests find text
# that does not go through one, also where it stands inside a marked sentence.
PSEUDO = "pseudo"
PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
ACCENTED = "áƀćđéƒǧĥíĵķłḿńóṕɋŕśţúṽẃẋýžÁƁĆĐÉƑǦĤÍĴĶŁḾŃÓṔɊŔŚŢÚṼẂẊÝŽ"
_ACCENTS = str.maketrans(PLAIN, ACCENTED)


class Sayable(Protocol):
    """Something that reads otherwise in each language: a phrase, a day, money."""

    def say(self, language: Language, /) -> str:
        """Return it in a language."""


@dataclass(frozen=True)
class Language:
    """A language that readers may have.

    Args:
        name: `en`, `zh_Hans`, or `pseudo` in tests.
    """

    name: str = "en"

    @property
    def tag(self) -> str:
        """Return the name as HTML's `lang` writes it."""
        return self.name.replace("_", "-")

    @property
    def locale(self) -> str:
        """Return the name of the locale that numbers and days are written by."""
        return self.name if self.name not in {"en", PSEUDO} else "en_GB"

    def translate(self, template: str) -> str:
        """Return a template in this language; in English where the catalog lacks it."""
        if self.name == PSEUDO:
            return f"⟦{_accent(template)}⟧" if template else template
        return template if self.name == "en" else _load_catalog(self.name).gettext(template)

    def say(self, template: str, /, **values: Any) -> str:
        """Return a template in this language, filled with values; phrases and days among them are said in it too.

        A template may leave out values, as a language without plurals leaves out {s}.

        Examples:
            >>> Language("zh_Hans").say("Why")
            '原因'
        """
        return self.translate(template).format_map({name: say(value, self) for name, value in values.items()})


ENGLISH = Language()


@dataclass(frozen=True)
class Phrase:
    """A sentence that can be said in any language.

    Args:
        template: In English, with {names}.
        values: By name; a value may be a phrase.
    """

    template: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def say(self, language: Language) -> str:
        """Return the sentence in a language."""
        return language.say(self.template, **self.values)

    def __str__(self) -> str:
        return self.say(ENGLISH)


@dataclass(frozen=True)
class Listing:
    """Things in a row, with the comma of the language between them.

    Args:
        parts: At least one.
        mark: Between two parts, in English.
    """

    parts: Sequence[str | Sayable]
    mark: str = ", "

    def say(self, language: Language) -> str:
        """Return the parts in a language."""
        mark = self.mark if language.name == PSEUDO else language.translate(self.mark)
        return mark.join(say(part, language) for part in self.parts)

    def __str__(self) -> str:
        return self.say(ENGLISH)


def say(text: Any, language: Language) -> Any:
    """Return what reads otherwise in each language in this one, and anything else as it is."""
    # Asking a protocol whether something is `Sayable` takes as long as saying it: a night says millions.
    speak = getattr(text, "say", None)
    return text if speak is None else speak(language)


def find_accepted(header: str) -> Language:
    """Return the first language that a browser's `Accept-Language` names and readers may have; else English."""
    for part in header.split(",")[:20]:
        name = part.partition(";")[0].strip().lower().replace("-", "_")
        if name == "zh" or name.startswith(("zh_hans", "zh_cn", "zh_sg")):
            return Language("zh_Hans")
        if name.startswith("en"):
            return ENGLISH
    return ENGLISH


def _accent(template: str) -> str:
    """Put accents on the letters of a template, but not on its {names}."""
    return re.sub(r"(\{[^{}]*\})|[A-Za-z]+", lambda m: m[1] or m[0].translate(_ACCENTS), template)


@cache
def _load_catalog(name: str) -> gettext.NullTranslations:
    """Compile a catalog: the tree holds texts alone."""
    from babel.messages import mofile, pofile

    with (_CATALOGS / f"{name}.po").open("rb") as source:
        catalog = pofile.read_po(source, locale=name)
    compiled = io.BytesIO()
    mofile.write_mo(compiled, catalog)
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)
