"""Name groups of texts, in each language by the words that set a group apart from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from monitoring.journey.texts.grouping import Labels
from monitoring.journey.texts.words import split_words

# Texts of a group and language that are read, and words of a name.
_READ, _WORDS = 300, 3
_FEWEST = 3
# Words of form and politeness, which are apart from each other by chance alone.
_POLITE = """hello dear team thanks thank regards support good morning hi help gets getting got takes
你好 您好 请问 谢谢 我们 你们 怎么 什么 如何 可以 没有 这个 一个 已经 还是 但是 请帮忙 麻烦 各位"""
# What scikit-learn's list takes for empty although tickets are about it.
_FULL = frozenset(
    {"amount", "bill", "call", "describe", "detail", "fill", "fire", "full", "interest", "move", "system"}
)
_EMPTY = (ENGLISH_STOP_WORDS - _FULL).union(_POLITE.split(), ["does"])


def name_groups(texts: Sequence[str], languages: Sequence[str], groups: Labels, count: int) -> list[dict[str, str]]:
    """Return the names of each group by language: the words with the highest class TF-IDF.

    A group has a name in a language that some of its texts are in.

    Args:
        texts: (n,) cleaned.
        languages: (n,) codes.
        groups: (n,) numbers from 0 on; -1 for none.
        count: Of groups.

    Source: class TF-IDF, Grootendorst, arXiv 2203.05794 (2022).
    """
    names: list[dict[str, str]] = [{} for _ in range(count)]
    codes = np.asarray(languages, dtype=object)
    for code in dict.fromkeys(languages):
        counts = [Counter[str]() for _ in range(count)]
        for group in range(count):
            chosen = np.flatnonzero((groups == group) & (codes == code))[:_READ]
            if len(chosen) >= _FEWEST or (len(chosen) and not names[group]):
                for i in chosen:
                    counts[group].update({w for w in split_words(texts[i]) if w not in _EMPTY})
        overall = sum(counts, Counter[str]())
        mean = sum(overall.values()) / max(count, 1)
        for group, counted in enumerate(counts):
            total = sum(counted.values())
            scores = {w: n / total * np.log1p(mean / overall[w]) for w, n in counted.items()}
            best = sorted(scores, key=lambda word: (-scores[word], word))[:_WORDS]
            if best:
                names[group]["zh_Hans" if code == "zh" else "en" if code == "en" else code] = " · ".join(best)
    return names
