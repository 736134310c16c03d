//! Statements that mean something else by the time they are run, and routines that the client makes itself.

use super::{
    expr::{Generator, Scope},
    tree::{Node, Sort},
    words::Kind,
};

/// Tables that stand in two schemas, and their columns.
const SHADED: &str = "select v.contact, v.tax, v.city from c_view v";

/// What changes between a statement's being prepared and its being run.
const CHANGES: [&str; 5] = [
    "create or replace view app.p_view as select id, email as contact, ssn as tax, city from app.customers",
    "create or replace view app.p_barrier as select id, email as contact from app.customers",
    "create or replace function app.p_read() returns text language sql stable as 'select ssn from app.customers limit 1'",
    "create or replace function app.f_rev(value text) returns text language sql stable as \
     'select max(email) from app.customers'",
    "insert into app.c_held (id, val) select id, ssn from app.customers",
];

/// What reads what changes.
const READS: [&str; 5] = [
    "select contact, tax from app.p_view",
    "select id, contact from app.p_barrier",
    "select app.p_read()",
    "select app.f_rev('b')",
    "select x from app.c_shows",
];

impl Generator {
    /// Prepared or opened, then something changes, then run.
    pub(super) fn changed(&mut self, depth: u32) -> Vec<Node> {
        let fixed = |text: String| Node::text(Sort::Fixed, text);
        let query = self.top(depth, None);
        let (before, read, change) = if self.rng.chance(50) {
            let paths = ["shade, app, public", "app, shade, public"];
            let first = self.rng.below(2);
            let path = |at: usize| format!("set local search_path = {}", paths[at]);
            (Some(fixed(path(first))), SHADED, path(1 - first))
        } else {
            let at = self.rng.below(READS.len());
            (None, READS[at], CHANGES[at].to_owned())
        };
        let (prepare, run) = *self.rng.pick(&[
            ("prepare made as", "execute made"),
            (
                "prepare made as",
                "explain (verbose, analyze, timing off, summary off, costs off) execute made",
            ),
            ("prepare made as", "create temp table kept as execute made"),
            ("declare made cursor for", "fetch all from made"),
        ]);
        let prepared = Node::new(
            Sort::Fixed,
            &format!(
                "{prepare} select * from ({read}) first_of_it left join ({{}}) other_of_it on true limit 40"
            ),
            [query],
        );
        let mut steps: Vec<Node> = before.into_iter().collect();
        steps.extend([prepared, fixed(change), fixed(run.to_owned())]);
        if run.starts_with("create") {
            steps.push(fixed("select * from kept".to_owned()));
        }
        steps
    }

    /// A function, trigger or block made by the client.
    pub(super) fn routine(&mut self, depth: u32) -> Vec<Node> {
        let made = |text: &str, query: Node| Node::new(Sort::Fixed, text, [query]);
        let read = |text: &'static str| Node::text(Sort::Fixed, text);
        match self.rng.below(6) {
            0 => {
                let query = self.top(depth, Some(&[Kind::Text]));
                let text = "create function app.made() returns setof text language sql stable as $$ {} $$";
                vec![made(text, query), read("select x || '' from app.made() as x")]
            }
            1 => {
                let query = self.top(depth, Some(&[Kind::Text]));
                let text = "create function app.made() returns setof text language plpgsql stable as $$ \
                     declare r record; begin for r in select v from ({}) as of_it(v) loop return next r.v; end loop; end $$";
                vec![made(text, query), read("select * from app.made()")]
            }
            2 => {
                let columns = vec![("value".to_owned(), Kind::Text), ("much".to_owned(), Kind::Int)];
                let body = self.expr(Kind::Text, &Scope { columns, ..Scope::default() }, depth.min(2));
                let text = "create function app.made(value text, much int) returns text language sql stable as $$ select {} $$";
                vec![
                    made(text, body),
                    read(
                        "select app.made(email, salary), app.made(notes, 1), app.made('b', salary) from app.customers",
                    ),
                ]
            }
            3 => {
                let columns = vec![("new.id".to_owned(), Kind::Int), ("new.val".to_owned(), Kind::Text)];
                let body = self.expr(Kind::Text, &Scope { columns, ..Scope::default() }, depth);
                let text = "create function app.made() returns trigger language plpgsql as $$ \
                     begin new.more := {}; return new; end $$";
                vec![
                    made(text, body),
                    read(
                        "create trigger made before insert on app.c_sink for each row execute function app.made()",
                    ),
                    read(
                        "insert into app.c_sink (id, val) select id, city from app.customers returning more",
                    ),
                    read("select more from app.c_sink"),
                ]
            }
            4 => {
                let query = self.top(depth, Some(&[Kind::Int, Kind::Text, Kind::Text]));
                let text = "do $$ begin insert into app.c_sink (id, val, more) {}; end $$";
                vec![made(text, query), read("select val, more from app.c_sink")]
            }
            _ => {
                let query = self.top(depth, Some(&[Kind::Text]));
                let text = "do $$ declare r text; begin for r in select v from ({}) as of_it(v) loop \
                     raise notice 'it is %', r; end loop; end $$";
                vec![made(text, query)]
            }
        }
    }
}
