//! Queries.

use super::{
    expr::{Column, Generator, Scope},
    tree::{Node, Sort},
    words::{CLASSIFIED, Kind, PLAIN},
};

/// What a query gives.
pub(super) type Targets = Vec<Column>;

/// Something to read from: its text, its name and its columns without that name.
struct Source {
    node: Node,
    name: String,
    columns: Vec<Column>,
}

/// Whether an item may name those to its left.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sight {
    Left,
    None,
}

impl Generator {
    pub(super) fn name(&mut self, prefix: &str) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn kinds(&mut self, wanted: Option<&[Kind]>) -> Vec<Kind> {
        match wanted {
            Some(kinds) => kinds.to_vec(),
            None => (0..=self.rng.below(4)).map(|_| self.kind()).collect(),
        }
    }

    /// A query of these kinds or of any, which may name the columns of queries around it.
    pub(super) fn query(&mut self, around: &Scope, depth: u32, wanted: Option<&[Kind]>) -> (Node, Targets) {
        let kinds = self.kinds(wanted);
        let known = self.ctes.len();
        let with =
            if depth > 1 && self.rng.chance(15) { self.with(around, depth - 1) } else { Node::nothing() };
        let (body, targets) = if depth > 0 && self.rng.chance(12) {
            self.set_operation(around, depth - 1, &kinds)
        } else {
            self.select(around, depth, &kinds)
        };
        self.ctes.truncate(known);
        (Node::new(Sort::Query, "{}{}", [with, body]), targets)
    }

    fn with(&mut self, around: &Scope, depth: u32) -> Node {
        if self.rng.chance(25) {
            return self.recursive(around, depth);
        }
        let mut items = vec![];
        for _ in 0..=self.rng.below(2) {
            let (query, targets) = self.query(around, depth, None);
            let name = self.name("w");
            let how = *self.rng.pick(&["", "", "materialized ", "not materialized "]);
            items.push(Node::new(Sort::Fixed, &format!("{name} as {how}({{}})"), [query]));
            self.ctes.push((name, targets));
        }
        Node::new(Sort::Optional, "with {} ", [Node::list(", ", items)])
    }

    fn recursive(&mut self, around: &Scope, depth: u32) -> Node {
        let (base, _) = self.query(around, depth, Some(&[Kind::Int, Kind::Text]));
        let name = self.name("r");
        let columns = vec![(format!("{name}.n"), Kind::Int), (format!("{name}.v"), Kind::Text)];
        let scope = Scope { columns, ..around.inner() };
        let next = self.expr(Kind::Text, &scope, 1);
        let template = format!(
            "with recursive {name}(n, v) as (({{}}) union all select {name}.n + 1, {{}} from {name} \
             where {name}.n between 0 and 3) "
        );
        self.ctes.push((name, vec![("n".to_owned(), Kind::Int), ("v".to_owned(), Kind::Text)]));
        Node::new(Sort::Optional, &template, [base, next])
    }

    fn set_operation(&mut self, around: &Scope, depth: u32, kinds: &[Kind]) -> (Node, Targets) {
        let (one, targets) = self.query(around, depth, Some(kinds));
        let (other, _) = self.query(around, depth, Some(kinds));
        let how = *self.rng.pick(&["union all", "union all", "union", "except", "except all", "intersect"]);
        let order = if self.rng.chance(30) {
            Node::text(Sort::Optional, " order by 1 limit 20")
        } else {
            Node::nothing()
        };
        (Node::new(Sort::Fixed, &format!("({{}}) {how} ({{}}){{}}"), [one, other, order]), targets)
    }

    fn select(&mut self, around: &Scope, depth: u32, kinds: &[Kind]) -> (Node, Targets) {
        let (from, mut scope) = self.from(around, depth);
        let filter = if self.rng.chance(35) {
            let condition = self.expr(Kind::Bool, &scope, depth.min(2));
            Node::new(Sort::Optional, " where {}", [condition])
        } else {
            Node::nothing()
        };
        let grouped = self.rng.chance(20);
        let group = if grouped { self.group(&mut scope) } else { Node::nothing() };
        scope.windows = !grouped && depth > 0;
        let mut targets = vec![];
        let mut items = vec![];
        for kind in kinds {
            let name = self.name("c");
            let expr = self.target(*kind, &scope, depth);
            items.push(Node::new(Sort::Fixed, &format!("{{}} as {name}"), [expr]));
            targets.push((name, *kind));
        }
        scope.windows = false;
        let (distinct, order) = self.order(&scope, kinds.len());
        let limit = match self.rng.below(10) {
            0..2 => Node::text(Sort::Optional, " limit 5"),
            2 => Node::text(Sort::Optional, " offset 1"),
            3 => Node::text(Sort::Optional, " fetch first 3 rows only"),
            _ => Node::nothing(),
        };
        let parts = [distinct, Node::list(", ", items), from, filter, group, order, limit];
        (Node::new(Sort::Fixed, "select {}{} from {}{}{}{}{}", parts), targets)
    }

    fn group(&mut self, scope: &mut Scope) -> Node {
        let mut keys: Vec<Column> = vec![];
        for _ in 0..self.rng.below(3) {
            let column = self.rng.pick(&scope.columns).clone();
            if !keys.contains(&column) {
                keys.push(column);
            }
        }
        let names: Vec<&str> = keys.iter().map(|key| key.0.as_str()).collect();
        let names = names.join(", ");
        scope.keys = Some(keys);
        let by = match (names.is_empty(), self.rng.below(7)) {
            (true, _) => String::new(),
            (false, 0) => format!(" group by rollup ({names})"),
            (false, 1) => format!(" group by cube ({names})"),
            (false, 2) => format!(" group by grouping sets (({names}), ())"),
            (false, 3) => format!(" group by grouping sets ({names}, rollup ({names}), ())"),
            (false, _) => format!(" group by {names}"),
        };
        let having = if self.rng.chance(25) {
            let condition = self.expr(Kind::Bool, scope, 1);
            Node::new(Sort::Optional, " having {}", [condition])
        } else {
            Node::nothing()
        };
        Node::new(Sort::Optional, &format!("{by}{{}}"), [having])
    }

    /// `distinct` and `order by`, which must agree.
    fn order(&mut self, scope: &Scope, width: usize) -> (Node, Node) {
        let ordinal = 1 + self.rng.below(width);
        match self.rng.below(10) {
            0 => (
                Node::text(Sort::Optional, "distinct "),
                Node::text(Sort::Optional, format!(" order by {ordinal}")),
            ),
            1 => {
                let key = self.expr(Kind::Text, scope, 1);
                let on = Node::new(Sort::Optional, "distinct on ({}) ", [key.clone()]);
                (on, Node::new(Sort::Optional, " order by {}", [key]))
            }
            2..4 => {
                let kind = self.kind();
                let key = self.expr(kind, scope, 1);
                (Node::nothing(), Node::new(Sort::Optional, " order by {} desc nulls last", [key]))
            }
            4 => (Node::nothing(), Node::text(Sort::Optional, format!(" order by {ordinal}"))),
            _ => (Node::nothing(), Node::nothing()),
        }
    }

    fn from(&mut self, around: &Scope, depth: u32) -> (Node, Scope) {
        let mut scope = around.clone();
        let first = self.source(&scope, depth, Sight::None);
        let mut node = first.node.clone();
        bring(&mut scope, &first);
        let joins = if depth == 0 { 0 } else { [0, 0, 0, 1, 1, 2][self.rng.below(6)] };
        for _ in 0..joins {
            let (joined, right) = self.join(node, &scope, depth - 1);
            node = joined;
            bring(&mut scope, &right);
        }
        (node, scope)
    }

    fn join(&mut self, left: Node, scope: &Scope, depth: u32) -> (Node, Source) {
        let how = self.rng.below(8);
        let sight = if how < 3 { Sight::Left } else { Sight::None };
        let right = self.source(scope, depth, sight);
        let mut both = scope.clone();
        bring(&mut both, &right);
        let keys = |columns: &[Column]| -> Vec<String> {
            columns.iter().filter(|column| column.1 == Kind::Int).map(|column| column.0.clone()).collect()
        };
        let (left_keys, right_keys) = (keys(&scope.columns), keys(&right.columns));
        let equality = if left_keys.is_empty() || right_keys.is_empty() {
            Node::text(Sort::Expr(Kind::Bool), "true")
        } else {
            let (one, other) = (&left_keys[0], &right_keys[0]);
            Node::text(Sort::Expr(Kind::Bool), format!("{one} = {}.{other}", right.name))
        };
        let shared = scope.columns.iter().any(|column| column.0.split('.').next_back() == Some("id"))
            && right.columns.iter().any(|column| column.0 == "id");
        let parts = [left, right.node.clone()];
        let node = match how {
            0 => Node::new(Sort::Item, "{} cross join {}", parts),
            1 | 2 => {
                let condition = if self.rng.chance(50) { equality } else { self.expr(Kind::Bool, &both, 1) };
                let how = *self.rng.pick(&["join", "left join"]);
                let [left, right] = parts;
                Node::new(Sort::Item, &format!("{{}} {how} {{}} on {{}}"), [left, right, condition])
            }
            3 if shared => {
                let how = *self.rng.pick(&["join", "left join", "full join", "right join"]);
                Node::new(Sort::Item, &format!("{{}} {how} {{}} using (id)"), parts)
            }
            4 => Node::new(Sort::Item, "{} natural left join {}", parts),
            5 => Node::new(Sort::Item, "{} natural join {}", parts),
            _ => {
                let how = *self.rng.pick(&["join", "left join", "full join", "right join"]);
                let [left, right] = parts;
                Node::new(Sort::Item, &format!("{{}} {how} {{}} on {{}}"), [left, right, equality])
            }
        };
        (node, right)
    }

    fn source(&mut self, scope: &Scope, depth: u32, sight: Sight) -> Source {
        let left = match sight {
            Sight::Left => scope.inner(),
            Sight::None => Scope { outer: scope.outer.clone(), ..Scope::default() },
        };
        match self.rng.below(100) {
            0..20 if depth > 0 => self.derived(&left, depth - 1),
            20..40 if !self.ctes.is_empty() => {
                let (cte, columns) = self.rng.pick(&self.ctes.clone()).clone();
                let name = self.name("t");
                Source { node: Node::text(Sort::Item, format!("{cte} as {name}")), name, columns }
            }
            40..55 => self.function(&left, depth),
            55..60 => self.values(&left, depth),
            _ => self.table(),
        }
    }

    fn table(&mut self) -> Source {
        let plain = self.rng.chance(20);
        let (table, columns) = if plain { *self.rng.pick(&PLAIN) } else { *self.rng.pick(&CLASSIFIED) };
        let name = self.name("t");
        let mut columns: Vec<Column> =
            columns.iter().map(|(column, kind)| ((*column).to_owned(), *kind)).collect();
        let mut text = format!("{table} as {name}");
        if self.rng.chance(12) {
            let width = 1 + self.rng.below(columns.len());
            let given: Vec<String> = (0..width).map(|_| self.name("a")).collect();
            text = format!("{text}({})", given.join(", "));
            for (column, name) in columns.iter_mut().zip(given) {
                column.0 = name;
            }
        }
        text.push_str(self.sample(table));
        Source { node: Node::text(Sort::Item, text), name, columns }
    }

    fn derived(&mut self, left: &Scope, depth: u32) -> Source {
        let (query, mut columns) = self.query(left, depth, None);
        let name = self.name("t");
        let lateral = if left.outer.is_empty() { "" } else { "lateral " };
        let mut alias = name.clone();
        if self.rng.chance(30) {
            let given: Vec<String> = columns.iter().map(|_| self.name("a")).collect();
            alias = format!("{alias}({})", given.join(", "));
            for (column, name) in columns.iter_mut().zip(given) {
                column.0 = name;
            }
        }
        Source { node: Node::new(Sort::Item, &format!("{lateral}({{}}) as {alias}"), [query]), name, columns }
    }

    fn function(&mut self, left: &Scope, depth: u32) -> Source {
        let (name, column) = (self.name("t"), self.name("a"));
        if self.rng.chance(40) {
            let (node, columns) = self.made_table(&name, left, depth);
            return Source { node, name, columns };
        }
        let (template, kind, given) = *self.rng.pick(&[
            ("unnest({})", Kind::Texts, Kind::Text),
            ("regexp_split_to_table({}, '')", Kind::Text, Kind::Text),
            ("string_to_table({}, '.')", Kind::Text, Kind::Text),
            ("jsonb_array_elements_text(jsonb_build_array({}))", Kind::Text, Kind::Text),
            ("generate_series(1, 2 + length({}) % 2)", Kind::Text, Kind::Int),
            ("app.c_all()", Kind::Text, Kind::Text),
            ("app.c_loop()", Kind::Text, Kind::Text),
            ("jsonb_path_query({}, '$.*')", Kind::Json, Kind::Json),
            ("app.f_same({})", Kind::Text, Kind::Text),
        ]);
        let argument = self.expr(kind, left, depth.min(2));
        let mut columns = vec![(column.clone(), given)];
        let mut tail = format!(" as {name}({column})");
        if self.rng.chance(30) {
            let ordinal = self.name("o");
            tail = format!(" with ordinality as {name}({column}, {ordinal})");
            columns.push((ordinal, Kind::Int));
        }
        Source { node: Node::new(Sort::Item, &format!("{template}{tail}"), [argument]), name, columns }
    }

    fn values(&mut self, left: &Scope, depth: u32) -> Source {
        let name = self.name("t");
        let mut rows = vec![];
        for _ in 0..=self.rng.below(2) {
            let text = self.expr(Kind::Text, left, depth.min(2));
            let number = self.expr(Kind::Int, left, 1);
            rows.push(Node::new(Sort::Fixed, "({}, {})", [text, number]));
        }
        let columns = vec![("v".to_owned(), Kind::Text), ("id".to_owned(), Kind::Int)];
        let lateral = if left.outer.is_empty() { "" } else { "lateral " };
        let template = format!("{lateral}(values {{}}) as {name}(v, id)");
        Source { node: Node::new(Sort::Item, &template, [Node::list(", ", rows)]), name, columns }
    }
}

/// Makes a source's columns known.
fn bring(scope: &mut Scope, source: &Source) {
    let named = source.columns.iter().map(|(column, kind)| (format!("{}.{column}", source.name), *kind));
    scope.columns.extend(named);
    scope.rows.push(source.name.clone());
}
