"""Hide passwords in texts that people and logs may see, and in what people wrote whatever identifies somebody."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

MAIL, PHONE, CARD, ID = "[mail]", "[phone]", "[card]", "[id]"


def hide_password(text: str) -> str:
    """Return a URL, or an error that quotes connection parameters, with `***` in place of each password.

    Examples:
        >>> hide_password("postgresql://me:secret@db.example/scores")
        'postgresql://me:***@db.example/scores'
        >>> hide_password("no answer from host=db password=secret user=me")
        'no answer from host=db password=*** user=me'
    """
    # An unescaped password may hold anything, even @ and /: it ends at the last @ of the line.
    text = re.sub(r"(://[^:/@\s]*):.*@", r"\1:***@", text)
    return re.sub(r"(?i)\b(password=)[^&\s]+", r"\1***", text)


# Signs that stand for others, each for one, so that places stay: full-width letters and digits, dashes, spaces.
_SIGNS = {wide: wide - 0xFEE0 for wide in range(0xFF01, 0xFF5F)} | dict.fromkeys(
    (0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212), ord("-")
)
_SIGNS |= dict.fromkeys((0x00A0, 0x2009, 0x202F, 0x3000, 0x0009), ord(" "))
_SIGNS |= {0x3010: ord("["), 0x3011: ord("]"), 0x3001: ord(","), 0x3002: ord(";")}

_AT = r"(?:@|%40|\s?[\[({<]\s?(?:at|AT|At|艾特)\s?[\])}>]\s?)"
_DOT = r"(?:\.|\s?[\[({]\s?(?:dot|DOT|点)\s?[\])}]\s?)"
_WORD = r"[A-Za-z0-9_%+\-'À-ɏ]+"
# Of letters of Western scripts first, since a Chinese sentence has no space before an address; then of any.
_MAIL = re.compile(
    rf"{_WORD}(?:{_DOT}{_WORD})*{_AT}{_WORD}(?:{_DOT}{_WORD})*"
    r'|[^\s@,;:<>()"]+@[^\s@,;:<>()"]+\.[^\W\d_]{2,}'
)
_HAS_MAIL = re.compile(r"@|%40|\uff20|(?i:[\[({<\uff08\u3010]\s?(?:at|艾特)\s?[\])}>\uff09\u3011])")

_BETWEEN = r"[ \-./·()]"
# Digits of any script with at most three signs between two of them; letters right before it make it no number.
_NUMBER = re.compile(rf"(?<![A-Za-z0-9])\+?\(?\d(?:{_BETWEEN}{{0,3}}\d){{4,}}(?:{_BETWEEN}?[Xx](?![A-Za-z]))?")
_FEW_DIGITS = re.compile(r"\d(?:\D{0,3}\d){4}")
# A country's letters, two digits, then groups: an account number of a bank.
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Za-z]{2} ?\d{2}(?:[ \-]?[A-Za-z0-9]{4}){2,7}(?:[ \-]?[A-Za-z0-9]{1,4})?(?![A-Za-z0-9])"
)
# What follows such a word is a number of it even where letters are most of it.
_DOCUMENTS = ("passport", "ausweis", "licence", "license", "护照", "身份证", "证件", "驾照")
_DOCUMENT = re.compile(
    rf"(?i)(?:{'|'.join(f'(?<={word})' for word in _DOCUMENTS)})"
    r"(?:[^\d\n]{0,14}?[^A-Za-z0-9])?(?=[A-Z]*\d)[A-Z0-9]{6,}"
)
# Letters and digits of passports, tax, insurance and identity cards.
_MIXED = re.compile(
    r"(?<![A-Za-z0-9])(?:[A-Za-z]{1,3}[ \-]?\d{6,12}[A-Za-z]{0,2}|\d{7,9}[ \-]?[A-Za-z]"
    r"|[A-Za-z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d]|[A-Z]{6}\d{2}[A-Z]\d{2}[A-Z]\d{3}[A-Z])"
    r"(?:\([0-9A-Za-z]\))?(?![A-Za-z0-9])"
)
_DATE = re.compile(
    r"(?:(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.](?:19|20)?\d\d"
    r"|(?:19|20)\d\d(?:0\d|1[0-2])[0-3]\d)(?: \d{1,2}(?:[.]\d\d)?)?"
)
# Spans of years, and documents numbered within their year.
_OF_YEAR = re.compile(r"(?:19|20)\d\d ?[-/] ?(?:(?:19|20)\d\d|\d{1,3})")
_AMOUNT = re.compile(r"[1-9]\d{0,2}(?:\.\d{3})+|[1-9]\d*\.\d{1,2}")
_OF_PHONE = re.compile(
    r"(?i)(?:phone|tel|mobile|cell|call|fax|whatsapp|ring|number|handy|telefon|mobil"
    r"|电话|手机|座机|传真|拨打|致电|联系|号码)[^\d\n]{0,12}$"
)
_OF_ID = re.compile(
    r"(?i)(?:ssn|passport|iban|card|tax|national|licen[cs]e|insurance|\bid\b|qq|wechat"
    r"|身份证|护照|证件|账号|帐号|卡号|银行|社保|驾照|微信|税号)[^\d\n]{0,14}$"
)
_SSN = re.compile(r"\d{3}([ -])\d{2}\1\d{4}")
_MOBILE = re.compile(r"(?:00?86|86)?1[3-9]\d{9}")
_CHINESE_ID = re.compile(r"[1-9]\d{5}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dX]")


def redact_prose(text: str, own: Sequence[re.Pattern[str]] = ()) -> str:
    """Return what people wrote with words in place of addresses and of numbers that identify somebody.

    Mail addresses become `[mail]`, telephone numbers `[phone]`, numbers of payment cards `[card]`; numbers of bank
    accounts, passports, identity and insurance cards, and any other number of nine digits or more `[id]`. Dates,
    amounts and short numbers stay. Names stay: no rule finds them without taking words with them.

    Args:
        text: In any language; digits may be of any script.
        own: Further patterns, whose matches become `[id]`.

    Examples:
        >>> redact_prose("Call +49 30 901820 or write to jo@harbour.example, invoice 2024-118")
        'Call [phone] or write to [mail], invoice 2024-118'
        >>> redact_prose("我的手机13812345678, 卡号4111 1111 1111 1111")
        '我的手机[phone], 卡号[card]'
    """
    for pattern in own:
        text = pattern.sub(ID, text)
    if _HAS_MAIL.search(text):
        text = _replace(text, _MAIL, lambda _: MAIL)
    if not _FEW_DIGITS.search(text):
        return text
    folded = text.casefold()
    if any(word in folded for word in _DOCUMENTS):
        text = _replace(text, _DOCUMENT, _judge_all)
    for pattern, judge in _NUMBERS:
        text = _replace(text, pattern, judge)
    return text


def make_redaction(own: Sequence[str] = ()) -> Callable[[str], str]:
    """Return `redact_prose` with patterns of the company's own."""
    compiled = tuple(re.compile(pattern) for pattern in own)
    return lambda text: redact_prose(text, compiled)


def _replace(text: str, pattern: re.Pattern[str], judge: Callable[[re.Match[str]], str | None]) -> str:
    """Return the text with its matches replaced as `judge` says; None leaves one. Signs match as `_SIGNS` says."""
    parts, end = [], 0
    for match in pattern.finditer(text if text.isascii() else text.translate(_SIGNS)):
        word = judge(match)
        if word is not None:
            parts += [text[end : match.start()], word]
            end = match.end()
    return "".join((*parts, text[end:])) if parts else text


def _judge_all(_: re.Match[str]) -> str:
    return ID


def _judge_iban(match: re.Match[str]) -> str | None:
    plain = [c for c in match[0] if c.isalnum()]
    return ID if sum(c.isdigit() for c in plain) >= 10 and 14 <= len(plain) <= 34 else None


def _judge_number(match: re.Match[str]) -> str | None:
    number = _Number(match[0], match.string[max(0, match.start() - 24) : match.start()])
    return next(word for rule, word in _RULES if rule(number))


@dataclass(frozen=True)
class _Number:
    """A number as it is written, and what stands before it."""

    found: str
    before: str

    @property
    def digits(self) -> str:
        return "".join(str(int(c)) for c in self.found if c.isdigit())

    @property
    def count(self) -> int:
        return sum(c.isdigit() for c in self.found)

    @property
    def is_chinese_id(self) -> bool:
        last = "X" if self.found[-1] in "Xx" else ""
        return _CHINESE_ID.fullmatch(self.digits + last) is not None

    @property
    def is_dialled(self) -> bool:
        """Return whether it begins as telephone numbers do, or is a Chinese mobile one."""
        return self.found[0] in "+(" or self.digits.startswith("0") or _MOBILE.fullmatch(self.digits) is not None

    @property
    def is_grouped(self) -> bool:
        return re.search(r"\d\D+\d", self.found) is not None


# The first rule that holds says what becomes of a number.
_RULES: tuple[tuple[Callable[[_Number], bool], str | None], ...] = (
    (lambda n: n.is_chinese_id, ID),
    (lambda n: n.found[0] == "+" and n.count <= 15, PHONE),
    (lambda n: 13 <= n.count <= 19 and has_luhn_digit(n.digits), CARD),
    (lambda n: bool(_DATE.fullmatch(n.found) or _OF_YEAR.fullmatch(n.found)), None),
    (lambda n: bool(_OF_ID.search(n.before)), ID),
    (lambda n: bool(_OF_PHONE.search(n.before)), PHONE),
    (lambda n: n.count < 7 or (n.count <= 8 and bool(_AMOUNT.fullmatch(n.found))), None),
    (lambda n: bool(_SSN.fullmatch(n.found)), ID),
    (lambda n: n.is_dialled and n.count <= 15, PHONE),
    (lambda n: n.is_grouped and n.count <= 11, PHONE),
    (lambda n: n.count >= 9, ID),
    (lambda _: True, None),
)


# In this order: what one leaves the next looks at.
_NUMBERS = ((_IBAN, _judge_iban), (_NUMBER, _judge_number), (_MIXED, _judge_all))


def has_luhn_digit(digits: str) -> bool:
    """Return whether the last digit is the check digit by Luhn's formula (ISO/IEC 7812-1), as of payment cards.

    Examples:
        >>> has_luhn_digit("4111111111111111"), has_luhn_digit("4111111111111112")
        (True, False)
    """
    doubled = [int(d) * (2 if n % 2 else 1) for n, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0
