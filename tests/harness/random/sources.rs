//! Functions that give tables.

use super::{
    expr::{Column, Generator, Scope},
    tree::{Node, Sort},
    words::Kind::{self, Int, Json, Text, Texts},
};

/// Since a major version: what is said with `{}` for the argument and `@` for the name, what it takes and gives.
type Source = (u16, &'static str, Kind, &'static [(&'static str, Kind)]);

const SOURCES: &[Source] = &[
    (13, "jsonb_each_text(jsonb_build_object('k', {})) as @", Text, &[("key", Text), ("value", Text)]),
    (
        13,
        "jsonb_to_recordset(jsonb_build_array(jsonb_build_object('a', {}))) as @(a text, email text)",
        Json,
        &[("a", Text), ("email", Text)],
    ),
    (13, "rows from (unnest({}), generate_series(1, 2)) as @(a, n)", Texts, &[("a", Text), ("n", Int)]),
    (13, "unnest({}, array[1, 2]) as @(a, n)", Texts, &[("a", Text), ("n", Int)]),
    (13, "unnest(array[row({}, 'b')::app.pair]) as @", Text, &[("first", Text), ("second", Text)]),
    (
        13,
        "jsonb_populate_record(null::app.pair, jsonb_build_object('first', {})) as @",
        Text,
        &[("first", Text), ("second", Text)],
    ),
    (13, "regexp_matches({}, '(.)(.*)') as @(a)", Text, &[("a", Texts)]),
    (
        13,
        "xmltable('//r' passing xmlelement(name d, xmlelement(name r, {})) columns o for ordinality, \
         a text path '.', b text path '@k' default 'b') as @",
        Text,
        &[("o", Int), ("a", Text), ("b", Text)],
    ),
    (
        17,
        "json_table(jsonb_build_array({}), '$[*]' columns (o for ordinality, a text path '$', \
         b jsonb path '$' with wrapper, e text exists path '$.email')) as @",
        Json,
        &[("o", Int), ("a", Text), ("b", Json), ("e", Text)],
    ),
    (
        17,
        "json_table(jsonb_build_object('a', {}), '$' columns (a text path '$.a', \
         nested path '$.*' columns (n text path '$'))) as @",
        Text,
        &[("a", Text), ("n", Text)],
    ),
];

/// Stored, so that they can be sampled.
const SAMPLED: [&str; 7] = [
    "app.customers ",
    "app.c_people ",
    "app.c_mat ",
    "app.c_gen ",
    "app.c_unique ",
    "app.c_events_2 ",
    "app.parts ",
];

impl Generator {
    /// A table that is made of an argument: its text and columns.
    pub(super) fn made_table(&mut self, name: &str, left: &Scope, depth: u32) -> (Node, Vec<Column>) {
        let known: Vec<&Source> = SOURCES.iter().filter(|source| source.0 <= self.major).collect();
        let (_, template, kind, columns) = **self.rng.pick(&known);
        let argument = self.expr(kind, left, depth.min(2));
        let columns = columns.iter().map(|(column, kind)| ((*column).to_owned(), *kind)).collect();
        (Node::new(Sort::Item, &template.replace('@', name), [argument]), columns)
    }

    /// Where a table may be sampled, sometimes how.
    pub(super) fn sample(&mut self, table: &str) -> &'static str {
        if !SAMPLED.iter().any(|sampled| sampled.trim_end() == table) || !self.rng.chance(10) {
            return "";
        }
        self.rng.pick::<&str>(&[" tablesample bernoulli (60) repeatable (1)", " tablesample system (100)"])
    }
}
