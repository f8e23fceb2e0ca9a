"""Which PostgreSQL parameters a team may set on its database and roles.

Only those that change how one's own statements run. Not here on purpose: search_path and role (spec.schemas and
`access` say them), and anything that loads code or is kept for superusers.
"""

from collections.abc import Mapping

from servicedb.errors import Terminal

ALLOWED = frozenset(
    """
    array_nulls backend_flush_after bytea_output client_encoding client_min_messages constraint_exclusion
    cpu_index_tuple_cost cpu_operator_cost cpu_tuple_cost cursor_tuple_fraction DateStyle
    default_statistics_target default_text_search_config default_toast_compression default_transaction_deferrable
    default_transaction_isolation default_transaction_read_only effective_cache_size effective_io_concurrency
    enable_bitmapscan enable_hashagg enable_hashjoin enable_indexonlyscan enable_indexscan enable_material
    enable_memoize enable_mergejoin enable_nestloop enable_parallel_append enable_parallel_hash
    enable_partition_pruning enable_partitionwise_aggregate enable_partitionwise_join enable_seqscan enable_sort
    enable_tidscan extra_float_digits from_collapse_limit geqo geqo_threshold gin_fuzzy_search_limit
    gin_pending_list_limit hash_mem_multiplier idle_in_transaction_session_timeout idle_session_timeout
    IntervalStyle jit jit_above_cost join_collapse_limit lc_monetary lc_numeric lc_time lock_timeout
    logical_decoding_work_mem maintenance_io_concurrency maintenance_work_mem max_parallel_maintenance_workers
    max_parallel_workers max_parallel_workers_per_gather min_parallel_index_scan_size min_parallel_table_scan_size
    parallel_leader_participation parallel_setup_cost parallel_tuple_cost plan_cache_mode quote_all_identifiers
    random_page_cost recursive_worktable_factor row_security seq_page_cost standard_conforming_strings
    statement_timeout stats_fetch_consistency synchronize_seqscans tcp_keepalives_count tcp_keepalives_idle
    tcp_keepalives_interval tcp_user_timeout temp_buffers TimeZone transaction_timeout vacuum_cost_delay
    vacuum_cost_limit work_mem xmlbinary xmloption
    """.split()
)
"""As pg_settings spells them; all are of context `user`. Source: PostgreSQL documentation, "Server Configuration"."""

_BY_LOWER_CASE = {name.lower(): name for name in ALLOWED}


def checked_parameters(parameters: Mapping[str, str], *, where: str, condition: str) -> dict[str, str]:
    """`parameters` with their names spelt as PostgreSQL stores them; raises Terminal (InvalidParameter) for others.

    `where` names the field for the message, such as `spec.parameters`; `condition` is what it turns besides Ready.
    """
    unknown = sorted(name for name in parameters if not name.isascii() or name.lower() not in _BY_LOWER_CASE)
    if unknown:
        raise Terminal(
            "InvalidParameter",
            f'{where} names "{ascii(unknown[0])[1:-1]}", which a ServiceDatabase may not set; remove it, or have an '
            "admin set it on the server (docs/reference/servicedatabase.md lists those allowed)",
            condition=condition,
        )
    return {_BY_LOWER_CASE[name.lower()]: value for name, value in parameters.items()}
