import pytest

from features.diagnostics.source_findings import SourceFinding
from monitoring.gate.check import decide_gate
from serving.gate.schema_checks import Finding

BROKEN = Finding("plan", "is empty", breaks=True)
NEW = Finding("plan", "is new since training", breaks=False)
SILENT = SourceFinding("usage", "silent", "hold", "is stale")
ODD = SourceFinding("usage", "nulls", "watch", "has more empty values than it had")


@pytest.mark.parametrize("findings", [(), (NEW,)])
@pytest.mark.parametrize("sources", [(), (ODD,)])
def test_alerts_go_out_when_nothing_speaks_against_them(sources, findings):
    gate = decide_gate(sources, findings)
    assert gate.state == "open"
    assert gate.lines() == ("Alerts may go out.",)


def test_a_broken_snapshot_and_a_silent_source_close_it_and_all_reasons_are_given():
    gate = decide_gate([ODD, SILENT], (BROKEN, NEW))
    assert gate.as_dict()["state"] == "closed"
    assert gate.reasons == ("usage is stale", "the snapshot is broken: plan: is empty")
    assert len(gate.lines()) == 3
