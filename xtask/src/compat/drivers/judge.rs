//! What a program saw direct and through the agent, and where that is not the same.

use std::fmt;

use mask_tests::types::TYPES;
use serde_json::{Value, json};

use super::list::MASKED;

/// What stands in the table for a driver and a feature.
#[derive(Debug)]
pub(super) enum Cell {
    /// Otherwise, and nobody has said why.
    Differs(Vec<Difference>),
    /// Otherwise for these reasons, by their places in the list of them.
    Known(Vec<usize>, Vec<Difference>),
    /// Masked values of the type of the clear ones, and all else the same.
    Masked,
    /// The driver has no such thing.
    None,
    /// The same to the last byte.
    Same,
}

/// A place where they differ.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// Keys and indices on the way to it.
    pub(super) path: String,
    direct: String,
    through: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(text, "{}: {} direct, {} through the agent", self.path, self.direct, self.through)
    }
}

/// Literals shorter than this are found by chance in what has nothing to do with them.
const CANARY_CHARACTERS_MIN: usize = 8;
const SHOWN_CHARACTERS_MAX: usize = 300;

/// The cell of a feature, before known differences are looked up.
pub(super) fn judge(feature: &str, direct: &Value, through: &Value) -> Cell {
    let mut differences = Vec::new();
    if feature == MASKED {
        masked(direct, through, &mut differences);
    } else {
        compare("", direct, through, &mut differences);
    }
    match differences.is_empty() {
        true if feature == MASKED => Cell::Masked,
        true => Cell::Same,
        false => Cell::Differs(differences),
    }
}

fn difference(path: &str, direct: &Value, through: &Value) -> Difference {
    let shown = |value: &Value| value.to_string().chars().take(SHOWN_CHARACTERS_MAX).collect();
    Difference { path: path.to_owned(), direct: shown(direct), through: shown(through) }
}

fn below(path: &str, key: &dyn fmt::Display) -> String {
    if path.is_empty() { key.to_string() } else { format!("{path}/{key}") }
}

/// The innermost values that are not equal.
fn compare(path: &str, direct: &Value, through: &Value, differences: &mut Vec<Difference>) {
    match (direct, through) {
        (Value::Array(direct), Value::Array(through)) if direct.len() == through.len() => {
            for (index, (direct, through)) in direct.iter().zip(through).enumerate() {
                compare(&below(path, &index), direct, through, differences);
            }
        }
        (Value::Object(direct), Value::Object(through)) if direct.keys().eq(through.keys()) => {
            for (key, value) in direct {
                compare(&below(path, key), value, &through[key], differences);
            }
        }
        _ if direct == through => {}
        _ => differences.push(difference(path, direct, through)),
    }
}

/// Rows of a masked cell and a clear one beside it, of each column.
fn masked(direct: &Value, through: &Value, differences: &mut Vec<Difference>) {
    let (Some(columns), Some(shown)) = (direct.as_object(), through.as_object()) else {
        return differences.push(difference("", direct, through));
    };
    let text = through.to_string();
    let literals =
        TYPES.iter().map(|(_, secret, _)| *secret).filter(|text| text.len() >= CANARY_CHARACTERS_MIN);
    for canary in literals.chain(["canary"]).filter(|canary| text.contains(canary)) {
        differences.push(difference("canary", &json!(""), &json!(canary)));
    }
    for (column, clear) in columns {
        let path = declared(column);
        let shown = shown.get(column).unwrap_or(&Value::Null);
        let (Some(rows), Some(shown_rows)) = (clear.as_array(), shown.as_array()) else {
            // The driver cannot read a clear value; others of that type it may.
            if !shown.is_array() && !is_same_error(clear, shown) {
                differences.push(difference(&path, clear, shown));
            }
            continue;
        };
        let is_well = rows.len() == shown_rows.len()
            && rows.iter().zip(shown_rows).all(|(row, shown)| is_masked_row(row, shown));
        if rows.is_empty() || !is_well {
            differences.push(difference(&path, clear, shown));
        }
    }
}

/// Whether the driver can read what it is shown no better than the clear value; its words may quote that.
fn is_same_error(clear: &Value, shown: &Value) -> bool {
    shown.is_object() && clear["class"] == shown["class"] && clear["sqlstate"] == shown["sqlstate"]
}

/// Whether a row has the same neighbour, and a value of the same type in place of the clear one.
fn is_masked_row(clear: &Value, shown: &Value) -> bool {
    if clear[0].is_object() {
        // The driver cannot read the clear value; another of that type it may.
        return clear[1] == shown[1] && (shown[0].is_array() || is_same_error(&clear[0], &shown[0]));
    }
    let same_type = clear[0].is_null() == shown[0].is_null() && clear[0][0] == shown[0][0];
    clear[1] == shown[1] && same_type && (clear[0].is_null() || clear[0][1] != shown[0][1])
}

/// `redacted.arrays.secret_7` with the declaration of its type in place of the number.
fn declared(column: &str) -> String {
    let declared = column.rsplit_once(".secret_").and_then(|(table, number)| {
        let (declaration, ..) = TYPES.get(number.parse::<usize>().ok()?)?;
        Some(format!("{table} {declaration}"))
    });
    declared.unwrap_or_else(|| column.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(feature: &str, direct: &Value, through: &Value) -> Vec<String> {
        match judge(feature, direct, through) {
            Cell::Differs(differences) => differences.into_iter().map(|difference| difference.path).collect(),
            _ => vec![],
        }
    }

    #[test]
    fn the_innermost_value_is_named() {
        let direct = json!({ "a": [1, { "b": "x" }], "c": [1] });
        assert_eq!(paths("simple", &direct, &json!({ "a": [1, { "b": "y" }], "c": [] })), ["a/1/b", "c"]);
        assert_eq!(paths("simple", &direct, &json!({ "a": [1] })), [""]);
        assert!(paths("simple", &direct, &direct).is_empty());
    }

    #[test]
    fn a_masked_cell_is_another_value_of_the_same_type() {
        let rows = |secret: &Value, open: &str| json!({ "redacted.scalars.secret_1": [[secret, ["str", open]], [null, null]] });
        let clear = rows(&json!(["int", "31234"]), "seen");
        let check = |shown: &Value| paths("masked", &clear, shown);
        assert!(check(&rows(&json!(["int", "0"]), "seen")).is_empty());
        assert_eq!(check(&rows(&json!(["str", "0"]), "seen")), ["redacted.scalars int2"]);
        assert_eq!(check(&rows(&json!(["int", "0"]), "other")), ["redacted.scalars int2"]);
        assert_eq!(check(&rows(&Value::Null, "seen")), ["redacted.scalars int2"]);
        assert_eq!(check(&clear), ["redacted.scalars int2"]);
        assert_eq!(check(&rows(&json!(["int", "canary"]), "seen")), ["canary"]);
        assert_eq!(
            check(&json!({ "redacted.scalars.secret_1": { "class": "Error" } })),
            ["redacted.scalars int2"]
        );
    }
}
