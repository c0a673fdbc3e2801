"""The reasons why a request to the Kubernetes API failed, in texts that say what to do about them."""

from __future__ import annotations

import json
import re

RETRY_AFTER_SECONDS_MAX = 120.0

_USER = re.compile(r'User "system:serviceaccount:([^:"]+):([^:"]+)"')


class ApiFaultError(Exception):
    """The error of a request that failed or was refused. The same cause has the same text, which is logged when it
    changes."""

    def __init__(self, text: str, *, retry_after_seconds: float = 0.0, needs_new_client: bool = False) -> None:
        super().__init__(text)
        self.retry_after_seconds = retry_after_seconds
        self.needs_new_client = needs_new_client
        """Whether credentials or certificate authorities may be out of date, so they should be read again."""


class ExpiredError(Exception):
    """The error for a version that the server no longer has. List again."""


def refusal(verb: str, namespace: str, status: int, body: bytes, retry_after: str | None) -> ApiFaultError:
    """Return the error for an answer other than 200 and 410 to `verb` on EndpointSlices."""
    message = _message(body)
    after_seconds = _seconds(retry_after)
    if status == 401:
        text = (
            "the Kubernetes API does not accept this pod's token (401): see that its service account exists and that "
            "its token is mounted"
        )
        return ApiFaultError(text, retry_after_seconds=after_seconds, needs_new_client=True)
    if status == 403:
        return ApiFaultError(_forbidden(verb, namespace, message), retry_after_seconds=after_seconds)
    if status == 404:
        return ApiFaultError(
            "the Kubernetes API has no EndpointSlices of discovery.k8s.io/v1 (404): this takes Kubernetes 1.21 or "
            "newer, and KUBERNETES_SERVICE_HOST must be its API server",
            retry_after_seconds=after_seconds,
        )
    said = f": {message}" if message else ""
    return ApiFaultError(f"the Kubernetes API answers {status} to {verb}{said}", retry_after_seconds=after_seconds)


def _forbidden(verb: str, namespace: str, message: str) -> str:
    account = _USER.search(message)
    who = f"service account {account[1]}/{account[2]}" if account else "service account of this pod"
    return (
        f"the {who} may not {verb} EndpointSlices (403): bind to it a Role in namespace {namespace} with the rule "
        '{apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["get", "list", "watch"]}'
    )


def _message(body: bytes) -> str:
    """Return the message of a Status object; an empty one if a proxy has answered instead."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return str(message)[:300]


def _seconds(retry_after: str | None) -> float:
    """Return the seconds of a Retry-After header. A date, which the header may also hold, counts as 0."""
    if retry_after is None or not retry_after.isascii() or not retry_after.isdigit():
        return 0.0
    return min(float(retry_after), RETRY_AFTER_SECONDS_MAX)
