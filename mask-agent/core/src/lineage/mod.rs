//! What a statement reads, and how far its outputs can be trusted.
//!
//! A conservative rule until columns are traced: a statement that names nothing sensitive and nothing unknown
//! passes; any other shows only outputs whose base column the server names itself, and no data may flow from
//! it to where it would be shown later.

/// Functions that reach past the statement they stand in.
mod functions;
/// The parse tree, walked node by node.
mod tree;

use crate::{
    catalog::{Catalog, RelationKind},
    policy::Classification,
};
use tree::Facts;

/// How far the outputs of a statement can be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nothing: every output is redacted.
    Opaque,
    /// An output whose base column the row description names; any other is redacted.
    Origins,
    /// All: the statement reads nothing sensitive and calls nothing unknown.
    Plain,
}

/// What a statement changes besides rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Definitions: the catalog must be read again.
    Catalog,
    /// Nothing.
    None,
    /// Settings, such as the search path or the role.
    Settings,
}

/// Why a statement is not sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// One machine-readable word.
    pub code: &'static str,
    /// One sentence.
    pub message: String,
    /// What to do instead.
    pub hint: &'static str,
}

/// One statement of a string.
#[derive(Debug)]
pub struct Statement {
    /// The grammar's name for it.
    pub command: &'static str,
    /// How far its outputs can be trusted.
    pub trust: Trust,
    /// What it changes besides rows.
    pub effect: Effect,
    /// Relations it names, with the schema where one is written.
    pub relations: Vec<String>,
    /// Why it is not sent.
    pub refusal: Option<Refusal>,
}

/// Why a string cannot be analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// PostgreSQL's own grammar rejects it.
    #[error("{0}")]
    Syntax(String),
    /// Nested deeper than any program nests.
    #[error("statement is nested deeper than {NESTING_MAX} levels")]
    TooDeep,
    /// Longer than any statement that names relations needs to be.
    #[error("statement is longer than {SQL_BYTES_MAX} bytes")]
    TooLong,
}

/// Longer strings are refused; bulk data belongs into parameters or COPY.
pub const SQL_BYTES_MAX: usize = 4 << 20;
/// The grammar and every walk over its tree recurse; this keeps them far from the end of a 2 MiB stack.
pub const NESTING_MAX: usize = 200;

/// Analyses every statement of a string.
///
/// # Errors
/// When the string cannot be read as the server would read it.
pub fn analyse(
    sql: &str,
    catalog: &Catalog,
    classes: &Classification,
) -> Result<Vec<Statement>, LineageError> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(LineageError::TooLong);
    }
    if nesting(sql) > NESTING_MAX {
        return Err(LineageError::TooDeep);
    }
    let parsed = pg_query::parse(sql, 0).map_err(|error| LineageError::Syntax(error.to_string()))?;
    let statements = parsed.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_ref());
    statements
        .map(|node| {
            let tree = serde_json::to_value(node).map_err(|error| LineageError::Syntax(error.to_string()))?;
            Ok(judge(&tree::facts(&tree), catalog, classes))
        })
        .collect()
}

/// An upper bound of how deep brackets nest, without regard to quotes.
fn nesting(sql: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut operators = 0_usize;
    for byte in sql.bytes() {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        // Prefix operators and NOT nest without brackets, as in `- - - 1`.
        operators = if matches!(byte, b'-' | b'+' | b'~' | b'!' | b'@' | b' ') { operators + 1 } else { 0 };
        deepest = deepest.max(depth + operators / 4);
    }
    deepest
}

const HINT_SELECT: &str = "Select the columns you need directly; masked columns come back masked.";

fn judge(facts: &Facts, catalog: &Catalog, classes: &Classification) -> Statement {
    let mut reads = Reads::default();
    for relation in &facts.relations {
        let common = relation.schema.is_none() && facts.common.contains(&relation.name);
        if !common || catalog.named(None, &relation.name).next().is_some() {
            reads.relation(relation.schema.as_deref(), &relation.name, catalog, classes);
        }
    }
    for function in &facts.functions {
        let foreign = function.schema.as_deref().is_some_and(|schema| schema != "pg_catalog");
        if foreign && function.schema.as_deref() != Some("information_schema")
            || catalog.has_user_function(&function.name)
        {
            reads.unknown = true;
            reads.calls_user_code = true;
        }
    }
    let plain = !reads.sensitive && !reads.unknown;
    let refusal = refusal(facts, plain, &reads, classes);
    let trust = if facts.command == "FetchStmt" {
        Trust::Origins
    } else if plain {
        Trust::Plain
    } else if facts.returns_written || reads.user_code && facts.returns {
        // UPDATE … SET name = email RETURNING name: the description names the clean column.
        Trust::Opaque
    } else {
        Trust::Origins
    };
    Statement {
        command: facts.command,
        trust,
        effect: effect(facts.command),
        relations: facts
            .relations
            .iter()
            .filter(|name| name.schema.is_some() || !facts.common.contains(&name.name))
            .map(tree::Name::written)
            .collect(),
        refusal,
    }
}

/// What the named relations amount to.
#[derive(Default)]
struct Reads {
    sensitive: bool,
    unknown: bool,
    /// A relation with triggers, rules or defaults that run code of users.
    user_code: bool,
    calls_user_code: bool,
}

impl Reads {
    fn relation(&mut self, schema: Option<&str>, name: &str, catalog: &Catalog, classes: &Classification) {
        let mut found = false;
        for relation in catalog.named(schema, name) {
            found = true;
            self.sensitive |= classes.is_sensitive(relation.oid);
            let system = matches!(&*relation.schema, "pg_catalog" | "information_schema");
            let opaque = match relation.kind {
                RelationKind::Foreign | RelationKind::MaterializedView | RelationKind::View => !system,
                RelationKind::Other | RelationKind::Table => relation.has_user_code,
            };
            self.unknown |= opaque;
            self.user_code |= relation.has_user_code;
        }
        self.unknown |= !found;
    }
}

fn effect(command: &str) -> Effect {
    let is = |prefix: &str| command.starts_with(prefix);
    if is("VariableSet") || is("Discard") {
        Effect::Settings
    } else if is("Create")
        || is("Alter")
        || is("Drop")
        || is("Rename")
        || is("View")
        || is("Define")
        || is("CompositeType")
        || is("Rule")
        || is("RefreshMat")
    {
        Effect::Catalog
    } else {
        Effect::None
    }
}

fn refusal(facts: &Facts, plain: bool, reads: &Reads, classes: &Classification) -> Option<Refusal> {
    let refuse = |code, message: String, hint| Some(Refusal { code, message, hint });
    match facts.command {
        "DoStmt" | "CallStmt" => {
            return refuse(
                "procedure",
                "DO and CALL are refused, because what they run cannot be read".to_owned(),
                "Send the statements themselves.",
            );
        }
        "PrepareStmt" | "ExecuteStmt" => {
            return refuse(
                "sql-prepare",
                "PREPARE and EXECUTE in SQL text are refused".to_owned(),
                "Use the prepared statements of your driver, which work.",
            );
        }
        "CopyStmt" if facts.copies_file => {
            return refuse(
                "copy-file",
                "COPY from or to a file or program of the server is refused".to_owned(),
                "Use COPY … FROM STDIN or TO STDOUT.",
            );
        }
        "CopyStmt" if !plain && !facts.copies_in => {
            return refuse(
                "copy-sensitive",
                "COPY of a relation with masked columns is refused".to_owned(),
                HINT_SELECT,
            );
        }
        "CreateEventTrigStmt" | "CreateTrigStmt" | "RuleStmt" => {
            return refuse(
                "hidden-flow",
                "triggers and rules are refused, because they can move masked values unseen".to_owned(),
                "Let an operator create it past mask-agent.",
            );
        }
        "CreateStmt" | "AlterTableStmt" if reads.calls_user_code => {
            return refuse(
                "hidden-flow",
                "a default or expression that calls a function of users is refused".to_owned(),
                "Let an operator create it past mask-agent.",
            );
        }
        "VariableSetStmt" if facts.sets_lexer => {
            return refuse(
                "unsafe-setting",
                "this setting would change how statements and values are read".to_owned(),
                "Keep client_encoding at UTF8 and standard_conforming_strings on.",
            );
        }
        _ => {}
    }
    if let Some(function) = facts.functions.iter().find(|function| functions::is_dangerous(&function.name)) {
        return refuse(
            "dangerous-function",
            format!("function {} is refused, because it reaches past the statement", function.name),
            "Query the tables themselves.",
        );
    }
    if plain {
        return None;
    }
    if let Some(function) =
        facts.functions.iter().find(|function| functions::has_side_channel(&function.name))
    {
        return refuse(
            "side-channel",
            format!("function {} is refused beside masked columns", function.name),
            "Call it in a statement of its own.",
        );
    }
    let names_value = facts.flow_columns.iter().any(|column| classes.names_column(column));
    if facts.renames && facts.renamed.iter().any(|column| classes.names_column(column)) {
        return refuse(
            "reclassify",
            "renaming a masked column is refused, because columns are classified by name".to_owned(),
            "Let an operator rename it and adapt the policy.",
        );
    }
    if facts.writes_values && (names_value || facts.flow_is_wide || reads.unknown && facts.flow_has_source) {
        return refuse(
            "write-from-sensitive",
            "writing values read from masked columns is refused".to_owned(),
            "Name the columns to copy, without the masked ones.",
        );
    }
    None
}
