//! What a statement reads, and how far its outputs can be trusted.
//!
//! A conservative rule until columns are traced: a statement that names nothing sensitive and nothing unknown
//! passes; any other shows only outputs whose base column the server names itself, and no data may flow from
//! it to where it would be shown later.

/// Functions of the server, and what they do with values.
mod builtins;
/// Functions of extensions that come with the server.
mod extensions;
/// Functions that reach past the statement they stand in.
mod functions;
/// Nodes of the parse tree.
mod node;
/// Bodies in PL/pgSQL, piece by piece.
#[cfg_attr(not(test), expect(dead_code, reason = "columns are not traced through functions yet"))]
mod plpgsql;
/// Bodies of functions a statement makes.
mod routine;
/// A statement's text without its literals.
mod template;
/// The parse tree, walked node by node.
mod tree;

use crate::{
    catalog::{Catalog, RelationKind},
    policy::Classification,
};
use tree::Facts;

pub use template::template;

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
    /// Whether any of this could be otherwise with other literals in the same places.
    pub needs_literals: bool,
}

/// Why a string cannot be analysed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LineageError {
    /// `PostgreSQL`'s own grammar rejects it.
    #[error("{0}")]
    Syntax(String),
    /// Nested deeper than the parser can follow.
    #[error("statement is nested too deeply to be read")]
    TooDeep,
    /// Longer than any statement that names relations needs to be.
    #[error("statement is longer than {SQL_BYTES_MAX} bytes")]
    TooLong,
}

/// Longer strings are refused; bulk data belongs into parameters or COPY.
pub const SQL_BYTES_MAX: usize = 4 << 20;
/// Stack that the deepest tree the parser lets through needs, some 2,000 levels, even without optimisation.
/// A thread should have more. On one that has less, a stack of this size is made for the call, but there the
/// parser, which measures the thread's own, may stop at a few dozen levels.
pub const STACK_BYTES: usize = 32 << 20;
/// A level takes two bytes of text at least, and without optimisation some 16 KiB of stack.
const STACK_PER_BYTE: usize = 8 << 10;

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
    stacker::maybe_grow(sql.len().saturating_mul(STACK_PER_BYTE).min(STACK_BYTES), STACK_BYTES, || {
        let parsed = pg_query::parse(sql, 0).map_err(LineageError::from)?;
        let statements = parsed.protobuf.stmts.iter().filter_map(|raw| raw.stmt.as_ref());
        statements
            .map(|node| {
                let tree =
                    serde_json::to_value(node).map_err(|error| LineageError::Syntax(error.to_string()))?;
                Ok(judge(&tree::facts(&tree), catalog, classes))
            })
            .collect()
    })
}

impl From<pg_query::Error> for LineageError {
    /// The parser checks its stack and how deep its tree is, so what reads the tree may recurse.
    fn from(error: pg_query::Error) -> Self {
        match error {
            pg_query::Error::Decode(_) => Self::TooDeep,
            pg_query::Error::Parse(message)
                if ["stack depth limit exceeded", "memory exhausted", "nested too deeply"]
                    .iter()
                    .any(|limit| message.contains(limit)) =>
            {
                Self::TooDeep
            }
            error => Self::Syntax(error.to_string()),
        }
    }
}

const HINT_SELECT: &str = "Select the columns you need directly; masked columns come back masked.";

fn judge(facts: &Facts, catalog: &Catalog, classes: &Classification) -> Statement {
    let mut reads = Reads::default();
    for relation in &facts.relations {
        reads.relation(relation, catalog, classes);
    }
    for function in &facts.functions {
        let foreign = function.schema.as_deref().is_some_and(|schema| schema != "pg_catalog");
        if foreign && function.schema.as_deref() != Some("information_schema")
            || catalog.has_user_function(&function.name)
        {
            reads.calls(function.in_flow);
        }
    }
    for field in facts.fields.iter().filter(|field| catalog.has_user_function(&field.name)) {
        reads.calls(field.in_flow);
    }
    let plain = !reads.sensitive && !reads.unknown;
    let refusal = refusal(facts, plain, &reads, catalog, classes);
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
    let effect = effect(facts);
    // Settings are judged by their values; what else is not a query may hold names in literals.
    let queries =
        matches!(facts.command, "DeleteStmt" | "InsertStmt" | "MergeStmt" | "SelectStmt" | "UpdateStmt");
    let needs_literals = !queries || effect != Effect::None || refusal.is_some();
    let effect = match effect {
        // What users wrote may set the search path, as it does where each tenant has a schema.
        Effect::None if reads.runs_user_code(facts) => Effect::Settings,
        Effect::Catalog | Effect::None | Effect::Settings => effect,
    };
    Statement {
        command: facts.command,
        trust,
        effect,
        needs_literals,
        relations: facts.relations.iter().chain(&facts.created).map(tree::Name::written).collect(),
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
    /// A view, whose text is not looked at, where users have functions that it may call.
    hides_calls: bool,
    /// What is put into a relation is read from a sensitive one.
    flow_sensitive: bool,
    /// What is put into a relation comes from where nobody knows.
    flow_unknown: bool,
}

impl Reads {
    fn relation(&mut self, name: &tree::Name, catalog: &Catalog, classes: &Classification) {
        let mut found = false;
        for relation in catalog.named(name.schema.as_deref(), &name.name) {
            found = true;
            let system = matches!(&*relation.schema, "pg_catalog" | "information_schema");
            let derived = match relation.kind {
                RelationKind::Foreign | RelationKind::MaterializedView | RelationKind::View => !system,
                RelationKind::Other | RelationKind::Table => false,
            };
            let sensitive = classes.is_sensitive(relation.oid);
            self.sensitive |= sensitive;
            self.flow_sensitive |= name.in_flow && sensitive;
            // Triggers run on what is written, so only a derived relation is unknown to a reader.
            self.flow_unknown |= name.in_flow && derived;
            self.unknown |= derived || relation.has_user_code && !system;
            self.hides_calls |= derived && catalog.has_user_code();
            self.user_code |= relation.has_user_code && !system;
        }
        self.unknown |= !found;
        self.flow_unknown |= name.in_flow && !found;
    }

    /// Whether code of users may run, by a call, in a view or on what is written.
    fn runs_user_code(&self, facts: &Facts) -> bool {
        let writes = |command: &&str| {
            matches!(*command, "CopyStmt" | "DeleteStmt" | "InsertStmt" | "MergeStmt" | "UpdateStmt")
        };
        self.calls_user_code || self.hides_calls || self.user_code && facts.commands.iter().any(writes)
    }

    fn calls(&mut self, in_flow: bool) {
        self.unknown = true;
        self.calls_user_code = true;
        self.flow_unknown |= in_flow;
    }
}

/// What is not known to leave definitions alone counts as changing them.
fn effect(facts: &Facts) -> Effect {
    match facts.command {
        _ if !facts.created.is_empty() => Effect::Catalog,
        "DiscardStmt" | "VariableSetStmt" => Effect::Settings,
        _ if facts.sets_lexer || facts.functions.iter().any(|function| function.name == "set_config") => {
            Effect::Settings
        }
        "CheckPointStmt" | "ClosePortalStmt" | "ClusterStmt" | "CommentStmt" | "ConstraintsSetStmt"
        | "CopyStmt" | "DeallocateStmt" | "DeclareCursorStmt" | "DeleteStmt" | "ExplainStmt"
        | "FetchStmt" | "GrantRoleStmt" | "GrantStmt" | "IndexStmt" | "InsertStmt" | "ListenStmt"
        | "LockStmt" | "MergeStmt" | "NotifyStmt" | "ReindexStmt" | "SelectStmt" | "TransactionStmt"
        | "TruncateStmt" | "UnlistenStmt" | "UpdateStmt" | "VacuumStmt" | "VariableShowStmt" => Effect::None,
        _ => Effect::Catalog,
    }
}

fn refusal(
    facts: &Facts,
    plain: bool,
    reads: &Reads,
    catalog: &Catalog,
    classes: &Classification,
) -> Option<Refusal> {
    facts
        .commands
        .iter()
        .find_map(|command| refusal_by_command(command, facts, plain, reads))
        .or_else(|| refusal_by_setting(facts))
        .or_else(|| refusal_by_function(facts, plain))
        .or_else(|| refusal_by_name(facts, reads, catalog, classes))
        .or_else(|| refusal_by_flow(facts, reads, classes))
}

#[expect(clippy::unnecessary_wraps, reason = "every caller returns it as it is")]
fn refuse(code: &'static str, message: String, hint: &'static str) -> Option<Refusal> {
    Some(Refusal { code, message, hint })
}

/// Statements that hide what they do, at any depth.
fn refusal_by_command(command: &str, facts: &Facts, plain: bool, reads: &Reads) -> Option<Refusal> {
    match command {
        "DoStmt" | "CallStmt" => refuse(
            "procedure",
            "DO and CALL are refused, because what they run cannot be read".to_owned(),
            "Send the statements themselves.",
        ),
        "PrepareStmt" | "ExecuteStmt" => refuse(
            "sql-prepare",
            "PREPARE and EXECUTE in SQL text are refused".to_owned(),
            "Use the prepared statements of your driver, which work.",
        ),
        "CopyStmt" if facts.copies_file => refuse(
            "copy-file",
            "COPY from or to a file or program of the server is refused".to_owned(),
            "Use COPY … FROM STDIN or TO STDOUT.",
        ),
        "CopyStmt" if !plain && !facts.copies_in => refuse(
            "copy-sensitive",
            "COPY of a relation with masked columns is refused".to_owned(),
            HINT_SELECT,
        ),
        "CreateEventTrigStmt" | "CreateTrigStmt" | "RuleStmt" => refuse(
            "hidden-flow",
            "triggers and rules are refused, because they can move masked values unseen".to_owned(),
            "Let an operator create it past mask-agent.",
        ),
        "CreateFunctionStmt" if facts.makes_writer => refuse(
            "hidden-flow",
            "a function that might write is refused, because it can move masked values unseen".to_owned(),
            "Let it only read, in SQL or PL/pgSQL without EXECUTE, or let an operator create it past mask-agent.",
        ),
        "CreateStmt" | "AlterTableStmt" if reads.calls_user_code => refuse(
            "hidden-flow",
            "a default or expression that calls a function of users is refused".to_owned(),
            "Let an operator create it past mask-agent.",
        ),
        _ => None,
    }
}

fn refusal_by_setting(facts: &Facts) -> Option<Refusal> {
    if !facts.sets_lexer {
        return None;
    }
    refuse(
        "unsafe-setting",
        "this setting would change how statements and values are read".to_owned(),
        "Keep client_encoding at UTF8 and standard_conforming_strings on; change others by SET.",
    )
}

fn refusal_by_function(facts: &Facts, plain: bool) -> Option<Refusal> {
    let called = |matches: fn(&str) -> bool| facts.functions.iter().find(|function| matches(&function.name));
    if let Some(function) = called(functions::is_dangerous) {
        return refuse(
            "dangerous-function",
            format!("function {} is refused, because it reaches past the statement", function.name),
            "Query the tables themselves.",
        );
    }
    let function = called(functions::has_side_channel).filter(|_| !plain)?;
    refuse(
        "side-channel",
        format!("function {} is refused beside masked columns", function.name),
        "Call it in a statement of its own.",
    )
}

/// Columns are classified by their names, their relations' and their schemas'.
fn refusal_by_name(
    facts: &Facts,
    reads: &Reads,
    catalog: &Catalog,
    classes: &Classification,
) -> Option<Refusal> {
    let column = reads.sensitive || reads.unknown;
    let renames = column && facts.renamed.iter().any(|column| classes.names_column(column));
    let schema = facts.moved_schema.as_ref().is_some_and(|schema| {
        catalog.relations().any(|relation| relation.schema == *schema && classes.is_sensitive(relation.oid))
    });
    if !(renames || schema || facts.moves && reads.sensitive) {
        return None;
    }
    refuse(
        "reclassify",
        "renaming what holds masked columns is refused, because columns are classified by name".to_owned(),
        "Let an operator rename it and adapt the policy.",
    )
}

fn refusal_by_flow(facts: &Facts, reads: &Reads, classes: &Classification) -> Option<Refusal> {
    let names_value = || facts.flow_columns.iter().any(|column| classes.names_column(column));
    let carries = reads.flow_unknown
        || reads.flow_sensitive && (facts.flow_is_wide || names_value())
        || facts.generates && names_value();
    if !facts.writes_values || !carries {
        return None;
    }
    refuse(
        "write-from-sensitive",
        "writing values read from masked columns is refused".to_owned(),
        "Name the columns to copy, without the masked ones.",
    )
}

#[cfg(test)]
#[path = "lineage_tests.rs"]
mod tests;
