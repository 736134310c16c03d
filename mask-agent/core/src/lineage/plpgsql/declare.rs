//! DECLARE: variables, aliases, cursors.

use super::{Piece, Reader, Scalar, tokens::Span};

/// Types without fields that are words of the grammar: nobody else's can be meant.
const WORDS: [&str; 18] = [
    "bigint",
    "boolean",
    "char",
    "character",
    "dec",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "interval",
    "numeric",
    "real",
    "smallint",
    "time",
    "timestamp",
    "varchar",
    "bit",
];
/// Those that are found by their names.
const NAMES: [&str; 12] = [
    "bool",
    "bytea",
    "date",
    "int2",
    "int4",
    "int8",
    "json",
    "jsonb",
    "refcursor",
    "text",
    "timestamptz",
    "uuid",
];
/// What may stand behind one of them, and makes no other type of it.
const BEHIND_SCALAR: [&str; 11] =
    ["(", ":=", ";", "=", "[", "collate", "default", "not", "precision", "varying", "with"];

impl Reader<'_> {
    pub(super) fn declaration(&mut self) -> Option<()> {
        if self.tokens.eat("declare") {
            return Some(());
        }
        let at = self.tokens.at();
        let name = self.tokens.name()?;
        self.body.variables.push(name.clone());
        if self.tokens.eat("alias") {
            return self.alias(name, Span { from: at, to: at + 1 });
        }
        if ["cursor", "no", "scroll"].iter().any(|word| self.tokens.sees(word)) {
            return self.cursor(name);
        }
        self.tokens.eat("constant");
        if self.tokens.sees("record") && self.tokens.then_sees(&[";"]) {
            self.body.records.push(name.clone());
        }
        let named = NAMES.into_iter().find(|word| self.tokens.sees(word));
        if (named.is_some() || WORDS.iter().any(|word| self.tokens.sees(word)))
            && self.tokens.then_sees(&BEHIND_SCALAR)
        {
            self.body.scalars.push(Scalar { name: name.clone(), named });
        }
        self.data_type(&["collate", "not", "=", ":=", "default", ";"])?;
        if self.tokens.eat("collate") {
            self.tokens.path()?;
        }
        if self.tokens.eat("not") {
            self.tokens.expect("null")?;
        }
        if self.tokens.eat(";") {
            return Some(());
        }
        self.tokens.next()?.is_any(&["=", ":=", "default"]).then_some(())?;
        let span = self.tokens.until(&[";"])?;
        let value = self.value(span)?;
        self.assign(vec![name], value);
        self.tokens.expect(";")
    }

    /// Two names of one variable: what goes to either is in both.
    fn alias(&mut self, name: String, alias: Span) -> Option<()> {
        self.tokens.expect("for")?;
        let from = self.tokens.at();
        let aliased = self.tokens.path()?;
        let to = self.tokens.at();
        let value = self.name_value(Span { from, to })?;
        self.assign(vec![name], value);
        let value = self.name_value(alias)?;
        self.assign(aliased, value);
        self.tokens.expect(";")
    }

    /// The words of a type, none of which is an expression.
    fn data_type(&mut self, until: &[&str]) -> Option<()> {
        self.tokens.until(until).map(drop)
    }

    fn cursor(&mut self, name: String) -> Option<()> {
        self.body.scalars.push(Scalar { name: name.clone(), named: None });
        if self.tokens.eat("no") {
            self.tokens.sees("scroll").then_some(())?;
        }
        self.tokens.eat("scroll");
        self.tokens.expect("cursor")?;
        let mut arguments = Vec::new();
        if self.tokens.eat("(") {
            loop {
                arguments.push(self.tokens.name()?);
                self.data_type(&[",", ")"])?;
                if !self.tokens.eat(",") {
                    break;
                }
            }
            self.tokens.expect(")")?;
        }
        self.tokens.next()?.is_any(&["is", "for"]).then_some(())?;
        self.body.variables.extend(arguments.iter().cloned());
        // Two of one name in different blocks cannot be told apart where they are opened.
        self.seen.cursors.insert(name.clone(), arguments).is_none().then_some(())?;
        self.query(&[";"], vec![vec![name]], false)?;
        self.tokens.expect(";")
    }

    /// Arguments of a cursor, in parentheses where it has any.
    pub(super) fn cursor_arguments(&mut self, cursor: &str) -> Option<()> {
        let names = self.seen.cursors.get(cursor)?.clone();
        if names.is_empty() {
            return Some(());
        }
        self.tokens.expect("(")?;
        for positional in &names {
            let mut name = positional.clone();
            if self.tokens.then_sees(&[":=", "=>"]) {
                name = self.tokens.name()?;
                names.contains(&name).then_some(())?;
                self.tokens.next()?;
            }
            let span = self.tokens.until(&[",", ")"])?;
            let value = self.value(span)?;
            self.body.pieces.push(Piece::Assign { target: vec![name], value });
            if !self.tokens.eat(",") {
                break;
            }
        }
        self.tokens.expect(")")
    }
}
