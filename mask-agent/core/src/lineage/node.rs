//! Nodes of a parse tree, in its serialised form.

use serde_json::Value;

/// The kind and the body of a node.
pub(super) fn named(value: &Value) -> Option<(&str, &Value)> {
    let node = value.get("node")?.as_object()?;
    node.iter().next().map(|(kind, body)| (&**kind, body))
}

/// A text that is not empty.
pub(super) fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

/// The strings of a list of String nodes, such as a qualified name.
pub(super) fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(|item| named(item)?.1.get("sval")?.as_str().map(ToOwned::to_owned)).collect()
}

/// Whether a field holds anything.
pub(super) fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}
