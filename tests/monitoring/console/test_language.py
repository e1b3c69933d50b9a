"""Every sentence of the console's pages stands in every language, with the same values to fill in."""

import string
from pathlib import Path

import pytest
from jinja2.ext import extract_from_ast

from features.core.language import LANGUAGES, Language
from monitoring.console import home, navigation, problems, rendering
from monitoring.console.inbox import letter_actions

# Names that read the same.
NAMES = {"CSV", "Excel", "PSI"}
TEMPLATES = Path(rendering.__file__).parent / "templates"


def list_sentences():
    """Return each sentence of templates, and of texts that templates translate, with where it stands."""
    found = {}
    for file in sorted(TEMPLATES.rglob("*.html")):
        tree = rendering.get_environment("en").parse(file.read_text(encoding="utf-8"))
        for _, _, sentence in extract_from_ast(tree, gettext_functions=("_",)):
            text = sentence if isinstance(sentence, str) else (sentence or (None,))[0]
            if text:
                found.setdefault(text, file.name)
    titles = (home.ROLE_TITLES, home.ACT_TITLES, home.TABLE_TITLES, navigation._PAGES, letter_actions._DONE)
    found |= {text: "titles" for group in titles for text in group.values()}
    found |= {text: "problems" for problem in (*problems._PROBLEMS.values(), problems._FORM) for text in problem}
    return found


def list_names(sentence):
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name}


@pytest.mark.parametrize("name", [language for language in LANGUAGES if language != "en"])
def test_every_sentence_of_a_page_is_translated(name):
    language = Language(name)
    missing, wrong = [], []
    for sentence, place in list_sentences().items():
        said = language.translate(sentence)
        # What has no letters, such as a comma, may read the same too.
        if said == sentence and sentence not in NAMES and any(c.isalpha() for c in sentence):
            missing.append((place, sentence))
        elif not list_names(said) <= list_names(sentence):
            wrong.append((place, sentence, said))
    assert (missing, wrong) == ([], [])


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            (
                "1,234.5",
                "12.5 %",
                "EUR 1,234",
                "\u2212USD 5",
                "31 Dec 2025",
                "1 Jan 2026 07:30",
                "3 days ago",
                "\u2013",
            ),
        ),
        (
            "zh_Hans",
            (
                "1,234.5",
                "12.5 %",
                "EUR 1,234",
                "\u2212USD 5",
                "2025年12月31日",
                "2026年1月1日 07:30",
                "3 天前",
                "\u2013",
            ),
        ),
    ],
)
def test_numbers_money_and_days_are_the_readers(language, expected):
    template = (
        "{{ 1234.5 | number(1) }}|{{ 0.125 | percent(1) }}|{{ 1234.4 | money }}|{{ -5 | money('USD') }}"
        "|{{ day | date }}|{{ at | instant | striptags }}|{{ 3.2 | ago }}|{{ none | number }}"
    )
    reader = rendering.Reader(language, "Asia/Shanghai", "EUR")
    at = rendering.datetime(2025, 12, 31, 23, 30, tzinfo=rendering.UTC)
    token = rendering._READER.set(reader)
    said = rendering.get_environment(language).from_string(template).render(day=at.date(), at=at)
    rendering._READER.reset(token)
    assert tuple(said.split("|")) == expected
