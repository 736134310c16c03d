//! Expressions.

use super::{
    forms::{NEWER, NEWER_AGGREGATES, SETS},
    rng::Rng,
    tree::{Node, Sort},
    words::{AGGREGATES, FORMS, FRAMES, Form, Kind, ORDERED_AGGREGATES, ROW_FORMS, WINDOWS},
};

/// A column as it is written, and its kind.
pub(super) type Column = (String, Kind);

/// What an expression may name.
#[derive(Clone, Debug, Default)]
pub(super) struct Scope {
    pub(super) columns: Vec<Column>,
    /// Names that stand for whole rows.
    pub(super) rows: Vec<String>,
    /// Of the queries around.
    pub(super) outer: Vec<Column>,
    /// What of the columns may stand outside of aggregates, where the query is grouped.
    pub(super) keys: Option<Vec<Column>>,
    pub(super) windows: bool,
}

impl Scope {
    /// As its subqueries see it.
    pub(super) fn inner(&self) -> Scope {
        let seen = self.keys.as_ref().unwrap_or(&self.columns);
        Scope { outer: seen.iter().chain(&self.outer).cloned().collect(), ..Scope::default() }
    }

    /// Inside of an aggregate or a window.
    fn plain(&self) -> Scope {
        Scope { keys: None, windows: false, ..self.clone() }
    }
}

/// Makes statements.
pub(super) struct Generator {
    pub(super) rng: Rng,
    pub(super) names: u32,
    /// Names that `with` gives, and their columns.
    pub(super) ctes: Vec<(String, Vec<Column>)>,
    /// Of the server.
    pub(super) major: u16,
}

impl Generator {
    pub(super) fn kind(&mut self) -> Kind {
        use Kind::{Bool, Date, Int, Json, Num, Text, Texts};
        *self.rng.pick(&[Text, Text, Text, Text, Text, Int, Int, Num, Date, Bool, Texts, Json])
    }

    /// An expression of a kind.
    pub(super) fn expr(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        if depth == 0 || self.rng.chance(25) {
            return self.leaf(kind, scope);
        }
        match self.rng.below(100) {
            0..10 => self.subquery(kind, scope, depth),
            10..25 if scope.windows && scope.keys.is_none() => self.window(kind, scope, depth),
            10..40 if scope.keys.is_some() => self.aggregate(kind, scope, depth),
            40..46 if !scope.rows.is_empty() && scope.keys.is_none() => self.row(kind, scope),
            46..50 => {
                let inner = self.expr(kind, scope, depth - 1);
                Node::new(Sort::Expr(kind), &format!("({{}})::{}", kind.name()), [inner])
            }
            _ => self.form(kind, scope, depth),
        }
    }

    /// A target of a list, which may give several rows.
    pub(super) fn target(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        if scope.keys.is_none()
            && depth > 0
            && self.rng.chance(5)
            && let Some((_, template, kinds)) = self.pick(SETS, kind)
        {
            let children = self.all(kinds, scope, depth);
            return Node::new(Sort::Expr(kind), template, children);
        }
        self.expr(kind, scope, depth)
    }

    /// One of those that the server knows.
    fn pick_newer(&mut self, lists: &[(u16, &'static [Form])], kind: Kind) -> Option<&'static Form> {
        let known =
            lists.iter().filter(|(since, _)| *since <= self.major).flat_map(|(_, forms)| forms.iter());
        let fitting: Vec<&'static Form> = known.filter(|form| form.0 == kind).collect();
        (!fitting.is_empty()).then(|| *self.rng.pick(&fitting))
    }

    fn pick(&mut self, forms: &'static [Form], kind: Kind) -> Option<&'static Form> {
        let fitting: Vec<_> = forms.iter().filter(|form| form.0 == kind).collect();
        (!fitting.is_empty()).then(|| *self.rng.pick(&fitting))
    }

    fn form(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        let newer = if self.rng.chance(35) { self.pick_newer(NEWER, kind) } else { None };
        let Some((_, template, kinds)) = newer.or_else(|| self.pick(FORMS, kind)) else {
            return self.leaf(kind, scope);
        };
        let children = self.all(kinds, scope, depth);
        Node::new(Sort::Expr(kind), template, children)
    }

    fn all(&mut self, kinds: &[Kind], scope: &Scope, depth: u32) -> Vec<Node> {
        kinds.iter().map(|kind| self.expr(*kind, scope, depth.saturating_sub(1))).collect()
    }

    /// A column, or where there is none, one of another kind cast to it, or a literal.
    fn leaf(&mut self, kind: Kind, scope: &Scope) -> Node {
        let sort = Sort::Expr(kind);
        if scope.keys.is_some() && self.rng.chance(50) {
            return self.aggregate(kind, scope, 1);
        }
        let near = scope.keys.as_ref().unwrap_or(&scope.columns);
        let columns = if self.rng.chance(15) || near.is_empty() { &scope.outer } else { near };
        let fitting: Vec<_> = columns.iter().filter(|column| column.1 == kind).collect();
        if !fitting.is_empty() && self.rng.chance(90) {
            let column = self.rng.pick(&fitting).0.clone();
            let of_row = |row: &str| scope.rows.iter().any(|known| known == row);
            return match column.split_once('.') {
                Some((row, field)) if of_row(row) && self.rng.chance(8) => {
                    Node::text(sort, format!("({row}).{field}"))
                }
                _ => Node::text(sort, column),
            };
        }
        if !columns.is_empty() && self.rng.chance(85) {
            let column = self.rng.pick(columns).0.clone();
            return Node::text(sort, kind.made_of(&column));
        }
        Node::text(sort, *self.rng.pick(kind.literals()))
    }

    fn row(&mut self, kind: Kind, scope: &Scope) -> Node {
        let Some((_, template, _)) = self.pick(ROW_FORMS, kind) else { return self.leaf(kind, scope) };
        let row = Node::text(Sort::Fixed, self.rng.pick(&scope.rows).clone());
        Node::new(Sort::Expr(kind), template, [row])
    }

    fn aggregate(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        let plain = scope.plain();
        let ordered = self.rng.chance(25);
        let forms = if ordered { ORDERED_AGGREGATES } else { AGGREGATES };
        if let (Kind::Int, Some(keys), true) = (kind, &scope.keys, self.rng.chance(15))
            && !keys.is_empty()
        {
            return Node::text(Sort::Expr(kind), format!("grouping({})", self.rng.pick(keys).0));
        }
        let newer =
            if ordered || self.rng.chance(65) { None } else { self.pick_newer(NEWER_AGGREGATES, kind) };
        let Some((_, template, kinds)) = newer.or_else(|| self.pick(forms, kind)) else {
            return Node::text(Sort::Expr(kind), kind.literals()[0]);
        };
        let mut children = self.all(kinds, &plain, depth.min(2));
        let distinct = newer.is_none() && !ordered && self.rng.chance(15) && kinds.len() == 1;
        let template =
            if distinct { template.replacen('(', "(distinct ", 1) } else { (*template).to_owned() };
        let filter = if self.rng.chance(20) && !template.ends_with("numeric") {
            let condition = self.expr(Kind::Bool, &plain, 1);
            Node::new(Sort::Optional, " filter (where {})", [condition])
        } else {
            Node::nothing()
        };
        children.push(filter);
        Node::new(Sort::Expr(kind), &format!("({template}{{}})::{}", kind.name()), children)
    }

    fn window(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        let Some((_, template, kinds)) = self.pick(WINDOWS, kind) else { return self.leaf(kind, scope) };
        let plain = scope.plain();
        let mut children = self.all(kinds, &plain, depth.min(2));
        let part = self.kind();
        children.push(if self.rng.chance(40) {
            let by = self.expr(part, &plain, 1);
            Node::new(Sort::Optional, "partition by {}", [by])
        } else {
            Node::nothing()
        });
        let frame = *self.rng.pick(&FRAMES);
        let by = self.expr(Kind::Int, &plain, 1);
        children.push(Node::new(Sort::Optional, &format!(" order by {{}}{frame}"), [by]));
        Node::new(Sort::Expr(kind), &format!("({template} over ({{}}{{}}))::{}", kind.name()), children)
    }

    /// An expression with a query in it.
    fn subquery(&mut self, kind: Kind, scope: &Scope, depth: u32) -> Node {
        let inner = scope.inner();
        let sort = Sort::Expr(kind);
        let depth = depth - 1;
        match kind {
            Kind::Bool => match self.rng.below(4) {
                0 => {
                    let query = self.query(&inner, depth, None);
                    Node::new(sort, "exists ({})", [query.0])
                }
                1 => {
                    let left = self.expr(Kind::Int, scope, depth);
                    let query = self.query(&inner, depth, Some(&[Kind::Int]));
                    Node::new(sort, "({} in ({}))", [left, query.0])
                }
                2 => {
                    let left = self.expr(Kind::Text, scope, depth);
                    let query = self.query(&inner, depth, Some(&[Kind::Text]));
                    Node::new(sort, "({} = any ({}))", [left, query.0])
                }
                _ => {
                    let left = self.expr(Kind::Text, scope, depth);
                    let query = self.query(&inner, depth, Some(&[Kind::Text]));
                    Node::new(sort, "({} <> all ({}))", [left, query.0])
                }
            },
            Kind::Texts => {
                let query = self.query(&inner, depth, Some(&[Kind::Text]));
                Node::new(sort, "array({})", [query.0])
            }
            Kind::Text | Kind::Int | Kind::Num | Kind::Date | Kind::Json => {
                let query = self.query(&inner, depth, Some(&[kind]));
                Node::new(sort, "(select * from ({}) one_row limit 1)", [query.0])
            }
        }
    }
}
