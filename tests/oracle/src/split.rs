//! From an SQL script for psql to the statements that the oracle can compare.

use pg_query::{NodeEnum, protobuf::Node};

/// The statements of a script as psql would send them; its own commands and the rows of COPY are left out.
pub(crate) fn split(script: &str) -> Vec<String> {
    let mut splitter = Splitter { script, at: 0, start: 0, depth: 0, statements: Vec::new() };
    while let Some(character) = splitter.rest().chars().next() {
        splitter.step(character);
    }
    splitter.end(script.len());
    splitter.statements
}

struct Splitter<'s> {
    script: &'s str,
    at: usize,
    start: usize,
    depth: usize,
    statements: Vec<String>,
}

impl<'s> Splitter<'s> {
    fn rest(&self) -> &'s str {
        &self.script[self.at..]
    }

    /// Goes past the next occurrence of a text, or to the end.
    fn past(&mut self, text: &str) {
        self.at += self.rest().find(text).map_or(self.rest().len(), |found| found + text.len());
    }

    fn step(&mut self, character: char) {
        let rest = self.rest();
        match character {
            '\'' => self.quoted(),
            '"' => {
                self.at += 1;
                self.past("\"");
            }
            '-' if rest.starts_with("--") => self.past("\n"),
            '/' if rest.starts_with("/*") => self.comment(),
            '$' => self.dollar(),
            '\\' => {
                self.end(self.at);
                self.past("\n");
                self.start = self.at;
            }
            ';' if self.depth == 0 => {
                self.end(self.at);
                self.at += 1;
                self.start = self.at;
                self.skip_rows();
            }
            _ => {
                match character {
                    '(' => self.depth += 1,
                    ')' => self.depth = self.depth.saturating_sub(1),
                    _ => {}
                }
                self.at += character.len_utf8();
            }
        }
    }

    /// A string; in `E'…'` a backslash hides a quote.
    fn quoted(&mut self) {
        let escapes = self.script[self.start..self.at].ends_with(['e', 'E']);
        self.at += 1;
        let mut hidden = false;
        for (at, character) in self.rest().char_indices() {
            if character == '\'' && !hidden {
                self.at += at + 1;
                return;
            }
            hidden = escapes && character == '\\' && !hidden;
        }
        self.at = self.script.len();
    }

    fn comment(&mut self) {
        let mut depth = 0;
        while !self.rest().is_empty() {
            let rest = self.rest();
            if rest.starts_with("/*") {
                depth += 1;
                self.at += 2;
            } else if rest.starts_with("*/") {
                depth -= 1;
                self.at += 2;
                if depth == 0 {
                    return;
                }
            } else {
                self.at += rest.chars().next().map_or(0, char::len_utf8);
            }
        }
    }

    /// `$tag$ … $tag$`, and otherwise a parameter or part of a name.
    fn dollar(&mut self) {
        let rest = self.rest();
        let within_name = self.script[..self.at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let tag = rest[1..].find('$').map(|end| &rest[..end + 2]);
        let is_tag = |tag: &&str| tag[1..tag.len() - 1].chars().all(|c| c.is_alphanumeric() || c == '_');
        match tag
            .filter(is_tag)
            .filter(|tag| !within_name && !tag[1..].starts_with(|c: char| c.is_ascii_digit()))
        {
            Some(tag) => {
                self.at += tag.len();
                self.past(tag);
            }
            None => self.at += 1,
        }
    }

    fn end(&mut self, at: usize) {
        let statement = self.script[self.start..at].trim();
        if !statement.is_empty() {
            self.statements.push(statement.to_owned());
        }
        self.start = at;
        self.depth = 0;
    }

    /// After `COPY … FROM STDIN` come rows, up to a line `\.`.
    fn skip_rows(&mut self) {
        let Some(last) = self.statements.last() else { return };
        let words = last.to_ascii_lowercase();
        if words.starts_with("copy") && words.contains("from stdin") {
            self.past("\n\\.\n");
            self.start = self.at;
        }
    }
}

/// The statements with a rewritten tree in what a script sends: the statement itself, or the query inside one that
/// has one. The reason where there is none.
pub(crate) fn optimizable(statement: &str) -> Result<Vec<String>, String> {
    let parsed = pg_query::parse(statement, 0).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for raw in &parsed.protobuf.stmts {
        let Some(node) = raw.stmt.as_deref().and_then(|node| node.node.as_ref()) else { continue };
        let within = inner(node).and_then(|node| node.node.as_ref());
        let query = within.unwrap_or(node);
        let changed = without_into(query);
        if !is_query(query) {
            continue;
        }
        if within.is_none() && changed.is_none() && parsed.protobuf.stmts.len() == 1 {
            found.push(statement.to_owned());
        } else {
            let query = changed.as_ref().unwrap_or(query);
            found
                .push(query.deparse(pg_query::DeparseOptions::default()).map_err(|error| error.to_string())?);
        }
    }
    Ok(found)
}

fn is_query(node: &NodeEnum) -> bool {
    matches!(
        node,
        NodeEnum::SelectStmt(_)
            | NodeEnum::InsertStmt(_)
            | NodeEnum::UpdateStmt(_)
            | NodeEnum::DeleteStmt(_)
            | NodeEnum::MergeStmt(_)
    )
}

/// The query of SELECT INTO. Of a set operation, the leftmost query says where to.
fn without_into(node: &NodeEnum) -> Option<NodeEnum> {
    let NodeEnum::SelectStmt(select) = node else { return None };
    let mut select = select.clone();
    let mut leftmost = &mut *select;
    while let Some(left) = &mut leftmost.larg {
        leftmost = left;
    }
    leftmost.into_clause.take().map(|_| NodeEnum::SelectStmt(select))
}

fn inner(node: &NodeEnum) -> Option<&Node> {
    match node {
        NodeEnum::CopyStmt(copy) => copy.query.as_deref(),
        NodeEnum::CreateTableAsStmt(create) => create.query.as_deref(),
        NodeEnum::DeclareCursorStmt(declare) => declare.query.as_deref(),
        NodeEnum::ExplainStmt(explain) => explain.query.as_deref(),
        NodeEnum::PrepareStmt(prepare) => prepare.query.as_deref(),
        NodeEnum::ViewStmt(view) => view.query.as_deref(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_falls_into_the_statements_psql_would_send() {
        let script = "select ';', E'\\';', \";\" -- ;\n; /* ; /* ; */ ; */ select $a$;$a$ where $1;\n\
            \\d t\ncreate rule r as on insert to t do (delete from a; delete from b);\n\
            copy t from stdin;\n1;\n\\.\nselect 1 \\gset\nselect 2";
        assert_eq!(
            split(script),
            [
                "select ';', E'\\';', \";\" -- ;",
                "/* ; /* ; */ ; */ select $a$;$a$ where $1",
                "create rule r as on insert to t do (delete from a; delete from b)",
                "copy t from stdin",
                "select 1",
                "select 2",
            ]
        );
    }

    #[test]
    fn the_query_inside_a_statement_stands_for_it() {
        for statement in [
            "create table t as select a from b",
            "create materialized view v as select a from b",
            "create view v as select a from b",
            "select a into t from b",
            "explain select a into t from b",
            "declare c cursor for select a from b",
            "copy (select a from b) to stdout",
            "explain (costs off) select a from b",
            "prepare p as select a from b",
        ] {
            let found = optimizable(statement).unwrap();
            assert_eq!(found.iter().map(|sql| sql.to_lowercase()).collect::<Vec<_>>(), ["select a from b"]);
        }
        assert_eq!(optimizable("table b").unwrap(), ["table b"]);
        assert!(optimizable("create table t (a int)").unwrap().is_empty());
        assert!(optimizable("selec").is_err());
    }
}
