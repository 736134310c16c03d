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
    use super::{is_unsafe, is_unsafe_unnamed, schemas};

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
