//! The forms in which a client may say the same statement.

use serde::Deserialize;

use super::{
    Step, Wire,
    bound::{Bound, bound, in_binary},
};
use crate::wire::{Message, bind, bind_values, close, describe, execute, frame, parse, query, sync};

/// A form.
#[derive(Clone, Copy, Debug, Deserialize, Hash, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// One `Query` a statement.
    Simple,
    /// One `Query` for all statements.
    Batch,
    /// Parse, Bind, Describe, Execute with results as text.
    ExtendedText,
    /// The same with results in binary.
    ExtendedBinary,
    /// Described once, executed later without a description.
    ExtendedLate,
    /// Values as parameters, and these as text.
    BoundText,
    /// The same in binary, after a description of their types, with results in binary.
    BoundBinary,
    /// SQL PREPARE and EXECUTE.
    SqlPrepared,
    /// DECLARE and FETCH.
    Cursor,
    /// COPY (…) TO STDOUT.
    Copy,
    /// The same as CSV.
    CopyCsv,
    /// The same in binary.
    CopyBinary,
    /// Messages as the case has written them.
    Wire,
}

impl Form {
    /// All, in the order of reports.
    pub const ALL: [Self; 13] = [
        Self::Simple,
        Self::Batch,
        Self::ExtendedText,
        Self::ExtendedBinary,
        Self::ExtendedLate,
        Self::BoundText,
        Self::BoundBinary,
        Self::SqlPrepared,
        Self::Cursor,
        Self::Copy,
        Self::CopyCsv,
        Self::CopyBinary,
        Self::Wire,
    ];

    /// As in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Simple => "simple",
            Self::Batch => "batch",
            Self::ExtendedText => "extended-text",
            Self::ExtendedBinary => "extended-binary",
            Self::ExtendedLate => "extended-late",
            Self::BoundText => "bound-text",
            Self::BoundBinary => "bound-binary",
            Self::SqlPrepared => "sql-prepared",
            Self::Cursor => "cursor",
            Self::Copy => "copy",
            Self::CopyCsv => "copy-csv",
            Self::CopyBinary => "copy-binary",
            Self::Wire => "wire",
        }
    }

    /// Whether any of the steps can be said this way.
    pub fn fits(self, steps: &[Step]) -> bool {
        let statements: Vec<&str> = steps.iter().filter_map(Step::sql).collect();
        let wire = statements.len() < steps.len();
        match self {
            Self::Wire => wire,
            Self::Simple | Self::ExtendedText | Self::ExtendedBinary => !wire,
            Self::Batch => !wire && statements.len() > 1,
            Self::ExtendedLate => !wire && statements.iter().any(|sql| can_return_rows(sql)),
            Self::BoundText | Self::BoundBinary => {
                !wire && statements.iter().any(|sql| with_parameters(sql).is_some())
            }
            Self::SqlPrepared => !wire && statements.iter().any(|sql| Kind::of(sql).is_optimizable()),
            Self::Cursor => !wire && statements.iter().any(|sql| Kind::of(sql) == Kind::Read),
            Self::Copy | Self::CopyCsv | Self::CopyBinary => {
                !wire && statements.iter().any(|sql| can_return_rows(sql))
            }
        }
    }

    /// What is sent for the steps, each text to be answered before the next.
    pub fn texts(self, steps: &[Step]) -> Vec<Text> {
        if self == Self::Batch {
            let all: Vec<_> = steps.iter().filter_map(Step::sql).collect();
            return vec![Text::Messages(query(&all.join(";\n")), 1)];
        }
        steps.iter().flat_map(|step| self.step(step)).collect()
    }

    fn step(self, step: &Step) -> Vec<Text> {
        let sql = match step {
            Step::Sql(sql) => sql.as_str(),
            Step::Wire(messages) => return vec![written(messages)],
        };
        let as_queries = |texts: &[String]| texts.iter().map(|text| Text::Messages(query(text), 1)).collect();
        let kind = Kind::of(sql);
        match self {
            Self::Batch | Self::Simple | Self::Wire => as_queries(&[sql.to_owned()]),
            Self::ExtendedText => vec![extended(sql, 0)],
            Self::ExtendedBinary => vec![extended(sql, 1)],
            Self::ExtendedLate => late(sql),
            Self::BoundText => with_parameters(sql).map_or_else(|| vec![extended(sql, 0)], bound_text),
            Self::BoundBinary => with_parameters(sql).map_or_else(|| vec![extended(sql, 1)], bound_binary),
            Self::SqlPrepared if kind.is_optimizable() => as_queries(&[
                format!("prepare corpus as {sql}"),
                "execute corpus".to_owned(),
                "deallocate corpus".to_owned(),
            ]),
            Self::Cursor if kind == Kind::Read => as_queries(&[
                format!("declare corpus no scroll cursor for {sql}"),
                "fetch 2 from corpus".to_owned(),
                "fetch all from corpus".to_owned(),
                "close corpus".to_owned(),
            ]),
            Self::Copy if can_return_rows(sql) => as_queries(&[format!("copy ({sql}) to stdout")]),
            Self::CopyCsv if can_return_rows(sql) => {
                as_queries(&[format!("copy ({sql}) to stdout (format csv, header, force_quote *)")])
            }
            Self::CopyBinary if can_return_rows(sql) => {
                as_queries(&[format!("copy ({sql}) to stdout (format binary)")])
            }
            Self::Copy | Self::CopyBinary | Self::CopyCsv | Self::Cursor | Self::SqlPrepared => {
                as_queries(&[sql.to_owned()])
            }
        }
    }
}

/// What is sent in one go.
pub enum Text {
    /// Messages, and how many `ReadyForQuery` they get.
    Messages(Vec<u8>, usize),
    /// Parameters in binary for the statement that the last answer describes.
    Parameters(Vec<String>),
}

impl Text {
    /// Its messages, and how many `ReadyForQuery` they get.
    pub fn messages(self, last: &[Message]) -> (Vec<u8>, usize) {
        match self {
            Self::Messages(messages, ready) => (messages, ready),
            Self::Parameters(values) => {
                let bind = bind_values("", "bound", &in_binary(&values, last), &[1]);
                ([bind, execute("", 0), close(b'S', "bound"), sync()].concat(), 1)
            }
        }
    }
}

/// Whether it may stand in `COPY (…) TO`.
fn can_return_rows(sql: &str) -> bool {
    match Kind::of(sql) {
        Kind::Read => true,
        Kind::Write => sql.to_lowercase().contains("returning"),
        Kind::Utility => false,
    }
}

fn extended(sql: &str, format: u8) -> Text {
    Text::Messages(
        [parse("", sql), bind("", "", &[format]), describe(b'P', ""), execute("", 0), sync()].concat(),
        1,
    )
}

fn late(sql: &str) -> Vec<Text> {
    // What returns no rows is run by the first Execute, and fails at another.
    let again = if can_return_rows(sql) { execute("", 1) } else { vec![] };
    vec![
        Text::Messages([parse("late", sql), describe(b'S', "late"), sync()].concat(), 1),
        Text::Messages([bind("", "late", &[]), again, execute("", 0), sync()].concat(), 1),
        Text::Messages([close(b'S', "late"), sync()].concat(), 1),
    ]
}

/// Only what the planner sees has parameters.
fn with_parameters(sql: &str) -> Option<Bound> {
    Kind::of(sql).is_optimizable().then(|| bound(sql))?
}

fn bound_text(Bound { sql, values }: Bound) -> Vec<Text> {
    let values: Vec<_> = values.into_iter().map(|value| (0, value.into_bytes())).collect();
    let bind = bind_values("", "", &values, &[0]);
    vec![Text::Messages([parse("", &sql), bind, describe(b'P', ""), execute("", 0), sync()].concat(), 1)]
}

fn bound_binary(Bound { sql, values }: Bound) -> Vec<Text> {
    vec![
        Text::Messages([parse("bound", &sql), describe(b'S', "bound"), sync()].concat(), 1),
        Text::Parameters(values),
    ]
}

fn written(messages: &[Wire]) -> Text {
    let mut bytes = vec![];
    let mut ready = 0;
    for message in messages {
        ready += usize::from(matches!(message, Wire::Query(_) | Wire::Sync | Wire::Call(..)));
        bytes.extend(match message {
            Wire::Parse(name, sql) => parse(name, sql),
            Wire::Bind(portal, statement, formats) => bind(portal, statement, formats),
            Wire::Describe(kind, name) => describe(*kind as u8, name),
            Wire::Execute(portal, rows) => execute(portal, *rows),
            Wire::Close(kind, name) => close(*kind as u8, name),
            Wire::Call(function, arguments) => call(*function, arguments),
            Wire::Query(sql) => query(sql),
            Wire::Sync => sync(),
            Wire::Flush => frame(b'H', b""),
        });
    }
    Text::Messages(bytes, ready)
}

/// `FunctionCall` with arguments and result as text.
fn call(function: u32, arguments: &[String]) -> Vec<u8> {
    let count = u16::try_from(arguments.len()).unwrap_or(0);
    let mut body = [&function.to_be_bytes()[..], &[0, 0], &count.to_be_bytes()].concat();
    for argument in arguments {
        body.extend(u32::try_from(argument.len()).unwrap_or(0).to_be_bytes());
        body.extend(argument.bytes());
    }
    body.extend([0, 0]);
    frame(b'F', &body)
}

/// What kind of statement stands there, as far as its form goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Utility,
}

impl Kind {
    fn of(sql: &str) -> Self {
        let lower = sql.to_lowercase();
        let text = lower.trim_start_matches(|letter: char| letter.is_whitespace() || letter == '(');
        let word = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').next();
        let writes = ["insert into", "update ", "delete from", "merge into"];
        match word {
            Some("insert" | "update" | "delete" | "merge") => Self::Write,
            Some("select") if text.contains(" into ") => Self::Utility,
            Some("with") if writes.iter().any(|word| text.contains(word)) => Self::Write,
            Some("select" | "with" | "values" | "table") => Self::Read,
            _ => Self::Utility,
        }
    }

    fn is_optimizable(self) -> bool {
        self != Self::Utility
    }
}

impl Step {
    /// The statement.
    pub fn sql(&self) -> Option<&str> {
        match self {
            Self::Sql(sql) => Some(sql),
            Self::Wire(_) => None,
        }
    }

    /// All text the client says in it.
    pub fn said(&self) -> String {
        match self {
            Self::Sql(sql) => sql.clone(),
            Self::Wire(messages) => format!("{messages:?}"),
        }
    }
}
