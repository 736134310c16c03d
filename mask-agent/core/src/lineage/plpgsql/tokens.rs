//! The tokens of a body, and a place among them.

use pg_query::protobuf::{KeywordKind, Token as Kind};

/// Words that `PL/pgSQL` takes as its own wherever they stand, from `pl_reserved_kwlist.h`.
const RESERVED: [&str; 24] = [
    "all", "begin", "by", "case", "declare", "else", "end", "execute", "for", "foreach", "from", "if", "in",
    "into", "loop", "not", "null", "or", "strict", "then", "to", "using", "when", "while",
];
/// Longer names are cut by the server, so two that differ may be one.
const NAME_BYTES_MAX: usize = 63;

#[derive(Clone, Copy)]
pub(super) struct Token<'a> {
    pub(super) text: &'a str,
    start: usize,
    end: usize,
    kind: Kind,
    keyword: KeywordKind,
}

impl Token<'_> {
    /// Whether it is this word, written without quotes, or this symbol.
    pub(super) fn is(&self, word: &str) -> bool {
        self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_any(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(word))
    }

    pub(super) fn is_string(&self) -> bool {
        self.kind == Kind::Sconst
    }

    pub(super) fn is_number(&self) -> bool {
        self.kind == Kind::Iconst
    }

    fn is_word(&self) -> bool {
        self.kind == Kind::Ident || self.keyword != KeywordKind::NoKeyword
    }

    /// A word that may begin a statement of SQL.
    pub(super) fn is_bare_word(&self) -> bool {
        self.is_word() && !self.text.starts_with('"') && !self.is_any(&RESERVED)
    }

    /// As the server knows it: lower-cased unless quoted. `None` for what cannot name a variable.
    pub(super) fn name(&self) -> Option<String> {
        if self.is_any(&RESERVED) {
            return None;
        }
        self.field()
    }

    /// The name of a field, which may be a reserved word.
    pub(super) fn field(&self) -> Option<String> {
        if self.kind != Kind::Param && !self.is_word() {
            return None;
        }
        let name = match self.text.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"')?.replace("\"\"", "\""),
            None => self.text.to_ascii_lowercase(),
        };
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }

    /// Whether an expression of only this name reads the variable, and not what SQL means by the word.
    pub(super) fn reads_itself(&self) -> bool {
        self.text.starts_with('"')
            || matches!(self.keyword, KeywordKind::NoKeyword | KeywordKind::UnreservedKeyword)
    }
}

pub(super) struct Tokens<'a> {
    body: &'a str,
    tokens: Vec<Token<'a>>,
    at: usize,
}

/// Tokens from one place up to another.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) from: usize,
    pub(super) to: usize,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(body: &'a str) -> Option<Self> {
        if body.trim().is_empty() {
            return None;
        }
        let mut tokens = Vec::new();
        for token in pg_query::scan_tokens(body).ok()? {
            let (start, end) = (usize::try_from(token.start).ok()?, usize::try_from(token.end).ok()?);
            let text = body.get(start..end)?;
            let kind = Kind::try_from(token.token).ok()?;
            let keyword = KeywordKind::try_from(token.keyword_kind).ok()?;
            match kind {
                Kind::SqlComment | Kind::CComment => {}
                // Its name is written by the numbers of its characters.
                Kind::Uident => return None,
                _ => tokens.push(Token { text, start, end, kind, keyword }),
            }
        }
        Some(Self { body, tokens, at: 0 })
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rewind(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn get(&self, at: usize) -> Option<&Token<'a>> {
        self.tokens.get(at)
    }

    pub(super) fn all(&self) -> &[Token<'a>] {
        &self.tokens
    }

    pub(super) fn peek(&self) -> Option<&Token<'a>> {
        self.get(self.at)
    }

    pub(super) fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek().copied()?;
        self.at += 1;
        Some(token)
    }

    pub(super) fn sees(&self, word: &str) -> bool {
        self.peek().is_some_and(|token| token.is(word))
    }

    /// Whether the token after the next is one of these.
    pub(super) fn then_sees(&self, words: &[&str]) -> bool {
        self.get(self.at + 1).is_some_and(|token| token.is_any(words))
    }

    pub(super) fn eat(&mut self, word: &str) -> bool {
        let seen = self.sees(word);
        self.at += usize::from(seen);
        seen
    }

    pub(super) fn expect(&mut self, word: &str) -> Option<()> {
        self.eat(word).then_some(())
    }

    pub(super) fn name(&mut self) -> Option<String> {
        self.next()?.name()
    }

    /// A variable or a field of one. The server looks at three names at most.
    pub(super) fn path(&mut self) -> Option<Vec<String>> {
        let mut names = vec![self.name()?];
        while self.eat(".") {
            names.push(self.name()?);
        }
        (names.len() <= 3).then_some(names)
    }

    /// Paths parted by commas.
    pub(super) fn paths(&mut self) -> Option<Vec<Vec<String>>> {
        let mut paths = vec![self.path()?];
        while self.eat(",") {
            paths.push(self.path()?);
        }
        Some(paths)
    }

    /// Up to the first of these words outside parentheses, as `read_sql_construct` in `pl_gram.y` reads:
    /// it counts parentheses and brackets only, so an unparenthesised `CASE` does not hide its `THEN`.
    /// The word is left to be read. Nothing at all is no expression.
    pub(super) fn until(&mut self, words: &[&str]) -> Option<Span> {
        let from = self.at;
        let mut depth = 0_usize;
        loop {
            let token = self.peek()?;
            if depth == 0 && token.is_any(words) {
                return (from < self.at).then_some(Span { from, to: self.at });
            }
            match token.text {
                ";" => return None,
                "(" | "[" => depth += 1,
                ")" | "]" => depth = depth.checked_sub(1)?,
                _ => {}
            }
            self.at += 1;
        }
    }

    pub(super) fn text(&self, span: Span) -> Option<&'a str> {
        let last = self.get(span.to.checked_sub(1)?)?;
        self.body.get(self.get(span.from)?.start..last.end)
    }

    /// The text with another stretch of tokens blanked out, as the server blanks INTO, which no statement begins with.
    pub(super) fn text_without(&self, span: Span, hole: Span) -> Option<String> {
        let before = self.text(Span { from: span.from, to: hole.from })?;
        let after = if hole.to < span.to { self.text(Span { from: hole.to, to: span.to })? } else { "" };
        Some(format!("{before} {after}"))
    }
}
