"""The instance's metadata are read over version 2 of the service only, from a real server on loopback."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from suffice.aws.instance_metadata import NoInstanceMetadataError, read_instance_metadata

TOKEN = "AQAEAH-token=="  # noqa: S105 - what a stand-in for the service hands out
ITEMS = {
    "/latest/meta-data/placement/region": "eu-north-1",
    "/latest/meta-data/placement/availability-zone": "eu-north-1b",
    "/latest/meta-data/instance-type": "g5.xlarge",
    "/latest/meta-data/instance-life-cycle": "spot",
}


class Service(ThreadingHTTPServer):
    """A metadata service that demands the token, and keeps what it was asked."""

    def __init__(self, items: dict[str, str], *, hands_out_tokens: bool = True, delay_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.items, self.hands_out_tokens, self.delay_s = items, hands_out_tokens, delay_s
        self.asked: list[tuple[str, str]] = []

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    """Answers as version 2 of the service does."""

    server: Service

    def do_PUT(self) -> None:
        self.server.asked.append(("PUT", self.path))
        time.sleep(self.server.delay_s)
        life_s = int(self.headers.get("X-aws-ec2-metadata-token-ttl-seconds", 0))
        allowed = self.server.hands_out_tokens and self.path == "/latest/api/token" and 0 < life_s <= 21600
        self.answer(200 if allowed else 403, TOKEN if allowed else "forbidden")

    def do_GET(self) -> None:
        self.server.asked.append(("GET", self.path))
        if self.headers.get("X-aws-ec2-metadata-token") != TOKEN:
            self.answer(401, "")
        elif self.path in self.server.items:
            self.answer(200, self.server.items[self.path])
        else:
            self.answer(404, "not found")

    def answer(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body.encode())))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


@pytest.fixture
def serve() -> Iterator:
    """Start services, and stop them after the test."""
    running: list[Service] = []

    def start(items: dict[str, str] = ITEMS, **settings: object) -> Service:
        service = Service(items, **settings)
        Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(service)
        return service

    yield start
    for service in running:
        service.shutdown()
        service.server_close()


def test_an_instance_says_where_and_what_it_is(serve):
    """Region, zone, type and life cycle come from a service that demands the token."""
    metadata = read_instance_metadata(serve().endpoint)
    assert (metadata.region, metadata.availability_zone) == ("eu-north-1", "eu-north-1b")
    assert (metadata.instance_type, metadata.life_cycle) == ("g5.xlarge", "spot")


def test_the_token_comes_first_and_credentials_are_never_asked_for(serve):
    """Five requests, the first for the token, none near the instance's role."""
    service = serve()
    read_instance_metadata(service.endpoint)
    assert service.asked[0] == ("PUT", "/latest/api/token")
    assert len(service.asked) == 5
    assert not any("iam" in path or "credentials" in path for _, path in service.asked)


def test_version_1_is_never_asked(serve):
    """Where no token is handed out, nothing else is asked."""
    service = serve(hands_out_tokens=False)
    with pytest.raises(NoInstanceMetadataError, match="version 1 is not asked"):
        read_instance_metadata(service.endpoint)
    assert service.asked == [("PUT", "/latest/api/token")]


def test_an_item_that_the_service_lacks_is_none(serve):
    """A service without life cycles, as of a private cloud, still tells the region."""
    metadata = read_instance_metadata(serve({"/latest/meta-data/placement/region": "eu-west-1"}).endpoint)
    assert (metadata.region, metadata.life_cycle, metadata.instance_type) == ("eu-west-1", None, None)


def test_a_service_without_a_region_is_refused(serve):
    """Without a region there is nothing to tell, and nothing is guessed from the zone."""
    with pytest.raises(NoInstanceMetadataError, match="does not know this instance's region"):
        read_instance_metadata(serve({}).endpoint)


def test_a_portal_that_answers_everything_is_no_metadata_service(serve):
    """A captive portal's page is not a region."""
    page = dict.fromkeys(ITEMS, "<html>Please log in</html>")
    with pytest.raises(NoInstanceMetadataError, match="status 200 and '<html>Please log in"):
        read_instance_metadata(serve(page).endpoint)


def test_no_proxy_of_the_environment_sees_the_request(serve, monkeypatch):
    """The address is link-local: a proxy would be the wrong machine, and must not receive the token."""
    proxy, service = serve(), serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy.endpoint)
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert read_instance_metadata(service.endpoint).region == "eu-north-1"
    assert proxy.asked == []


def test_a_silent_service_is_given_up_in_time(serve):
    """A machine outside EC2 waits half a second at most, not for a connection's own time-out."""
    service = serve(delay_s=3.0)
    started = time.perf_counter()
    with pytest.raises(NoInstanceMetadataError, match=r"within 0.2 s.*name the region instead"):
        read_instance_metadata(service.endpoint, timeout_s=0.2)
    assert time.perf_counter() - started < 2


def test_a_closed_port_is_no_metadata_service(serve):
    """A refused connection is told as what it is."""
    service = serve()
    endpoint = service.endpoint
    service.shutdown()
    service.server_close()
    with pytest.raises(NoInstanceMetadataError, match="no metadata service answered"):
        read_instance_metadata(endpoint)
