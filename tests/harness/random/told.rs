//! Dictionaries beside classified columns: rows in the clear whose being there, number or place may tell a value.
//!
//! A dictionary's own values are shown where nothing classified has chosen them; those show in disguise as well.

use super::{
    expr::{Generator, Scope},
    tree::{Node, Sort},
    words::{CUSTOMERS, Kind},
};

/// A relation `t` of what a dictionary says, `g`, and what came of a classified value, `v`.
const MEETINGS: [&str; 10] = [
    "(select w as g, w = {} as v from app.c_words, app.customers) t",
    "(select w as g, w < {} as v from app.c_words, app.customers where customers.id = 3) t",
    "(select w as g, w as v from app.c_words union all select null, {} from app.customers) t",
    "(select w as g, w as v from app.c_words union select 'word 0', {} from app.customers) t",
    "(select w as g, coalesce(w, {}) as v from app.c_words full join app.customers on false) t",
    "(select w as g, nullif(w, {}) as v from app.c_words, app.customers) t",
    "(select w as g, (select count(*) from (select d.w union select {} from app.customers) x) as v from app.c_words d) t",
    "(select w as g, (select d.w intersect select {} from app.customers) as v from app.c_words d) t",
    "(select w as g, exists (select 1 from app.customers where {} = w) as v from app.c_words) t",
    "(select w as g, (select max(q) from app.customers, lateral (select w where w = {}) z (q)) as v from app.c_words) t",
];

/// What is asked of it.
const QUESTIONS: [&str; 12] = [
    "select g from {} where v is null",
    "select g from {} where v is not null",
    "select g from {} where v::text in ('true', '1', '20')",
    "select max(g) from {} group by v having count(*) > 1",
    "select min(g) from {} group by v order by v",
    "select g, count(*) over (partition by v) as n from {} order by n desc, g limit 9",
    "select g, row_number() over (order by v desc, g) as n from {} limit 9",
    "select lag(g) over (order by v, g) from {} limit 30",
    "select g from {} order by v desc, g limit 9",
    "select distinct on (v) g from {} order by v, g",
    "select (array_agg(g order by v desc, g))[1:3] from {}",
    "select string_agg(distinct g, ',') filter (where v::text = 'true') from {}",
];

/// Statements by whose effects a later one tells.
const KEPT: [&[&str]; 6] = [
    &[
        "select count(*) from (select case when n.n = {} / 1000 then set_config('told.x', n.n::text, true) end \
         from app.numbers n, app.customers offset 0) x",
        "show told.x",
    ],
    &[
        "select setval('app.seq', 1)",
        "select count(*) from (select coalesce(nullif(n.n > {} / 1000, false)::int, nextval('app.seq')) \
         from app.numbers n, app.customers where customers.id = 3 offset 0) x",
        "select last_value from app.seq",
    ],
    &[
        "insert into app.c_held (id, val) select row_number() over (), {}::text from app.customers",
        "alter table app.c_held rename column val to shown",
        "select shown || '' from app.c_held",
    ],
    &[
        "create table app.told_one as select {}::text as v from app.customers",
        "alter table app.told_one rename to told_two",
        "select v || '' from app.told_two",
    ],
    &["insert into app.c_shows (id, x) select 1, {}::text from app.customers", "select val from app.c_held"],
    &[
        "create table app.told_mom (v text)",
        "create table app.told_kid () inherits (app.told_mom)",
        "insert into app.told_kid select {}::text from app.customers",
        "select v from app.told_mom",
    ],
];

/// What a cursor that a classified value has filtered is used for.
const STANDS: [&str; 3] = [
    "update app.c_words set id = id where current of told returning w",
    "delete from app.c_words where current of told returning w",
    "with x as (delete from app.c_words where current of told returning w) select w from x",
];

impl Generator {
    /// Statements that make a dictionary tell.
    pub(super) fn told(&mut self, depth: u32) -> Vec<Node> {
        match self.rng.below(10) {
            0..7 => vec![self.asked(depth)],
            7 => self.stands(),
            _ => self.kept(depth),
        }
    }

    /// Mostly the column the dictionary is of.
    fn secret(&mut self, kind: Kind, plain: &'static str, depth: u32) -> Node {
        if self.rng.chance(60) {
            return Node::text(Sort::Expr(kind), plain);
        }
        let columns = CUSTOMERS.iter().map(|(name, kind)| (format!("customers.{name}"), *kind)).collect();
        let scope = Scope { columns, ..Scope::default() };
        self.expr(kind, &scope, depth.min(2))
    }

    fn asked(&mut self, depth: u32) -> Node {
        let secret = self.secret(Kind::Text, "customers.ssn", depth);
        let how = *self.rng.pick(&MEETINGS);
        let mut meeting = Node::new(Sort::Item, how, [secret]);
        if self.rng.chance(30) {
            let how = ["", "materialized "];
            let template =
                format!("(with t as {}(select * from {{}}) select * from t) t", self.rng.pick(&how));
            meeting = Node::new(Sort::Item, &template, [meeting]);
        }
        let asks = *self.rng.pick(&QUESTIONS);
        let question = Node::new(Sort::Query, asks, [meeting]);
        if self.rng.chance(30) {
            return Node::new(Sort::Query, "select * from ({}) asked limit 40", [question]);
        }
        question
    }

    fn kept(&mut self, depth: u32) -> Vec<Node> {
        let steps = *self.rng.pick(&KEPT);
        let secret = self.secret(Kind::Int, "customers.salary", depth);
        let step = |text: &&str| Node::new(Sort::Fixed, text, [secret.clone()]);
        steps.iter().map(step).collect()
    }

    fn stands(&mut self) -> Vec<Node> {
        let how =
            ["w in (select ssn from app.customers)", "exists (select from app.customers where ssn = w)"];
        let filter = *self.rng.pick(&how);
        let declare = format!("declare told cursor for select * from app.c_words where {filter} for update");
        let moved = ["move 1 from told", "fetch 2 from told", "move forward 3 from told"];
        let steps = [declare, (*self.rng.pick(&moved)).to_owned(), (*self.rng.pick(&STANDS)).to_owned()];
        steps.into_iter().map(|step| Node::text(Sort::Fixed, step)).collect()
    }
}
