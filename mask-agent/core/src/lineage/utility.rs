//! Statements that are no query: what they do, judged by what stands in them.
//!
//! Values are traced where a statement holds a query; everything else here is about definitions, settings and
//! files, and refuses what would move values where nobody looks.

use pg_query::NodeEnum;

use super::{
    Effect, Env, Masked, Refusal, builtins, functions,
    tree::{self, Facts},
};
use crate::catalog::{Catalog, RelationKind};

/// Whether what a definition will do later was read through, and moves no masked value unseen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Followed {
    #[default]
    No,
    Yes,
}

/// What was found out about a statement that is no query.
pub(super) struct Judged {
    pub(super) refusal: Option<Refusal>,
    pub(super) effect: Effect,
    pub(super) relations: Vec<String>,
    /// Whether it names nothing sensitive and nothing unknown.
    pub(super) is_plain: bool,
}

/// Judges one statement's node in its serialised form.
pub(super) fn judge(facts: &Facts, followed: Followed, env: &Env<'_>, classes: &dyn Masked) -> Judged {
    let catalog = env.catalog;
    let mut reads = Reads::default();
    for relation in &facts.relations {
        reads.relation(relation, env, classes);
    }
    reads.follows = facts.followed.iter().any(|(name, column)| {
        catalog.named(name.schema.as_deref(), &name.name).any(|relation| {
            let known = relation.columns.iter().find(|known| known.name == *column);
            known.is_some_and(|column| classes.is_masked(relation.oid, column.number))
        })
    });
    for function in facts.functions.iter().filter(|function| is_user_code(function, catalog)) {
        if followed == Followed::No || !function.in_default {
            reads.calls();
        }
    }
    // Which columns a domain fills, and from what once its functions are others, is not followed.
    reads.fills_domain = facts.functions.iter().any(|function| {
        let fills = facts.sets_domain_default || function.in_default && facts.command == "CreateDomainStmt";
        let is_made = || {
            let is_own = builtins::builtin(catalog.major(), &function.name).is_some();
            env.overlay.makes_function(&function.name) || env.overlay.has_any() && !is_own
        };
        fills && (is_user_code(function, catalog) || is_made())
    });
    // Of a type, code of users is its casts, its checks and its input.
    if facts.types.iter().any(|name| catalog.has_user_name(name)) {
        reads.calls();
    }
    if facts.fields.iter().any(|field| catalog.has_user_function(field)) {
        reads.calls();
    }
    let is_plain = !reads.sensitive && !reads.unknown;
    let refusal = refusal(facts, followed, is_plain, &reads, catalog, classes);
    let effect = match effect(facts) {
        // Rows that are written run it from now on.
        Effect::None if facts.command == "IndexStmt" && reads.calls_user_code => Effect::Catalog,
        effect @ (Effect::Catalog | Effect::None | Effect::Settings) => effect,
    };
    let relations = facts.relations.iter().chain(&facts.created).map(tree::Name::written).collect();
    Judged { refusal, effect, relations, is_plain }
}

/// Whether a statement calls a function or operator of users anywhere.
pub(super) fn calls_users(statement: &NodeEnum, env: &Env<'_>) -> bool {
    let facts = serde_json::to_value(statement).map(|tree| tree::facts(&tree));
    facts.map_or(true, |facts| {
        let mut called = facts.functions.iter();
        called.any(|called| is_user_code(called, env.catalog) || env.overlay.has_function(&called.name))
    })
}

/// Whether a function or operator is code of users; one nobody knows is.
fn is_user_code(called: &tree::Name, catalog: &Catalog) -> bool {
    match called.schema.as_deref() {
        None | Some("information_schema" | "pg_catalog") => catalog.has_user_function(&called.name),
        Some(_) => {
            let mut known = catalog.routines(&called.name).peekable();
            known.peek().is_none() || known.any(|routine| !routine.harmless)
        }
    }
}

/// What the named relations amount to.
#[derive(Default)]
struct Reads {
    sensitive: bool,
    unknown: bool,
    calls_user_code: bool,
    /// A domain's default does.
    fills_domain: bool,
    /// What is put into a relation is read from a sensitive one.
    flow_sensitive: bool,
    /// What is put into a relation comes from where nobody knows.
    flow_unknown: bool,
    /// A foreign key takes over what a masked column is updated to.
    follows: bool,
    /// A relation in the flow is not in the catalog, nor made by this transaction without masked values.
    flow_missing: bool,
}

impl Reads {
    fn relation(&mut self, name: &tree::Name, env: &Env<'_>, classes: &dyn Masked) {
        let catalog = env.catalog;
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
        }
        self.unknown |= !found;
        let is_plain = || {
            env.overlay.holds_nothing(&name.name, |column| classes.is_masked(column.relation, column.number))
        };
        self.flow_missing |= name.in_flow && !found && !is_plain();
    }

    fn calls(&mut self) {
        self.unknown = true;
        self.calls_user_code = true;
    }
}

/// What is not known to leave definitions alone counts as changing them.
fn effect(facts: &Facts) -> Effect {
    match facts.command {
        "DiscardStmt" | "VariableSetStmt" => Effect::Settings,
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
    followed: Followed,
    plain: bool,
    reads: &Reads,
    catalog: &Catalog,
    classes: &dyn Masked,
) -> Option<Refusal> {
    facts
        .commands
        .iter()
        .filter(|command| {
            let is_read = matches!(**command, "CreateFunctionStmt" | "CreateTrigStmt" | "RuleStmt");
            !(followed == Followed::Yes && is_read && **command == facts.command)
        })
        .find_map(|command| refusal_by_command(command, facts, reads))
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
fn refusal_by_command(command: &str, facts: &Facts, reads: &Reads) -> Option<Refusal> {
    match command {
        "CopyStmt" if facts.copies_file => refuse(
            "copy-file",
            "COPY from or to a file or program of the server is refused".to_owned(),
            "Use COPY … FROM STDIN or TO STDOUT.",
        ),
        "CreateEventTrigStmt" | "CreateTrigStmt" | "RuleStmt" => refuse(
            "hidden-flow",
            "this trigger or rule is refused, because it could move masked values unseen".to_owned(),
            "Let its function be PL/pgSQL without EXECUTE that reads its own row only, or let an operator create it past mask-agent.",
        ),
        "CreateFunctionStmt" if facts.makes_writer => refuse(
            "hidden-flow",
            "a function that might write is refused, because it can move masked values unseen".to_owned(),
            "Let it only read, in SQL or PL/pgSQL without EXECUTE, or let an operator create it past mask-agent.",
        ),
        "AlterDomainStmt" | "CreateDomainStmt" if reads.fills_domain => refuse(
            "hidden-flow",
            "a domain's default that calls a function of users is refused".to_owned(),
            "Give the default to the columns instead, or let an operator create it past mask-agent.",
        ),
        "CreateStmt" | "AlterTableStmt" if reads.follows => refuse(
            "hidden-flow",
            "a foreign key that follows updates of a masked column is refused".to_owned(),
            "Leave out ON UPDATE CASCADE, or let an operator create it past mask-agent.",
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
fn refusal_by_name(facts: &Facts, reads: &Reads, catalog: &Catalog, classes: &dyn Masked) -> Option<Refusal> {
    // Where the snapshot has no such column, it is older than the table.
    let is_new = |column: &String| {
        facts.relations.iter().any(|name| {
            let mut known = catalog.named(name.schema.as_deref(), &name.name).peekable();
            known.peek().is_some()
                && !known.any(|relation| relation.columns.iter().any(|known| known.name == *column))
        })
    };
    let column = reads.sensitive || reads.unknown || facts.renamed.iter().any(is_new);
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

/// Expressions of a definition move values between columns; what a query puts is traced.
fn refusal_by_flow(facts: &Facts, reads: &Reads, classes: &dyn Masked) -> Option<Refusal> {
    if !matches!(facts.command, "AlterTableStmt" | "CreateStmt") {
        return None;
    }
    let names_value = || facts.flow_columns.iter().any(|column| classes.names_column(column));
    // Migrations make a table and alter it in one transaction. Without an expression or a second relation, as ATTACH
    // PARTITION has, every value stays in its column.
    let moves = || {
        let relations = facts.relations.iter().filter(|relation| relation.in_flow).count();
        facts.flow_is_wide || !facts.flow_columns.is_empty() || relations > 1
    };
    let carries = reads.flow_unknown
        || reads.flow_missing && moves()
        || reads.flow_sensitive && (facts.flow_is_wide || names_value())
        // What is put into a new table is followed into what is made of it; a table that nobody knows yet may be full.
        || facts.generates && facts.command == "AlterTableStmt" && names_value();
    if !facts.writes_values || !carries {
        return None;
    }
    refuse(
        "write-from-sensitive",
        "writing values read from masked columns is refused".to_owned(),
        "Name the columns to copy, without the masked ones.",
    )
}
