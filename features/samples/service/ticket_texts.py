"""Write what people say in tickets and surveys, in English and Chinese: several wordings each, with slips."""

from __future__ import annotations

from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.samples.causes import Floats
from features.samples.service.problems import LANGUAGES, read_problems
from features.samples.terms import Ints

DRAWS = 6  # random numbers a ticket
STAGES = ("onboarding", "steady", "renewal")
_SLIPS = 3  # versions of a wording: as it is, and with slips
_SLIP_SHARE = 0.35  # of wordings
_OPENINGS = (
    ("", "Hi team, ", "Hello, ", "Good morning, ", "Hi, ", "Dear support, "),
    ("", "你好, ", "您好, ", "早上好, ", "客服你好, ", "各位好, "),
)
_OF_STAGE = (
    (
        (
            " We are still setting everything up.",
            " We started with you only a few weeks ago.",
            " It is for our rollout.",
        ),
        (" Please have a look.", " What can we do?", " Thank you for your help.", " It concerns several of us."),
        (" Our contract comes up for renewal soon.", " We decide about the renewal these weeks.", ""),
    ),
    (
        (" 我们还在上线阶段。", " 我们几周前才开始使用。", " 是上线项目需要的。"),
        (" 请帮忙看一下。", " 我们该怎么办?", " 谢谢帮助。", " 影响到我们好几个人。"),
        (" 我们的合同快要续约了。", " 这几周我们会决定是否续约。", ""),
    ),
)
_OF_PRIORITY = (
    ("", "", " It is important for us.", " This is urgent and blocks our work."),
    ("", "", " 这对我们很重要。", " 非常紧急, 影响工作。"),
)
# What few tickets end with; it is redacted before it is stored.
_CLOSINGS = (
    ("", " Thanks", " Best regards", " You can reach me at +49 30 9018204{d}{d} or kim.lee{d}{d}@customer.example."),
    ("", " 谢谢", " 麻烦了", " 请联系我, 手机 1380013{d}{d}{d}{d} 或 wang{d}{d}@customer.example。"),
)
_CLOSING_SHARES = np.array([0.45, 0.75, 0.97])
_SWAPS = (
    ("登录", "登陆"),
    ("账号", "帐号"),
    ("账单", "帐单"),
    ("已经", "以经"),
    ("数据", "数剧"),
    ("了", "啦"),
    ("的", "得"),
)
# Comments of surveys, from the unhappiest to the happiest.
_COMMENTS = (
    (
        ("We regret the purchase.", "Problems are not solved and we look for something else."),
        ("It is too much trouble at the moment.", "Support takes too long."),
        ("It works most of the time.", "Some things could be easier."),
        ("We are happy with it.", "The team likes the tool and the help is good."),
    ),
    (
        ("我们后悔买了这个产品。", "问题一直没有解决, 我们在看别的产品。"),
        ("目前麻烦太多。", "客服响应太慢。"),
        ("大部分时间能用。", "有些地方可以更简单。"),
        ("我们很满意。", "团队喜欢这个工具, 服务也很好。"),
    ),
)


def write_tickets(
    draws: Floats, problem: Ints, language: Ints, stage: Ints, priority: Ints
) -> tuple[pa.Array, pa.Array]:
    """Write subjects and bodies of n tickets.

    Args:
        draws: Uniform numbers, (n, `DRAWS`).
        problem: Codes.
        language: Index in `LANGUAGES`.
        stage: Index in `STAGES`.
        priority: Index in `tickets.PRIORITIES`.
    """
    subject = _choose(_pool("subjects"), (problem, language), draws[:, 0], draws[:, 1])
    wording = _choose(_pool("wordings"), (problem, language), draws[:, 2], draws[:, 1])
    opening = _take(_OPENINGS, language, draws[:, 3])
    detail = [_take(tuple(parts[s] for parts in _OF_STAGE), language, draws[:, 4]) for s in range(len(STAGES))]
    details = pc.choose(pa.array(stage), *detail) if len(stage) else pa.array([], pa.string())
    weight = pa.array([text for parts in _OF_PRIORITY for text in parts]).take(pa.array(language * 4 + priority))
    body = pc.binary_join_element_wise(opening, wording, weight, details, _close(draws[:, 5], language), "")
    return subject, body


def write_comments(happiness: Floats, language: Ints, draw: Floats) -> pa.Array:
    """Write comments of surveys; `happiness` is from 0 to 1."""
    mood = np.clip((happiness * 4).astype(np.int64), 0, 3)
    flat = [text for texts in _COMMENTS for pair in texts for text in pair]
    return pa.array(flat).take(pa.array((language * 4 + mood) * 2 + (draw < 0.5)))


def write_promises(problem: Ints, language: Ints) -> pa.Array:
    """Write what was promised: to see to the problem."""
    problems = read_problems()
    texts = [f"We see to it: {p.name[0]}" for p in problems] + [f"我们会处理: {p.name[1]}" for p in problems]
    return pa.array(texts).take(pa.array(language * len(problems) + problem))


def _close(draw: Floats, language: Ints) -> pa.Array:
    kind = np.searchsorted(_CLOSING_SHARES, draw, side="right")
    versions = 50
    flat = [_fill(text, v) for texts in _CLOSINGS for text in texts for v in range(versions)]
    version = (draw * 10_007).astype(np.int64) % versions
    return pa.array(flat).take(pa.array((language * 4 + kind) * versions + version))


def _fill(text: str, version: int) -> str:
    digits = iter(f"{version * 7919 + 13_579:06d}")
    return "".join(next(digits) if part == "{d}" else part for part in _split(text))


def _split(text: str) -> list[str]:
    first, *rest = text.split("{d}")
    return [first, *(piece for part in rest for piece in ("{d}", part))]


def _take(texts: tuple[tuple[str, ...], ...], language: Ints, draw: Floats) -> pa.Array:
    """Take one of the texts of each language."""
    count = max(map(len, texts))
    flat = [some[i % len(some)] for some in texts for i in range(count)]
    return pa.array(flat).take(pa.array(language * count + (draw * count).astype(np.int64)))


@cache
def _pool(field: str) -> tuple[pa.Array, int]:
    """Return all texts of a field, by problem, language, wording and version, and the number of wordings."""
    count = max(len(texts) for p in read_problems() for texts in getattr(p, field))
    rng = np.random.default_rng(20_240)
    flat = [
        texts[i % len(texts)] if version == 0 else _slip(texts[i % len(texts)], language, rng)
        for p in read_problems()
        for language, texts in enumerate(getattr(p, field))
        for i in range(count)
        for version in range(_SLIPS)
    ]
    return pa.array(flat), count


def _choose(pool: tuple[pa.Array, int], code: tuple[Ints, Ints], which: Floats, slip: Floats) -> pa.Array:
    texts, count = pool
    problem, language = code
    version = np.where(slip < _SLIP_SHARE, 1 + (slip / _SLIP_SHARE * (_SLIPS - 1)).astype(np.int64), 0)
    wording = (problem * len(LANGUAGES) + language) * count + (which * count).astype(np.int64)
    return texts.take(pa.array(wording * _SLIPS + version))


def _slip(text: str, language: int, rng: np.random.Generator) -> str:
    """Return a text with slips: letters swapped, lost or doubled; in Chinese a wrong character of like sound."""
    if LANGUAGES[language] == "zh":
        usable = [swap for swap in _SWAPS if swap[0] in text]
        return text.replace(*usable[rng.integers(len(usable))], 1) if usable else text[:-1]
    places = [i for i in range(1, len(text) - 2) if text[i : i + 2].isalpha()]
    for place in sorted(rng.choice(places, min(len(places), 1 + len(text) // 60), replace=False), reverse=True):
        cut = (text[place + 1] + text[place], text[place], text[place] * 2 + text[place + 1])[rng.integers(3)]
        text = text[:place] + cut + text[place + 2 :]
    return text
