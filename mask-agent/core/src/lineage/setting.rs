//! Settings that change what a statement means.

/// Whether a setting would change how statements and values are read; no value means an unknown one.
pub(super) fn is_unsafe(name: &str, value: Option<&str>) -> bool {
    match &*name.to_lowercase() {
        "client_encoding" => value.is_none_or(|value| {
            let value = value.to_lowercase();
            let value: String = value.chars().filter(char::is_ascii_alphanumeric).collect();
            // One byte means one character of ASCII in these as well.
            !(matches!(&*value, "unicode" | "utf8" | "sqlascii") || value.starts_with("latin"))
        }),
        "standard_conforming_strings" => {
            let value = value.map(str::to_lowercase);
            !matches!(value.as_deref(), Some("on" | "true" | "yes" | "1"))
        }
        _ => false,
    }
}

/// Whether a setting whose name nobody sees could be one of these.
///
/// `pg_dump` sets `restrict_nonsystem_relation_kind` by a name it reads from `pg_settings`. What it sets is no truth
/// value and no encoding, in whose names the server skips all but letters and digits.
pub(super) fn is_unsafe_unnamed(value: Option<&str>) -> bool {
    value.is_none_or(|value| value.split(',').any(|kind| !matches!(kind.trim(), "view" | "foreign-table")))
}

/// Beginnings of names of settings that decide how a statement is planned, logged or waited for, never what it means.
const HARMLESS_BEGINNINGS: [&str; 17] = [
    "commit_",
    "cpu_",
    "debug_",
    "default_transaction_",
    "enable_",
    "geqo",
    "idle_",
    "io_",
    "jit",
    "log_",
    "max_parallel_",
    "min_parallel_",
    "parallel_",
    "tcp_",
    "track_",
    "transaction_",
    "vacuum_",
];

/// The same, whole.
const HARMLESS: [&str; 38] = [
    "application_name",
    "backend_flush_after",
    "check_function_bodies",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "constraint_exclusion",
    "cursor_tuple_fraction",
    "deadlock_timeout",
    "default_statistics_target",
    "default_table_access_method",
    "default_tablespace",
    "default_toast_compression",
    "effective_cache_size",
    "effective_io_concurrency",
    "escape_string_warning",
    "extension_control_path",
    "force_parallel_mode",
    "from_collapse_limit",
    "gin_pending_list_limit",
    "hash_mem_multiplier",
    "join_collapse_limit",
    "lock_timeout",
    "logical_decoding_work_mem",
    "maintenance_io_concurrency",
    "maintenance_work_mem",
    "plan_cache_mode",
    "random_page_cost",
    "restrict_nonsystem_relation_kind",
    "row_security",
    "seed",
    "seq_page_cost",
    "standard_conforming_strings",
    "statement_timeout",
    "synchronize_seqscans",
    "synchronous_commit",
    "temp_buffers",
    "work_mem",
];

/// Extensions whose own settings change what their operators and functions return.
const EXTENSIONS: [&str; 14] = [
    "age",
    "citus",
    "diskann",
    "hnsw",
    "ivfflat",
    "pg_bigm",
    "pg_trgm",
    "pgroonga",
    "plpgsql",
    "postgis",
    "rum",
    "smlar",
    "timescaledb",
    "zhparser",
];

/// Whether no value of a setting changes what a statement means. What programs keep under names of their own is only
/// read by `current_setting`, whose value is another one each time anyway.
pub(super) fn cannot_mean(name: &str) -> bool {
    let name = name.to_lowercase();
    match name.split_once('.') {
        Some((extension, _)) => !EXTENSIONS.contains(&extension),
        None => HARMLESS.contains(&&*name) || HARMLESS_BEGINNINGS.iter().any(|begin| name.starts_with(begin)),
    }
}

/// The schemas of a `search_path` as the server writes it.
pub(crate) fn schemas(path: &str) -> Vec<String> {
    let mut schemas = Vec::new();
    let mut rest = path.trim_start();
    while !rest.is_empty() {
        let (name, after) = if let Some(quoted) = rest.strip_prefix('"') {
            quoted_name(quoted)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_lowercase(), &rest[end..])
        };
        schemas.push(name);
        rest = after.trim_start().trim_start_matches(',').trim_start();
    }
    schemas
}

/// A name behind its opening quote, and what follows the closing one.
fn quoted_name(text: &str) -> (String, &str) {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let Some(end) = rest.find('"') else { return (name + rest, "") };
        name.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return (name, rest),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{cannot_mean, is_unsafe, is_unsafe_unnamed, schemas};

    #[test]
    fn what_a_pool_sets_before_each_statement_changes_no_meaning() {
        for name in ["Application_Name", "statement_timeout", "jit", "enable_seqscan", "app.tenant_id"] {
            assert!(cannot_mean(name), "{name}");
        }
        for name in
            ["TimeZone", "extra_float_digits", "lc_numeric", "role", "pg_trgm.similarity_threshold", ""]
        {
            assert!(!cannot_mean(name), "{name}");
        }
    }

    #[test]
    fn a_search_path_is_split_where_the_server_splits_it() {
        assert_eq!(schemas(r#""$user", public"#), ["$user", "public"]);
        assert_eq!(schemas(r#"App, "a "",b" ,c"#), ["app", "a \",b", "c"]);
        assert_eq!(schemas(""), [""; 0]);
    }

    #[test]
    fn text_is_read_alike_in_encodings_of_one_byte_and_utf8() {
        for safe in ["UTF8", "utf-8", "Unicode", "SQL_ASCII", "LATIN1", "latin-9"] {
            assert!(!is_unsafe("Client_Encoding", Some(safe)), "{safe}");
            assert!(crate::lineage::is_safe_encoding(safe), "{safe}");
        }
        for unsafe_ in ["SJIS", "BIG5", "GBK", ""] {
            assert!(is_unsafe("client_encoding", Some(unsafe_)), "{unsafe_}");
            assert!(!crate::lineage::is_safe_encoding(unsafe_), "{unsafe_}");
        }
        assert!(is_unsafe("client_encoding", None) && !is_unsafe("work_mem", None));
    }

    #[test]
    fn a_backslash_stays_one() {
        for on in ["on", "TRUE", "yes", "1"] {
            assert!(!is_unsafe("standard_conforming_strings", Some(on)), "{on}");
        }
        assert!(is_unsafe("standard_conforming_strings", Some("off")));
        assert!(is_unsafe("standard_conforming_strings", None));
    }

    #[test]
    fn a_setting_without_a_name_may_be_any_but_for_its_value() {
        assert!(!is_unsafe_unnamed(Some("view")) && !is_unsafe_unnamed(Some("view, foreign-table")));
        assert!(
            is_unsafe_unnamed(Some("off")) && is_unsafe_unnamed(Some("view,off")) && is_unsafe_unnamed(None)
        );
    }
}
