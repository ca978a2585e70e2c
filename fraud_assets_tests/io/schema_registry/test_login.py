"""How a registry that wants a login is asked, and that no secret is shown."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from fraud_core.payments.envelopes import EnvelopeError
from fraud_core.settings import Settings
from fraud_io.errors import OperatorError
from fraud_io.schema_registry.errors import RegistryUnavailableError
from fraud_io.schema_registry.messages import opener

MESSAGE = b"\0\0\0\0\x07x"
LOGIN = "Basic " + base64.b64encode(b"bank:open:sesame").decode()


class Door(BaseHTTPRequestHandler):
    """A registry without schemas that lets one user and one token in."""

    def do_GET(self) -> None:
        status, body = 404, b'{"error_code": 40403, "message": "Schema not found"}'
        if self.path.startswith("/broken/"):
            status, body = 503, b"upstream"
        elif self.headers["Authorization"] not in (LOGIN, "Bearer sesame-token"):
            status, body = 401, b'{"error_code": 401, "message": "Unauthorized"}'
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Door) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    "login",
    [
        {"schema_registry_username": "bank", "schema_registry_password": "open:sesame"},
        {"schema_registry_token": "sesame-token"},
        {"in_the_address": "bank:open%3Asesame@"},
    ],
)
def test_a_login_is_sent_and_not_shown(address, tmp_path, caplog, login):
    url = f"http://{login.pop('in_the_address', '')}{address}"
    settings = Settings(home=tmp_path, schema_registry_url=url, **login)
    with caplog.at_level("INFO"), pytest.raises(EnvelopeError) as refused:
        opener(settings)(MESSAGE)
    assert refused.value.kind == "unknown schema"
    for text in (repr(settings), str(settings), caplog.text, *(record.getMessage() for record in caplog.records)):
        assert "sesame" not in text


def test_a_wrong_login_is_an_error_of_the_operator_and_a_broken_gateway_is_waited_for(address, tmp_path):
    for login in ({}, {"schema_registry_username": "bank", "schema_registry_password": "wrong-one"}):
        with pytest.raises(OperatorError, match="FRAUD_SCHEMA_REGISTRY_USERNAME") as refused:
            opener(Settings(home=tmp_path, schema_registry_url=f"http://{address}", **login))(MESSAGE)
        assert not isinstance(refused.value, RegistryUnavailableError)
        assert "wrong-one" not in str(refused.value)
    with pytest.raises(RegistryUnavailableError):
        opener(Settings(home=tmp_path, schema_registry_url=f"http://{address}/broken"))(MESSAGE)


def test_a_ca_file_that_is_not_there_is_named(tmp_path):
    settings = Settings(
        home=tmp_path, schema_registry_url="https://127.0.0.1:1", schema_registry_ca_file=tmp_path / "ca.pem"
    )
    with pytest.raises(OperatorError, match="FRAUD_SCHEMA_REGISTRY_CA_FILE"):
        opener(settings)(MESSAGE)
