//! WITH RECURSIVE, in which a query may name those behind it: the order in which the server reads them.

use pg_query::{
    NodeEnum,
    protobuf::{CommonTableExpr, WithClause},
};

use super::tree;

/// The tables of a clause, each behind those it names. What goes in circles keeps its place: the server refuses it.
pub(super) fn in_order(with: &WithClause) -> Vec<&CommonTableExpr> {
    let tables = with.ctes.iter().filter_map(|table| match table.node.as_ref() {
        Some(NodeEnum::CommonTableExpr(table)) => Some(&**table),
        _ => None,
    });
    let mut left: Vec<&CommonTableExpr> = tables.collect();
    if !with.recursive || left.len() < 2 {
        return left;
    }
    let uses: Vec<(String, Vec<String>)> =
        left.iter().map(|table| (table.ctename.clone(), names_in(table))).collect();
    let needs = |table: &CommonTableExpr, others: &[&CommonTableExpr]| {
        let names = uses.iter().find(|(name, _)| *name == table.ctename).map(|(_, names)| names);
        let others = others.iter().filter(|other| other.ctename != table.ctename);
        names.is_some_and(|names| others.into_iter().any(|other| names.contains(&other.ctename)))
    };
    let mut sorted = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = left.iter().position(|table| !needs(table, &left)).unwrap_or(0);
        sorted.push(left.remove(free));
    }
    sorted
}

/// Relations without a schema in a table's query; a tree that cannot be walked names none, and what it names is then
/// unknown where it is read.
fn names_in(table: &CommonTableExpr) -> Vec<String> {
    let tree = table.ctequery.as_ref().and_then(|query| serde_json::to_value(query).ok());
    let relations = tree.map(|tree| tree::facts(&tree).relations).unwrap_or_default();
    relations.into_iter().filter(|name| name.schema.is_none()).map(|name| name.name).collect()
}
