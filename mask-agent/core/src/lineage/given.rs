//! Values a client gives in a statement, and the places they stand in.
//!
//! Places are kept apart by what may be done there: a value that is compared for equality with a stored column may be
//! another one for the server than for the client, and one that is put into a column is looked at. Everywhere else a
//! value stays what it is. Only the client's own text is looked at, never that of views and functions.

use std::collections::{HashMap, HashSet};

use pg_query::{
    NodeEnum,
    protobuf::{self, AExprKind, Node, Token, TypeName, a_const::Val},
};

use super::{
    Origins, Statement, WriteTarget,
    graph::NodeId,
    names::qualified,
    trace::{Target, Tracer},
};
use crate::catalog::{Catalog, Routine};

/// A constant or a parameter.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A string constant.
    Constant {
        /// What it says.
        text: String,
        /// Where it begins in the text, in bytes.
        at: usize,
    },
    /// A parameter, once for each time it stands in the text.
    Parameter {
        /// Its number.
        number: u16,
        /// Where it stands, in bytes.
        at: usize,
    },
}

/// Whether a value is meant, or each element of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// Each element.
    Elements,
    /// The value.
    Whole,
}

/// Where a value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is compared for equality with stored values as they are, and nothing else is done with it.
    Compared {
        /// The columns whose values these are.
        with: Origins,
        /// What of the value is compared.
        extent: Extent,
    },
    /// Anywhere else.
    Elsewhere,
    /// It may be put into a column as it is.
    Put {
        /// The column.
        target: WriteTarget,
        /// What of the value is put there.
        extent: Extent,
    },
}

/// A value and one of its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The value.
    pub value: Value,
    /// The place.
    pub place: Place,
}

/// A prepared statement that is named by EXECUTE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executes {
    /// Its name.
    pub name: String,
    /// The arguments, those that are string constants.
    pub arguments: Vec<Option<Value>>,
    /// What becomes of its rows.
    pub shows: Shows,
    /// Whether an argument may be another value each time.
    pub gives_anew: bool,
}

/// What an EXECUTE is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// EXPLAIN shows its plan.
    Plan,
    /// Its rows are returned, or put into a new table.
    Rows,
}

/// A value beside a stored one, with an equality between them.
#[derive(Debug)]
struct Compared {
    value: Value,
    with: NodeId,
    extent: Extent,
}

/// What was met while a statement was read.
#[derive(Debug, Default)]
pub(super) struct Givens {
    leaves: Vec<(NodeId, Value)>,
    /// Values that may be one of others as it is, although they count as made of them.
    choices: HashMap<NodeId, Vec<NodeId>>,
    /// Those of which the others are arrays.
    unnested: HashSet<NodeId>,
    compared: Vec<Compared>,
    /// Parameters that are not text for the server.
    odd: Vec<u16>,
    /// The statement's text is shown or kept, or its constants are.
    pub(super) keeps_text: bool,
}

impl Tracer<'_> {
    /// Takes note of a value of the client's.
    pub(super) fn give(&mut self, id: NodeId, node: &Node) {
        if self.depth == 0
            && self.calling.is_empty()
            && self.variables.is_none()
            && let Some(value) = plain(node)
        {
            self.givens.leaves.push((id, value));
        }
    }

    /// A value that may be one of others as it is.
    pub(super) fn choose(&mut self, from: &[NodeId]) -> NodeId {
        let id = self.graph.beside(from.to_vec());
        self.may_be(id, from);
        id
    }

    pub(super) fn may_be(&mut self, id: NodeId, others: &[NodeId]) {
        self.givens.choices.entry(id).or_default().extend_from_slice(others);
    }

    /// A value that is an element of one of these.
    pub(super) fn may_be_in(&mut self, id: NodeId, arrays: &[NodeId]) {
        self.givens.unnested.insert(id);
        self.may_be(id, arrays);
    }

    /// Parameters of PREPARE that are given a type which is not plain text.
    pub(super) fn declare(&mut self, types: &[Node]) {
        for (node, number) in types.iter().zip(1..) {
            let is_text = match node.node.as_ref() {
                Some(NodeEnum::TypeName(name)) => self.is_text(name, 0) || self.is_text(name, 1),
                _ => false,
            };
            if !is_text {
                self.givens.odd.push(number);
            }
        }
    }

    /// Takes note of an operator in a condition; `sides` are what its operands are made of.
    pub(super) fn compares(&mut self, expression: &protobuf::AExpr, sides: &[NodeId]) {
        let (Some(left), Some(right)) = (expression.lexpr.as_deref(), expression.rexpr.as_deref()) else {
            return;
        };
        let &[left_id, right_id] = sides else { return };
        if self.depth > 0 || !self.is_equality(expression) {
            return;
        }
        match expression.kind() {
            AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct => {
                self.compare(right, left_id, Extent::Whole);
                self.compare(left, right_id, Extent::Whole);
            }
            AExprKind::AexprIn => {
                let Some(NodeEnum::List(list)) = right.node.as_ref() else { return };
                for item in &list.items {
                    self.compare(item, left_id, Extent::Whole);
                }
            }
            AExprKind::AexprOpAny | AExprKind::AexprOpAll => match self.uncast(right, 1).node.as_ref() {
                Some(NodeEnum::AArrayExpr(array)) => {
                    for item in &array.elements {
                        self.compare(item, left_id, Extent::Whole);
                    }
                }
                Some(NodeEnum::AConst(_) | NodeEnum::ParamRef(_)) => {
                    self.compare(right, left_id, Extent::Elements);
                }
                _ => {}
            },
            _ => {}
        }
    }

    fn compare(&mut self, node: &Node, with: NodeId, extent: Extent) {
        let dimensions = usize::from(extent == Extent::Elements);
        if let Some(value) = plain(self.uncast(node, dimensions)) {
            self.givens.compared.push(Compared { value, with, extent });
        }
    }

    /// Whether an operator is the server's own `=` or `<>`.
    fn is_equality(&self, expression: &protobuf::AExpr) -> bool {
        let (schema, name) = qualified(&expression.name);
        matches!(&*schema, "" | "pg_catalog")
            && matches!(&*name, "=" | "<>")
            && !self.env.catalog.has_user_name(&name)
            && !self.env.overlay.has_function(&name)
            && self.env.overlay.operators(&name).next().is_none()
    }

    /// What stands below casts to plain text, or arrays of it.
    fn uncast<'n>(&self, node: &'n Node, dimensions: usize) -> &'n Node {
        let mut node = node;
        while let Some(NodeEnum::TypeCast(cast)) = node.node.as_ref()
            && let (Some(name), Some(inner)) = (&cast.type_name, cast.arg.as_deref())
            && self.is_text(name, dimensions)
        {
            node = inner;
        }
        node
    }

    fn is_text(&self, name: &TypeName, dimensions: usize) -> bool {
        /// By the names the grammar gives them.
        const TEXTS: [(&str, u32); 3] = [("bpchar", 1042), ("text", 25), ("varchar", 1043)];
        let (schema, last) = qualified(&name.names);
        let known = TEXTS.iter().find(|(known, _)| *known == last);
        known.is_some_and(|(_, oid)| {
            self.env.catalog.types_named(&last).iter().all(|known| known == oid)
                && matches!(&*schema, "" | "pg_catalog")
                && name.typmods.is_empty()
                && !name.setof
                && name.array_bounds.len() == dimensions
        })
    }

    /// A prepared statement that is named, and what it is given.
    pub(super) fn executes(
        &self,
        execute: &protobuf::ExecuteStmt,
        given: &[NodeId],
        shows: Shows,
    ) -> Executes {
        let gives_anew = self.graph.changes(given, false);
        let arguments = execute.params.iter().map(|node| plain(self.uncast(node, 0)));
        let arguments = arguments.map(|value| value.filter(|value| matches!(value, Value::Constant { .. })));
        Executes { name: execute.name.clone(), arguments: arguments.collect(), shows, gives_anew }
    }

    /// Values that may be this one as it is; `leaves` are all that there are.
    fn may_be_given(&self, id: NodeId, leaves: &HashMap<NodeId, Vec<&Value>>) -> Vec<(Value, Extent)> {
        let mut found = Vec::new();
        if leaves.is_empty() {
            return found;
        }
        let mut seen = HashSet::new();
        let mut open = vec![(id, Extent::Whole)];
        while let Some((id, extent)) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let values = leaves.get(&id).into_iter().flatten();
            found.extend(values.map(|value| ((*value).clone(), extent)));
            let extent = if self.givens.unnested.contains(&id) { Extent::Elements } else { extent };
            let others = self.givens.choices.get(&id).into_iter().flatten().chain(self.graph.copied(id));
            open.extend(others.map(|other| (*other, extent)));
        }
        found
    }

    /// The values of the client's and their places.
    pub(super) fn given(&self) -> Vec<Given> {
        let mut given = Vec::new();
        for Compared { value, with, extent } in &self.givens.compared {
            let stored = !self.givens.keeps_text && self.graph.is_stored(*with);
            let place = if stored {
                Place::Compared { with: self.graph.origins(*with), extent: *extent }
            } else {
                Place::Elsewhere
            };
            given.push(Given { value: value.clone(), place });
        }
        let mut leaves: HashMap<NodeId, Vec<&Value>> = HashMap::new();
        if !self.puts.is_empty() {
            for (leaf, value) in &self.givens.leaves {
                leaves.entry(*leaf).or_default().push(value);
            }
        }
        for put in &self.puts {
            let Target::Column(column) = put.target else { continue };
            for (value, extent) in self.may_be_given(put.value, &leaves) {
                let target = WriteTarget::Column(column);
                given.push(Given { value, place: Place::Put { target, extent } });
            }
        }
        let compared: HashSet<&Value> = self.givens.compared.iter().map(|compared| &compared.value).collect();
        for (_, value) in &self.givens.leaves {
            let is_odd = matches!(value, Value::Parameter { number, .. } if self.givens.odd.contains(number));
            if is_odd || !compared.contains(value) {
                given.push(Given { value: value.clone(), place: Place::Elsewhere });
            }
        }
        // A constant of no interest has no place at all.
        given.retain(|given| match given.value {
            Value::Constant { .. } => given.place != Place::Elsewhere,
            Value::Parameter { .. } => true,
        });
        given
    }
}

/// Takes back what was found out about parameters where one of them may stand somewhere that nobody looked.
pub(super) fn count_parameters(sql: &str, statements: &mut [Statement]) {
    let is_compared = |given: &Given| {
        matches!((&given.value, &given.place), (Value::Parameter { .. }, Place::Compared { .. }))
    };
    if !statements.iter().any(|statement| statement.given.iter().any(is_compared)) {
        return;
    }
    let places: HashSet<&Value> =
        statements.iter().flat_map(|statement| &statement.given).map(|given| &given.value).collect();
    let found = places.iter().filter(|value| matches!(value, Value::Parameter { .. })).count();
    let written = pg_query::scan(sql)
        .map_or(0, |scanned| scanned.tokens.iter().filter(|token| token.token() == Token::Param).count());
    if found == written {
        return;
    }
    for given in statements.iter_mut().flat_map(|statement| &mut statement.given) {
        if is_compared(given) {
            given.place = Place::Elsewhere;
        }
    }
}

/// The string constant or parameter that a node is.
fn plain(node: &Node) -> Option<Value> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            Val::Sval(text) => {
                let at = usize::try_from(constant.location).ok()?;
                Some(Value::Constant { text: text.sval.clone(), at })
            }
            Val::Ival(_) | Val::Fval(_) | Val::Boolval(_) | Val::Bsval(_) => None,
        },
        NodeEnum::ParamRef(parameter) => {
            let at = usize::try_from(parameter.location).ok()?;
            Some(Value::Parameter { number: u16::try_from(parameter.number).ok()?, at })
        }
        _ => None,
    }
}

/// Whether triggers, to which a write may lead by cascading as well, may read the statement that is running.
pub fn is_watched(catalog: &Catalog) -> bool {
    let unread = |oid: &u32| {
        catalog.routine(*oid).is_some_and(|routine| routine.definition.is_none() && !routine.harmless)
    };
    let reads = |routine: &Routine| routine.definition.as_deref().is_some_and(reads_statement);
    let mut triggers = catalog.relations().flat_map(|relation| &relation.triggers).peekable();
    // What a trigger calls may call it.
    triggers.peek().is_some() && (triggers.any(unread) || catalog.all_routines().iter().any(reads))
}

/// Whether a definition's text may say what statement is running: names are written in any case, and in escapes.
pub(super) fn reads_statement(definition: &str) -> bool {
    let definition = definition.to_ascii_lowercase();
    definition.contains("current_query") || definition.contains("u&\"")
}

/// The name of a function that returns the text of the running statement.
pub(super) fn is_statement_text(name: &str) -> bool {
    name == "current_query"
}

/// The last part of the name of a prepared statement that CREATE TABLE AS takes its rows from.
pub(super) fn executed(node: Option<&Node>) -> Option<&protobuf::ExecuteStmt> {
    match node?.node.as_ref()? {
        NodeEnum::ExecuteStmt(execute) => Some(execute),
        _ => None,
    }
}

#[cfg(test)]
#[path = "given_tests.rs"]
mod tests;
