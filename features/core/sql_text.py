"""SQL expressions as text that operators put together."""

from __future__ import annotations


class SqlText:
    """An SQL expression whose operators give SQL expressions: `str(SqlText("used_at") < 5)` is `(used_at < 5)`."""

    def __init__(self, text: object) -> None:
        self._text = str(text)

    def __str__(self) -> str:
        return self._text

    def _joined(self, operator: str, other: object) -> SqlText:
        return SqlText(f"({self} {operator} {other})")

    def __lt__(self, other: object) -> SqlText:
        return self._joined("<", other)

    def __le__(self, other: object) -> SqlText:
        return self._joined("<=", other)

    def __gt__(self, other: object) -> SqlText:
        return self._joined(">", other)

    def __ge__(self, other: object) -> SqlText:
        return self._joined(">=", other)

    def __add__(self, other: object) -> SqlText:
        return self._joined("+", other)

    def __sub__(self, other: object) -> SqlText:
        return self._joined("-", other)

    def __and__(self, other: object) -> SqlText:
        return self._joined("AND", other)
