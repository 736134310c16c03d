//! COPY: its columns and options.

use pg_query::{NodeEnum, protobuf::CopyStmt};

use super::{
    ColumnId, CopyIn, CopyOut,
    names::{literal, strings},
};
use crate::catalog::{Column, Relation};

/// What COPY reads: into the columns named, or all that are not generated.
pub(super) fn copy_in(copy: &CopyStmt, relation: Option<&Relation>) -> Option<CopyIn> {
    let relation = relation?;
    let names = strings(&copy.attlist);
    let id = |column: &Column| ColumnId { relation: relation.oid, number: column.number };
    let columns = if names.is_empty() {
        let written = relation.columns.iter().filter(|column| column.generated.is_none());
        written.map(|column| Some(id(column))).collect()
    } else {
        let find = |name: &String| relation.columns.iter().find(|column| column.name == *name).map(id);
        names.iter().map(find).collect()
    };
    Some(CopyIn { columns, options: copy_out(copy).options })
}

/// The form COPY writes.
pub(super) fn copy_out(copy: &CopyStmt) -> CopyOut {
    let mut out = CopyOut { options: Vec::new(), force_quote: Vec::new() };
    for option in &copy.options {
        let Some(NodeEnum::DefElem(option)) = option.node.as_ref() else { continue };
        let argument = option.arg.as_deref();
        let value = argument.and_then(|node| match node.node.as_ref()? {
            NodeEnum::String(text) => Some(text.sval.clone()),
            NodeEnum::Integer(number) => Some(number.ival.to_string()),
            NodeEnum::Boolean(value) => Some(value.boolval.to_string()),
            NodeEnum::AStar(_) => Some("*".to_owned()),
            NodeEnum::List(list) => {
                out.force_quote.extend(strings(&list.items));
                None
            }
            _ => literal(node),
        });
        out.options.push((option.defname.to_lowercase(), value));
    }
    out
}
