//! Databases that are made of others: what columns hold goes with them.

use pg_query::{
    NodeEnum,
    protobuf::{CreatedbStmt, Node, ObjectType},
};

/// What `CREATE DATABASE` copies where nothing else is said.
const TEMPLATE: &str = "template1";

/// A database that holds what another holds, as its copy or under a new name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CopiedDatabase {
    /// The one there was.
    pub from: String,
    /// The one there will be.
    pub to: String,
}

/// The database that a statement makes of another.
pub(super) fn copied(node: &Node) -> Option<CopiedDatabase> {
    match node.node.as_ref()? {
        NodeEnum::CreatedbStmt(create) => {
            Some(CopiedDatabase { from: template(create), to: create.dbname.clone() })
        }
        NodeEnum::RenameStmt(rename) if rename.rename_type() == ObjectType::ObjectDatabase => {
            Some(CopiedDatabase { from: rename.subname.clone(), to: rename.newname.clone() })
        }
        _ => None,
    }
}

fn template(create: &CreatedbStmt) -> String {
    let mut options = create.options.iter().filter_map(|option| match option.node.as_ref() {
        Some(NodeEnum::DefElem(option)) if option.defname == "template" => option.arg.as_deref(),
        _ => None,
    });
    // The server refuses two of them.
    let written = options.next_back().and_then(|given| match given.node.as_ref()? {
        NodeEnum::String(text) => Some(text.sval.clone()),
        NodeEnum::Integer(number) => Some(number.ival.to_string()),
        NodeEnum::Float(number) => Some(number.fval.clone()),
        _ => None,
    });
    written.unwrap_or_else(|| TEMPLATE.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Option<(String, String)> {
        let parsed = pg_query::parse(sql, 0).unwrap();
        let copied = copied(parsed.protobuf.stmts[0].stmt.as_ref().unwrap())?;
        Some((copied.from, copied.to))
    }

    #[test]
    fn a_database_is_made_of_its_template_or_of_itself_under_another_name() {
        for (sql, from, to) in [
            ("create database y template x", "x", "y"),
            ("create database y with owner = o template = 'X' encoding 'UTF8'", "X", "y"),
            ("create database \"Y\" with Template \"X y\"", "X y", "Y"),
            ("create database y template 5", "5", "y"),
            ("create database y template 12345678901", "12345678901", "y"),
            ("create database y", "template1", "y"),
            ("create database y template default", "template1", "y"),
            ("alter database x rename to y", "x", "y"),
        ] {
            assert_eq!(of(sql), Some((from.to_owned(), to.to_owned())), "{sql}");
        }
        for sql in [
            "alter database x set work_mem = 1",
            "alter database x owner to y",
            "drop database x",
            "alter table x rename to y",
            "alter table x rename y to z",
            "alter schema x rename to y",
            "create table y as select * from x",
        ] {
            assert_eq!(of(sql), None, "{sql}");
        }
    }
}
