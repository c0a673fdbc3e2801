"""The members of a cluster, from the EndpointSlices of its headless Service.

The discovery lists, then watches from the version of the list, and lists again at intervals, so that a missed event is
noticed. Bookmarks advance the version while nothing happens. A watch that ends as scheduled is resumed. A watch that
breaks is followed by a list, after a growing pause. A version that the server no longer has (410) is followed by a
list, the first time without a pause. If a request fails, the last known state stays, and no member is reported as gone.

The Kubernetes client is imported when it is first needed, off the event loop. It is large, and members outside of
Kubernetes do not need it. Answers are read as JSON, because the client's models take fifteen times as long.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import aiohttp

from gossipkv.discovery.api_fault import ApiFaultError, ExpiredError, refusal
from gossipkv.discovery.base import Discovery, DiscoveryError, FoundMembers
from gossipkv.discovery.endpoint_slices import EndpointSlices, SliceError
from gossipkv.discovery.watch_stream import BrokenWatchError, WatchStream

if TYPE_CHECKING:
    from kubernetes.aio.client import ApiClient, DiscoveryV1Api

PAGE_ITEMS = 100
PAGE_BYTES_MAX = 64 * 1024 * 1024
REFUSAL_BYTES_MAX = 64 * 1024

BREAKS_TOLERATED = 2
"""The number of watches in a row that may break off before this counts as a failure. A restart of the server breaks
one watch, and the list that follows shows what was missed."""


@dataclass(frozen=True, slots=True)
class WatchPace:
    """The intervals and deadlines of requests to the API."""

    watch_seconds: float = 60.0
    """The time after which the server ends a watch; at least one second."""
    stall_seconds: float = 5.0
    """The time after that end at which a watch counts as stalled."""
    relist_seconds: float = 300.0
    list_timeout_seconds: float = 15.0
    pause_seconds_min: float = 0.5
    pause_seconds_max: float = 30.0
    """The shortest and the longest pause; pauses double while requests fail."""
    steady_seconds: float = 1.0
    """A watch that was shorter than this is followed by a pause, however it ended."""


def in_cluster_client() -> ApiClient:
    """Return a client for the API of the cluster in which this process is a pod. The client reads its token again as it
    rotates. Raises ApiFaultError."""
    from kubernetes.aio import client, config

    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        return client.ApiClient(configuration)
    except (config.ConfigException, OSError) as error:
        raise ApiFaultError(
            f"this process has no access to a Kubernetes API ({error}): it must run in a pod that has its service "
            "account's token mounted (automountServiceAccountToken)"
        ) from error


class KubernetesDiscovery(Discovery):
    """A discovery that watches one Service. A member is named for its pod."""

    def __init__(
        self,
        service: str,
        namespace: str,
        member: str,
        gossip_port: int,
        fallback: Callable[[], Awaitable[tuple[str, ...]]] | None = None,
        pace: WatchPace = WatchPace(),
        connect: Callable[[], ApiClient] = in_cluster_client,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Prepare without asking anything. `fallback` returns endpoints while the API cannot be asked, and may raise
        DiscoveryError. `connect` is called on a thread of its own. `clock` and `sleep` count seconds."""
        self._selector = f"kubernetes.io/service-name={service}"
        self._namespace = namespace
        self._slices = EndpointSlices(member, gossip_port)
        self._fallback = fallback
        self._pace = pace
        self._connect = connect
        self._clock = clock
        self._sleep = sleep
        self._api: DiscoveryV1Api | None = None
        self._version: str | None = None
        """The version of the state in `_slices`; None if the slices must be listed again."""
        self._relist_at = 0.0
        self._stream: WatchStream | None = None
        self._watched_since = 0.0
        self._setbacks = 0
        """The number of setbacks since the last steady watch."""
        self._pause_seconds = 0.0
        self._complaint = ""
        """The reason why watches keep breaking off while lists succeed; empty if they do not."""

    async def find(self) -> FoundMembers:
        """Return the state after a change or a new list. After a failure, return the endpoints of the fallback or the
        last known ones immediately; the next call waits first."""
        while True:
            pause_seconds, self._pause_seconds = self._pause_seconds, 0.0
            await self._sleep(pause_seconds)
            try:
                if await self._has_news():
                    return replace(self._slices.found(), failure=self._complaint)
            except ExpiredError:
                self._list_again()
                self._set_back(pauses=self._setbacks > 0)
            except BrokenWatchError as broken:
                self._list_again()
                self._set_back()
                if self._setbacks > BREAKS_TOLERATED:
                    self._complaint = str(broken)
            except ApiFaultError as fault:
                self._list_again()
                self._set_back(fault.retry_after_seconds)
                if fault.needs_new_client:
                    await self._disconnect()
                return await self._second_best(str(fault))

    async def close(self) -> None:
        """End the watch and close the connections to the API."""
        self._end_watch()
        await self._disconnect()

    async def _has_news(self) -> bool:
        """List or watch. Returns whether there is something to report, which is always so after a list."""
        if self._version is None or self._clock() >= self._relist_at:
            self._end_watch()
            version = await self._list()
            if self._setbacks:
                # The API has recovered only when it can be watched again.
                self._stream = await self._watch(version)
            return True
        if self._stream is None:
            self._stream = await self._watch(self._version)
        while (event := await self._stream.event()) is not None:
            if self._take(event):
                self._is_steady()
                return True
        if not self._end_watch():
            self._set_back()
        return False

    def _take(self, event: dict[str, Any]) -> bool:
        """Process an event. Returns whether anything has changed. Raises ExpiredError, ApiFaultError,
        BrokenWatchError."""
        kind, item = event.get("type"), event["object"]
        if kind == "ERROR":
            if item.get("code") == 410:
                raise ExpiredError
            raise ApiFaultError(f"the Kubernetes API ends the watch: {str(item.get('message'))[:300]}")
        is_new = False
        try:
            version = str(item["metadata"]["resourceVersion"])
            if kind in ("ADDED", "MODIFIED"):
                is_new = self._slices.put(item)
            elif kind == "DELETED":
                is_new = self._slices.remove(item)
        except (KeyError, TypeError, SliceError) as error:
            raise BrokenWatchError("the watch of EndpointSlices brings objects that are not EndpointSlices") from error
        self._version = version
        return is_new

    # Asking

    async def _list(self) -> str:
        """Replace the slices by a complete list. Returns its version. Raises ApiFaultError, ExpiredError."""
        items: list[Any] = []
        cursor: str | None = None
        try:
            while True:
                page = await self._page(cursor)
                items += page["items"] or []
                metadata = page["metadata"]
                version, cursor = str(metadata["resourceVersion"]), metadata.get("continue") or None
                if cursor is None:
                    break
            self._slices.replace_all(items)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise ApiFaultError(
                "the server at the address of the Kubernetes API returns no list of EndpointSlices"
            ) from error
        self._version = version
        self._relist_at = self._clock() + self._pace.relist_seconds * random.uniform(0.8, 1.2)
        return version

    async def _page(self, cursor: str | None) -> Any:
        """Return a page of the list, parsed. Raises ValueError if it is not JSON."""
        following = {} if cursor is None else {"_continue": cursor}
        response = await self._request("list", self._pace.list_timeout_seconds, limit=PAGE_ITEMS, **following)
        return json.loads(await _body(response, PAGE_BYTES_MAX))

    async def _watch(self, version: str) -> WatchStream:
        left_seconds = self._relist_at - self._clock()
        timeout_seconds = max(1, round(min(left_seconds, self._pace.watch_seconds * random.uniform(0.8, 1.0))))
        self._watched_since = self._clock()
        response = await self._request(
            "watch",
            timeout_seconds + self._pace.stall_seconds,
            watch=True,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=timeout_seconds,
        )
        return WatchStream(response)

    async def _request(self, verb: str, bound_seconds: float, **parameters: Any) -> aiohttp.ClientResponse:
        """Return an answer of status 200, whose body is still to come. Raises ApiFaultError, ExpiredError."""
        if self._api is None:
            self._api = await asyncio.to_thread(_opened, self._connect)
        from kubernetes.aio.config import ConfigException

        response: aiohttp.ClientResponse
        try:
            response = await self._api.list_namespaced_endpoint_slice_without_preload_content(
                self._namespace, label_selector=self._selector, _request_timeout=float(bound_seconds), **parameters
            )
        except aiohttp.ClientSSLError as error:
            raise ApiFaultError(f"the Kubernetes API cannot be trusted: {error}", needs_new_client=True) from error
        except TimeoutError as error:
            raise ApiFaultError("the Kubernetes API does not answer in time") from error
        except ConfigException as error:
            raise ApiFaultError(f"this pod's token cannot be read: {error}", needs_new_client=True) from error
        except (aiohttp.ClientError, OSError) as error:
            raise ApiFaultError(f"the Kubernetes API cannot be reached: {error}") from error
        if response.status == 200:
            return response
        body = await _body(response, REFUSAL_BYTES_MAX)
        if response.status == 410:
            raise ExpiredError
        raise refusal(verb, self._namespace, response.status, body, response.headers.get("Retry-After"))

    async def _disconnect(self) -> None:
        api, self._api = self._api, None
        if api is not None:
            await api.api_client.close()

    # Setbacks

    def _end_watch(self) -> bool:
        """End the watch. Returns whether there was one, and it was steady."""
        stream, self._stream = self._stream, None
        if stream is None:
            return False
        stream.close()
        return self._is_steady()

    def _is_steady(self) -> bool:
        """Return whether the watch has lived for a while; then forget all setbacks."""
        if self._clock() - self._watched_since < self._pace.steady_seconds:
            return False
        self._setbacks = 0
        self._complaint = ""
        return True

    def _list_again(self) -> None:
        self._end_watch()
        self._version = None

    def _set_back(self, at_least_seconds: float = 0.0, *, pauses: bool = True) -> None:
        """Count a setback, and pause before the next request, longer each time."""
        self._setbacks += 1
        if pauses:
            doubled_seconds = self._pace.pause_seconds_min * 2 ** min(self._setbacks - 1, 16)
            pause_seconds = min(doubled_seconds, self._pace.pause_seconds_max) * random.uniform(0.5, 1.0)
            self._pause_seconds = max(pause_seconds, at_least_seconds)

    async def _second_best(self, failure: str) -> FoundMembers:
        endpoints = self._slices.found().endpoints
        if self._fallback is not None:
            try:
                endpoints = await self._fallback() or endpoints
            except DiscoveryError as error:
                failure = f"{failure}; and {error}"
        return FoundMembers(endpoints, failure=failure)


def _opened(connect: Callable[[], ApiClient]) -> DiscoveryV1Api:
    """Return the API's client. Import it, which is slow; so this is called on a thread."""
    from kubernetes.aio.client import DiscoveryV1Api

    return DiscoveryV1Api(connect())


async def _body(response: aiohttp.ClientResponse, bytes_max: int) -> bytes:
    """Return the whole body of an answer. Raises ApiFaultError."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > bytes_max:
                raise ApiFaultError(f"the Kubernetes API answers more than {bytes_max} bytes")
    except TimeoutError as error:
        raise ApiFaultError("the Kubernetes API does not answer in time") from error
    except (aiohttp.ClientError, OSError) as error:
        raise ApiFaultError("the Kubernetes API breaks off its answers") from error
    finally:
        response.close()
    return bytes(body)
