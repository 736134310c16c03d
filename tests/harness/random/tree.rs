//! A statement as a tree whose parts can be left out or put in each other's place.

use std::borrow::Cow;

use super::words::Kind;

/// What may stand in a node's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// An expression: another of its kind.
    Expr(Kind),
    /// A query: one of the queries in it.
    Query,
    /// Something to read from: a part of it.
    Item,
    /// Nothing.
    Optional,
    /// A list without one of its items; this stands between them.
    List(&'static str),
    /// Nothing else.
    Fixed,
}

/// A piece of a node.
#[derive(Clone, Debug)]
enum Part {
    Text(Cow<'static, str>),
    Node(Node),
}

/// A piece of SQL.
#[derive(Clone, Debug)]
pub struct Node {
    sort: Sort,
    parts: Vec<Part>,
}

impl Node {
    /// Of a template whose `{}` are the children.
    pub fn new(sort: Sort, template: &str, children: impl IntoIterator<Item = Node>) -> Self {
        let mut children = children.into_iter();
        let mut parts = vec![];
        for (index, text) in template.split("{}").enumerate() {
            if index > 0 {
                parts.extend(children.next().map(Part::Node));
            }
            parts.push(Part::Text(Cow::Owned(text.to_owned())));
        }
        Self { sort, parts }
    }

    /// Text alone.
    pub fn text(sort: Sort, text: impl Into<Cow<'static, str>>) -> Self {
        Self { sort, parts: vec![Part::Text(text.into())] }
    }

    /// Items with something between them.
    pub fn list(between: &'static str, items: impl IntoIterator<Item = Node>) -> Self {
        Self { sort: Sort::List(between), parts: items.into_iter().map(Part::Node).collect() }
    }

    /// Nothing.
    pub fn nothing() -> Self {
        Self { sort: Sort::Optional, parts: vec![] }
    }

    /// As SQL.
    pub fn render(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        for (index, part) in self.parts.iter().enumerate() {
            if let (Sort::List(between), 1..) = (self.sort, index) {
                text.push_str(between);
            }
            match part {
                Part::Text(piece) => text.push_str(piece),
                Part::Node(node) => node.write(text),
            }
        }
    }

    /// The statements, for a tree that is a list of them.
    pub fn statements(&self) -> Vec<String> {
        self.children().map(Node::render).collect()
    }

    fn children(&self) -> impl Iterator<Item = &Node> {
        self.parts.iter().filter_map(|part| match part {
            Part::Node(node) => Some(node),
            Part::Text(_) => None,
        })
    }

    /// Itself and all in it.
    pub fn count(&self) -> usize {
        1 + self.children().map(Node::count).sum::<usize>()
    }

    /// The node of a number, parents before children.
    pub fn at(&self, index: usize) -> Option<&Node> {
        if index == 0 {
            return Some(self);
        }
        let mut rest = index - 1;
        for child in self.children() {
            let count = child.count();
            if rest < count {
                return child.at(rest);
            }
            rest -= count;
        }
        None
    }

    /// The same tree with another node in the place of a number.
    #[must_use]
    pub fn with(&self, index: usize, node: Node) -> Node {
        if index == 0 {
            return node;
        }
        let mut rest = Some((index - 1, node));
        let parts = self.parts.iter().map(|part| {
            let Part::Node(child) = part else { return part.clone() };
            match rest.take() {
                Some((at, node)) if at < child.count() => Part::Node(child.with(at, node)),
                Some((at, node)) => {
                    rest = Some((at - child.count(), node));
                    part.clone()
                }
                None => part.clone(),
            }
        });
        Node { sort: self.sort, parts: parts.collect() }
    }

    /// Smaller nodes that may stand in its place, the smallest first.
    pub fn smaller(&self) -> Vec<Node> {
        match self.sort {
            Sort::Fixed => vec![],
            Sort::Optional if self.parts.is_empty() => vec![],
            Sort::Optional => vec![Node::nothing()],
            Sort::List(_) if self.parts.len() < 2 => vec![],
            Sort::List(_) => (0..self.parts.len()).rev().map(|index| self.without(index)).collect(),
            Sort::Expr(kind) => {
                let literal = Node::text(self.sort, kind.literals()[0]);
                let is_smaller = self.render().len() > literal.render().len();
                is_smaller.then_some(literal).into_iter().chain(self.inner(self.sort)).collect()
            }
            Sort::Query | Sort::Item => self.inner(self.sort),
        }
    }

    fn without(&self, index: usize) -> Node {
        let mut parts = self.parts.clone();
        parts.remove(index);
        Node { sort: self.sort, parts }
    }

    /// The nodes of a sort in it, the smallest first.
    fn inner(&self, sort: Sort) -> Vec<Node> {
        let mut found: Vec<Node> = (1..self.count())
            .filter_map(|index| self.at(index))
            .filter(|node| node.sort == sort)
            .cloned()
            .collect();
        found.sort_by_key(Node::count);
        found.truncate(12);
        found
    }
}

/// Makes a tree smaller as long as it does what it did, with so many tries at most.
pub fn shrink<E>(
    tree: Node,
    mut tries: u32,
    mut still: impl FnMut(&Node) -> Result<bool, E>,
) -> Result<Node, E> {
    let mut tree = tree;
    loop {
        let before = tree.count();
        let mut index = 0;
        while let Some(node) = tree.at(index) {
            let mut better = None;
            for smaller in node.smaller() {
                if tries == 0 {
                    return Ok(tree);
                }
                tries -= 1;
                let trial = tree.with(index, smaller);
                if still(&trial)? {
                    better = Some(trial);
                    break;
                }
            }
            match better {
                Some(trial) => tree = trial,
                None => index += 1,
            }
        }
        if tree.count() >= before {
            return Ok(tree);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinking_keeps_what_matters_and_drops_the_rest() {
        let leaf = |text: &'static str| Node::text(Sort::Expr(Kind::Text), text);
        let sum =
            Node::new(Sort::Expr(Kind::Text), "upper(left({}, 3) || {})", [leaf("email"), leaf("city")]);
        let filter = Node::text(Sort::Optional, " where active");
        let query = Node::new(
            Sort::Query,
            "select {} from app.customers{}",
            [Node::list(", ", [leaf("city"), sum]), filter],
        );
        let tree = Node::list(";", [Node::text(Sort::Fixed, "select 1"), query]);
        let found = shrink(tree, 1000, |tree| Ok::<_, ()>(tree.render().contains("email")));
        assert_eq!(found.unwrap().render(), "select email from app.customers");
    }

    #[test]
    fn a_node_is_replaced_where_its_number_says() {
        let leaf = |text: &'static str| Node::text(Sort::Fixed, text);
        let tree = Node::list(" ", [Node::new(Sort::Fixed, "({})", [leaf("a")]), leaf("b")]);
        let with_x: Vec<_> = (0..tree.count()).map(|index| tree.with(index, leaf("x")).render()).collect();
        assert_eq!(with_x, ["x", "x b", "(x) b", "(a) x"]);
    }
}
