"""Hold the ids of many accounts as one key of what is kept for them."""

from __future__ import annotations


class AccountIds(tuple[str, ...]):  # noqa: SLOT001  # a tuple has no place for more
    """Ids of accounts; their hash is computed once, which takes a millisecond for some ten thousand.

    Examples:
        >>> AccountIds(("A1", "A2")) == ("A1", "A2") and hash(AccountIds(("A1",))) == hash(("A1",))
        True
    """

    _hash: int | None = None

    def __hash__(self) -> int:
        if self._hash is None:
            self._hash = super().__hash__()
        return self._hash
