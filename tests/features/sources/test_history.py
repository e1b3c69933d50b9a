from features.sources.history import History
from tests.support.adversarial_history import settings


def test_a_history_of_a_few_accounts_has_tables_that_are_nobodys_without_rows():
    with History.from_rows(settings(), {"accounts": [], "staff": []}) as history:
        assert history.query("SELECT email, team FROM staff").empty
