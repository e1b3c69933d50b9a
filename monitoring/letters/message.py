"""Write the letter about one account to its owner, in plain words: as text, and as HTML with the same content."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from features.core import html
from features.core.language import ENGLISH, Language
from features.core.safe_line import to_safe_line
from monitoring.letters.account_risk import AccountRisk
from monitoring.letters.statements import (
    build_play,
    list_figures,
    list_origins,
    list_reasons,
    tidy,
    write_headline,
    write_subject,
)
from monitoring.letters.text_lines import wrap
from monitoring.letters.wording import NO_REASON

_TEMPLATE = Path(__file__).parent / "templates" / "letter.html"


def write_body(risk: AccountRisk, language: Language = ENGLISH) -> str:
    """Write the letter as plain text, in lines of at most 76 columns where words allow."""
    say, play = language.say, build_play(risk, language)
    lines = [*wrap(write_headline(risk, language)), ""]
    for label, text in list_figures(risk, language):
        lines += wrap(say("{label}: {text}", label=label, text=text), later="  ")
    lines += ["", say("Why:"), *_number(list_reasons(risk, language), language), ""]
    if risk.facts:
        lines.append(say("What happened:"))
        lines += [line for fact in risk.facts for line in wrap(tidy(fact, language), "  ")]
        lines.append("")
    lines += [*wrap(say("Next step: {title}", title=play["title"])), *wrap(play["step"], "  "), ""]
    for action in risk.actions:
        lines += [say("{label}:", label=language.translate(action.words)), f"  {action.link}"]
    lines += [""] if risk.actions else []
    for sentence in (*risk.others, risk.why_you, _write_note(risk, language)):
        lines += [*wrap(tidy(sentence, language, 300)), ""] if sentence else []
    lines += ["--", *(line for origin in list_origins(risk, language) for line in wrap(origin))]
    return "\n".join(lines) + "\n"


def write_html(risk: AccountRisk, language: Language = ENGLISH) -> str:
    """Write the same letter as a page for mail programs, which loads nothing."""
    return render_letters(
        language,
        subject=write_subject(risk, language),
        preview=_write_preview(risk, language),
        letters=[build_view(risk, language)],
    )


def write_page(risk: AccountRisk, language: Language = ENGLISH) -> dict[str, str]:
    """Write subject, body and HTML, as the outbox holds them."""
    return {
        "subject": write_subject(risk, language),
        "body": write_body(risk, language),
        "html": write_html(risk, language),
    }


def render_letters(  # noqa: PLR0913  # the parts of the page, by name
    language: Language,
    *,
    subject: str,
    preview: str,
    letters: Sequence[Mapping[str, Any]],
    heading: str = "",
    introduction: Sequence[str] = (),
    rest: Sequence[str] = (),
    rest_title: str = "",
) -> str:
    """Render letters in full, and beneath them the rest, a line each.

    Args:
        language: Of the reader; all texts are in it.
        subject: Of the mail.
        preview: What a list of mails shows beside the subject.
        letters: As `build_view` returns them.
        heading: Stands above several letters.
        introduction: Sentences under the heading.
        rest: A line an account.
        rest_title: Stands above them.
    """
    return html.render_template(
        _TEMPLATE,
        _=language.say,
        language=language,
        subject=subject,
        preview=preview,
        letters=letters,
        heading=heading,
        introduction=introduction,
        rest=rest,
        rest_title=rest_title,
    )


def build_view(
    risk: AccountRisk, language: Language = ENGLISH, sections: Sequence[tuple[str, Sequence[str]]] = ()
) -> dict[str, Any]:
    """Return what the HTML template shows of one account, and beneath it further sections, each a title and lines."""
    return {
        "title": tidy(risk.title, language),
        "headline": write_headline(risk, language),
        "figures": list_figures(risk, language),
        "reasons": list_reasons(risk, language),
        "facts": [tidy(fact, language) for fact in risk.facts],
        "play": build_play(risk, language),
        "actions": [{"words": language.translate(a.words), "link": a.link} for a in risk.actions],
        "others": [tidy(other, language, 300) for other in risk.others],
        "why_you": tidy(risk.why_you, language, 300) if risk.why_you else "",
        "note": tidy(_write_note(risk, language), language, 300) if risk.note else "",
        "origins": list_origins(risk, language),
        "sections": sections,
    }


def _write_preview(risk: AccountRisk, language: Language) -> str:
    """Return the line that a list of mails shows beside the subject."""
    reason, play = list_reasons(risk, language)[0], build_play(risk, language)
    return language.say("{reason}. Next step: {title}", reason=reason, title=play["title"])


def _write_note(risk: AccountRisk, language: Language) -> str:
    """Return the note on the data; what the check of the data found stays in its own words."""
    return language.say("Note on the data: {note}", note=to_safe_line(risk.note, 300)) if risk.note else ""


def _number(texts: Sequence[str], language: Language) -> list[str]:
    if texts == [NO_REASON.say(language)]:
        return [f"  {texts[0]}"]
    return [line for n, text in enumerate(texts, 1) for line in wrap(text, f"  {n}. ")]
