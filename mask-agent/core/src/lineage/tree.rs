//! The parse tree, walked node by node.
//!
//! The walk goes over the tree's serialised form, so that no node kind can be forgotten: what the grammar
//! can hold, the walk meets.

use pg_query::protobuf::{AlterTableType, ConstrType, ObjectType};
use serde_json::{Map, Value};

use super::{
    functions,
    node::{is_set, named, strings, text},
    routine,
    setting::{is_unsafe, is_unsafe_unnamed},
};

/// A name as written.
#[derive(Debug)]
pub(super) struct Name {
    pub(super) schema: Option<String>,
    pub(super) name: String,
    /// Whether it stands in what a statement puts into a relation.
    pub(super) in_flow: bool,
    /// Whether it stands in a column's default, which is traced.
    pub(super) in_default: bool,
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
    /// Kinds of all statements in it, its own included: EXPLAIN and CREATE TABLE AS run what they contain.
    pub(super) commands: Vec<&'static str>,
    /// Relations it names; a common table expression, where its name is in scope, is none.
    pub(super) relations: Vec<Name>,
    /// Relations it makes, which therefore hold nothing to read.
    pub(super) created: Vec<Name>,
    pub(super) functions: Vec<Name>,
    /// Types that values are given.
    pub(super) types: Vec<String>,
    /// Last names of qualified columns: `o.f` calls `f(o)` where o has no such column.
    pub(super) fields: Vec<String>,
    /// It puts values it reads into a relation.
    pub(super) writes_values: bool,
    /// Columns among what is put.
    pub(super) flow_columns: Vec<String>,
    /// What is put may hold columns that are not named: a star, a whole row, renamed columns.
    pub(super) flow_is_wide: bool,
    /// What is put is read from the relation that is being made.
    pub(super) generates: bool,
    pub(super) copies_file: bool,
    /// What a domain is by default.
    pub(super) sets_domain_default: bool,
    pub(super) sets_lexer: bool,
    /// It makes a function whose body might write.
    pub(super) makes_writer: bool,
    pub(super) renamed: Vec<String>,
    /// Columns whose updates a foreign key takes over, each with its relation.
    pub(super) followed: Vec<(Name, String)>,
    /// A whole relation or schema gets another name.
    pub(super) moves: bool,
    pub(super) moved_schema: Option<String>,
}

/// Reads the facts of one statement's node.
pub(super) fn facts(tree: &Value) -> Facts {
    let mut walk = Walk::default();
    let (command, body) = named(tree).unwrap_or(("", &Value::Null));
    walk.facts.command = COMMANDS.iter().find(|known| **known == command).copied().unwrap_or("other");
    // USING and GENERATED expressions move values between columns.
    let alters = command == "AlterTableStmt" && !alters_no_value(body);
    walk.in_flow = alters;
    walk.facts.writes_values = alters;
    walk.visit(tree);
    walk.utility(command, body);
    let Walk { mut facts, aliases, .. } = walk;
    // A column reference of one part that is a relation's name is the whole row.
    facts.flow_is_wide |= facts.flow_columns.iter().any(|column| aliases.contains(column));
    facts
}

/// Whether ALTER TABLE, which is also ALTER INDEX and ALTER VIEW, leaves every value where it is.
fn alters_no_value(body: &Value) -> bool {
    use AlterTableType::{
        AtChangeOwner, AtClusterOn, AtColumnDefault, AtDropCluster, AtReplaceRelOptions, AtReplicaIdentity,
        AtResetOptions, AtResetRelOptions, AtSetAccessMethod, AtSetLogged, AtSetOptions, AtSetRelOptions,
        AtSetStatistics, AtSetTableSpace, AtSetUnLogged,
    };
    const STILL: [AlterTableType; 15] = [
        AtChangeOwner,
        AtClusterOn,
        AtColumnDefault,
        AtDropCluster,
        AtReplaceRelOptions,
        AtReplicaIdentity,
        AtResetOptions,
        AtResetRelOptions,
        AtSetAccessMethod,
        AtSetLogged,
        AtSetOptions,
        AtSetRelOptions,
        AtSetStatistics,
        AtSetTableSpace,
        AtSetUnLogged,
    ];
    if body.get("objtype").is_some_and(|kind| *kind == ObjectType::ObjectIndex as i32) {
        return true;
    }
    let commands = body.get("cmds").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_still = |command: &Value| {
        let subtype = named(command).and_then(|(_, command)| command.get("subtype"));
        subtype.is_some_and(|subtype| STILL.iter().any(|kind| *subtype == *kind as i32))
    };
    commands.iter().all(is_still)
}

/// Statements whose kind matters, by the grammar's names.
const COMMANDS: [&str; 51] = [
    "AlterDatabaseStmt",
    "AlterDomainStmt",
    "AlterObjectSchemaStmt",
    "AlterTableStmt",
    "CallStmt",
    "CheckPointStmt",
    "ClosePortalStmt",
    "ClusterStmt",
    "CommentStmt",
    "ConstraintsSetStmt",
    "CopyStmt",
    "CreateDomainStmt",
    "CreateEventTrigStmt",
    "CreateFunctionStmt",
    "CreateSchemaStmt",
    "CreateStmt",
    "CreateTableAsStmt",
    "CreateTrigStmt",
    "CreatedbStmt",
    "DeallocateStmt",
    "DeclareCursorStmt",
    "DeleteStmt",
    "DiscardStmt",
    "DoStmt",
    "DropStmt",
    "DropdbStmt",
    "ExecuteStmt",
    "ExplainStmt",
    "FetchStmt",
    "GrantRoleStmt",
    "GrantStmt",
    "IndexStmt",
    "InsertStmt",
    "ListenStmt",
    "LockStmt",
    "MergeStmt",
    "NotifyStmt",
    "PrepareStmt",
    "RefreshMatViewStmt",
    "ReindexStmt",
    "RenameStmt",
    "RuleStmt",
    "SelectStmt",
    "TransactionStmt",
    "TruncateStmt",
    "UnlistenStmt",
    "UpdateStmt",
    "VacuumStmt",
    "VariableSetStmt",
    "VariableShowStmt",
    "ViewStmt",
];

/// Fields that are visited before the others, or hold names and aliases of relations that stand elsewhere.
const ELSEWHERE: [&str; 2] = ["locked_rels", "with_clause"];

#[derive(Default)]
struct Walk {
    facts: Facts,
    /// Common table expressions in scope.
    common: Vec<String>,
    /// Names and aliases of relations.
    aliases: Vec<String>,
    /// Inside what a statement puts into a relation.
    in_flow: bool,
    /// Inside a column's default.
    in_default: bool,
}

/// The text of a constant; booleans and numbers have none.
fn literal(node: &Value) -> Option<String> {
    let (kind, body) = named(node)?;
    match kind {
        "AConst" => Some(body.get("val")?.get("Sval")?.get("sval")?.as_str()?.to_lowercase()),
        "TypeCast" => literal(body.get("arg")?),
        _ => None,
    }
}

/// What a field of a node is to the values that are put.
#[derive(Clone, Copy)]
enum Part {
    /// It chooses, and puts nothing.
    Filter,
    /// It is put.
    Flow,
    /// What its node is.
    Same,
    /// It is visited elsewhere, or not to be.
    Skip,
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
        self.facts.commands.extend(COMMANDS.iter().filter(|kind| object.contains_key(**kind)));
        if let Some(name) = object.get("relname").and_then(text) {
            self.relation(object, name);
        }
        if let Some(names) = object.get("funcname") {
            let names = strings(names);
            self.setting(&names, object.get("args"));
            self.function(&names);
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
            self.facts.types.extend(strings(names).pop());
        }
        if let Some(reference) = object.get("ColumnRef") {
            self.column(reference);
        }
        if let Some(set) = object.get("VariableSetStmt") {
            self.set(set);
        }
        // A foreign column's options say which column of the other server it is.
        let option = [AlterTableType::AtAlterColumnGenericOptions, AlterTableType::AtGenericOptions];
        if object.contains_key("newowner")
            && option.iter().any(|kind| object.get("subtype").is_some_and(|subtype| *subtype == *kind as i32))
        {
            self.facts.flow_is_wide = true;
        }
        // `(expression).f` calls `f(expression)`.
        if let Some(names) = object.get("indirection") {
            for name in strings(names) {
                self.function(&[name]);
            }
        }
        if object.contains_key("jointype") {
            self.join(object);
        }
        let scope = self.common.len();
        if let Some(with) = object.get("with_clause") {
            self.common_tables(with);
        }
        // SELECT … INTO and CREATE TABLE AS.
        let makes = |key: &str| object.get(key).filter(|into| into.get("on_commit").is_some());
        if let Some(into) = makes("into_clause").or_else(|| makes("into")) {
            self.created(into.get("rel"));
            self.each(
                object,
                |key| if matches!(key, "into" | "into_clause") { Part::Skip } else { Part::Same },
            );
        } else if object.contains_key("table_elts") {
            self.created(object.get("relation"));
            self.each(object, |key| if key == "relation" { Part::Skip } else { Part::Same });
        } else if object.contains_key("with_check_option") {
            self.created(object.get("view"));
            self.each(object, |key| if key == "view" { Part::Skip } else { Part::Same });
        } else if let Some(kind) = object.get("contype") {
            // A generated column puts what it reads; a check or key reads columns, but puts nothing.
            let generated = *kind == ConstrType::ConstrGenerated as i32;
            self.facts.generates |= generated;
            self.facts.writes_values |= generated;
            if object.get("fk_upd_action").and_then(Value::as_str) == Some("c") {
                self.follow(object);
            }
            let default = *kind == ConstrType::ConstrDefault as i32;
            let before = std::mem::replace(&mut self.in_default, default);
            self.each(object, |_| if generated { Part::Flow } else { Part::Filter });
            self.in_default = before;
        } else if object.get("subtype").is_some_and(|kind| *kind == AlterTableType::AtColumnDefault as i32)
            && object.contains_key("newowner")
        {
            let before = std::mem::replace(&mut self.in_default, true);
            self.each(object, |_| Part::Same);
            self.in_default = before;
        } else if object.contains_key("returning_clause") || object.contains_key("merge_when_clauses") {
            self.write(object);
        } else {
            self.each(object, |_| Part::Same);
        }
        self.common.truncate(scope);
    }

    /// ON UPDATE CASCADE.
    fn follow(&mut self, constraint: &Map<String, Value>) {
        let table = constraint.get("pktable");
        let text_of = |key| table.and_then(|table| table.get(key)).and_then(text);
        let Some(name) = text_of("relname") else { return };
        for column in constraint.get("pk_attrs").map(strings).unwrap_or_default() {
            let name =
                Name { schema: text_of("schemaname"), name: name.clone(), in_flow: false, in_default: false };
            self.facts.followed.push((name, column));
        }
    }

    fn common_tables(&mut self, with: &Value) {
        let tables = with.get("ctes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let name = |table| named(table)?.1.get("ctename").and_then(text);
        if with.get("recursive").and_then(Value::as_bool) == Some(true) {
            self.common.extend(tables.iter().filter_map(name));
            self.visit(with);
        } else {
            // Within its own definition the name still means the relation.
            for table in tables {
                self.visit(table);
                self.common.extend(name(table));
            }
        }
    }

    /// Visits the fields of a node, each as the part of a flow it is.
    fn each(&mut self, object: &Map<String, Value>, part: impl Fn(&str) -> Part) {
        for (key, value) in object {
            let in_flow = match part(key) {
                Part::Skip => continue,
                _ if ELSEWHERE.contains(&&**key) => continue,
                Part::Filter => false,
                Part::Same => self.in_flow,
                Part::Flow => true,
            };
            let before = std::mem::replace(&mut self.in_flow, in_flow);
            self.visit(value);
            self.in_flow = before;
        }
    }

    /// INSERT, UPDATE, DELETE and MERGE: what is written to is a relation, whatever common table expressions are
    /// called.
    fn write(&mut self, object: &Map<String, Value>) {
        let common = std::mem::take(&mut self.common);
        self.each(object, |key| if key == "relation" { Part::Same } else { Part::Skip });
        self.common = common;
        self.each(object, |key| if key == "relation" { Part::Skip } else { Part::Same });
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
        let schema = object.get("schemaname").and_then(text);
        if schema.is_none() && self.common.contains(&name) {
            return;
        }
        self.facts.relations.push(self.name(schema, name));
    }

    fn name(&self, schema: Option<String>, name: String) -> Name {
        Name { schema, name, in_flow: self.in_flow, in_default: self.in_default }
    }

    fn created(&mut self, relation: Option<&Value>) {
        let Some(relation) = relation else { return };
        if let Some(name) = relation.get("relname").and_then(text) {
            let schema = relation.get("schemaname").and_then(text);
            self.facts.created.push(Name { schema, name, in_flow: false, in_default: false });
        }
    }

    /// A join can rename columns, and its alias is a whole row.
    fn join(&mut self, object: &Map<String, Value>) {
        for alias in ["alias", "join_using_alias"].iter().filter_map(|key| object.get(*key)) {
            self.aliases.extend(alias.get("aliasname").and_then(text));
            self.facts.flow_is_wide |= self.in_flow && is_set(alias.get("colnames"));
        }
    }

    /// `set_config` is SET by another name.
    fn setting(&mut self, function: &[String], arguments: Option<&Value>) {
        if function.last().is_none_or(|name| name != "set_config") {
            return;
        }
        let arguments = arguments.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if let [name, value, ..] = arguments {
            let value = literal(value);
            self.facts.sets_lexer |= match literal(name) {
                Some(name) => is_unsafe(&name, value.as_deref()),
                None => is_unsafe_unnamed(value.as_deref()),
            };
        }
    }

    /// SET, by itself or in a function's definition.
    fn set(&mut self, set: &Value) {
        let name = set.get("name").and_then(text).unwrap_or_default();
        let arguments = set.get("args").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        self.facts.sets_lexer |= match arguments {
            [] => false,
            [value] => is_unsafe(&name, literal(value).as_deref()),
            [_, _, ..] => is_unsafe(&name, None),
        };
    }

    fn function(&mut self, names: &[String]) {
        if let Some((name, schema)) = names.split_last() {
            let schema = schema.last().cloned();
            let called = self.name(schema, name.clone());
            self.facts.functions.push(called);
        }
    }

    fn column(&mut self, reference: &Value) {
        let Some(fields) = reference.get("fields") else { return };
        let stars = fields.as_array().is_some_and(|fields| {
            fields.iter().any(|field| named(field).is_some_and(|(kind, _)| kind == "AStar"))
        });
        let names = strings(fields);
        if let [_, .., last] = &*names {
            self.facts.flow_is_wide |= self.in_flow && functions::takes_whole_row(last);
            self.facts.fields.push(last.clone());
        }
        if self.in_flow {
            self.facts.flow_is_wide |= stars;
            self.facts.flow_columns.extend(names.into_iter().next_back());
        }
    }

    /// What only the outermost statement can be.
    fn utility(&mut self, command: &str, body: &Value) {
        let get = |key: &str| body.get(key);
        match command {
            "CopyStmt" => {
                self.facts.copies_file = get("filename").and_then(text).is_some()
                    || get("is_program").and_then(Value::as_bool).unwrap_or(false);
            }
            "AlterDomainStmt" => {
                self.facts.sets_domain_default = get("subtype").and_then(Value::as_str) == Some("T");
            }
            "AlterObjectSchemaStmt" => self.facts.moves = true,
            "CreateFunctionStmt" if is_set(get("sql_body")) => {
                self.facts.makes_writer = ["DeleteStmt", "InsertStmt", "MergeStmt", "UpdateStmt"]
                    .iter()
                    .any(|kind| self.facts.commands.contains(kind));
            }
            "CreateFunctionStmt" => {
                let (language, bodies) = routine::read(body);
                self.facts.makes_writer = routine::may_write(language.as_deref(), &bodies);
            }
            // Through a view of its own, a client could set what is told apart by name.
            "ViewStmt" => {
                self.facts.sets_lexer |= self.facts.relations.iter().any(|read| read.name == "pg_settings");
            }
            "RenameStmt" => {
                let name = get("subname").and_then(text);
                self.facts.moves = name.is_none();
                if get("rename_type").is_some_and(|kind| *kind == ObjectType::ObjectSchema as i32) {
                    self.facts.moved_schema.clone_from(&name);
                }
                self.facts.renamed.extend(name);
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
        assert_eq!(relations("with x as (delete from a returning 1) select * from x"), ["a"]);
        assert_eq!(relations("explain analyze table a"), ["a"]);
        assert_eq!(relations("declare c cursor for select 1 from a"), ["a"]);
        assert_eq!(relations("select 1 from a b for update of b"), ["a"]);
    }

    #[test]
    fn a_common_table_is_one_where_it_is_in_scope() {
        assert_eq!(relations("with x as (select 1 from x) select 1 from x"), ["x"]);
        assert_eq!(relations("with x as (select 1), y as (select 1 from x) select 1 from y, z"), ["z"]);
        assert_eq!(relations("with y as (select 1 from x), x as (select 1) select 1 from x"), ["x"]);
        assert_eq!(
            relations("with recursive x as (select 1 union select 1 from x) select 1 from x"),
            [""; 0]
        );
        assert_eq!(relations("select 1 from (with x as (select 1) select 1 from x) a, x"), ["x"]);
        assert_eq!(relations("with x as (select 1) select 1 from s.x"), ["s.x"]);
        assert_eq!(relations("with x as (select 1) insert into x select 1 from x"), ["x"]);
        assert_eq!(
            relations("with x as (select 1) select (select 1 from x), 2 order by (select 1 from x)"),
            [""; 0]
        );
    }

    #[test]
    fn an_expression_of_a_definition_is_a_flow_and_a_check_is_none() {
        assert_eq!(of("alter table c alter city type text using email").flow_columns, ["email"]);
        let generated = of("create table t (email text, x text generated always as (lower(email)) stored)");
        assert!(generated.generates && generated.flow_columns == ["email"]);
        assert_eq!(of("create table t (email text check (email <> ''))").flow_columns, [""; 0]);
        assert!(of("create table t (x text generated always as (t.row_to_json) stored)").flow_is_wide);
        let joined = |alias: &str| {
            of(&format!(
                "alter table c alter a type text using (select b from (d join e on true) as {alias})"
            ))
        };
        assert!(joined("j (b)").flow_is_wide && !joined("j").flow_is_wide);
        assert!(!of("create table t as select b from (d join e on true) as j (b)").flow_is_wide);
    }
}
