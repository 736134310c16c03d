//! Bodies of functions that a statement makes: may they move values where nobody looks?
//!
//! What a function returns is not understood anyway, wherever it is called. What it writes on the way would be
//! seen by nobody, so only a body that cannot write is let through.

use pg_query::{
    DeparseOptions, NodeEnum,
    protobuf::{CreateFunctionStmt, FunctionParameterMode as Mode, Node, VariableSetKind, VariableSetStmt},
};
use serde_json::Value;

use super::{
    code::code,
    functions, names,
    node::{named, strings, text},
    plpgsql::Piece,
};
use crate::catalog::{Routine, RoutineKind, Volatility};

/// Words of a body that write, run text, change settings or speak to others. As names they stand in quotes.
const WRITES: [&str; 16] = [
    "alter", "call", "copy", "create", "delete", "do", "drop", "execute", "grant", "import", "insert",
    "merge", "notify", "set", "truncate", "update",
];

/// Whether every statement of a body stands in it as it runs, and is of a kind that is read through.
pub(super) fn is_followed(routine: &Routine) -> bool {
    let followed = || -> Option<bool> {
        let code = code(routine.definition.as_deref()?)?;
        if routine.language == "sql" || code.created.sql_body.is_some() {
            return Some(code.statements()?.iter().all(is_read_through));
        }
        Some(code.block()?.pieces.iter().all(|piece| match piece {
            Piece::Dynamic => false,
            Piece::Query { sql, .. } => sql.read.as_ref().is_some_and(is_read_through),
            Piece::Assign { .. }
            | Piece::Caught(_)
            | Piece::Loop(_)
            | Piece::Raise(_)
            | Piece::Return(_)
            | Piece::Value(_) => true,
        }))
    };
    matches!(&*routine.language, "plpgsql" | "sql") && followed() == Some(true)
}

fn is_read_through(statement: &Node) -> bool {
    match statement.node.as_ref() {
        Some(NodeEnum::List(several)) => several.items.iter().all(is_read_through),
        Some(NodeEnum::SelectStmt(select)) => select.into_clause.is_none(),
        Some(
            NodeEnum::CallStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::MergeStmt(_)
            | NodeEnum::ReturnStmt(_)
            | NodeEnum::UpdateStmt(_),
        ) => true,
        _ => false,
    }
}

/// Whether a function in this language, with these texts as its body, might write.
pub(super) fn may_write(language: Option<&str>, bodies: &[String]) -> bool {
    match language.map(str::to_lowercase).as_deref() {
        // In SQL it makes a table, in PL/pgSQL it fills a variable.
        Some("sql") => bodies.iter().any(|body| writes(body, &["into"])),
        Some("plpgsql") => bodies.iter().any(|body| writes(body, &[])),
        _ => true,
    }
}

/// What PostgreSQL's scanner skips.
const BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\u{b}', '\u{c}'];

/// What cannot be read counts as writing.
fn writes(body: &str, more: &[&str]) -> bool {
    // The scanner's list of no tokens is a null pointer, which the binding takes for a list.
    if body.chars().all(|letter| BLANKS.contains(&letter)) {
        return false;
    }
    let Ok(tokens) = pg_query::scan_tokens(body) else { return true };
    tokens.iter().any(|token| {
        let (Ok(start), Ok(end)) = (usize::try_from(token.start), usize::try_from(token.end)) else {
            return true;
        };
        let Some(word) = body.get(start..end) else { return true };
        if let Some(name) = word.strip_prefix('"').and_then(|word| word.strip_suffix('"')) {
            return reaches(name);
        }
        let word = word.to_lowercase();
        // A name may be written by the numbers of its characters.
        let escaped = word.starts_with("u&\"");
        escaped || WRITES.contains(&&*word) || more.contains(&&*word) || reaches(&word)
    })
}

fn reaches(name: &str) -> bool {
    name == "set_config" || functions::is_dangerous(name) || functions::has_side_channel(name)
}

/// The function a statement makes, as a snapshot would have it; none where the body is no text.
pub(super) fn made(create: &CreateFunctionStmt, oid: u32) -> Option<Routine> {
    let (schema, name) = names::qualified(&create.funcname);
    let option = |name: &str| {
        create.options.iter().find_map(|option| match option.node.as_ref()? {
            NodeEnum::DefElem(option) if option.defname == name => option.arg.as_deref()?.node.as_ref(),
            _ => None,
        })
    };
    let language = match option("language") {
        Some(NodeEnum::String(language)) => language.sval.to_lowercase(),
        _ if create.sql_body.is_some() => "sql".to_owned(),
        _ => return None,
    };
    let settings = create.options.iter().filter_map(|option| match option.node.as_ref()? {
        NodeEnum::DefElem(option) if option.defname == "set" => Some(option.arg.as_deref()?.node.as_ref()),
        _ => None,
    });
    let search_path = settings.map(|set| match set {
        Some(NodeEnum::VariableSetStmt(set)) => search_path(set),
        _ => None,
    });
    let search_path = search_path.collect::<Option<Vec<_>>>()?.pop();
    let named = |modes: &[Mode]| {
        let parameters = create.parameters.iter().filter_map(|parameter| match parameter.node.as_ref()? {
            NodeEnum::FunctionParameter(parameter) => Some(parameter),
            _ => None,
        });
        let wanted = parameters.filter(|parameter| modes.contains(&parameter.mode()));
        wanted.map(|parameter| parameter.name.clone()).collect::<Vec<_>>()
    };
    let is_procedure = create.is_procedure;
    Some(Routine {
        oid,
        schema,
        name,
        kind: if is_procedure { RoutineKind::Procedure } else { RoutineKind::Function },
        language,
        definition: Some(
            NodeEnum::CreateFunctionStmt(Box::new(create.clone())).deparse(DeparseOptions::default()).ok()?,
        ),
        security_definer: false,
        volatility: Volatility::Volatile,
        inputs: named(&[
            Mode::FuncParamDefault,
            Mode::FuncParamIn,
            Mode::FuncParamInout,
            Mode::FuncParamVariadic,
        ]),
        outputs: named(&[Mode::FuncParamInout, Mode::FuncParamOut, Mode::FuncParamTable]),
        returns: 0,
        returns_set: create.return_type.as_ref().is_some_and(|result| result.setof),
        search_path,
        harmless: false,
        digest: None,
        parts: Vec::new(),
    })
}

/// `SET search_path` of a definition; none for other settings, which might change how names are found.
fn search_path(set: &VariableSetStmt) -> Option<String> {
    let schemas: Option<Vec<String>> = set.args.iter().map(names::literal).collect();
    let schemas = schemas.filter(|_| set.name == "search_path")?;
    let quoted = schemas.iter().map(|schema| format!("\"{}\"", schema.replace('"', "\"\"")));
    Some(quoted.collect::<Vec<_>>().join(", "))
}

/// The search path that ALTER gives a function.
pub(super) enum GivenPath {
    Callers,
    Own(String),
    Unknown,
}

pub(super) fn path_set_to(set: &VariableSetStmt) -> GivenPath {
    match (set.kind(), &*set.name) {
        (VariableSetKind::VarResetAll, _)
        | (VariableSetKind::VarReset | VariableSetKind::VarSetDefault, "search_path") => GivenPath::Callers,
        (VariableSetKind::VarSetValue, _) => search_path(set).map_or(GivenPath::Unknown, GivenPath::Own),
        _ => GivenPath::Unknown,
    }
}

/// Whether a function is a trigger's.
pub(super) fn is_for_triggers(create: &CreateFunctionStmt) -> bool {
    names::type_name(create.return_type.as_ref()) == Some("trigger")
}

/// The language and the texts of a `CREATE FUNCTION`.
pub(super) fn read(statement: &Value) -> (Option<String>, Vec<String>) {
    let options = statement.get("options").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let option = |name: &str| {
        options.iter().filter_map(|option| named(option)).find_map(|(_, option)| {
            (option.get("defname")?.as_str()? == name).then(|| option.get("arg")).flatten()
        })
    };
    let word = |value: &Value| named(value)?.1.get("sval").and_then(text);
    let bodies = option("as").and_then(named).and_then(|(_, list)| list.get("items"));
    (option("language").and_then(word), bodies.map(strings).unwrap_or_default())
}
