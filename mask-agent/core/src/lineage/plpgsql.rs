//! Bodies in PL/pgSQL, taken apart into the SQL and the expressions they are made of.
//!
//! Follows `pl_gram.y` token by token: where the server ends an expression, takes out an INTO or prefers a
//! keyword to a variable, so does this. Flow is not followed. What is not read for certain is not read at all.

/// DECLARE: variables, aliases, cursors.
mod declare;
/// FOR, FOREACH and cursors.
mod loops;
/// IF, CASE, RAISE and other statements.
mod statements;
/// The tokens of a body.
mod tokens;
/// The SQL in a body.
mod written;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{SQL_BYTES_MAX, STACK_BYTES, STACK_PER_BYTE};
use tokens::{Span, Tokens};
pub(super) use written::Written;

/// What a body does, piece by piece, in no particular order of execution.
#[derive(Debug, Default)]
pub(super) struct Body {
    /// Names of variables declared in it at any depth, loop variables, cursors and their arguments included,
    /// lower-cased unless quoted.
    pub(super) variables: Vec<String>,
    /// Those of them that are another value each time a loop comes round.
    pub(super) counters: Vec<String>,
    /// Those declared as `record`, whose fields have the names of columns.
    pub(super) records: Vec<String>,
    /// Those that have no fields: of a type of the server's own, and cursors.
    pub(super) scalars: Vec<Scalar>,
    pub(super) pieces: Vec<Piece>,
    /// Whether it catches errors, and may say what they say.
    pub(super) catches: bool,
    /// Which pieces stand in loops, in order.
    loops: Vec<Range<usize>>,
}

/// A variable that has no fields.
#[derive(Debug)]
pub(super) struct Scalar {
    name: String,
    /// What its type is called, where users may have one of that name as well.
    named: Option<&'static str>,
}

impl Body {
    /// Whether a piece is done again and again.
    pub(super) fn is_repeated(&self, at: usize) -> bool {
        matches!(self.pieces.get(at), Some(Piece::Loop(_))) || self.is_in_loop(at)
    }

    /// Whether a piece stands between LOOP and END LOOP.
    pub(super) fn is_in_loop(&self, at: usize) -> bool {
        let before = self.loops.partition_point(|pieces| pieces.end <= at);
        self.loops.get(before).is_some_and(|pieces| pieces.contains(&at))
    }

    pub(super) fn has_loops(&self) -> bool {
        !self.loops.is_empty()
    }

    /// Names that stand for nothing with fields wherever they are declared.
    pub(super) fn without_fields(&self, is_of_users: impl Fn(&str) -> bool) -> Vec<String> {
        let has_none = |scalar: &&Scalar| !scalar.named.is_some_and(&is_of_users);
        let scalars: Vec<_> = self.scalars.iter().filter(has_none).map(|scalar| &scalar.name).collect();
        let is_always = |name: &&&String| {
            let declared = self.variables.iter().filter(|other| *other == **name).count();
            scalars.iter().filter(|other| other == name).count() == declared
        };
        scalars.iter().filter(is_always).map(|name| (*name).clone()).collect()
    }

    /// Whether it does one thing or another.
    pub(super) fn decides(&self) -> bool {
        let decides = |piece: &Piece| matches!(piece, Piece::Loop(_) | Piece::Value(_));
        self.catches || self.pieces.iter().any(decides)
    }
}

/// One thing a body does.
#[derive(Debug)]
pub(super) enum Piece {
    /// The target by its names, and an expression it may get its value from. The target of a cursor's rows has
    /// the cursor as its value, and the cursor has those of its query.
    Assign { target: Vec<String>, value: Arc<Written> },
    /// What an error says goes to a variable.
    Caught(Vec<String>),
    /// SQL put together while running.
    Dynamic,
    /// A whole statement without its INTO clause.
    Query {
        sql: Arc<Written>,
        /// Variables that its rows go to.
        into: Vec<Vec<String>>,
        /// Its rows are what the function returns.
        returned: bool,
    },
    /// An expression that decides how often something happens.
    Loop(Arc<Written>),
    /// Expressions told to the client.
    Raise(Vec<Arc<Written>>),
    /// What the function returns.
    Return(Arc<Written>),
    /// An expression that only decides what happens.
    Value(Arc<Written>),
}

/// Blocks and loops in each other; more are not read.
const DEPTH_MAX: usize = 100;

/// Takes a body apart, or says that it cannot.
pub(super) fn read(body: &str) -> Option<Body> {
    if body.len() > SQL_BYTES_MAX {
        return None;
    }
    stacker::maybe_grow(body.len().saturating_mul(STACK_PER_BYTE).min(STACK_BYTES), STACK_BYTES, || {
        let tokens = Tokens::new(body)?;
        let mut reader =
            Reader { tokens, body: Body::default(), seen: Seen::default(), depth: 0, exits: 0, loops: 0 };
        reader.function()?;
        reader.check()?;
        Some(reader.body)
    })
}

/// Names that the whole body has to be known for to be understood.
#[derive(Default)]
struct Seen {
    labels: BTreeSet<String>,
    /// Cursors that have a query in this body, and their arguments.
    cursors: BTreeMap<String, Vec<String>>,
    /// Cursors that rows are taken from.
    fetched: BTreeSet<Vec<String>>,
    /// Variables that are given values.
    written: BTreeSet<Vec<String>>,
}

struct Reader<'a> {
    tokens: Tokens<'a>,
    body: Body,
    seen: Seen,
    depth: usize,
    /// EXIT and RETURN so far.
    exits: usize,
    /// Loops around.
    loops: usize,
}

impl Reader<'_> {
    fn function(&mut self) -> Option<()> {
        while self.tokens.eat("#") {
            let option = self.tokens.next()?;
            let value = self.tokens.next()?;
            let known = option.is("option") && value.is("dump")
                || option.is("print_strict_params") && value.is_any(&["on", "off"])
                || option.is("variable_conflict") && value.is("error");
            known.then_some(())?;
        }
        self.label()?;
        self.block()?;
        self.tokens.eat(";");
        self.tokens.peek().is_none().then_some(())
    }

    /// `<<label>>`, where there is one.
    fn label(&mut self) -> Option<()> {
        if self.tokens.eat("<<") {
            self.seen.labels.insert(self.tokens.name()?);
            self.tokens.expect(">>")?;
        }
        Some(())
    }

    /// From DECLARE or BEGIN up to END and its label.
    fn block(&mut self) -> Option<()> {
        if self.tokens.eat("declare") {
            while !self.tokens.sees("begin") {
                self.declaration()?;
            }
        }
        self.tokens.expect("begin")?;
        self.statements()?;
        if self.tokens.eat("exception") {
            self.body.catches = true;
            self.tokens.sees("when").then_some(())?;
            while self.tokens.eat("when") {
                self.condition()?;
                while self.tokens.eat("or") {
                    self.condition()?;
                }
                self.tokens.expect("then")?;
                self.statements()?;
            }
        }
        self.tokens.expect("end")?;
        self.end_label()
    }

    /// The name of an error that is caught.
    fn condition(&mut self) -> Option<()> {
        let token = self.tokens.next()?;
        token.name()?;
        if token.is("sqlstate") {
            return self.tokens.next()?.is_string().then_some(());
        }
        Some(())
    }

    /// The label repeated after END.
    fn end_label(&mut self) -> Option<()> {
        if self.tokens.peek().is_some_and(|token| !token.is(";")) {
            self.tokens.name()?;
        }
        Some(())
    }

    /// Statements up to a word that ends them, which is left to be read.
    fn statements(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth <= DEPTH_MAX).then_some(())?;
        while !self.at_end()? {
            self.statement()?;
        }
        self.depth -= 1;
        Some(())
    }

    fn at_end(&self) -> Option<bool> {
        let token = self.tokens.peek()?;
        Some(
            token.is_any(&["else", "end", "when"])
                || token.is_any(&["elseif", "elsif", "exception"]) && !self.at_assignment(),
        )
    }

    /// A word before one of these is a variable, even one that has the name of a statement.
    fn at_assignment(&self) -> bool {
        self.tokens.peek().is_some_and(|token| token.name().is_some())
            && self.tokens.then_sees(&[".", ":=", "=", "["])
    }

    fn value(&mut self, span: Span) -> Option<Arc<Written>> {
        Written::expression(self.tokens.text(span)?)
    }

    fn push_value(&mut self, until: &[&str]) -> Option<()> {
        let span = self.tokens.until(until)?;
        let value = self.value(span)?;
        self.body.pieces.push(Piece::Value(value));
        Some(())
    }

    /// The same for what decides when a loop ends.
    fn push_loop(&mut self, until: &[&str]) -> Option<()> {
        let span = self.tokens.until(until)?;
        let value = self.value(span)?;
        self.body.pieces.push(Piece::Loop(value));
        Some(())
    }

    fn assign(&mut self, target: Vec<String>, value: Arc<Written>) {
        self.seen.written.insert(target.clone());
        self.body.pieces.push(Piece::Assign { target, value });
    }

    /// A query up to one of these words, from which the server takes no INTO.
    fn query(&mut self, until: &[&str], into: Vec<Vec<String>>, returned: bool) -> Option<()> {
        let span = self.tokens.until(until)?;
        let sql = Written::statement(self.tokens.text(span)?.to_owned())?;
        self.body.pieces.push(Piece::Query { sql, into, returned });
        Some(())
    }

    /// A name alone, as the value of another variable.
    fn name_value(&self, span: Span) -> Option<Arc<Written>> {
        self.tokens.get(span.from)?.reads_itself().then_some(())?;
        Written::expression(self.tokens.text(span)?)
    }

    /// What only the whole body shows.
    fn check(&self) -> Option<()> {
        // `label.variable` is the variable by another name.
        let qualified = self.tokens.all().windows(2).any(|pair| {
            pair[1].is(".") && pair[0].field().is_some_and(|name| self.seen.labels.contains(&name))
        });
        // Rows of a cursor that was opened elsewhere, or whose variable was given another one's name.
        let known = |cursor: &Vec<String>| cursor.len() == 1 && self.seen.cursors.contains_key(&cursor[0]);
        (!qualified
            && self.seen.fetched.iter().all(known)
            && self.seen.fetched.is_disjoint(&self.seen.written))
        .then_some(())
    }
}

#[cfg(test)]
#[path = "plpgsql/plpgsql_tests.rs"]
mod tests;
