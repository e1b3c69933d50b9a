"""Say sentences in the reader's language: English as it stands in the code, others from catalogs of translations."""

from __future__ import annotations

import gettext
import io
import string
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

LanguageName = Literal["en", "zh_Hans"]
LANGUAGES: tuple[str, ...] = get_args(LanguageName)
_CATALOGS = Path(__file__).parent / "locale"
# No language: each sentence that goes through a catalog is marked, so that tests find text that does not.
PSEUDO = "pseudo"


@dataclass(frozen=True)
class Language:
    """A language that readers may have.

    Args:
        name: `en`, `zh_Hans`, or `pseudo` in tests.
    """

    name: str = "en"

    def translate(self, template: str) -> str:
        """Return a template in this language; in English where the catalog lacks it."""
        if self.name == PSEUDO:
            return f"⟦{template}⟧" if template else template
        return template if self.name == "en" else _load_catalog(self.name).gettext(template)

    def say(self, template: str, /, **values: Any) -> str:
        """Return a template in this language, filled with values; phrases among them are said in it too.

        A template may leave out values, as a language without plurals leaves out {s}.
        """
        said = {name: value.say(self) if isinstance(value, Phrase) else value for name, value in values.items()}
        return string.Formatter().vformat(self.translate(template), (), said)


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


def say(text: str | Phrase, language: Language) -> str:
    """Return a phrase in a language, and any other text as it is."""
    return text.say(language) if isinstance(text, Phrase) else text


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
