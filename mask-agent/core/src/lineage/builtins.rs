//! What the functions of `PostgreSQL` itself do with values, by name.
//!
//! `builtins.tsv` has a line for every name in `pg_proc` of the majors 13 to 18. `cargo xtask functions` makes it
//! of the servers and of classes that somebody has read and written down; see
//! `docs/decisions/0004-builtin-functions.md`. A name stands for all its overloads: its class is the worst of theirs.
//!
//! Operators need no table of their own: every built-in operator is one of these functions, and every one of those
//! is [`Class::Flows`]. So is what a cast calls, but for the casts from text to a name of the catalog
//! ([`Class::Metadata`]). `cargo xtask functions --check` makes sure.

use std::{collections::HashMap, sync::LazyLock};

pub(crate) use super::extensions::extension;

/// What a function does with values, from the harmless to the worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// The result carries nothing of any argument's value: a count, a clock, a type.
    Constant,
    /// The result is made of the arguments alone: whatever an argument holds may come out.
    Flows,
    /// It reads what the server holds besides the arguments, but never values of users' rows: names, definitions,
    /// sizes, privileges. The arguments flow too.
    Metadata,
    /// It reads a setting, which may hold what `set_config` was given.
    Setting,
    /// It carries an argument's value to where it is seen outside the result, or in a later statement.
    Channel,
    /// It reads values that no argument names: runs text as SQL, reads files, large objects, other sessions' text,
    /// statistics, raw pages or the write-ahead log.
    Dangerous,
}

/// How a function is called. Of overloads, the first of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Of many rows; with `OVER`, of a window.
    Aggregate,
    /// Only with `OVER`.
    Window,
    /// By `CALL`.
    Procedure,
    /// Of one row.
    Function,
}

/// A function of the server, or several of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Builtin {
    /// The worst of all overloads.
    pub class: Class,
    /// How it is called.
    pub kind: Kind,
    /// Whether an overload returns a set.
    pub returns_set: bool,
    /// Whether an overload returns a row whose columns are not known from here, or overloads disagree on them.
    pub returns_row: bool,
    /// Whether an overload does more than return a result, or returns another one each time.
    pub volatile: bool,
    /// Names of its OUT arguments in order, where all overloads that return sets or rows have the same. A result
    /// of a single value that has a name goes by it in `FROM`, whatever the alias.
    pub columns: &'static [&'static str],
}

/// Made by the grammar of 16 where older servers read the name of a column.
const COLUMN_BEFORE_16: &str = "system_user";

/// The function of this name, folded as the server folds it, in a server of this major; 0 if that is not known.
///
/// Nothing is known of a major that the data was not made of.
pub(crate) fn builtin(major: u16, name: &str) -> Option<&'static Builtin> {
    let named = BUILTINS.get(name)?;
    if major == 0 {
        return (name != COLUMN_BEFORE_16).then_some(&named.any);
    }
    let span = named.spans.iter().find(|span| (span.first..=span.last).contains(&major))?;
    Some(&span.builtin)
}

static BUILTINS: LazyLock<HashMap<&'static str, Named>> = LazyLock::new(|| {
    let mut builtins = HashMap::<_, Named>::new();
    for (name, span) in include_str!("builtins.tsv").lines().filter_map(read) {
        builtins
            .entry(name)
            .and_modify(|named| {
                named.any = named.any.or(span.builtin);
                named.spans.push(span);
            })
            .or_insert_with(|| Named { any: span.builtin, spans: vec![span] });
    }
    builtins
});

struct Named {
    /// What holds in every major that has the name.
    any: Builtin,
    spans: Vec<Span>,
}

/// Majors in which a function is the same.
#[derive(Clone, Copy)]
struct Span {
    first: u16,
    last: u16,
    builtin: Builtin,
}

impl Builtin {
    /// What holds of either.
    fn or(self, other: Self) -> Self {
        let agree = self.columns == other.columns;
        Self {
            class: self.class.max(other.class),
            kind: self.kind.min(other.kind),
            returns_set: self.returns_set || other.returns_set,
            returns_row: self.returns_row || other.returns_row || !agree,
            volatile: self.volatile || other.volatile,
            columns: if agree { self.columns } else { &[] },
        }
    }
}

/// Name, first and last major, class, kind, flags (set, row, volatile) and columns; a dash is nothing.
fn read(line: &'static str) -> Option<(&'static str, Span)> {
    let mut fields = line.split('\t');
    let name = fields.next()?;
    let first = fields.next()?.parse().ok()?;
    let last = fields.next()?.parse().ok()?;
    let class = match fields.next()? {
        "Constant" => Class::Constant,
        "Flows" => Class::Flows,
        "Metadata" => Class::Metadata,
        "Setting" => Class::Setting,
        "Channel" => Class::Channel,
        "Dangerous" => Class::Dangerous,
        _ => return None,
    };
    let kind = match fields.next()? {
        "a" => Kind::Aggregate,
        "w" => Kind::Window,
        "p" => Kind::Procedure,
        "f" => Kind::Function,
        _ => return None,
    };
    let flags = fields.next()?;
    let columns = match fields.next()? {
        "-" => &[][..],
        columns => columns.split(',').collect::<Vec<_>>().leak(),
    };
    let builtin = Builtin {
        class,
        kind,
        returns_set: flags.contains('s'),
        returns_row: flags.contains('r'),
        volatile: flags.contains('v'),
        columns,
    };
    Some((name, Span { first, last, builtin }))
}
