from features.sources.history import History
from tests.support.adversarial_history import settings


def test_a_history_of_rows_holds_tables_that_are_nobodys():
    staff = [{"email": "ada@harbour.test", "team": "support"}]
    with History.from_rows(settings(), {"accounts": [], "staff": staff}) as history:
        assert history.query("SELECT team FROM staff")["team"].tolist() == ["support"]
