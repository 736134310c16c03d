//! What kind of statement it is.

use pg_query::{
    NodeEnum,
    protobuf::{self, Node},
};

/// The grammar's name for a statement.
pub(super) fn command(node: &Node) -> &'static str {
    let Some(node) = node.node.as_ref() else { return "" };
    match node {
        NodeEnum::SelectStmt(_) => "SelectStmt",
        NodeEnum::InsertStmt(_) => "InsertStmt",
        NodeEnum::UpdateStmt(_) => "UpdateStmt",
        NodeEnum::DeleteStmt(_) => "DeleteStmt",
        NodeEnum::MergeStmt(_) => "MergeStmt",
        NodeEnum::CreateTableAsStmt(_) => "CreateTableAsStmt",
        NodeEnum::TransactionStmt(_) => "TransactionStmt",
        NodeEnum::VariableSetStmt(_) => "VariableSetStmt",
        NodeEnum::VariableShowStmt(_) => "VariableShowStmt",
        NodeEnum::CopyStmt(_) => "CopyStmt",
        NodeEnum::ExplainStmt(_) => "ExplainStmt",
        NodeEnum::DeclareCursorStmt(_) => "DeclareCursorStmt",
        NodeEnum::FetchStmt(_) => "FetchStmt",
        NodeEnum::PrepareStmt(_) => "PrepareStmt",
        NodeEnum::ExecuteStmt(_) => "ExecuteStmt",
        NodeEnum::CallStmt(_) => "CallStmt",
        NodeEnum::DoStmt(_) => "DoStmt",
        _ => "other",
    }
}

/// INTO stands in the first of the queries that a UNION joins.
pub(super) fn into_clause(select: &protobuf::SelectStmt) -> Option<&protobuf::IntoClause> {
    let mut select = select;
    while let Some(left) = select.larg.as_deref() {
        select = left;
    }
    select.into_clause.as_deref()
}
