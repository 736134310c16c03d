//! IF, CASE, RAISE and other statements.

use std::sync::Arc;

use super::{Piece, Reader, Written, tokens::Span};

impl Reader<'_> {
    pub(super) fn statement(&mut self) -> Option<()> {
        if self.at_assignment() {
            self.assignment()?;
            return self.tokens.expect(";");
        }
        self.label()?;
        let start = self.tokens.at();
        let first = self.tokens.peek()?;
        if first.is_any(&["begin", "declare"]) {
            self.block()?;
            return self.tokens.expect(";");
        }
        let word = first.text.to_ascii_lowercase();
        self.tokens.next()?;
        match &*word {
            "assert" => self.assert(),
            "case" => self.case(),
            "close" => self.tokens.path().map(drop),
            "continue" => self.exit(),
            "exit" => {
                self.exits += 1;
                self.exit()
            }
            "execute" => self.dynamic(&[";"]),
            "fetch" => self.fetch(true),
            "for" => self.for_loop(),
            "foreach" => self.foreach_loop(),
            "get" => self.diagnostics(),
            "if" => self.conditional(),
            "loop" => {
                self.tokens.rewind(start);
                self.loop_body()
            }
            "move" => self.fetch(false),
            "null" => Some(()),
            "open" => self.open(),
            "perform" => self.perform(),
            "raise" => self.raise(),
            "return" => {
                self.exits += 1;
                self.returns()
            }
            "while" => {
                self.push_loop(&["loop"])?;
                self.loop_body()
            }
            _ => {
                self.tokens.rewind(start);
                self.sql()
            }
        }?;
        self.tokens.expect(";")
    }

    /// `names[subscripts].field := value`.
    fn assignment(&mut self) -> Option<()> {
        let mut target = vec![self.tokens.name()?];
        let mut places = Vec::new();
        loop {
            if self.tokens.eat(".") {
                target.push(self.tokens.next()?.field()?);
            } else if self.tokens.eat("[") {
                while !self.tokens.eat("]") {
                    if !self.tokens.eat(":") {
                        let span = self.tokens.until(&[":", "]"])?;
                        let place = self.value(span)?;
                        self.body.pieces.push(Piece::Value(place.clone()));
                        places.push(place);
                    }
                }
            } else {
                break;
            }
        }
        self.tokens.next()?.is_any(&[":=", "="]).then_some(())?;
        let span = self.tokens.until(&[";"])?;
        let value = self.value(span)?;
        // Where there is something in an array, and how long it is, tells where that was put.
        for place in places {
            self.assign(target.clone(), place);
        }
        self.assign(target, value);
        Some(())
    }

    fn conditional(&mut self) -> Option<()> {
        let before = (self.body.pieces.len(), self.exits);
        self.push_value(&["then"])?;
        self.tokens.expect("then")?;
        self.statements()?;
        while self.tokens.eat("elsif") || self.tokens.eat("elseif") {
            self.push_value(&["then"])?;
            self.tokens.expect("then")?;
            self.statements()?;
        }
        if self.tokens.eat("else") {
            self.statements()?;
        }
        self.ends_loops(before);
        self.tokens.expect("end")?;
        self.tokens.expect("if")
    }

    /// What decides whether EXIT or RETURN is reached decides how often a loop around is run.
    fn ends_loops(&mut self, (from, exits): (usize, usize)) {
        if self.exits == exits || self.loops == 0 {
            return;
        }
        for piece in self.body.pieces.iter_mut().skip(from) {
            if let Piece::Value(value) = piece {
                *piece = Piece::Loop(Arc::clone(value));
            }
        }
    }

    fn case(&mut self) -> Option<()> {
        let before = (self.body.pieces.len(), self.exits);
        let tested = if self.tokens.sees("when") {
            None
        } else {
            let span = self.tokens.until(&["when"])?;
            Some(self.value(span)?)
        };
        self.tokens.sees("when").then_some(())?;
        while self.tokens.eat("when") {
            let span = self.tokens.until(&["then"])?;
            let value = self.value(span)?;
            let test = tested.as_ref().map(|tested| {
                let (tested, value) = (&tested.text, &value.text);
                let plain = Written::expression(&format!("({tested}) in ({value})"));
                // It may have a FROM of its own.
                plain.unwrap_or_else(|| Written::joined(format!("(select {tested}) in ({value})")))
            });
            self.body.pieces.push(Piece::Value(test.unwrap_or(value)));
            self.tokens.expect("then")?;
            self.statements()?;
        }
        if self.tokens.eat("else") {
            self.statements()?;
        }
        self.ends_loops(before);
        self.tokens.expect("end")?;
        self.tokens.expect("case")
    }

    fn exit(&mut self) -> Option<()> {
        if !self.tokens.sees("when") && !self.tokens.sees(";") {
            self.tokens.name()?;
        }
        if self.tokens.eat("when") {
            self.push_loop(&[";"])?;
        }
        Some(())
    }

    fn returns(&mut self) -> Option<()> {
        if self.tokens.sees(";") {
            return Some(());
        }
        let field = self.tokens.then_sees(&["."]);
        if !field && self.tokens.eat("query") {
            if self.tokens.eat("execute") {
                return self.dynamic(&[";"]);
            }
            return self.query(&[";"], Vec::new(), true);
        }
        if !field && self.tokens.eat("next") && self.tokens.sees(";") {
            return Some(());
        }
        let span = self.tokens.until(&[";"])?;
        let value = self.value(span)?;
        self.body.pieces.push(Piece::Return(value));
        Some(())
    }

    fn assert(&mut self) -> Option<()> {
        self.push_value(&[",", ";"])?;
        if self.tokens.eat(",") {
            let span = self.tokens.until(&[";"])?;
            let message = self.value(span)?;
            self.body.pieces.push(Piece::Raise(vec![message]));
        }
        Some(())
    }

    fn raise(&mut self) -> Option<()> {
        const LEVELS: [&str; 6] = ["debug", "exception", "info", "log", "notice", "warning"];
        if self.tokens.sees(";") {
            return Some(());
        }
        if self.tokens.peek()?.is_any(&LEVELS) {
            self.tokens.next()?;
        }
        let mut told = Vec::new();
        if self.tokens.peek()?.is_string() {
            self.tokens.next()?;
            while self.tokens.eat(",") {
                let span = self.tokens.until(&[",", ";", "using"])?;
                told.push(self.value(span)?);
            }
        } else if !self.tokens.sees("using") {
            self.condition()?;
        }
        if self.tokens.eat("using") {
            loop {
                self.tokens.name()?;
                self.tokens.next()?.is_any(&["=", ":="]).then_some(())?;
                let span = self.tokens.until(&[",", ";"])?;
                told.push(self.value(span)?);
                if !self.tokens.eat(",") {
                    break;
                }
            }
        }
        self.body.pieces.push(Piece::Raise(told));
        Some(())
    }

    /// `GET STACKED DIAGNOSTICS target = item, …`.
    fn diagnostics(&mut self) -> Option<()> {
        let is_caught = self.tokens.eat("stacked");
        if !is_caught {
            self.tokens.eat("current");
        }
        self.tokens.expect("diagnostics")?;
        loop {
            let target = self.tokens.path()?;
            self.tokens.next()?.is_any(&["=", ":="]).then_some(())?;
            self.tokens.name()?;
            if is_caught {
                self.seen.written.insert(target.clone());
                self.body.pieces.push(Piece::Caught(target));
            } else {
                // How many rows there were is in every variable, as whether there was one is.
                self.assign(target, Written::expression("found")?);
            }
            if !self.tokens.eat(",") {
                return Some(());
            }
        }
    }

    /// After EXECUTE: the text, and INTO and USING in either order.
    pub(super) fn dynamic(&mut self, end: &[&str]) -> Option<()> {
        let until = [end, &["into", "using", ","]].concat();
        self.body.pieces.push(Piece::Dynamic);
        self.push_value(&until)?;
        loop {
            if self.tokens.eat("into") {
                self.tokens.eat("strict");
                let targets = self.tokens.paths()?;
                self.seen.written.extend(targets);
            } else if self.tokens.eat("using") {
                self.push_value(&until)?;
                while self.tokens.eat(",") {
                    self.push_value(&until)?;
                }
            } else {
                return self.tokens.peek()?.is_any(end).then_some(());
            }
        }
    }

    fn perform(&mut self) -> Option<()> {
        let span = self.tokens.until(&[";"])?;
        let sql = Written::statement(format!("SELECT {}", self.tokens.text(span)?))?;
        self.body.pieces.push(Piece::Query { sql, into: Vec::new(), returned: false });
        Some(())
    }

    /// A statement of SQL. INTO is the variables' wherever it stands, but for three commands that need it.
    fn sql(&mut self) -> Option<()> {
        let from = self.tokens.at();
        let first = self.tokens.peek()?;
        first.is_bare_word().then_some(())?;
        let imports = first.is("import");
        let mut hole: Option<Span> = None;
        let mut into = Vec::new();
        while !self.tokens.sees(";") {
            let at = self.tokens.at();
            if !self.tokens.next()?.is("into") || imports || self.names_a_table(at)? {
                continue;
            }
            // The server allows one.
            hole.is_none().then_some(())?;
            self.tokens.eat("strict");
            into = self.tokens.paths()?;
            // It would be taken for a subscript of what stood before INTO.
            (!self.tokens.sees("[")).then_some(())?;
            hole = Some(Span { from: at, to: self.tokens.at() });
        }
        let span = Span { from, to: self.tokens.at() };
        let sql = match hole {
            Some(hole) => self.tokens.text_without(span, hole)?,
            None => self.tokens.text(span)?.to_owned(),
        };
        let sql = Written::statement(sql)?;
        self.seen.written.extend(into.iter().cloned());
        self.body.pieces.push(Piece::Query { sql, into, returned: false });
        Some(())
    }

    /// INSERT INTO and MERGE INTO. A field called so may or may not be, by how many names stand before it.
    fn names_a_table(&self, into: usize) -> Option<bool> {
        let word = |back: usize, words: &[&str]| {
            into.checked_sub(back).and_then(|at| self.tokens.get(at)).is_some_and(|token| token.is_any(words))
        };
        let names = word(1, &["insert", "merge"]);
        (!names || !word(2, &["."])).then_some(names)
    }
}
