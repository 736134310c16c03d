//! The parse tree, walked node by node.
//!
//! The walk goes over the tree's serialised form, so that no node kind can be forgotten: what the grammar
//! can hold, the walk meets.

use serde_json::{Map, Value};

/// A name as written.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

impl Name {
    pub(super) fn written(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// What stands in one statement.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) command: &'static str,
    pub(super) relations: Vec<Name>,
    /// Names of common table expressions. Where one stands is not followed: within its own definition the
    /// name means the table, so a relation of this name in the catalog counts as read.
    pub(super) common: Vec<String>,
    pub(super) functions: Vec<Name>,
    /// It has a RETURNING clause.
    pub(super) returns: bool,
    /// It writes, and returns columns that may hold what was written.
    pub(super) returns_written: bool,
    /// It puts values it reads into a relation.
    pub(super) writes_values: bool,
    /// Columns among what is put.
    pub(super) flow_columns: Vec<String>,
    /// What is put may hold columns that are not named: a star, a whole row, renamed columns.
    pub(super) flow_is_wide: bool,
    /// What is put is read from somewhere.
    pub(super) flow_has_source: bool,
    pub(super) copies_file: bool,
    pub(super) copies_in: bool,
    pub(super) sets_lexer: bool,
    pub(super) renames: bool,
    pub(super) renamed: Vec<String>,
}

/// Reads the facts of one statement's node.
pub(super) fn facts(tree: &Value) -> Facts {
    let mut walk = Walk::default();
    let (command, body) = named(tree).unwrap_or(("", &Value::Null));
    walk.facts.command = COMMANDS.iter().find(|known| **known == command).copied().unwrap_or("other");
    walk.visit(tree);
    walk.utility(command, body);
    let Walk { mut facts, common, aliases, .. } = walk;
    facts.common = common;
    // A column reference of one part that is a relation's name is the whole row.
    facts.flow_is_wide |= facts.flow_columns.iter().any(|column| aliases.contains(column));
    facts
}

/// Statements whose kind matters, by the grammar's names.
const COMMANDS: [&str; 31] = [
    "AlterTableStmt",
    "CallStmt",
    "ClosePortalStmt",
    "CopyStmt",
    "CreateEventTrigStmt",
    "CreateFunctionStmt",
    "CreateSchemaStmt",
    "CreateStmt",
    "CreateTableAsStmt",
    "CreateTrigStmt",
    "DeallocateStmt",
    "DeclareCursorStmt",
    "DeleteStmt",
    "DiscardStmt",
    "DoStmt",
    "DropStmt",
    "ExecuteStmt",
    "ExplainStmt",
    "FetchStmt",
    "InsertStmt",
    "MergeStmt",
    "PrepareStmt",
    "RefreshMatViewStmt",
    "RenameStmt",
    "RuleStmt",
    "SelectStmt",
    "TransactionStmt",
    "UpdateStmt",
    "VariableSetStmt",
    "VariableShowStmt",
    "ViewStmt",
];

#[derive(Default)]
struct Walk {
    facts: Facts,
    /// Names of common table expressions.
    common: Vec<String>,
    /// Names and aliases of relations.
    aliases: Vec<String>,
    /// Inside what a statement puts into a relation.
    in_flow: bool,
}

/// The kind and the body of a node.
fn named(value: &Value) -> Option<(&str, &Value)> {
    let node = value.get("node")?.as_object()?;
    node.iter().next().map(|(kind, body)| (&**kind, body))
}

fn text(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(ToOwned::to_owned)
}

/// The strings of a list of String nodes, such as a qualified name.
fn strings(list: &Value) -> Vec<String> {
    let items = list.as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(|item| named(item)?.1.get("sval")?.as_str().map(ToOwned::to_owned)).collect()
}

fn is_set(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

impl Walk {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            Value::Object(object) => self.object(object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn object(&mut self, object: &Map<String, Value>) {
        if let Some(name) = object.get("relname").and_then(text) {
            self.relation(object, name);
        }
        if let Some(names) = object.get("funcname") {
            self.function(&strings(names));
        }
        // Operators and types run code of users as well: their function, their casts, their checks.
        for key in ["A_Expr", "AExpr"] {
            if let Some(names) = object.get(key).and_then(|expression| expression.get("name")) {
                self.function(&strings(names));
            }
        }
        for key in ["oper_name", "use_op"] {
            if let Some(names) = object.get(key) {
                self.function(&strings(names));
            }
        }
        if object.contains_key("typmods")
            && let Some(names) = object.get("names")
        {
            self.function(&strings(names));
        }
        if let Some(name) = object.get("ctename").and_then(text) {
            self.common.push(name);
        }
        if let Some(reference) = object.get("ColumnRef")
            && self.in_flow
        {
            self.column(reference);
        }
        if self.in_flow && ["SubLink", "FuncCall", "from_clause"].iter().any(|key| is_set(object.get(*key))) {
            self.facts.flow_has_source = true;
        }
        if is_set(object.get("into_clause")) {
            self.facts.writes_values = true;
            self.flow(object);
        } else if object.contains_key("returning_clause") || object.contains_key("merge_when_clauses") {
            self.write(object);
        } else {
            object.values().for_each(|value| self.visit(value));
        }
    }

    /// INSERT, UPDATE, DELETE and MERGE: what they put is a flow, what they filter by is not.
    fn write(&mut self, object: &Map<String, Value>) {
        let inserts = object.contains_key("select_stmt");
        let deletes = object.contains_key("using_clause");
        let merges = object.contains_key("merge_when_clauses");
        self.facts.returns |= is_set(object.get("returning_clause"));
        for (key, value) in object {
            let puts = match &**key {
                "target_list" => !inserts && !deletes,
                "select_stmt" | "on_conflict_clause" | "merge_when_clauses" => true,
                _ => false,
            };
            if puts && is_set(Some(value)) {
                let before = self.facts.flow_columns.len();
                self.facts.writes_values = true;
                self.flow_in(value);
                let reads = self.facts.flow_columns.len() > before
                    || self.facts.flow_is_wide
                    || self.facts.flow_has_source
                    || merges;
                self.facts.returns_written |= reads && is_set(object.get("returning_clause"));
            } else {
                self.visit(value);
            }
        }
    }

    fn flow(&mut self, object: &Map<String, Value>) {
        let before = std::mem::replace(&mut self.in_flow, true);
        object.values().for_each(|value| self.visit(value));
        self.in_flow = before;
    }

    fn flow_in(&mut self, value: &Value) {
        let before = std::mem::replace(&mut self.in_flow, true);
        self.visit(value);
        self.in_flow = before;
    }

    fn relation(&mut self, object: &Map<String, Value>, name: String) {
        let alias = object.get("alias");
        self.aliases.push(name.clone());
        if let Some(alias) = alias.and_then(|alias| alias.get("aliasname")).and_then(text) {
            self.aliases.push(alias);
        }
        if self.in_flow && is_set(alias.and_then(|alias| alias.get("colnames"))) {
            self.facts.flow_is_wide = true;
        }
        self.facts.relations.push(Name { schema: object.get("schemaname").and_then(text), name });
    }

    fn function(&mut self, names: &[String]) {
        if let Some((name, schema)) = names.split_last() {
            let schema = schema.last().cloned();
            self.facts.functions.push(Name { schema, name: name.clone() });
        }
    }

    fn column(&mut self, reference: &Value) {
        let Some(fields) = reference.get("fields") else { return };
        let stars = fields.as_array().is_some_and(|fields| {
            fields.iter().any(|field| named(field).is_some_and(|(kind, _)| kind == "AStar"))
        });
        self.facts.flow_is_wide |= stars;
        self.facts.flow_columns.extend(strings(fields).pop());
    }

    /// What only the outermost statement can be.
    fn utility(&mut self, command: &str, body: &Value) {
        let get = |key: &str| body.get(key);
        match command {
            "CopyStmt" => {
                self.facts.copies_in = get("is_from").and_then(Value::as_bool).unwrap_or(false);
                self.facts.copies_file = get("filename").and_then(text).is_some()
                    || get("is_program").and_then(Value::as_bool).unwrap_or(false);
            }
            "VariableSetStmt" => {
                let name = get("name").and_then(text).unwrap_or_default();
                let value = serde_json::to_string(get("args").unwrap_or(&Value::Null)).unwrap_or_default();
                let value = value.to_lowercase();
                self.facts.sets_lexer = match &*name.to_lowercase() {
                    "client_encoding" => {
                        is_set(get("args"))
                            && !value.contains("utf8")
                            && !value.contains("utf-8")
                            && !value.contains("sql_ascii")
                            && !value.contains("latin")
                    }
                    "standard_conforming_strings" => {
                        is_set(get("args")) && !value.contains("\"on\"") && !value.contains("true")
                    }
                    _ => false,
                };
            }
            "CreateTableAsStmt" => {
                self.facts.writes_values = true;
                if let Some(query) = get("query") {
                    self.flow_in(query);
                }
            }
            "RenameStmt" => {
                self.facts.renames = true;
                self.facts.renamed.extend(get("subname").and_then(text));
            }
            "AlterTableStmt" | "CreateFunctionStmt" => {
                // USING and GENERATED expressions move values between columns.
                self.facts.writes_values = command == "AlterTableStmt";
                self.flow_in(body);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(sql: &str) -> Facts {
        let parsed = pg_query::parse(sql, 0).unwrap();
        facts(&serde_json::to_value(parsed.protobuf.stmts[0].stmt.as_ref().unwrap()).unwrap())
    }

    fn relations(sql: &str) -> Vec<String> {
        let mut names: Vec<_> = of(sql).relations.iter().map(Name::written).collect();
        names.sort();
        names
    }

    #[test]
    fn relations_are_found_wherever_the_grammar_lets_them_stand() {
        assert_eq!(
            relations("select (select 1 from a) from b join lateral (select 1 from s.c) x on true"),
            ["a", "b", "s.c"]
        );
        assert_eq!(relations("select 1 order by (select 1 from a)"), ["a"]);
        assert_eq!(relations("with x as (delete from a returning 1) select * from x"), ["a", "x"]);
        assert_eq!(relations("explain analyze table a"), ["a"]);
        assert_eq!(relations("declare c cursor for select 1 from a"), ["a"]);
    }

    #[test]
    fn a_predicate_is_not_a_flow() {
        assert!(of("update c set balance = balance + 1 where email = 'x'").flow_columns == ["balance"]);
        assert!(of("update c set city = email").flow_columns.contains(&"email".to_owned()));
        assert!(of("insert into t select * from c").flow_is_wide);
        assert!(of("create table t as select c from c").flow_is_wide);
        assert!(!of("insert into c (email) values ('x') returning id").returns_written);
        assert!(of("update c set city = email returning city").returns_written);
    }
}
