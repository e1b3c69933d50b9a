"""The library: what people and topics do to problems, what a search finds, and whether a fix held."""

import json
from datetime import timedelta

import pytest
import sqlalchemy as sa

from features.core.errors import GarrisonError
from features.state.problem_tables import PROBLEM_TOKENS
from features.state.tables import OUTBOX
from monitoring.problems import library, problem_acts
from monitoring.problems.nearest import find_nearest
from monitoring.problems.search import search_library
from monitoring.problems.ticket_matches import find_for_account, find_for_ticket
from tests.monitoring.problems.conftest import BEGIN
from tests.support.commands import run_command


def fill(company, days=60):
    """Add two tickets a day, of all topics and wordings, in both languages."""
    topics = ("login", "export", "invoice")
    for n in range(2 * days):
        company.add(topics[n % 3], f"A{n % 40}", n / 2, wording=n % 2, chinese=n % 5 == 0)


def read_state(company):
    with company.state.reading() as connection:
        problems = {problem.name: problem for problem in library.read_problems(connection)}
        fixes = library.read_fixes(connection, [problem.id for problem in problems.values()])
    return problems, {name: fixes[problem.id] for name, problem in problems.items()}


def act(company, do, *arguments, **named):
    with company.state.writing() as connection:
        return do(connection, *arguments, by="ann", **named)


def test_a_search_finds_words_of_both_languages_and_words_that_are_not_finished(company):
    fill(company)
    company.update(60)
    with company.state.reading() as connection:
        for text, expected in (
            ("登录", "login"),
            ("登", "login"),
            ("无法登录", "login"),
            ("扣款", "invoice"),
            ("sign in", "login"),
            ("SIGN-IN", "login"),
            ("expo", "export"),
            ("billed twice", "invoice"),
        ):
            found = search_library(connection, text)
            assert found.problems[0].problem.name == expected, text
            assert found.tickets, text
            assert all(company.topics[ticket.ticket_id] == expected for ticket in found.tickets), text
            assert [t.opened_at for t in found.tickets] == sorted((t.opened_at for t in found.tickets), reverse=True)
        own = search_library(connection, "sign", accounts=["A3"])
        assert {ticket.account_id for ticket in own.tickets} == {"A3"}
        assert search_library(connection, "'; DROP TABLE x -- \"").tickets == ()
        assert search_library(connection, "、。!").problems == ()


def test_a_new_ticket_in_either_language_leads_to_the_problem_that_others_have_had(company):
    fill(company)
    company.update(60)
    with company.state.reading() as connection:
        for text, expected in (
            ("We can't sign in since our passwords were reset", "login"),
            ("昨天重置了密码,现在登录不了", "login"),
            ("the exported report has no rows at all", "export"),
            ("导出的报表是空的", "export"),
            ("charged two times, invoice wrong", "invoice"),
        ):
            assert find_nearest(connection, text)[0].problem.name == expected, text


def test_both_databases_give_the_same_answers(tmp_path, postgres_url):
    from tests.monitoring.problems.conftest import TicketCompany

    answers = []
    for url in (f"sqlite:///{tmp_path}/state.db", postgres_url):
        company = TicketCompany(tmp_path, url)
        fill(company)
        company.update(60)
        with company.state.reading() as connection:
            texts = ("login", "登录 密码", "report empty please", "help", "a wrong invoice twice", "nothing like it")
            found = [search_library(connection, text).as_dict() for text in texts]
        company.state.close()
        answers.append(json.dumps(found, sort_keys=True))
    assert answers[0] == answers[1]
    assert "T" in answers[0]


def test_an_update_takes_in_what_is_new_and_reads_changed_texts_again(company):
    fill(company, days=10)
    first = company.update(10)
    assert (first.indexed.new, first.made, first.linked) == (20, 3, 20)
    again = company.update(10)
    assert (again.indexed.new, again.indexed.updated, again.made, again.linked) == (0, 0, 0, 0)
    ticket, *rest = company.rows[0]
    company.rows[0] = (ticket, *rest[:3], "Quokka in the attic", "")
    company.add("login", "A1", 9)
    third = company.update(11)
    assert (third.indexed.new, third.indexed.rewritten) == (1, 1)
    with company.state.reading() as connection:
        assert [found.ticket_id for found in search_library(connection, "quokka").tickets] == [ticket]
        rows = connection.execute(sa.select(PROBLEM_TOKENS).where(PROBLEM_TOKENS.c.problem_id == ""))
        counts = {row.token: row.tickets for row in rows}
    texts = [" ".join(row[4:]) for row in company.rows]
    assert counts["help"] == sum("help" in text for text in texts)
    assert counts["403"] == sum("403" in text for text in texts)


def test_people_name_merge_and_link_and_topics_never_undo_it(company):
    fill(company, days=20)
    company.update(20)
    problems, _ = read_state(company)
    named = act(company, problem_acts.change_problem, problems["login"], {"name": "SSO is down", "cause": "old tokens"})
    assert (named.name, named.get_name("zh_Hans"), named.state) == ("SSO is down", "SSO is down", "known")
    with pytest.raises(GarrisonError, match="changed since"):
        act(company, problem_acts.change_problem, problems["login"], {"name": "Mine"})
    taken = next(ticket for ticket, topic in company.topics.items() if topic == "export")
    act(company, problem_acts.link_tickets, named, [taken])
    merged = act(company, problem_acts.merge_problems, problems["invoice"], named)
    company.update(20)
    after, _ = read_state(company)
    assert set(after) == {"SSO is down", "export"}
    exports = sum(topic == "export" for topic in company.topics.values())
    assert (after["export"].tickets, after["SSO is down"].tickets) == (exports - 1, len(company.topics) - exports + 1)
    with company.state.reading() as connection:
        assert library.find_problem(connection, problems["invoice"].id).id == merged.id
        assert find_nearest(connection, "we were billed twice")[0].problem.id == merged.id
        assert find_for_ticket(connection, taken)[0].problem.id == named.id
    events = [event.event for event in library.read_events(company.state, named.id)]
    assert {"made", "changed", "tickets linked", "took in"} <= set(events)


def test_a_fix_worked_where_the_account_did_not_come_back_within_the_days(company):
    company.add("login", "A1", 1, done=0.5)  # before the fix
    company.update(2)
    problems, _ = read_state(company)
    now = BEGIN + timedelta(days=2)
    act(company, problem_acts.give_fix, problems["login"], {"en": "Renew the token", "zh_Hans": "更新令牌"}, now=now)
    company.add("login", "A2", 5)  # worked
    company.add("login", "A3", 6)  # came back
    company.add("login", "A3", 12)  # and then worked
    company.add("export", "A2", 8)  # another problem is no return
    company.add("login", "A4", 55)  # too young to count
    company.update(60)
    problems, fixes = read_state(company)
    assert [(fix.worked, fix.failed) for fix in fixes["login"]] == [(2, 1)]
    login = problems["login"]
    assert (login.state, login.tickets, login.accounts, login.repeats) == ("workaround", 5, 4, 1)
    with company.state.reading() as connection:
        near = find_nearest(connection, "令牌")[0]  # a word of the fix alone
        assert (near.problem.name, near.fixes[0].get_text("zh_Hans")) == ("login", "更新令牌")


@pytest.mark.parametrize(("later", "state", "verdict"), [(0, "fixed", "fell"), (1, "known", "did not fall")])
def test_a_fix_that_does_not_lower_the_rate_reopens_the_problem_and_tells_its_team_once(company, later, state, verdict):
    for n in range(80):
        company.add("login", f"A{n % 40}", n)
    company.update(80)
    problems, _ = read_state(company)
    given = {"removes_cause": True, "now": BEGIN + timedelta(days=80)}
    act(company, problem_acts.give_fix, problems["login"], {"en": "Renew"}, **given)
    for n in range(80, 80 + 60 * later):
        company.add("login", f"A{n % 40}", n)
    assert company.update(90).reopened == ()  # too early to tell
    company.update(140)
    company.update(141)
    problems, _ = read_state(company)
    assert (problems["login"].state, problems["login"].effect["verdict"]) == (state, verdict)
    with company.state.reading() as connection:
        told = connection.execute(sa.select(OUTBOX.c.kind, OUTBOX.c.recipient, OUTBOX.c.subject)).all()
    assert [tuple(row) for row in told] == [("problem_reopened", "support@harbour.test", "Reopened: login")] * later


def test_a_problem_that_comes_back_long_after_its_fix_is_reopened(company):
    for n in range(80):
        company.add("login", f"A{n % 40}", n)
    company.update(80)
    problems, _ = read_state(company)
    given = {"removes_cause": True, "now": BEGIN + timedelta(days=80)}
    act(company, problem_acts.give_fix, problems["login"], {"en": "Renew"}, **given)
    company.update(150)
    for n in range(200, 240):
        company.add("login", f"A{n % 40}", n)
    reopened = company.update(240).reopened
    assert [one.effect.verdict for one in reopened] == ["came back"]


def test_the_commands_show_what_is_near_to_an_accounts_open_ticket(tmp_path):
    from tests.monitoring.problems.conftest import TicketCompany

    company = TicketCompany(tmp_path, f"sqlite:///{tmp_path}/state.db")
    fill(company, days=20)
    asked = company.add("login", "A7", 19, done=None, chinese=True)
    company.update(20)
    with company.state.reading() as connection:
        (waiting,) = find_for_account(connection, "A7")
    assert (waiting.ticket_id, waiting.near[0].problem.name) == (asked, "login")
    company.state.close()
    config, file = ("--config", company.file), tmp_path / "found.json"
    given = run_command("monitoring", "problems", "fix", "login", "--text", "Renew the token", "--by", "ann", *config)
    assert (given.returncode, given.stderr) == (0, "")
    searched = run_command("monitoring", "problems", "search", "登录", *config, "--json", file)
    assert "Renew the token" in searched.stdout
    assert json.loads(file.read_text())["problems"][0]["problem"]["name"] == "login"
    assert "fix given by ann" in run_command("monitoring", "problems", "show", "login", *config).stdout
    assert "login" in run_command("monitoring", "problems", "list", *config).stdout
    assert run_command("monitoring", "problems", "show", "nothing", *config).returncode == 1


def test_the_night_takes_new_tickets_in_and_costs_them(tmp_path):
    from types import SimpleNamespace

    from features.sources.history import History
    from monitoring.cost_to_serve.cost_report import read_kept
    from monitoring.night import steps
    from tests.monitoring.problems.conftest import TicketCompany

    company = TicketCompany(tmp_path, f"sqlite:///{tmp_path}/state.db")
    fill(company, days=20)
    company.update(10)
    with History.open(company.settings) as history:
        given = {"settings": company.settings, "store": company.state, "history": history}
        night = SimpleNamespace(**given, as_of=BEGIN + timedelta(days=20), progress=None)
        done = steps.journey(night, {})
        again = steps.journey(night, {})
    company.state.close()
    assert "20 new tickets, 3 problems" in done.summary
    assert "0 new tickets, 3 problems" in again.summary
    assert read_kept(company.settings, "costs")["windows"][2]["tickets"] == 40
    assert read_kept(company.settings, "paths")["notes"]
