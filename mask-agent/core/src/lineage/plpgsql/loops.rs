//! FOR, FOREACH and cursors.

use super::{Piece, Reader, tokens::Span};

impl Reader<'_> {
    /// LOOP, its statements, END LOOP and its label.
    pub(super) fn loop_body(&mut self) -> Option<()> {
        self.tokens.expect("loop")?;
        let from = self.body.pieces.len();
        self.loops += 1;
        self.statements()?;
        self.loops -= 1;
        if self.loops == 0 {
            self.body.loops.push(from..self.body.pieces.len());
        }
        self.tokens.expect("end")?;
        self.tokens.expect("loop")?;
        self.end_label()
    }

    pub(super) fn for_loop(&mut self) -> Option<()> {
        let targets = self.tokens.paths()?;
        self.tokens.expect("in")?;
        if self.tokens.eat("execute") {
            self.dynamic(&["loop"])?;
        } else if let Some(cursor) = self.declared_cursor() {
            self.cursor_loop(targets, &cursor)?;
        } else {
            let from = self.tokens.at();
            self.tokens.until(&["..", "loop"])?;
            let over_numbers = self.tokens.sees("..");
            self.tokens.rewind(from);
            if over_numbers {
                self.number_loop(targets)?;
            } else {
                self.seen.written.extend(targets.iter().cloned());
                self.query(&["loop"], targets, false)?;
            }
        }
        self.loop_body()
    }

    /// A cursor's name alone or with its arguments; otherwise a query begins.
    fn declared_cursor(&self) -> Option<String> {
        let name = self.tokens.peek()?.name()?;
        (self.tokens.then_sees(&["loop", "("]) && self.seen.cursors.contains_key(&name)).then_some(name)
    }

    fn cursor_loop(&mut self, targets: Vec<Vec<String>>, cursor: &str) -> Option<()> {
        let at = self.tokens.at();
        // `VALUES (1)` is a query, even where a cursor is called so.
        let token = self.tokens.next()?;
        (!token.is_any(&["select", "table", "values", "with"])).then_some(())?;
        let value = self.name_value(Span { from: at, to: at + 1 })?;
        self.cursor_arguments(cursor)?;
        // It opens the cursor itself, under whatever name: the rows are those of its own query.
        for target in targets {
            self.body.variables.extend(target.first().cloned());
            self.assign(target, value.clone());
        }
        Some(())
    }

    /// The variable gets what its bounds say.
    fn number_loop(&mut self, targets: Vec<Vec<String>>) -> Option<()> {
        let [target] = <[Vec<String>; 1]>::try_from(targets).ok()?;
        self.body.variables.extend(target.first().cloned());
        self.body.counters.extend(target.first().cloned());
        if self.tokens.sees("reverse") && !self.tokens.then_sees(&["."]) {
            self.tokens.next()?;
        }
        for until in [&[".."][..], &["loop", "by"]] {
            let span = self.tokens.until(until)?;
            let value = self.value(span)?;
            self.body.pieces.push(Piece::Loop(value.clone()));
            self.assign(target.clone(), value);
            self.tokens.eat("..");
        }
        if self.tokens.eat("by") {
            let span = self.tokens.until(&["loop"])?;
            let value = self.value(span)?;
            self.body.pieces.push(Piece::Loop(value.clone()));
            self.assign(target, value);
        }
        Some(())
    }

    pub(super) fn foreach_loop(&mut self) -> Option<()> {
        let targets = self.tokens.paths()?;
        if self.tokens.eat("slice") {
            self.tokens.next()?.is_number().then_some(())?;
        }
        self.tokens.expect("in")?;
        self.tokens.expect("array")?;
        let span = self.tokens.until(&["loop"])?;
        let value = self.value(span)?;
        self.body.pieces.push(Piece::Loop(value.clone()));
        for target in targets {
            self.body.counters.extend(target.first().cloned());
            self.assign(target, value.clone());
        }
        self.loop_body()
    }

    pub(super) fn open(&mut self) -> Option<()> {
        let cursor = self.tokens.path()?;
        let [name] = &cursor[..] else { return None };
        if self.tokens.sees(";") {
            return self.seen.cursors.contains_key(name).then_some(());
        }
        if self.tokens.sees("(") {
            return self.cursor_arguments(name);
        }
        if self.tokens.eat("no") {
            self.tokens.sees("scroll").then_some(())?;
        }
        self.tokens.eat("scroll");
        self.tokens.expect("for")?;
        self.seen.cursors.entry(name.clone()).or_default();
        if self.tokens.eat("execute") {
            return self.dynamic(&[";"]);
        }
        self.query(&[";"], vec![cursor], false)
    }

    /// `[direction] [FROM | IN] cursor [INTO targets]`.
    pub(super) fn fetch(&mut self, into: bool) -> Option<()> {
        let start = self.tokens.at();
        if self.tokens.until(&["from", "in"]).is_some() {
            let end = self.tokens.at();
            self.tokens.rewind(start);
            self.direction(end)?;
            self.tokens.next()?;
        } else {
            self.tokens.rewind(start);
            let directed = self.tokens.get(start + 1).is_some_and(|token| !token.is_any(&["into", ";", "."]));
            if directed {
                self.tokens.next()?.is_any(&DIRECTIONS).then_some(())?;
            }
            if directed && self.tokens.peek()?.is("all") {
                self.tokens.next()?;
            }
        }
        let from = self.tokens.at();
        let cursor = self.tokens.path()?;
        let value = self.name_value(Span { from, to: self.tokens.at() })?;
        if !into {
            return Some(());
        }
        self.tokens.expect("into")?;
        let targets = self.tokens.paths()?;
        self.seen.fetched.insert(cursor);
        for target in targets {
            self.assign(target, value.clone());
        }
        Some(())
    }

    /// What stands before FROM or IN: a word, a number of rows, or both.
    fn direction(&mut self, end: usize) -> Option<()> {
        if self.tokens.peek()?.is_any(&DIRECTIONS) {
            self.tokens.next()?;
        }
        self.tokens.eat("all");
        let from = self.tokens.at();
        if from < end {
            let value = self.value(Span { from, to: end })?;
            // It says how many rows are left.
            self.body.pieces.push(Piece::Loop(value));
        }
        self.tokens.rewind(end);
        Some(())
    }
}

const DIRECTIONS: [&str; 8] =
    ["absolute", "backward", "first", "forward", "last", "next", "prior", "relative"];
