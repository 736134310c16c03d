//! What functions of the extensions that come with `PostgreSQL` do with values, by name.
//!
//! Unlike a built-in one, such a function may be anybody's: a name is no proof that the extension made it. Whoever
//! wants to rely on anything better than `Class::Dangerous` asks the catalog first.

use std::{collections::HashMap, sync::LazyLock};

use super::builtins::Class;

/// The class of a function of this name, if an extension in `contrib` has one; the worst, if several do.
pub(crate) fn extension(name: &str) -> Option<Class> {
    BY_NAME.get(name).copied()
}

/// Extensions whose functions in C return nothing but what is made of their arguments, so that their operators and casts
/// are as good as the server's own.
pub const COMPUTING_EXTENSIONS: [&str; 16] = [
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "unaccent",
    "uuid-ossp",
    "vector",
];

/// Extensions that make neither operators nor casts of values that others have, nor functions by names that are taken.
const BESIDE: [&str; 32] = [
    "adminpack",
    "amcheck",
    "autoinc",
    "bloom",
    "dblink",
    "dict_int",
    "dict_xsyn",
    "file_fdw",
    "insert_username",
    "intagg",
    "moddatetime",
    "old_snapshot",
    "pageinspect",
    "pg_buffercache",
    "pg_freespacemap",
    "pg_prewarm",
    "pg_stat_statements",
    "pg_surgery",
    "pg_visibility",
    "pg_walinspect",
    "pgrowlocks",
    "pgstattuple",
    "plpgsql",
    "postgis",
    "postgres_fdw",
    "refint",
    "sslinfo",
    "tablefunc",
    "tcn",
    "tsm_system_rows",
    "tsm_system_time",
    "xml2",
];

/// Whether operators, casts and functions that are known mean what they did once this extension is there.
pub(super) fn leaves_names(extension: &str) -> bool {
    COMPUTING_EXTENSIONS.contains(&extension) || BESIDE.contains(&extension)
}

static BY_NAME: LazyLock<HashMap<&'static str, Class>> = LazyLock::new(|| {
    let mut classes = HashMap::new();
    for &(_, class, names) in &EXTENSIONS {
        for name in names {
            classes.entry(*name).and_modify(|worst: &mut Class| *worst = class.max(*worst)).or_insert(class);
        }
    }
    classes
});

/// Extension, class, and the functions of that class. Extensions of operators, index support and plain
/// arithmetic alone are left out: nobody knows their functions, and then nobody trusts them.
const EXTENSIONS: [(&str, Class, &[&str]); 37] = [
    (
        "adminpack",
        Class::Dangerous,
        &[
            "pg_file_length",
            "pg_file_read",
            "pg_file_rename",
            "pg_file_sync",
            "pg_file_unlink",
            "pg_file_write",
            "pg_logdir_ls",
            "pg_logfile_rotate",
        ],
    ),
    // Their errors name blocks and offsets, not values.
    (
        "amcheck",
        Class::Metadata,
        &["bt_index_check", "bt_index_parent_check", "gin_index_check", "verify_heapam"],
    ),
    (
        "dblink",
        Class::Dangerous,
        &[
            "dblink",
            "dblink_build_sql_delete",
            "dblink_build_sql_insert",
            "dblink_build_sql_update",
            "dblink_cancel_query",
            "dblink_close",
            "dblink_connect",
            "dblink_connect_u",
            "dblink_current_query",
            "dblink_disconnect",
            "dblink_error_message",
            "dblink_exec",
            "dblink_fdw_validator",
            "dblink_fetch",
            "dblink_get_connections",
            "dblink_get_notify",
            "dblink_get_pkey",
            "dblink_get_result",
            "dblink_is_busy",
            "dblink_open",
            "dblink_send_query",
        ],
    ),
    ("file_fdw", Class::Dangerous, &["file_fdw_handler", "file_fdw_validator"]),
    (
        "hstore",
        Class::Flows,
        &[
            "akeys",
            "avals",
            "defined",
            "delete",
            "each",
            "exist",
            "exists_all",
            "exists_any",
            "fetchval",
            "hs_concat",
            "hs_contained",
            "hs_contains",
            "hstore",
            "hstore_to_array",
            "hstore_to_json",
            "hstore_to_json_loose",
            "hstore_to_jsonb",
            "hstore_to_jsonb_loose",
            "hstore_to_matrix",
            "isdefined",
            "isexists",
            "populate_record",
            "skeys",
            "slice",
            "slice_array",
            "svals",
            "tconvert",
        ],
    ),
    ("intagg", Class::Flows, &["int_array_aggregate", "int_array_enum"]),
    ("lo", Class::Flows, &["lo_oid"]),
    ("lo", Class::Channel, &["lo_manage"]),
    ("old_snapshot", Class::Metadata, &["pg_old_snapshot_time_mapping"]),
    (
        "pageinspect",
        Class::Dangerous,
        &[
            "brin_metapage_info",
            "brin_page_items",
            "brin_page_type",
            "brin_revmap_data",
            "bt_metap",
            "bt_multi_page_stats",
            "bt_page_items",
            "bt_page_stats",
            "fsm_page_contents",
            "get_raw_page",
            "gin_leafpage_items",
            "gin_metapage_info",
            "gin_page_opaque_info",
            "gist_page_items",
            "gist_page_items_bytea",
            "gist_page_opaque_info",
            "hash_bitmap_info",
            "hash_metapage_info",
            "hash_page_items",
            "hash_page_stats",
            "hash_page_type",
            "heap_page_item_attrs",
            "heap_page_items",
            "page_checksum",
            "page_header",
            "tuple_data_split",
        ],
    ),
    ("pageinspect", Class::Flows, &["heap_tuple_infomask_flags"]),
    (
        "pg_buffercache",
        Class::Metadata,
        &[
            "pg_buffercache_evict",
            "pg_buffercache_evict_all",
            "pg_buffercache_evict_relation",
            "pg_buffercache_numa_pages",
            "pg_buffercache_pages",
            "pg_buffercache_summary",
            "pg_buffercache_usage_counts",
        ],
    ),
    ("pg_freespacemap", Class::Metadata, &["pg_freespace"]),
    (
        "pg_logicalinspect",
        Class::Dangerous,
        &["pg_get_logical_snapshot_info", "pg_get_logical_snapshot_meta"],
    ),
    ("pg_prewarm", Class::Metadata, &["autoprewarm_dump_now", "autoprewarm_start_worker", "pg_prewarm"]),
    // Texts of other sessions' statements.
    ("pg_stat_statements", Class::Dangerous, &["pg_stat_statements"]),
    ("pg_stat_statements", Class::Metadata, &["pg_stat_statements_info", "pg_stat_statements_reset"]),
    ("pg_surgery", Class::Dangerous, &["heap_force_freeze", "heap_force_kill"]),
    ("pg_trgm", Class::Channel, &["set_limit"]),
    (
        "pg_trgm",
        Class::Flows,
        &["show_trgm", "similarity", "similarity_dist", "strict_word_similarity", "word_similarity"],
    ),
    ("pg_trgm", Class::Setting, &["show_limit"]),
    (
        "pg_visibility",
        Class::Metadata,
        &[
            "pg_check_frozen",
            "pg_check_visible",
            "pg_truncate_visibility_map",
            "pg_visibility",
            "pg_visibility_map",
            "pg_visibility_map_summary",
        ],
    ),
    (
        "pg_walinspect",
        Class::Dangerous,
        &[
            "pg_get_wal_block_info",
            "pg_get_wal_record_info",
            "pg_get_wal_records_info",
            "pg_get_wal_records_info_till_end_of_wal",
            "pg_get_wal_stats",
            "pg_get_wal_stats_till_end_of_wal",
        ],
    ),
    (
        "pgcrypto",
        Class::Flows,
        &[
            "armor",
            "crypt",
            "dearmor",
            "decrypt",
            "decrypt_iv",
            "digest",
            "encrypt",
            "encrypt_iv",
            "gen_salt",
            "hmac",
            "pgp_armor_headers",
            "pgp_key_id",
            "pgp_pub_decrypt",
            "pgp_pub_decrypt_bytea",
            "pgp_pub_encrypt",
            "pgp_pub_encrypt_bytea",
            "pgp_sym_decrypt",
            "pgp_sym_decrypt_bytea",
            "pgp_sym_encrypt",
            "pgp_sym_encrypt_bytea",
        ],
    ),
    ("pgrowlocks", Class::Metadata, &["pgrowlocks"]),
    (
        "pgstattuple",
        Class::Metadata,
        &[
            "pg_relpages",
            "pgstatginindex",
            "pgstathashindex",
            "pgstatindex",
            "pgstattuple",
            "pgstattuple_approx",
        ],
    ),
    ("postgres_fdw", Class::Dangerous, &["postgres_fdw_handler", "postgres_fdw_validator"]),
    (
        "postgres_fdw",
        Class::Metadata,
        &["postgres_fdw_disconnect", "postgres_fdw_disconnect_all", "postgres_fdw_get_connections"],
    ),
    // Triggers that run text they are given.
    ("refint", Class::Dangerous, &["check_foreign_key", "check_primary_key"]),
    (
        "sslinfo",
        Class::Metadata,
        &[
            "ssl_cipher",
            "ssl_client_cert_present",
            "ssl_client_dn",
            "ssl_client_dn_field",
            "ssl_client_serial",
            "ssl_extension_info",
            "ssl_is_used",
            "ssl_issuer_dn",
            "ssl_issuer_field",
            "ssl_version",
        ],
    ),
    ("tablefunc", Class::Dangerous, &["connectby", "crosstab", "crosstab2", "crosstab3", "crosstab4"]),
    ("tablefunc", Class::Flows, &["normal_rand"]),
    // A trigger that sends the key of a row to whoever listens.
    ("tcn", Class::Channel, &["triggered_change_notification"]),
    ("unaccent", Class::Flows, &["unaccent"]),
    // A style sheet may ask for other documents.
    ("xml2", Class::Dangerous, &["xpath_table", "xslt_process"]),
    (
        "xml2",
        Class::Flows,
        &[
            "xml_encode_special_chars",
            "xml_valid",
            "xpath_bool",
            "xpath_list",
            "xpath_nodeset",
            "xpath_number",
            "xpath_string",
        ],
    ),
    ("uuid-ossp", Class::Flows, &["uuid_generate_v3", "uuid_generate_v5"]),
];
