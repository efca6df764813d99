"""An EC2 instance's metadata service in, where and on what this machine runs out: region, zone, type, life cycle.

Version 2 of the service only: a token first, then the questions. It is asked over a direct connection to a link-local
address, so no proxy of the environment sees the request, and it is never asked for credentials.
"""

from __future__ import annotations

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from suffice.errors import SufficeError

LINK_LOCAL = "http://169.254.169.254"
TIMEOUT_S = 0.5
TOKEN_LIFE_S = 60
LONGEST_ANSWER = 256


class NoInstanceMetadataError(SufficeError):
    """The metadata service did not answer, or not as version 2 does; the message says which and what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class InstanceMetadata:
    """What an EC2 instance says of itself; `life_cycle` is `on-demand`, `spot`, `scheduled` or `capacity-block`."""

    region: str
    availability_zone: str | None
    instance_type: str | None
    life_cycle: str | None


def read_instance_metadata(endpoint: str = LINK_LOCAL, timeout_s: float = TIMEOUT_S) -> InstanceMetadata:
    """Ask the metadata service at `endpoint`; each of the five requests waits for `timeout_s` at most.

    Raises:
        NoInstanceMetadataError: if nothing answers in time, the token is refused, or the region is missing.
    """
    token = _token(endpoint, timeout_s)
    region = _ask(endpoint, "placement/region", token, timeout_s)
    if region is None:
        raise NoInstanceMetadataError(f"the metadata service at {endpoint} does not know this instance's region")
    return InstanceMetadata(
        region=region,
        availability_zone=_ask(endpoint, "placement/availability-zone", token, timeout_s),
        instance_type=_ask(endpoint, "instance-type", token, timeout_s),
        life_cycle=_ask(endpoint, "instance-life-cycle", token, timeout_s),
    )


def _token(endpoint: str, timeout_s: float) -> str:
    life = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_LIFE_S)}
    status, body = _request(endpoint, "PUT", "/latest/api/token", life, timeout_s)
    if status != http.client.OK or not re.fullmatch(r"[!-~]+", body):
        raise NoInstanceMetadataError(
            f"{endpoint} answered the request for a token with status {status}: that is no metadata service of version "
            "2, and version 1 is not asked; name the region instead"
        )
    return body


def _ask(endpoint: str, item: str, token: str, timeout_s: float) -> str | None:
    """One item of the metadata; None where the service has none."""
    header = {"X-aws-ec2-metadata-token": token}
    status, body = _request(endpoint, "GET", f"/latest/meta-data/{item}", header, timeout_s)
    if status == http.client.NOT_FOUND:
        return None
    if status != http.client.OK or not re.fullmatch(r"[A-Za-z0-9._-]+", body):
        raise NoInstanceMetadataError(
            f"the metadata service at {endpoint} answered {item} with status {status} and {body[:40]!r}"
        )
    return body


def _request(endpoint: str, verb: str, path: str, headers: dict[str, str], timeout_s: float) -> tuple[int, str]:
    address = urlsplit(endpoint)
    connection = http.client.HTTPConnection(address.hostname or "", address.port or 80, timeout=timeout_s)
    try:
        connection.request(verb, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(LONGEST_ANSWER).decode("ascii", "replace").strip()
    except (OSError, http.client.HTTPException) as error:
        raise NoInstanceMetadataError(
            f"no metadata service answered at {endpoint} within {timeout_s:g} s ({type(error).__name__}: {error}); "
            "this is no EC2 instance, its metadata service is off, or a container is one network hop too far from it "
            "(hop limit 1); name the region instead"
        ) from error
    finally:
        connection.close()
