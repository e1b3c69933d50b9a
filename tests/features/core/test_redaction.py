import pytest

from features.core.redaction import hide_password


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("postgresql://me:pa@ss@host/x#t", "postgresql://me:***@host/x#t"),
        ("postgresql://me:pa/s s@host/x", "postgresql://me:***@host/x"),
        ("postgresql://:secret@host/x", "postgresql://:***@host/x"),
        ("postgresql://me@host/x", "postgresql://me@host/x"),
        ("postgresql://host:5432/x?user=me&password=secret&sslmode=on", None),
        ('connection to "host=h PASSWORD=secret user=me" failed', None),
        ("sqlite:////tmp/a.db", "sqlite:////tmp/a.db"),
        ("scores.csv", "scores.csv"),
    ],
)
def test_a_password_is_hidden_and_the_rest_stays(text, printed):
    shown = hide_password(text)

    assert "secret" not in shown
    assert shown == (printed or text.replace("secret", "***"))
