"""HubSpot as its documents have it: properties, their groups, and batch upserts with multi-status answers."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.support.fake_server import Answer, FakeServer, Request

TOKEN = "pat-test"


def refusal(message: str, status: int = 400, category: str = "VALIDATION_ERROR") -> Answer:
    return Answer(status, {"status": "error", "message": message, "category": category, "correlationId": "c"})


class FakeHubSpot(FakeServer):
    def __init__(self) -> None:
        super().__init__()
        self.properties: dict[str, dict[str, Any]] = {
            "name": {"name": "name", "type": "string", "fieldType": "text", "hubspotDefined": True},
        }
        self.groups: set[str] = set()
        self.records: dict[str, dict[str, str]] = {}
        self.writes: Counter[str] = Counter()
        # By account: the errors of its first tries, (category, message); accounts that spoil their whole batch; rows
        # never mentioned in the answer. `traced`: whether results carry the trace id.
        self.errors: dict[str, list[tuple[str, str]]] = {}
        self.spoilers: set[str] = set()
        self.forgotten: set[str] = set()
        self.traced = True

    def handle(self, request: Request) -> Answer:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return refusal("Authentication credentials not found", 401, "INVALID_AUTHENTICATION")
        if request.path == "/crm/v3/properties/companies/groups":
            name = request.json["name"]
            if name in self.groups:
                return refusal("group exists", 409, "CONFLICT")
            self.groups.add(name)
            return Answer(201, {"name": name})
        if request.path == "/crm/v3/properties/companies":
            return self._properties(request)
        if str(request) == "POST /crm/v3/objects/companies/batch/upsert":
            return self._upsert(request.json["inputs"])
        return refusal("no such path", 404, "OBJECT_NOT_FOUND")

    def _properties(self, request: Request) -> Answer:
        if request.method == "GET":
            return Answer(body={"results": list(self.properties.values())})
        made = request.json
        if made["groupName"] not in self.groups:
            return refusal("no such group")
        self.properties[made["name"]] = made
        return Answer(201, made)

    def _upsert(self, inputs: list[dict[str, Any]]) -> Answer:
        if len(inputs) > 100:
            return refusal("The maximum number of inputs supported in a batch request is 100")
        for item in inputs:
            if not self.properties.get(item["idProperty"], {}).get("hasUniqueValue"):
                return refusal(f"Unable to perform upsert by non-unique property {item['idProperty']}")
            unknown = [name for name in item["properties"] if name not in self.properties]
            if unknown or item["id"] in self.spoilers:
                return refusal(f"Property values were not valid: {unknown or item['id']}")
        results, errors = [], []
        for item in inputs:
            account, trace = item["id"], {"objectWriteTraceId": item["objectWriteTraceId"]}
            if self.errors.get(account):
                category, message = self.errors[account].pop(0)
                context = {"objectWriteTraceId": [item["objectWriteTraceId"]]}
                errors.append({"status": "error", "category": category, "message": message, "context": context})
                continue
            new = account not in self.records
            self.records.setdefault(account, {"name": f"Boatyard {account}"}).update(item["properties"])
            self.writes[account] += 1
            if account not in self.forgotten:
                shown = {item["idProperty"]: account, **item["properties"]}
                result = {"id": f"9{account}", "new": new, "properties": shown}
                results.append(result | (trace if self.traced else {}))
        body: dict[str, Any] = {"status": "COMPLETE", "results": results[::-1]}
        if errors:
            return Answer(207, body | {"numErrors": len(errors), "errors": errors})
        return Answer(body=body)
