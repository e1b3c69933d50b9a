"""The examples in the docstrings of public entry points run, and give what they say."""

from __future__ import annotations

import doctest
from collections.abc import Iterator
from typing import Any

import pytest

from features.settings import Settings
from serving import client
from serving.schemas import openapi_examples
from tests.support.fake_server import Answer, FakeServer, Request


class ScoringServer(FakeServer):
    """A server whose answers are the examples of the OpenAPI document."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.answers = openapi_examples.build_examples(settings).answers

    def handle(self, request: Request) -> Answer:
        assert request.headers["authorization"] == "Bearer garrison_key"
        return Answer(body=self.answers[request.path.rpartition("/")[2]]["drivers"])


@pytest.fixture
def server(harbour: Any) -> Iterator[ScoringServer]:
    with ScoringServer(harbour.settings) as running:
        yield running


def test_the_examples_of_the_client_run(server: ScoringServer) -> None:
    outcome = doctest.testmod(client, extraglobs={"url": server.url, "key": "garrison_key"})
    assert outcome.attempted > 0
    assert outcome.failed == 0
    assert server.asked == ["POST /v1/score"]
