from dataclasses import replace
from datetime import UTC, datetime

from monitoring.letters.account_risk import AccountRisk, Action, EarlierScore
from monitoring.letters.digest import Digest, describe_in_line
from monitoring.letters.message import write_body, write_html
from monitoring.letters.packet import ReviewPacket
from monitoring.letters.statements import write_subject

USE = {"text": "35 usage events in 30 days (typical: 120)", "contribution": 0.9, "actionable": True}
USE |= {"play": "revive_usage"}
TICKET = {"text": "2 tickets wait for an answer", "contribution": 0.5, "actionable": True, "play": "answer_tickets"}
JUNE, MAY = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 5, 1, tzinfo=UTC)
RISK = AccountRisk(
    "A-17",
    "Acme & <b>Sons</b>",
    0.62,
    90,
    JUNE,
    EarlierScore(0.35, MAY, "churn-3", [{**USE, "text": "191 usage events in 30 days", "contribution": 0.1}]),
    [USE, TICKET],
    48_000.0,
    "EUR",
    "churn-3",
    "tickets,usage",
    "3f0c",
    base_rate=0.04,
    facts=("High ticket without an answer since 16 November 2023",),
    actions=(Action("Acknowledge", "https://garrison.example/act/abc"),),
)


def test_what_changed_since_the_last_score_is_told_with_what_was_then():
    told = " ".join(write_body(RISK).split())
    assert "Changed most: 35 usage events in 30 days (typical: 120); on 1 May 2024: 191 usage events in 30 days" in told
    new_cause = replace(RISK, drivers=[{**USE, "contribution": 0.15}, {**TICKET, "contribution": 0.9}])
    assert "Changed most: 2 tickets wait for an answer\n" in write_body(new_cause)
    level = replace(RISK, drivers=[{**USE, "contribution": 0.12}])
    assert "Changed most" not in write_body(level)


def test_text_and_html_say_the_same_and_nothing_of_a_name_is_markup():
    page = write_html(RISK)
    assert "Acme &amp; &lt;b&gt;Sons&lt;/b&gt;" in page
    assert "<b>Sons" not in page
    text = write_body(RISK)
    for part in ("62 %, about 6 in 10", "2 tickets wait", "without an answer since 16 November", "/act/abc"):
        assert part in text
        assert part in page
    assert "src=" not in page
    assert "<script" not in page


def test_each_kind_says_what_it_is_and_its_own_next_step():
    for kind, subject, play, step in [
        ("silent_decline", "Gone quiet: Acme", "break_silence", "Break the silence"),
        ("service_failure", "Service failed: Acme", "fix_service", "Make good for poor service"),
        ("renewal_near", "Renewal near: Acme", "renew_early", "Open the renewal now"),
        ("upsell", "A chance to sell: Acme", "show_more", "Show them more of the range"),
        ("promise_due", "Promise due: Acme", "keep_promise", "Keep what was promised"),
        ("visit_due", "Visit due: Acme", "get_in_touch", "Get back in touch"),
    ]:
        risk = replace(RISK, kind=kind, reasons=("the reason of its own",), play_key=play)
        assert write_subject(risk).startswith(subject)
        assert f"Next step: {step}" in write_body(risk)
        assert "1. the reason of its own" in write_body(risk)


def test_a_letter_that_it_got_worse_says_from_where():
    risk = replace(RISK, worsened_from=0.4)
    assert write_subject(risk).startswith("Worse: at risk: Acme")
    assert "the risk was 40 %" in " ".join(write_body(risk).split())


def test_a_digest_has_five_in_full_and_a_line_for_each_of_the_rest():
    risks = [replace(RISK, account_id=f"A-{n}", name=f"Company {n}") for n in range(8)]
    digest = Digest(risks, introduction=["You get this because its owner has left."])
    assert digest.subject == "8 accounts want you: Company 0, Company 1 and 6 more"
    body, page = digest.write_body(), digest.write_html()
    assert body.count("Why:") == page.count("<h2>Why</h2>") == 5
    for n in range(8):
        assert f"Company {n}" in body
        assert f"Company {n}" in page
    assert body.startswith("You get this because its owner has left.")
    line = describe_in_line(risks[7])
    assert line in body
    assert line == (
        "Company 7 (A-7): at risk, about 6 in 10; EUR 48,000 a year; "
        "35 usage events in 30 days (typical: 120). Bring usage back"
    )
    assert Digest(risks[:1]).subject == "1 account wants you: Company 0"


def test_a_review_packet_has_course_money_promises_and_three_options():
    packet = ReviewPacket(
        RISK, "chief executive", "ann@us.example", [(MAY, 0.35), (JUNE, 0.62)], ["An export by May, kept late"], 9_000.0
    )
    body = packet.write_body()
    assert "You get this as the account's chief executive. Its owner ann@us.example has the same letter" in body
    for part in ("1 May 2024: 35 %", "An export by May, kept late", "Expected to save EUR 9,000", "EUR 29,760 a year"):
        assert part in body
        assert part in packet.write_html()
    options = packet.list_options()
    assert [o.split(":")[0] for o in options] == [
        "Bring usage back",
        "Get their open tickets answered",
        "Leave it as it is",
    ]
