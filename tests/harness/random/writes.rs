//! Statements that write, and give back what they wrote.

use super::{
    expr::{Column, Generator, Scope},
    tree::{Node, Sort},
    words::Kind,
};

/// First major version whose MERGE is there, and whose MERGE gives rows back.
const MERGE: u16 = 15;
const MERGE_RETURNS: u16 = 17;
/// First whose RETURNING tells the old row from the new one.
const OLD_AND_NEW: u16 = 18;

/// Tables, columns of text in them to write, and columns to give back.
const TARGETS: [(&str, &str, &[&str]); 9] = [
    ("app.customers", "notes", &["id", "email", "ssn", "city"]),
    ("app.c_people", "notes", &["id", "email", "ssn", "city"]),
    ("app.c_gen", "email", &["id", "email", "shown"]),
    ("app.c_unique", "city", &["id", "ssn", "city"]),
    ("app.c_events", "city", &["id", "email", "city"]),
    ("app.c_audited", "city", &["id", "email", "city"]),
    ("app.c_view", "city", &["id", "contact", "tax", "city"]),
    ("app.c_barrier", "contact", &["id", "contact"]),
    ("app.parts", "notes", &["id", "code", "serial", "city"]),
];

impl Generator {
    /// `insert`, `update`, `delete` or `merge` that gives two columns back where the version can.
    pub(super) fn write(&mut self, depth: u32) -> (Node, Vec<Column>) {
        let how = self.rng.below(8);
        if how > 5 {
            return self.upsert(depth);
        }
        let target = *self.rng.pick(&TARGETS);
        let (table, written, columns) = target;
        let kind = |column: &str| if column == "id" { Kind::Int } else { Kind::Text };
        let own: Vec<Column> = columns.iter().map(|name| (format!("w.{name}"), kind(name))).collect();
        let scope = Scope { columns: own, rows: vec!["w".to_owned()], ..Scope::default() };
        let (query, given) = self.query(&Scope::default(), depth.min(2), Some(&[Kind::Int, Kind::Text]));
        let mut both = scope.clone();
        both.columns.extend(given.iter().map(|(name, kind)| (format!("u.{name}"), *kind)));
        let returned = if how < 2 { &scope } else { &both };
        let returned = &self.old_and_new(returned);
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

    /// Columns named `old` and `new` in place of some, where the server knows them.
    fn old_and_new(&mut self, scope: &Scope) -> Scope {
        let mut scope = scope.clone();
        if self.major >= OLD_AND_NEW && self.rng.chance(50) {
            for (column, _) in &mut scope.columns {
                if let Some(name) = column.strip_prefix("w.") {
                    *column = format!("{}.{name}", self.rng.pick(&["old", "new"]));
                }
            }
            scope.rows.extend(["old".to_owned(), "new".to_owned()]);
        }
        scope
    }

    /// `insert` that meets rows that are there.
    fn upsert(&mut self, depth: u32) -> (Node, Vec<Column>) {
        let (table, text) =
            *self.rng.pick(&[("app.c_keyed", "val"), ("app.c_people", "notes"), ("app.customers", "notes")]);
        let (query, given) = self.query(&Scope::default(), depth.min(2), Some(&[Kind::Int, Kind::Text]));
        let given: Vec<Column> = given.iter().map(|(name, kind)| (format!("u.{name}"), *kind)).collect();
        let value = self.expr(Kind::Text, &Scope { columns: given, ..Scope::default() }, 1);
        let row = |row: &str| vec![(format!("{row}.id"), Kind::Int), (format!("{row}.{text}"), Kind::Text)];
        let both = Scope {
            columns: [row("w"), row("excluded")].concat(),
            rows: vec!["w".to_owned(), "excluded".to_owned()],
            ..Scope::default()
        };
        let action = if self.rng.chance(25) {
            Node::text(Sort::Fixed, "nothing")
        } else {
            let set = self.expr(Kind::Text, &both, depth.min(2));
            let condition = self.expr(Kind::Bool, &both, 1);
            let filter = Node::new(Sort::Optional, " where {}", [condition]);
            Node::new(Sort::Fixed, &format!("update set {text} = {{}}{{}}"), [set, filter])
        };
        let own = Scope { columns: row("w"), rows: vec!["w".to_owned()], ..Scope::default() };
        let own = self.old_and_new(&own);
        let id = self.expr(Kind::Int, &own, 1);
        let shown = self.expr(Kind::Text, &own, depth.min(2));
        let template = format!(
            "insert into {table} as w (id, {text}) select row_number() over (), {{}} from ({{}}) as u limit 2 \
             on conflict (id) do {{}} returning {{}} as x, {{}} as y"
        );
        let node = Node::new(Sort::Fixed, &template, [value, query, action, id, shown]);
        (node, vec![("x".to_owned(), Kind::Int), ("y".to_owned(), Kind::Text)])
    }

    /// `merge`, and what is there afterwards.
    pub(super) fn merge_then_read(&mut self, depth: u32) -> Vec<Node> {
        if self.major < MERGE {
            return vec![self.upsert(depth).0];
        }
        let (table, text, columns) = *self.rng.pick(&TARGETS[..6]);
        let kind = |column: &str| if column == "id" { Kind::Int } else { Kind::Text };
        let own: Vec<Column> = columns.iter().map(|name| (format!("w.{name}"), kind(name))).collect();
        let (query, given) = self.query(&Scope::default(), depth.min(2), Some(&[Kind::Int, Kind::Text]));
        let given: Vec<Column> = given.iter().map(|(name, kind)| (format!("u.{name}"), *kind)).collect();
        let source = Scope { columns: given.clone(), rows: vec!["u".to_owned()], ..Scope::default() };
        let both = Scope {
            columns: own.into_iter().chain(given.clone()).collect(),
            rows: vec!["w".to_owned(), "u".to_owned()],
            ..Scope::default()
        };
        let on = self.expr(Kind::Bool, &both, 1);
        let set = self.expr(Kind::Text, &both, depth.min(2));
        let put = self.expr(Kind::Text, &source, 1);
        let condition = self.expr(Kind::Bool, &both, 1);
        let when = Node::new(Sort::Optional, " and {}", [condition]);
        let mut parts = vec![query, on, when, set, put];
        let mut template = format!(
            "merge into {table} as w using (select * from ({{}}) one_row limit 1) as u on w.id = 1 and {{}} \
             when matched{{}} then update set {text} = coalesce({{}}, '') when matched then do nothing \
             when not matched then insert (id, {text}) values (99, {{}})"
        );
        if self.major >= MERGE_RETURNS {
            let scope = self.old_and_new(&both);
            template.push_str(" returning merge_action(), {} as y");
            parts.push(self.expr(Kind::Text, &scope, depth.min(2)));
        }
        let merge = Node::new(Sort::Fixed, &template, parts);
        let read =
            Node::text(Sort::Fixed, format!("select {text} || '' as c from {table} where id in (1, 99)"));
        vec![merge, read]
    }
}
