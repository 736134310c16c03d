//! Statements, and what is said before and after them.

use super::{
    expr::{Generator, Scope},
    rng::Rng,
    tree::{Node, Sort},
    words::Kind,
};

/// How deep expressions and queries go.
const DEPTH: u32 = 3;

/// The statements of a seed for a server's major version, as a tree.
pub fn program(seed: u64, major: u16) -> Node {
    let mut generator = Generator { rng: Rng::new(seed), names: 0, ctes: vec![], major };
    Node::list(";\n", generator.statements())
}

impl Generator {
    fn statements(&mut self) -> Vec<Node> {
        let depth = 1 + u32::try_from(self.rng.below(DEPTH as usize)).unwrap_or(0);
        match self.rng.below(100) {
            0..40 => vec![self.top(depth, None)],
            40..46 => self.changed(depth),
            46..52 => self.routine(depth),
            52..58 => self.told(depth),
            58..62 => self.then_read("create temp table made as {}", "select * from made", depth),
            62..65 => self.then_read("create temp view made as {}", "select * from made", depth),
            65..69 => self.then_read("prepare made as {}", "execute made", depth),
            69..73 => self.cursor(depth),
            73..77 => self.copied(depth),
            77..81 => self.writes_then_read(depth),
            81..84 => self.merge_then_read(depth),
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
    pub(super) fn top(&mut self, depth: u32, kinds: Option<&[Kind]>) -> Node {
        let (query, _) = self.query(&Scope::default(), depth, kinds);
        if self.rng.chance(40) {
            return Node::new(Sort::Query, "select * from ({}) some_of_it limit 40", [query]);
        }
        query
    }

    fn cursor(&mut self, depth: u32) -> Vec<Node> {
        let how = *self.rng.pick(&[
            "scroll",
            "scroll",
            "binary",
            "insensitive no scroll",
            "scroll cursor with hold",
        ]);
        let how = if how.contains(" cursor ") { how.to_owned() } else { format!("{how} cursor") };
        let moved =
            ["fetch 5 from made", "fetch all in made", "fetch first from made", "fetch absolute 2 from made"];
        let read = *self.rng.pick(&moved);
        let mut steps = self.then_read(&format!("declare made {how} for {{}}"), read, depth);
        if how.starts_with("scroll") && self.rng.chance(40) {
            steps.push(Node::text(Sort::Fixed, "fetch backward 3 from made"));
        }
        steps
    }

    fn copied(&mut self, depth: u32) -> Vec<Node> {
        let options = [
            "",
            " (format csv, header, force_quote *)",
            " (format binary)",
            " (format csv, delimiter ';', null 'b')",
        ];
        let options = *self.rng.pick(&options);
        if self.rng.chance(15) {
            let tables =
                ["app.customers", "app.customers (email, id)", "app.c_people", "app.c_gen", "app.c_events_2"];
            let table = *self.rng.pick(&tables);
            return vec![Node::text(Sort::Fixed, format!("copy {table} to stdout{options}"))];
        }
        self.then_read(&format!("copy ({{}}) to stdout{options}"), "", depth)
    }

    pub(super) fn then_read(&mut self, template: &str, read: &'static str, depth: u32) -> Vec<Node> {
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
