"""What a query gives for each way in which a web server can answer, or not."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from fraud_io.dagster_client import DagsterClient
from fraud_io.errors import OperatorError


@contextmanager
def answering(body: bytes) -> Iterator[tuple[str, list[tuple[str, dict]]]]:
    """Address of a web server that gives this answer to everything, and what it was asked: path and JSON."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def test_a_query_gives_the_data_of_the_answer():
    with answering(b'{"data": {"version": "1"}}') as (address, asked):
        assert DagsterClient(address).query("query ($id: ID!) {version}", id="7") == {"version": "1"}
    assert asked == [("/graphql", {"query": "query ($id: ID!) {version}", "variables": {"id": "7"}})]


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"errors": [{"message": "no such field"}], "data": null}', "did not understand: no such field"),
        (b"<html>starting</html>", "does not answer"),
    ],
    ids=["errors", "no JSON"],
)
def test_an_answer_without_data_is_an_error_in_words(body, problem):
    with answering(body) as (address, _), pytest.raises(OperatorError, match=f"Dagster at {address} {problem}"):
        DagsterClient(address).query("{version}")


def test_a_server_that_keeps_silent_longer_than_it_may_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(OperatorError, match="does not answer"):
            DagsterClient(address, timeout_s=0.1).query("{version}")
