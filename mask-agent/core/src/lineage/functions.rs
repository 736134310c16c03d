//! Functions that reach past the statement they stand in.

/// Prefixes of functions that run SQL from text, read files, other sessions or raw pages, or keep values.
const DANGEROUS_PREFIXES: [&str; 20] = [
    "brin_page",
    "bt_page",
    "cursor_to_xml",
    "database_to_",
    "dblink",
    "get_raw_page",
    "heap_page",
    "lo_",
    "pg_get_wal",
    "pg_logical_",
    "pg_ls_",
    "pg_read_",
    "pg_stat_file",
    "pg_stat_get_activity",
    "pg_stat_get_backend_activity",
    "pg_walfile",
    "pgstat",
    "query_to_",
    "schema_to_",
    "table_to_",
];

const DANGEROUS: [&str; 11] = [
    "connectby",
    "connectby_text",
    "crosstab",
    "loread",
    "lowrite",
    "pg_file_write",
    "pg_replication_origin_create",
    "pg_stat_statements",
    "ts_rewrite",
    "ts_stat",
    "xpath_table",
];

/// Functions that carry a value to where it is seen outside the result.
const SIDE_CHANNELS: [&str; 5] =
    ["pg_notify", "pg_logical_emit_message", "set_config", "setval", "txid_status"];

pub(super) fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || DANGEROUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

pub(super) fn has_side_channel(name: &str) -> bool {
    SIDE_CHANNELS.contains(&name) || name.starts_with("pg_advisory") || name.starts_with("pg_try_advisory")
}
