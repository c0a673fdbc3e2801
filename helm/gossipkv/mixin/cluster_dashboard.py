"""The dashboard of a whole cluster. It keeps series apart by `cluster`, `namespace` and `pod`, so that releases shown
together do not mix."""

from __future__ import annotations

from helm.gossipkv.mixin.panel import Dashboard, Panel, Query, Section, Variable

VARIABLES = (
    Variable("cluster", "Cluster", "label_values(gossipkv_ready, cluster)"),
    Variable("namespace", "Namespace", 'label_values(gossipkv_ready{cluster=~"$cluster"}, namespace)'),
    Variable("job", "Job", 'label_values(gossipkv_ready{cluster=~"$cluster",namespace=~"$namespace"}, job)'),
)
MATCHERS = 'cluster=~"$cluster",namespace=~"$namespace",job=~"$job"'

OVERVIEW = Section(
    "Overview",
    (
        Panel(
            "Members scraped",
            "Pods whose metrics Prometheus has just read.",
            (Query("count(gossipkv_ready{SELECTED})"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Not ready",
            "Members that run and have not completed a sync since they started.",
            (Query("count(gossipkv_ready{SELECTED}) - sum(gossipkv_ready{SELECTED})"),),
            kind="stat",
            thresholds=((1, "orange"),),
            width=4,
            height=4,
        ),
        Panel(
            "Different contents",
            "Number of different fingerprints among the members of a release, for the users' rows. 1: all members hold "
            "the same rows. More is briefly normal while rows are written.",
            (
                Query(
                    "max(count by (cluster, namespace, job) (count_values by (cluster, namespace, job) "
                    '("fingerprint", gossipkv_fingerprint{SELECTED,shard="usr"})))'
                ),
            ),
            kind="stat",
            thresholds=((2, "orange"),),
            width=4,
            height=4,
        ),
        Panel(
            "Rows behind, worst member",
            "Writes that the worst member lacks and that others are known to have.",
            (Query("max(gossipkv_rows_behind{SELECTED})"),),
            kind="stat",
            thresholds=((1, "orange"), (10_000, "red")),
            width=4,
            height=4,
        ),
        Panel(
            "Storage used, fullest member",
            "Share of the room in use: of the volume or of storage_bytes_max. From 55 % to 75 % on, puts are refused.",
            (Query("max(gossipkv_storage_used_ratio{SELECTED})"),),
            kind="stat",
            unit="percentunit",
            thresholds=((0.45, "orange"), (0.55, "red")),
            width=4,
            height=4,
            decimals=1,
        ),
        Panel(
            "Requests answered 5xx",
            "Share of HTTP requests, without readiness probes, that members could not serve.",
            (
                Query(
                    '(sum(rate(gossipkv_http_requests_total{SELECTED,route!="/readyz",status=~"5.."}[$__rate_interval]))'
                    " or vector(0)) "
                    '/ sum(rate(gossipkv_http_requests_total{SELECTED,route!="/readyz"}[$__rate_interval]))'
                ),
            ),
            kind="stat",
            unit="percentunit",
            thresholds=((0.001, "orange"), (0.05, "red")),
            width=4,
            height=4,
            decimals=2,
        ),
    ),
)

_FORGED = (
    'frames_refused_total{SELECTED,reason!="protocol"}',
    "member_records_refused_total{SELECTED}",
    "rumours_refused_total{SELECTED}",
    "forgettings_refused_total{SELECTED}",
    "proofs_refused_total{SELECTED}",
    "origins_refused_total{SELECTED}",
)
"""The counters of messages that no sound member sends, as in the alert GossipkvForgedMessages."""


def _forged(aggregation: str, function: str, interval: str) -> str:
    """Return the expression for the sum of these counters."""
    return " + ".join(f"{aggregation} ({function}(gossipkv_{counter}[{interval}]))" for counter in _FORGED)


LIMITS = Section(
    "Clocks, bounds and refused input",
    (
        Panel(
            "Members whose clock is off",
            "Members that refuse writes because their clocks differ from the median by more than clock_skew_ms_max.",
            (Query("sum(gossipkv_clock_off{SELECTED})"),),
            kind="stat",
            thresholds=((1, "red"),),
            width=4,
            height=4,
        ),
        Panel(
            "Clock furthest from the median",
            "The greatest distance of a member's clock from the median of the clocks compared.",
            (Query("max(abs(gossipkv_clock_ahead_seconds{SELECTED}))"),),
            kind="stat",
            unit="s",
            thresholds=((60, "orange"), (600, "red")),
            width=4,
            height=4,
        ),
        Panel(
            "Fullest bound",
            "The greatest share of a bound that a member holds. Beyond the bound, requests are refused. The member "
            "dashboard names the bound.",
            (Query("max(gossipkv_intake_used{SELECTED} / gossipkv_intake_limit{SELECTED})"),),
            kind="stat",
            unit="percentunit",
            thresholds=((0.75, "orange"), (0.95, "red")),
            width=4,
            height=4,
            decimals=0,
        ),
        Panel(
            "Refused by bounds, last hour",
            "Requests, connections, watches and messages refused or cut off because of a bound or a deadline.",
            (Query("sum(increase(gossipkv_intake_refused_total{SELECTED}[1h]))"),),
            kind="stat",
            thresholds=((1, "orange"),),
            width=4,
            height=4,
            decimals=0,
        ),
        Panel(
            "File descriptors, fullest member",
            "Share of the file descriptors that are open. Once none is left, new connections wait.",
            (Query("max(process_open_fds{SELECTED} / process_max_fds{SELECTED})"),),
            kind="stat",
            unit="percentunit",
            thresholds=((0.7, "orange"), (0.9, "red")),
            width=4,
            height=4,
            decimals=0,
        ),
        Panel(
            "Forged or malformed, last hour",
            "Refused frames, records, rumours, proofs and contexts that no sound member sends. Above 0: a stranger "
            "reaches the gossip port, or a clock is far ahead.",
            (Query(_forged("sum", "increase", "1h")),),
            kind="stat",
            thresholds=((1, "red"),),
            width=4,
            height=4,
            decimals=0,
        ),
        Panel(
            "Clocks: ahead of the median",
            "How far the clock of each member is ahead of the median of the clocks compared; below 0: behind it.",
            (Query("gossipkv_clock_ahead_seconds{SELECTED}", "{{pod}}"),),
            unit="s",
            thresholds=((60, "red"),),
        ),
        Panel(
            "Refused by bounds",
            "Requests and connections that a member refuses or cuts off per second because of a bound or a deadline. "
            "The member dashboard "
            "has it by cause, and how much of each bound is held.",
            (
                Query(
                    "sum by (cluster, namespace, pod) "
                    "(rate(gossipkv_intake_refused_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Forged or malformed input",
            "Frames, records, rumours, proofs and contexts that each member refuses per second.",
            (Query(_forged("sum by (cluster, namespace, pod)", "rate", "$__rate_interval"), "{{pod}}"),),
            unit="ops",
        ),
    ),
)

MEMBERS = Section(
    "Members",
    (
        Panel(
            "Members by state, as each sees them",
            "Every member counts itself. If lines disagree for long, the membership is split.",
            (
                Query(
                    "sum by (cluster, namespace, pod, status) (gossipkv_members{SELECTED})",
                    "{{status}}, seen by {{pod}}",
                ),
            ),
            width=12,
        ),
        Panel(
            "Members",
            "The running members: name, cluster, zone and version, as each member reports them.",
            (Query("gossipkv_member_info{SELECTED}"),),
            kind="table",
            width=12,
        ),
        Panel(
            "Discovered endpoints",
            "Addresses of other members that discovery gave at the last look.",
            (Query("gossipkv_discovered_endpoints{SELECTED}", "{{pod}}"),),
        ),
        Panel(
            "Discovery failures",
            "Look-ups of other members that failed. Known members stay known.",
            (Query("rate(gossipkv_discovery_failures_total{SELECTED}[$__rate_interval])", "{{pod}}"),),
            unit="ops",
        ),
        Panel(
            "Clocks: greatest distance from a peer",
            "Distance of any peer's clock from the member's own when last heard. Rows stamped further ahead than "
            "clock_skew_ms_max are refused.",
            (
                Query(
                    "max by (cluster, namespace, pod) (abs(gossipkv_peer_clock_ahead_seconds{SELECTED}))",
                    "{{pod}}",
                ),
            ),
            unit="s",
            thresholds=((60, "red"),),
        ),
    ),
)

CONVERGENCE = Section(
    "Convergence",
    (
        Panel(
            "Gossip lag by member and origin (p99)",
            "From a write on its origin until it is durable on the member, for what arrived of late. Clock differences "
            "count in.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (cluster, namespace, pod, origin, le) "
                    "(rate(gossipkv_replication_delay_seconds_bucket{SELECTED}[$__rate_interval])))",
                    "{{origin}} to {{pod}}",
                ),
            ),
            unit="s",
            thresholds=((30, "red"),),
            width=12,
        ),
        Panel(
            "Gossip lag of all members",
            "Number of rows that arrived, by delay.",
            (
                Query(
                    "sum by (le) (increase(gossipkv_replication_delay_seconds_bucket{SELECTED}[$__rate_interval]))",
                ),
            ),
            kind="heatmap",
            unit="s",
            width=12,
        ),
        Panel(
            "Rows behind",
            "Writes that the member lacks and that others are known to have.",
            (
                Query(
                    "sum by (cluster, namespace, pod, shard) (gossipkv_rows_behind{SELECTED})",
                    "{{pod}}, {{shard}}",
                ),
            ),
        ),
        Panel(
            "Since the last sync with any member",
            "Age of the latest completed sync. It stays near the gossip interval.",
            (
                Query(
                    "min by (cluster, namespace, pod, shard) (gossipkv_peer_last_sync_seconds{SELECTED})",
                    "{{pod}}, {{shard}}",
                ),
            ),
            unit="s",
            thresholds=((300, "red"),),
        ),
        Panel(
            "In-sync share of rounds",
            "Share of sync rounds that found nothing to exchange. It is low under constant writes, and 100 % at rest.",
            (
                Query(
                    'sum by (cluster, namespace, pod) (rate(gossipkv_sync_rounds_total{SELECTED,result="in_sync"}'
                    "[$__rate_interval])) / sum by (cluster, namespace, pod) "
                    "(rate(gossipkv_sync_rounds_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}",
                ),
            ),
            unit="percentunit",
            maximum=1,
        ),
        Panel(
            "Walks",
            "Rounds that compared fingerprints in full, for a new member, a member far behind, or a repair.",
            (
                Query(
                    "sum by (cluster, namespace, pod) "
                    '(rate(gossipkv_sync_rounds_total{SELECTED,result="walk"}[$__rate_interval]))',
                    "{{pod}}, begun",
                ),
                Query(
                    "sum by (cluster, namespace, pod) (gossipkv_transfers{SELECTED})",
                    "{{pod}}, pulls and walks under way",
                ),
            ),
        ),
        Panel(
            "Rows and envelopes refused",
            "Rows not taken in, by reason, and messages not answered: of another cluster, or under this one's name.",
            (
                Query(
                    "sum by (cluster, namespace, pod, reason) "
                    "(rate(gossipkv_rows_refused_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}, rows, {{reason}}",
                ),
                Query(
                    "sum by (cluster, namespace, pod, reason) "
                    "(rate(gossipkv_envelopes_refused_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}, envelopes, {{reason}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Anomalies",
            "Equal contexts with unequal fingerprints. A walk repairs each. Any at all deserves a look.",
            (Query("gossipkv_anomalies_total{SELECTED}", "{{pod}}, {{kind}}"),),
            thresholds=((1, "red"),),
        ),
    ),
)

REQUESTS = Section(
    "Requests",
    (
        Panel(
            "Requests by member",
            "HTTP requests answered, including those of probes and of Prometheus.",
            (
                Query(
                    "sum by (cluster, namespace, pod) (rate(gossipkv_http_requests_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Requests by method and status",
            "404 is the answer to a read of an absent row, 412 to a condition that does not hold.",
            (
                Query(
                    "sum by (method, status) (rate(gossipkv_http_requests_total{SELECTED}[$__rate_interval]))",
                    "{{method}} {{status}}",
                ),
            ),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            "Latency of the API",
            "Time to answer a request for data; a write includes its fsync.",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (method, le) (rate(gossipkv_http_request_seconds_bucket"
                    '{SELECTED,route=~"/v1/.+"}[$__rate_interval])))',
                    f"{{{{method}}}} {name}",
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            unit="s",
        ),
    ),
)

DATA = Section(
    "Data and storage",
    (
        Panel(
            "Rows",
            "Visible rows. Equal at all members, except for writes on their way.",
            (Query("sum by (cluster, namespace, pod, shard) (gossipkv_rows{SELECTED})", "{{pod}}, {{shard}}"),),
        ),
        Panel(
            "Bytes",
            "Keys and values of visible rows.",
            (Query("sum by (cluster, namespace, pod, shard) (gossipkv_row_bytes{SELECTED})", "{{pod}}, {{shard}}"),),
            unit="bytes",
        ),
        Panel(
            "Tombstones",
            "Deleted rows that are still remembered, so that no member brings them back.",
            (Query("sum by (cluster, namespace, pod, shard) (gossipkv_tombstones{SELECTED})", "{{pod}}, {{shard}}"),),
        ),
        Panel(
            "Tombstones collected, and members that block it",
            "Deleted rows forgotten per second. Per peer: number of members at which deleted rows wait for it to "
            "hear of them.",
            (
                Query(
                    "sum by (cluster, namespace, pod) (rate(gossipkv_tombstones_collected_total{SELECTED}"
                    "[$__rate_interval]))",
                    "{{pod}}",
                ),
                Query(
                    "sum by (cluster, namespace, peer) (gossipkv_collection_blocked{SELECTED})",
                    "wait for {{peer}}",
                ),
            ),
        ),
        Panel(
            "Commit time (p99)",
            "Time of a batch through the core and the fsync. No write is faster.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (cluster, namespace, pod, le) "
                    "(rate(gossipkv_commit_seconds_bucket{SELECTED}[$__rate_interval])))",
                    "{{pod}}",
                ),
            ),
            unit="s",
            thresholds=((1, "red"),),
        ),
        Panel(
            "Gossip traffic",
            "Bytes of gossip frames, without HTTP headers.",
            (
                Query(
                    "sum by (cluster, namespace, pod, direction) "
                    "(rate(gossipkv_gossip_bytes_total{SELECTED}[$__rate_interval]))",
                    "{{pod}}, {{direction}}",
                ),
            ),
            unit="Bps",
        ),
        Panel(
            "Storage used",
            "Share of the room in use: of the volume or of storage_bytes_max. From 55 % to 75 % on, puts are refused.",
            (Query("gossipkv_storage_used_ratio{SELECTED}", "{{pod}}"),),
            unit="percentunit",
            thresholds=((0.45, "orange"), (0.55, "red")),
            maximum=1,
        ),
    ),
)

CLUSTER = Dashboard(
    "cluster",
    "gossipkv / cluster",
    "Whether the members of a gossipkv cluster run, hold the same rows, and answer in time.",
    MATCHERS,
    VARIABLES,
    (OVERVIEW, LIMITS, MEMBERS, CONVERGENCE, REQUESTS, DATA),
)
