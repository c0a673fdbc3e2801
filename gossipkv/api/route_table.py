"""The routes, and the frame around every handler: errors become problems, and requests are counted.

The table is what aiohttp's low-level server calls, without an Application and its router between them: a row key may
hold any character, and one dictionary look-up is faster than matching patterns.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from time import perf_counter

import structlog
from aiohttp import HttpVersion11, web
from aiohttp.hdrs import EXPECT

from gossipkv.api.answers.row_response import RowResponse
from gossipkv.api.problem import ProblemError, problem_for, problem_of
from gossipkv.api.requests.target import Parameters, Target, parameters_of, target_of
from gossipkv.intake.limits import PortBounds
from gossipkv.member.metrics import Metrics
from gossipkv.rows.errors import internal_error

Handler = Callable[[web.BaseRequest, Target, Parameters], Awaitable[web.StreamResponse]]

UNKNOWN_ROUTE = "unknown"
OTHER_METHOD = "other"
CLIENT_GONE = 499
"""The status under which a request is counted if its client disconnected."""

_METHODS = frozenset({"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"})
_NO_PARAMETERS: Parameters = {}

log = structlog.get_logger("gossipkv.api")


@dataclass(frozen=True, slots=True)
class Route:
    method: str
    template: str
    handler: Handler
    parameters: frozenset[str] = frozenset()
    """Names of the allowed query parameters."""
    is_of_rows: bool = False
    """Whether its answers have `Gossipkv-Alone` while the member is alone."""


class RouteTable:
    """Finds and runs the handler of a request. A GET route answers HEAD too."""

    def __init__(
        self,
        routes: Iterable[Route],
        metrics: Metrics,
        retry_after_seconds: int,
        alone: Callable[[], dict[str, str]] = dict,
    ) -> None:
        self._metrics = metrics
        self._alone = alone
        self._retry_after_seconds = retry_after_seconds
        self.is_draining = False
        """Whether each answer is the last on its connection, so that clients go to another member."""
        self.methods: dict[str, dict[str, Route]] = {}
        """Routes by template and method."""
        for route in routes:
            methods = self.methods.setdefault(route.template, {})
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                assert method not in methods, f"{method} {route.template} is routed twice"
                methods[method] = route

    def account_for(self, bounds: PortBounds) -> None:
        """Show the bounds of the port in the metrics."""
        self._metrics.account_for(*bounds.bounds, *bounds.cuts)

    async def dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        began = perf_counter()
        target = target_of(request.raw_path)
        methods = self.methods.get(target.template)
        status = CLIENT_GONE
        route = None
        try:
            if EXPECT in request.headers:
                await self._expect(request)
            if methods is None:
                raise ProblemError("path-not-found", "there is nothing at this path; /openapi.json says what there is")
            route = methods.get(request.method)
            if route is None:
                raise _method_not_allowed(methods)
            parameters = parameters_of(target.query, route.parameters) if target.query else _NO_PARAMETERS
            response = await route.handler(request, target, parameters)
            status = response.status
            if self.is_draining and not response.prepared:
                response.force_close()
            return self._with_alone(response, route)
        except ConnectionError:
            raise
        except Exception as error:
            problem = self._problem(error, request)
            status = problem.status
            # The traceback holds this frame, which holds the problem: a cycle that would wait for the collector.
            return self._with_alone(problem.with_traceback(None).response(), route)
        finally:
            label = UNKNOWN_ROUTE if methods is None else target.template
            method = request.method if request.method in _METHODS else OTHER_METHOD
            self._metrics.observe_request(method, label, status, perf_counter() - began)

    async def _expect(self, request: web.BaseRequest) -> None:
        """Answer an `Expect` header. HTTP/1.0 has no expectations."""
        if request.version < HttpVersion11:
            return
        if request.headers[EXPECT].lower() != "100-continue":
            raise ProblemError("expectation-failed", "the only expectation known is 100-continue")
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        # These bytes are not part of the response that follows.
        request.writer.output_size = 0

    def _with_alone(self, response: web.StreamResponse, route: Route | None) -> web.StreamResponse:
        """The response, with `Gossipkv-Alone` if the member is alone and the route is about rows. A streamed answer
        already has the header."""
        if route is not None and route.is_of_rows and (headers := self._alone()) and not response.prepared:
            for name, value in headers.items():
                if isinstance(response, RowResponse):
                    response.alone = value
                else:
                    response.headers[name] = value
        return response

    def _problem(self, error: Exception, request: web.BaseRequest) -> ProblemError:
        problem = problem_of(error, self._retry_after_seconds)
        if problem is None:
            log.error("request_failed", method=request.method, path=request.raw_path, exc_info=error)
            return problem_for(internal_error(), self._retry_after_seconds)
        return problem


def _method_not_allowed(methods: Mapping[str, Route]) -> ProblemError:
    allowed = ", ".join(sorted(methods))
    return ProblemError("method-not-allowed", f"allowed here: {allowed}", headers={"Allow": allowed})
