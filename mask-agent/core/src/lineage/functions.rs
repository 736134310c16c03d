//! Functions that reach past the statement they stand in.

/// Prefixes of functions that run SQL from text, read files, other sessions or raw pages, or keep values.
const DANGEROUS_PREFIXES: [&str; 24] = [
    "brin_page",
    "bt_page",
    "connectby",
    "crosstab",
    "cursor_to_xml",
    "database_to_",
    "dblink",
    "get_raw_page",
    "heap_page",
    "lo_",
    "pg_file_",
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
    "xpath_table",
];

const DANGEROUS: [&str; 9] = [
    "loread",
    "lowrite",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_replication_origin_create",
    "pg_show_all_file_settings",
    "pg_stat_statements",
    "ts_rewrite",
    "ts_stat",
];

/// Functions of the server that turn a row they are given into a value, and may be written as its column.
const WHOLE_ROW: [&str; 13] = [
    "concat",
    "hash_record",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "quote_literal",
    "quote_nullable",
    "record_out",
    "record_send",
    "row_to_json",
    "to_json",
    "to_jsonb",
];

/// Functions that carry a value to where it is seen outside the result.
const SIDE_CHANNELS: [&str; 6] =
    ["pg_notify", "pg_logical_emit_message", "set_config", "setseed", "setval", "txid_status"];

/// Functions that name a thing everybody can list, or a key everybody can look up.
const SIDE_CHANNEL_PREFIXES: [&str; 4] = ["pg_advisory", "pg_copy_", "pg_create_", "pg_try_advisory"];

pub(super) fn is_dangerous(name: &str) -> bool {
    DANGEROUS.contains(&name) || DANGEROUS_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

pub(super) fn has_side_channel(name: &str) -> bool {
    SIDE_CHANNELS.contains(&name) || SIDE_CHANNEL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

pub(super) fn takes_whole_row(name: &str) -> bool {
    WHOLE_ROW.contains(&name)
}
