//! Operators: which of them may run code of users.
//!
//! A name stands for all operators that have it. One of users is only meant where its operands may be of the types
//! it was made for: beside the `=` of some extension's type, `id = 5` still is the server's own.

use pg_query::{
    NodeEnum,
    protobuf::{AExpr, AExprKind, List, Node, RowExpr},
};

use super::{Untraceable, graph::NodeId, names::qualified, trace::Tracer};
use crate::catalog::{Called, Catalog, FIRST_USER_OID, Operand, Operator, TypeShape};

/// A value of any type: `any` in `pg_type`.
pub(super) const ANY: u32 = 2276;
/// A literal, which takes the type that is wanted.
pub(super) const UNKNOWN: u32 = 705;

/// Operators the server has for text: between literals alone, one of these is meant.
const OF_TEXT: [&str; 15] =
    ["=", "<>", "<", ">", "<=", ">=", "||", "~~", "!~~", "~~*", "!~~*", "~", "!~", "~*", "!~*"];

/// What is known of the type of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// It may be of any type.
    Any,
    /// The server's own.
    BuiltIn,
    /// It takes the type that is wanted.
    Literal,
    /// This one of users, or an array of it.
    Users(u32),
}

impl Tracer<'_> {
    /// What an operator adds to its operands, each given by the values it is made of: nothing, unless users wrote it.
    pub(super) fn operator(&mut self, name: &str, left: &[NodeId], right: &[NodeId]) -> Vec<NodeId> {
        let catalog = self.env.catalog;
        let is_unknown = self.env.overlay.has_any();
        let candidates = catalog.operators(name);
        if candidates.is_empty() && !is_unknown && self.env.overlay.operators(name).next().is_none() {
            return Vec::new();
        }
        let families = [left, right].map(|operand| self.families(operand));
        let all = families.iter().flatten();
        let is_text = OF_TEXT.contains(&name)
            && all.clone().any(|family| *family == Family::Literal)
            && all.clone().all(|family| matches!(family, Family::BuiltIn | Family::Literal));
        let fits = |candidate: &&Operator| {
            fits(candidate.left, &families[0])
                && fits(candidate.right, &families[1])
                && !(is_text && candidate.is_of_users())
        };
        let mut functions: Vec<&Called> =
            candidates.iter().filter(fits).map(|candidate| &candidate.function).collect();
        functions.dedup();
        let made: Vec<Called> = self.env.overlay.operators(name).cloned().collect();
        functions.extend(&made);
        if functions.is_empty() && !is_unknown {
            return Vec::new();
        }
        self.facts.calls_user_code = true;
        if is_unknown {
            let unknown = self.graph.unknown(Untraceable::UserCode);
            self.facts.called.push(unknown);
            return vec![unknown];
        }
        let operands = [left, right].into_iter().filter(|operand| !operand.is_empty());
        let operands: Vec<NodeId> = operands.map(|operand| self.graph.made(operand.to_vec())).collect();
        functions.into_iter().map(|function| self.call_behind(function, &operands)).collect()
    }

    /// The same for every operator that an expression stands for.
    pub(super) fn operators(&mut self, expression: &AExpr, left: &[NodeId], right: &[NodeId]) -> Vec<NodeId> {
        let (mut left, mut right) = (left.to_vec(), right.to_vec());
        if is_row(expression.lexpr.as_deref()) != is_row(expression.rexpr.as_deref()) {
            // A row beside one value is a value of any row type; two rows are compared part by part.
            let row = self.graph.typed(ANY);
            for operand in [&mut left, &mut right].into_iter().filter(|operand| !operand.is_empty()) {
                operand.push(row);
            }
        }
        let (_, name) = qualified(&expression.name);
        let names = match expression.kind() {
            AExprKind::AexprBetween | AExprKind::AexprBetweenSym => &[">=", "<="][..],
            AExprKind::AexprNotBetween | AExprKind::AexprNotBetweenSym => &["<", ">"],
            _ => &[&*name],
        };
        names.iter().flat_map(|name| self.operator(name, &left, &right)).collect()
    }

    /// An operator that is written by itself, such as that of `= ANY`.
    pub(super) fn operator_named(&mut self, name: &[Node], left: &[NodeId], right: &[NodeId]) -> Vec<NodeId> {
        match name {
            [] => Vec::new(),
            name => self.operator(&qualified(name).1, left, right),
        }
    }

    /// Types the leaves of these values have; what is made of built-in ones alone is built in.
    pub(super) fn families(&self, nodes: &[NodeId]) -> Vec<Family> {
        let mut families = Vec::new();
        for node in nodes {
            for type_oid in self.graph.leaf_types(*node) {
                let catalog = self.env.catalog;
                let family = type_oid.map_or(Family::Any, |oid| family(catalog, oid));
                families.push(family);
                // An operator may be of the domain as well as of what it is over.
                let domain =
                    type_oid.filter(|oid| matches!(catalog.declared_shape(*oid), Some(TypeShape::Domain(_))));
                families.extend(domain.map(Family::Users));
            }
        }
        families
    }
}

fn is_row(side: Option<&Node>) -> bool {
    match side.and_then(|side| side.node.as_ref()) {
        Some(NodeEnum::List(list)) => list.items.first().is_some_and(|first| is_row(Some(first))),
        Some(NodeEnum::RowExpr(_)) => true,
        _ => false,
    }
}

/// Whether an operand may be of the type an operator wants.
fn fits(wanted: Operand, families: &[Family]) -> bool {
    match wanted {
        Operand::Any => !families.is_empty(),
        Operand::None => families.is_empty(),
        Operand::Type(oid) => families.iter().any(|family| match family {
            Family::Any | Family::Literal => true,
            Family::BuiltIn => false,
            Family::Users(known) => *known == oid,
        }),
    }
}

pub(super) fn family(catalog: &Catalog, oid: u32) -> Family {
    /// The longest chain of domains over arrays that anybody makes.
    const DEPTH_MAX: usize = 16;
    let mut oid = oid;
    for _ in 0..DEPTH_MAX {
        match catalog.declared_shape(oid) {
            _ if oid == UNKNOWN => return Family::Literal,
            Some(TypeShape::Array(of) | TypeShape::Domain(of)) => oid = *of,
            Some(TypeShape::Base(_) | TypeShape::Enum(_)) => return Family::Users(oid),
            Some(TypeShape::Multirange | TypeShape::Range) | None if oid < FIRST_USER_OID && oid != ANY => {
                return Family::BuiltIn;
            }
            // Their parts may be of other types.
            Some(TypeShape::Composite(_) | TypeShape::Multirange | TypeShape::Pseudo | TypeShape::Range)
            | None => return Family::Any,
        }
    }
    Family::Any
}

/// An equality of rows as one of each of their columns.
pub(super) fn by_column(expression: &AExpr) -> Option<Vec<AExpr>> {
    let (_, name) = qualified(&expression.name);
    let left = &row(expression.lexpr.as_deref()?)?.args;
    let right = expression.rexpr.as_deref()?;
    let rights: Vec<Node> = match (expression.kind(), right.node.as_ref()?) {
        (AExprKind::AexprOp | AExprKind::AexprDistinct | AExprKind::AexprNotDistinct, _) => {
            row(right)?.args.clone()
        }
        (AExprKind::AexprIn, NodeEnum::List(list)) => {
            let rows = list.items.iter().map(row).collect::<Option<Vec<_>>>()?;
            if rows.iter().any(|row| row.args.len() != left.len()) {
                return None;
            }
            let column = |at: usize| rows.iter().filter_map(|row| row.args.get(at).cloned()).collect();
            let list = |at| NodeEnum::List(List { items: column(at) });
            (0..left.len()).map(|at| Node { node: Some(list(at)) }).collect()
        }
        _ => return None,
    };
    let columns = left.iter().zip(&rights).map(|(left, right)| AExpr {
        lexpr: Some(Box::new(left.clone())),
        rexpr: Some(Box::new(right.clone())),
        ..expression.clone()
    });
    (matches!(&*name, "=" | "<>") && left.len() == rights.len()).then(|| columns.collect())
}

fn row(node: &Node) -> Option<&RowExpr> {
    match node.node.as_ref()? {
        NodeEnum::RowExpr(row) => Some(row),
        _ => None,
    }
}
