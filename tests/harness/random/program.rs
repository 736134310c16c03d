//! Statements, and what is said before and after them.

use super::{
    expr::{Column, Generator, Scope},
    rng::Rng,
    tree::{Node, Sort},
    words::Kind,
};

/// How deep expressions and queries go.
const DEPTH: u32 = 3;

/// The statements of a seed, as a tree.
pub fn program(seed: u64) -> Node {
    let mut generator = Generator { rng: Rng::new(seed), names: 0, ctes: vec![] };
    Node::list(";\n", generator.statements())
}

impl Generator {
    fn statements(&mut self) -> Vec<Node> {
        let depth = 1 + u32::try_from(self.rng.below(DEPTH as usize)).unwrap_or(0);
        match self.rng.below(100) {
            0..52 => vec![self.top(depth, None)],
            52..58 => self.told(depth),
            58..62 => self.then_read("create temp table made as {}", "select * from made", depth),
            62..65 => self.then_read("create temp view made as {}", "select * from made", depth),
            65..69 => self.then_read("prepare made as {}", "execute made", depth),
            69..73 => self.then_read("declare made scroll cursor for {}", "fetch 5 from made", depth),
            73..77 => self.then_read("copy ({}) to stdout", "", depth),
            77..84 => self.writes_then_read(depth),
            84..90 => {
                let write = self.write(depth).0;
                vec![write]
            }
            90..95 => self.writing_cte(depth),
            95..97 => self.then_read("explain (verbose, costs off) {}", "", depth),
            _ => {
                let query = self.top(depth, None);
                vec![Node::new(
                    Sort::Fixed,
                    "select count(*), max(row_to_json(all_of_it)::text) from ({}) all_of_it",
                    [query],
                )]
            }
        }
    }

    /// A query that gives not too much.
    fn top(&mut self, depth: u32, kinds: Option<&[Kind]>) -> Node {
        let (query, _) = self.query(&Scope::default(), depth, kinds);
        if self.rng.chance(40) {
            return Node::new(Sort::Query, "select * from ({}) some_of_it limit 40", [query]);
        }
        query
    }

    fn then_read(&mut self, template: &str, read: &'static str, depth: u32) -> Vec<Node> {
        let query = self.top(depth, None);
        let made = Node::new(Sort::Fixed, template, [query]);
        let read = (!read.is_empty()).then(|| Node::text(Sort::Fixed, read));
        [made].into_iter().chain(read).collect()
    }

    fn writes_then_read(&mut self, depth: u32) -> Vec<Node> {
        let query = self.top(depth, Some(&[Kind::Int, Kind::Text, Kind::Text]));
        let write = Node::new(Sort::Fixed, "insert into app.c_sink (id, val, more) {}", [query]);
        let columns = vec![
            ("s.id".to_owned(), Kind::Int),
            ("s.val".to_owned(), Kind::Text),
            ("s.more".to_owned(), Kind::Text),
        ];
        let scope = Scope { columns, rows: vec!["s".to_owned()], ..Scope::default() };
        let seen = self.expr(Kind::Text, &scope, depth);
        vec![write, Node::new(Sort::Query, "select {} as c from app.c_sink as s", [seen])]
    }

    /// `insert`, `update`, `delete` or `merge` that gives two columns back where the version can.
    fn write(&mut self, depth: u32) -> (Node, Vec<Column>) {
        let how = self.rng.below(6);
        let target = *self.rng.pick(&[
            ("app.customers", "notes", &["id", "email", "ssn", "city"][..]),
            ("app.c_people", "notes", &["id", "email", "ssn", "city"][..]),
            ("app.c_gen", "email", &["id", "email", "shown"][..]),
            ("app.c_unique", "city", &["id", "ssn", "city"][..]),
            ("app.c_events", "city", &["id", "email", "city"][..]),
            ("app.parts", "notes", &["id", "code", "serial", "city"][..]),
        ]);
        let (table, written, columns) = target;
        let kind = |column: &str| if column == "id" { Kind::Int } else { Kind::Text };
        let own: Vec<Column> = columns.iter().map(|name| (format!("w.{name}"), kind(name))).collect();
        let scope = Scope { columns: own, rows: vec!["w".to_owned()], ..Scope::default() };
        let (query, given) = self.query(&Scope::default(), depth.min(2), Some(&[Kind::Int, Kind::Text]));
        let mut both = scope.clone();
        both.columns.extend(given.iter().map(|(name, kind)| (format!("u.{name}"), *kind)));
        let returned = if how < 2 { &scope } else { &both };
        let id = self.expr(Kind::Int, returned, 1);
        let text = self.expr(Kind::Text, returned, depth.min(2));
        let returning = Node::new(Sort::Fixed, " returning {} as x, {} as y", [id, text]);
        let node = match how {
            0 => {
                let template = "insert into app.c_people as w (id, notes) select 1000 + row_number() over (), {} \
                     from ({}) as u limit 3{}";
                let note = self.expr(
                    Kind::Text,
                    &Scope { columns: both.columns[columns.len()..].to_vec(), ..Scope::default() },
                    1,
                );
                let columns = vec![("w.id".to_owned(), Kind::Int), ("w.notes".to_owned(), Kind::Text)];
                let own = Scope { columns, rows: vec!["w".to_owned()], ..Scope::default() };
                let text = self.expr(Kind::Text, &own, depth.min(2));
                let returning = Node::new(Sort::Fixed, " returning w.id as x, {} as y", [text]);
                Node::new(Sort::Fixed, template, [note, query, returning])
            }
            1 => {
                let value = self.expr(Kind::Text, &scope, 1);
                let template = format!("update {table} as w set {written} = {{}}{{}}");
                Node::new(Sort::Fixed, &template, [value, returning])
            }
            2 | 3 => {
                let value = self.expr(Kind::Text, &both, 2);
                let condition = self.expr(Kind::Bool, &both, 1);
                let filter = Node::new(Sort::Optional, " where {}", [condition]);
                let template = format!(
                    "update {table} as w set {written} = coalesce({{}}, '') from ({{}}) as u{{}}{{}}"
                );
                Node::new(Sort::Fixed, &template, [value, query, filter, returning])
            }
            _ => {
                let condition = self.expr(Kind::Bool, &both, 1);
                let filter = Node::new(Sort::Optional, " where {}", [condition]);
                let template = format!("delete from {table} as w using ({{}}) as u{{}}{{}}");
                Node::new(Sort::Fixed, &template, [query, filter, returning])
            }
        };
        (node, vec![("x".to_owned(), Kind::Int), ("y".to_owned(), Kind::Text)])
    }

    fn writing_cte(&mut self, depth: u32) -> Vec<Node> {
        let (write, columns) = self.write(depth);
        self.ctes.push(("written".to_owned(), columns));
        let (query, _) = self.query(&Scope::default(), depth.min(2), None);
        vec![Node::new(
            Sort::Query,
            "with written as ({}) select * from ({}) as read_back limit 40",
            [write, query],
        )]
    }
}
