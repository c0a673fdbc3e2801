"""The dashboard of one member in depth, chosen by `$pod`."""

from __future__ import annotations

from helm.gossipkv.mixin.cluster_dashboard import MATCHERS, VARIABLES
from helm.gossipkv.mixin.panel import Dashboard, Panel, Query, Section, Variable

_POD = Variable("pod", "Pod", f"label_values(gossipkv_ready{{{MATCHERS}}}, pod)", has_all=False)

STATE = Section(
    "State",
    (
        Panel(
            "Ready",
            "1 once the member has completed a sync, or has found no other member for long enough.",
            (Query("min(gossipkv_ready{SELECTED})"),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Up for",
            "Time since the process began.",
            (Query("time() - max(process_start_time_seconds{SELECTED})"),),
            kind="stat",
            unit="s",
            width=4,
            height=4,
        ),
        Panel(
            "Rows",
            "Visible rows of users.",
            (Query('sum(gossipkv_rows{SELECTED,shard="usr"})'),),
            kind="stat",
            width=4,
            height=4,
        ),
        Panel(
            "Rows behind",
            "Writes that this member lacks and that others are known to have.",
            (Query("sum(gossipkv_rows_behind{SELECTED})"),),
            kind="stat",
            thresholds=((1, "orange"), (10_000, "red")),
            width=4,
            height=4,
        ),
        Panel(
            "Storage used",
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
            "Loops started again",
            "Loops of the program that have died and been started again since it began. The log has the reason.",
            (Query("sum(gossipkv_loop_restarts_total{SELECTED})"),),
            kind="stat",
            thresholds=((1, "orange"),),
            width=4,
            height=4,
        ),
        Panel(
            "Identity",
            "Name, cluster, zone and version, as the member reports them.",
            (Query("gossipkv_member_info{SELECTED}"),),
            kind="table",
            width=24,
            height=4,
        ),
    ),
)

PEERS = Section(
    "Peers",
    (
        Panel(
            "Peers that answer",
            "1 while the peer answers, 0 when it is suspected or taken for dead. Those that left are not shown.",
            (Query("gossipkv_peer_alive{SELECTED}", "{{peer}}"),),
            maximum=1,
        ),
        Panel(
            "Writes that peers lack",
            "Writes that this member covers and that the peer has not reported to cover.",
            (Query("gossipkv_peer_rows_behind{SELECTED}", "{{peer}}, {{shard}}"),),
        ),
        Panel(
            "Since the last sync",
            "Age of the last completed sync with each peer.",
            (Query("gossipkv_peer_last_sync_seconds{SELECTED}", "{{peer}}, {{shard}}"),),
            unit="s",
        ),
        Panel(
            "Clock of peers",
            "How far the peer's clock was ahead of this member's when last heard. Travel time makes it less.",
            (Query("gossipkv_peer_clock_ahead_seconds{SELECTED}", "{{peer}}"),),
            unit="s",
        ),
        Panel(
            "Replication delay by origin",
            "Time from a write at its origin until it is durable here.",
            tuple(
                Query(
                    f"histogram_quantile({quantile}, sum by (origin, le) (rate("
                    "gossipkv_replication_delay_seconds_bucket{SELECTED}[$__rate_interval])))",
                    f"{{{{origin}}}} {name}",
                )
                for quantile, name in ((0.5, "p50"), (0.99, "p99"))
            ),
            unit="s",
        ),
        Panel(
            "Exchanges that failed",
            "Exchanges that this member began and that failed, by fault.",
            (
                Query(
                    "sum by (fault) (rate(gossipkv_exchange_failures_total{SELECTED}[$__rate_interval]))",
                    "{{fault}}",
                ),
            ),
            unit="ops",
            is_stacked=True,
        ),
        Panel(
            "Probes",
            "Probes of members, by result. If many are indirect, some path loses messages.",
            (Query("sum by (result) (rate(gossipkv_probes_total{SELECTED}[$__rate_interval]))", "{{result}}"),),
            unit="ops",
            is_stacked=True,
        ),
        Panel(
            "Suspicions and pauses",
            "Suspicions of members by fate, suspicions of this member that it refuted, and pauses of this member.",
            (
                Query("increase(gossipkv_suspicions_total{SELECTED}[$__rate_interval])", "{{fate}}"),
                Query("increase(gossipkv_refutations_total{SELECTED}[$__rate_interval])", "refuted by this member"),
                Query("increase(gossipkv_wakes_late_total{SELECTED}[$__rate_interval])", "paused"),
            ),
        ),
        Panel(
            "Members not dialled, or without series",
            "Members on hosts that discovery has not found, and members beyond metrics_peers_max.",
            (
                Query("gossipkv_members_not_dialled{SELECTED}", "not dialled"),
                Query("gossipkv_members_without_series{SELECTED}", "without series"),
            ),
        ),
    ),
)

CLOCK = Section(
    "Clock",
    (
        Panel(
            "Clock ahead of the median",
            "How far this member's clock is ahead of the median of the clocks compared. Below 0: behind it. Beyond "
            "clock_skew_ms_max it refuses writes.",
            (Query("gossipkv_clock_ahead_seconds{SELECTED}", "ahead"),),
            unit="s",
            thresholds=((60, "red"),),
        ),
        Panel(
            "Writes refused for the clock",
            "1 while the member answers writes with 503 clock-off.",
            (Query("gossipkv_clock_off{SELECTED}", "refuses writes"),),
            maximum=1,
        ),
        Panel(
            "Writes stamped again",
            "Writes made while the clock was too far ahead, and stamped again since. Rows refused by others for "
            "clock_skew end with it.",
            (Query("increase(gossipkv_writes_stamped_again_total{SELECTED}[$__rate_interval])", "writes"),),
        ),
    ),
)

BOUNDS = Section(
    "Bounds",
    (
        Panel(
            "Share of each bound",
            "Share of each bound in use. Beyond the bound, requests, connections or messages are refused.",
            (Query("gossipkv_intake_used{SELECTED} / gossipkv_intake_limit{SELECTED}", "{{bound}}"),),
            unit="percentunit",
            maximum=1,
        ),
        Panel(
            "Bytes held, and their limits",
            "Memory that requests, answers, messages, writes that wait, and watches hold. The limits are dashed.",
            (
                Query('gossipkv_intake_used{SELECTED,bound=~".+_bytes_max"}', "{{bound}}"),
                Query('gossipkv_intake_limit{SELECTED,bound=~".+_bytes_max"}', "{{bound}}, limit", is_limit=True),
            ),
            unit="bytes",
        ),
        Panel(
            "Connections, messages and writes held",
            "Numbers held, and their limits (dashed). For connections per address: those of the address with the most.",
            (
                Query('gossipkv_intake_used{SELECTED,bound!~".+_bytes_max"}', "{{bound}}"),
                Query('gossipkv_intake_limit{SELECTED,bound!~".+_bytes_max"}', "{{bound}}, limit", is_limit=True),
            ),
        ),
        Panel(
            "Refused or cut off, by cause",
            "Requests, connections, watches and messages refused or cut off, by bound or deadline. The log has the "
            "remedy.",
            (Query("sum by (cause) (rate(gossipkv_intake_refused_total{SELECTED}[$__rate_interval]))", "{{cause}}"),),
            unit="ops",
            is_stacked=True,
        ),
        Panel(
            "Open files",
            "Open file descriptors, connections included, and the number that the system allows. If none is left, "
            "new connections "
            "wait.",
            (
                Query("process_open_fds{SELECTED}", "open"),
                Query("process_max_fds{SELECTED}", "allowed", is_limit=True),
            ),
        ),
        Panel(
            "Replicas that messages name",
            "Replicas that messages of this member name. Beyond context_origins_max, only writes of members are "
            "accepted.",
            (Query("gossipkv_context_entries{SELECTED}", "{{shard}}"),),
        ),
    ),
)

REFUSED = Section(
    "Refused input of other members",
    (
        Panel(
            "Rows and envelopes",
            "Rows not taken in, and messages not answered: of another cluster, or under this one's name.",
            (
                Query("increase(gossipkv_rows_refused_total{SELECTED}[$__rate_interval])", "rows, {{reason}}"),
                Query(
                    "increase(gossipkv_envelopes_refused_total{SELECTED}[$__rate_interval])", "envelopes, {{reason}}"
                ),
            ),
        ),
        Panel(
            "Frames that cannot be decoded",
            "Frames received and not answered. The reason protocol is normal during an upgrade across protocol "
            "versions; "
            "no member sends the others.",
            (Query("increase(gossipkv_frames_refused_total{SELECTED}[$__rate_interval])", "{{reason}}"),),
        ),
        Panel(
            "Records, rumours, proofs and contexts",
            "Claims about members that were not believed, by kind and reason. The log names the members.",
            (
                Query(
                    "increase(gossipkv_member_records_refused_total{SELECTED}[$__rate_interval])", "records, {{reason}}"
                ),
                Query("increase(gossipkv_rumours_refused_total{SELECTED}[$__rate_interval])", "rumours of starts"),
                Query("increase(gossipkv_forgettings_refused_total{SELECTED}[$__rate_interval])", "forgettings"),
                Query("increase(gossipkv_proofs_refused_total{SELECTED}[$__rate_interval])", "proofs"),
                Query("increase(gossipkv_origins_refused_total{SELECTED}[$__rate_interval])", "contexts, {{shard}}"),
            ),
        ),
    ),
)

GOSSIP = Section(
    "Gossip",
    (
        Panel(
            "Sync rounds",
            "Rounds that this member began, by result.",
            (
                Query(
                    "sum by (result) (rate(gossipkv_sync_rounds_total{SELECTED}[$__rate_interval]))",
                    "{{result}}",
                ),
            ),
            unit="ops",
            is_stacked=True,
        ),
        Panel(
            "Rows in gossip",
            "Rows received, known ones included, and rows sent.",
            (
                Query(
                    "sum by (direction) (rate(gossipkv_gossip_rows_total{SELECTED}[$__rate_interval]))",
                    "{{direction}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Bytes in gossip",
            "Bytes of gossip frames.",
            (
                Query(
                    "sum by (direction) (rate(gossipkv_gossip_bytes_total{SELECTED}[$__rate_interval]))",
                    "{{direction}}",
                ),
            ),
            unit="Bps",
        ),
        Panel(
            "Pulls and walks under way",
            "1 while rows of the shard are fetched from a peer.",
            (Query("gossipkv_transfers{SELECTED}", "{{shard}}"),),
        ),
        Panel(
            "Rows lacking and unreadable",
            "Rows that the member knows of and could not take in, and rows in quarantine. The log names them.",
            (
                Query("gossipkv_rows_lacking{SELECTED}", "lacking, {{shard}}"),
                Query("gossipkv_rows_unreadable{SELECTED}", "unreadable, {{shard}}"),
            ),
        ),
        Panel(
            "Discovery",
            "Addresses of others at the last look, addresses at which no member has ever answered, and failed "
            "look-ups.",
            (
                Query("gossipkv_discovered_endpoints{SELECTED}", "endpoints"),
                Query("gossipkv_endpoints_unreached{SELECTED}", "never reached"),
                Query("increase(gossipkv_discovery_failures_total{SELECTED}[$__rate_interval])", "failures"),
            ),
        ),
    ),
)

REQUESTS = Section(
    "Requests",
    (
        Panel(
            "Requests by route",
            "HTTP requests answered, by route template.",
            (
                Query(
                    "sum by (method, route) (rate(gossipkv_http_requests_total{SELECTED}[$__rate_interval]))",
                    "{{method}} {{route}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            "Requests by status",
            "404 is the answer to a read of an absent row; 503 and 507 say that the member could not take it.",
            (
                Query(
                    "sum by (status) (rate(gossipkv_http_requests_total{SELECTED}[$__rate_interval]))",
                    "{{status}}",
                ),
            ),
            unit="reqps",
            is_stacked=True,
        ),
        Panel(
            "Latency by route (p99)",
            "Time to answer; a write includes its fsync.",
            (
                Query(
                    "histogram_quantile(0.99, sum by (method, route, le) "
                    "(rate(gossipkv_http_request_seconds_bucket{SELECTED}[$__rate_interval])))",
                    "{{method}} {{route}}",
                ),
            ),
            unit="s",
        ),
        Panel(
            "Writes of several copies",
            "Writes that asked for several copies, by result.",
            (Query("sum by (result) (rate(gossipkv_quorum_writes_total{SELECTED}[$__rate_interval]))", "{{result}}"),),
            unit="ops",
            is_stacked=True,
        ),
        Panel(
            "Concurrent writes lost, by table",
            "Concurrent versions that lost against a later write. If a table loses many, consider conflicts: siblings.",
            (
                Query(
                    "sum by (exported_namespace, table) (rate(gossipkv_conflicts_total{SELECTED}[$__rate_interval]))",
                    "{{exported_namespace}}/{{table}}",
                ),
            ),
            unit="ops",
        ),
        Panel(
            "Reads repaired, and rows with many siblings",
            "Copies that reads of several members found behind, and merges that left more siblings than a writer may "
            "leave.",
            (
                Query("rate(gossipkv_reads_repaired_total{SELECTED}[$__rate_interval])", "copies behind"),
                Query("rate(gossipkv_siblings_over_limit_total{SELECTED}[$__rate_interval])", "above siblings_max"),
            ),
            unit="ops",
        ),
        Panel(
            "Watches",
            "Watches under way.",
            (Query("gossipkv_watchers{SELECTED}", "watches"),),
        ),
        Panel(
            "Events of watches",
            "Events sent to watchers, heartbeats included.",
            (Query("rate(gossipkv_watch_events_total{SELECTED}[$__rate_interval])", "events"),),
            unit="ops",
        ),
        Panel(
            "Watches dropped or reset",
            "Watches ended because their clients were slow, and watches that could not resume and were sent the "
            "current rows.",
            (
                Query("increase(gossipkv_watches_dropped_total{SELECTED}[$__rate_interval])", "dropped"),
                Query("increase(gossipkv_watch_resets_total{SELECTED}[$__rate_interval])", "reset"),
            ),
        ),
    ),
)

STORAGE = Section(
    "Storage and process",
    (
        Panel(
            "Commit time",
            "Number of batches, by time through the core and the fsync.",
            (Query("sum by (le) (increase(gossipkv_commit_seconds_bucket{SELECTED}[$__rate_interval]))"),),
            kind="heatmap",
            unit="s",
        ),
        Panel(
            "Commits",
            "Batches made durable or dropped, and the average number of inputs of a batch.",
            (
                Query(
                    "sum by (result) (rate(gossipkv_commits_total{SELECTED}[$__rate_interval]))",
                    "{{result}} per second",
                ),
                Query(
                    "sum(rate(gossipkv_commit_inputs_sum{SELECTED}[$__rate_interval])) / "
                    "sum(rate(gossipkv_commit_inputs_count{SELECTED}[$__rate_interval]))",
                    "inputs per batch",
                ),
            ),
        ),
        Panel(
            "Operations that wait",
            "Writes that wait for their commit. Beyond inbox_operations_max, writes are answered 503.",
            (Query("gossipkv_inbox_operations{SELECTED}", "waiting"),),
        ),
        Panel(
            "Rows and tombstones",
            "Visible rows, and deleted rows that are still remembered.",
            (
                Query("gossipkv_rows{SELECTED}", "rows, {{shard}}"),
                Query("gossipkv_tombstones{SELECTED}", "tombstones, {{shard}}"),
            ),
        ),
        Panel(
            "Room",
            "1 while puts are refused, members with which rows wait for room, and sets of outdated data on the volume.",
            (
                Query("gossipkv_short_of_room{SELECTED}", "puts are refused"),
                Query("gossipkv_rows_waiting_for_room{SELECTED}", "members with which rows wait"),
                Query("gossipkv_set_aside_directories{SELECTED}", "sets of data set aside"),
                Query("increase(gossipkv_puts_refused_total{SELECTED}[$__rate_interval])", "operations refused"),
            ),
        ),
        Panel(
            "Memory",
            "Resident memory, including pages of the store that the kernel keeps in memory.",
            (Query("process_resident_memory_bytes{SELECTED}", "resident"),),
            unit="bytes",
        ),
        Panel(
            "Processor",
            "Processor cores in use.",
            (Query("rate(process_cpu_seconds_total{SELECTED}[$__rate_interval])", "cores"),),
        ),
        Panel(
            "Bytes",
            "Keys and values of visible rows.",
            (Query("gossipkv_row_bytes{SELECTED}", "{{shard}}"),),
            unit="bytes",
        ),
        Panel(
            "Anomalies",
            "Equal contexts with unequal fingerprints, or one name for two writes. Each is repaired. Find out why it "
            "happened.",
            (Query("gossipkv_anomalies_total{SELECTED}", "{{kind}}"),),
            thresholds=((1, "red"),),
        ),
    ),
)

MEMBER = Dashboard(
    "member",
    "gossipkv / member",
    "One member of a gossipkv cluster: its peers, its gossip, its requests and its storage.",
    MATCHERS + ',pod="$pod"',
    (*VARIABLES, _POD),
    (STATE, PEERS, CLOCK, GOSSIP, REFUSED, REQUESTS, BOUNDS, STORAGE),
)
