//! What the clauses of a query contribute: outputs, writes, and what decides.

use std::collections::HashSet;

use super::{Scope, Walk, WalkError, by_position, command, expression::assignments, shown};
use crate::{
    flow::{Column, Flow},
    tree::{Node, Value},
};

/// `SETOP_EXCEPT` of `SetOperation`.
const EXCEPT: &str = "3";

impl<'t> Walk<'t> {
    /// Reads every clause once; gives the outputs.
    pub(super) fn clauses(&mut self, scope: &Scope<'_, 't>) -> Result<Vec<Flow>, WalkError> {
        let query = scope.query;
        for cte in query.nodes("cteList")? {
            let body = cte.required("ctequery")?;
            // A WITH query that only reads and that nothing refers to is not run.
            if cte.count("cterefcount")? > 0 || body.text("commandType")? != command::SELECT {
                self.outputs(body, Some(scope))?;
            }
        }
        let outputs = if let Some(operation) = query.node("setOperations")? {
            self.set_operation(scope, operation)?
        } else if query.text("commandType")? == command::SELECT {
            self.targets(scope, "targetList")?
        } else {
            self.writes(scope)?;
            self.targets(&Scope { returning: true, ..*scope }, "returningList")?
        };
        // Above a set operation, the tree of joins is empty.
        if let Some(from) = query.node("jointree")? {
            self.from(scope, from)?;
        }
        self.order(scope, &outputs)?;
        for clause in ["havingQual", "limitOffset", "limitCount"] {
            self.decides(scope, query.field(clause)?)?;
        }
        // From 17 on; before, the join's condition is in the join tree.
        if let Ok(condition) = query.field("mergeJoinCondition") {
            self.decides(scope, condition)?;
        }
        Ok(outputs)
    }

    fn targets(&mut self, scope: &Scope<'_, 't>, list: &'static str) -> Result<Vec<Flow>, WalkError> {
        let entries = shown(scope.query, list)?;
        entries.into_iter().map(|entry| self.value(scope, entry.field("expr")?)).collect()
    }

    fn set_operation(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Vec<Flow>, WalkError> {
        if node.kind == "RANGETBLREF" {
            let entry = scope.entry(node.count("rtindex")?)?;
            let flows = self.outputs(entry.required("subquery")?, Some(scope))?;
            let width = shown(entry.required("subquery")?, "targetList")?.len();
            return Ok(flows.iter().take(width).cloned().collect());
        }
        let left = self.set_operation(scope, node.required("larg")?)?;
        let mut right = self.set_operation(scope, node.required("rarg")?)?;
        if node.text("op")? == EXCEPT {
            // The right side decides which rows of the left stay; none of its values is shown.
            self.influence.merge(&Flow::union(&right));
            right = right.into_iter().map(Flow::softened).collect();
        }
        Ok(by_position(&left, &right))
    }

    /// The assignments of a data-modifying query and what decides about them.
    fn writes(&mut self, scope: &Scope<'_, 't>) -> Result<(), WalkError> {
        let query = scope.query;
        let target = query.count("resultRelation")?;
        for list in assignments(query)? {
            let relation = scope.entry(target)?.oid("relid")?;
            for (number, mut flow) in self.written(scope, &list)? {
                let column = Column { relation, number };
                // What a column keeps of itself is no news.
                if flow.required.remove(&column) {
                    flow.tolerated.insert(column);
                }
                self.writes.entry(column).or_default().merge(&flow);
            }
        }
        if let Some(conflict) = query.node("onConflict")? {
            self.decides(scope, conflict.field("arbiterWhere")?)?;
            self.decides(scope, conflict.field("onConflictWhere")?)?;
        }
        if query.text("commandType")? == command::MERGE {
            for action in query.nodes("mergeActionList")? {
                self.decides(scope, action.field("qual")?)?;
            }
        }
        Ok(())
    }

    /// Joins, conditions, and what stands in FROM.
    fn from(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<(), WalkError> {
        match node.kind.as_str() {
            "FROMEXPR" => {
                for item in node.nodes("fromlist")? {
                    self.from(scope, item)?;
                }
                self.decides(scope, node.field("quals")?)?;
                Ok(())
            }
            "JOINEXPR" => {
                self.from(scope, node.required("larg")?)?;
                self.from(scope, node.required("rarg")?)?;
                self.decides(scope, node.field("quals")?)?;
                Ok(())
            }
            "RANGETBLREF" => self.entry(scope, scope.entry(node.count("rtindex")?)?),
            other => Err(WalkError::Unknown(format!("{other} in FROM"))),
        }
    }

    fn entry(&mut self, scope: &Scope<'_, 't>, entry: &'t Node) -> Result<(), WalkError> {
        if let Ok(Some(query)) = entry.node("subquery") {
            self.outputs(query, Some(scope))?;
        }
        // Row security.
        self.decides(scope, entry.field("securityQuals")?)?;
        if let Ok(Some(sample)) = entry.node("tablesample") {
            self.decides(scope, sample.field("args")?)?;
            self.decides(scope, sample.field("repeatable")?)?;
        }
        // Their values count where a variable refers to them; here, for the queries inside.
        let mut seen = Flow::default();
        if let Ok(Value::List(rows)) = entry.field("values_lists") {
            for row in rows {
                seen.merge(&self.value(scope, row)?);
            }
        }
        if let Ok(functions @ Value::List(_)) = entry.field("functions") {
            let Value::List(functions) = functions else { return Ok(()) };
            for function in functions.iter().filter_map(Value::node) {
                seen.merge(&self.value(scope, function.field("funcexpr")?)?);
            }
        }
        self.influence.merge(&seen.softened());
        Ok(())
    }

    /// What sorting, grouping, DISTINCT and windows refer to.
    fn order(&mut self, scope: &Scope<'_, 't>, outputs: &[Flow]) -> Result<(), WalkError> {
        let query = scope.query;
        let mut references = HashSet::new();
        for list in ["sortClause", "groupClause", "distinctClause"] {
            references.extend(sort_references(query, list)?);
        }
        for window in query.nodes("windowClause")? {
            references.extend(sort_references(window, "partitionClause")?);
            references.extend(sort_references(window, "orderClause")?);
            self.decides(scope, window.field("startOffset")?)?;
            self.decides(scope, window.field("endOffset")?)?;
        }
        let united = query.node("setOperations")?.is_some();
        for (entry, at) in query.nodes("targetList")?.into_iter().zip(0..) {
            if !references.contains(&entry.count("ressortgroupref")?) {
                continue;
            }
            // Above a set operation, the entry names only its leftmost query.
            match outputs.get(at) {
                Some(flow) if united => self.influence.merge(flow),
                _ => {
                    self.decides(scope, entry.field("expr")?)?;
                }
            }
        }
        Ok(())
    }
}

fn sort_references(node: &Node, list: &'static str) -> Result<Vec<usize>, WalkError> {
    node.nodes(list)?.into_iter().map(|clause| Ok(clause.count("tleSortGroupRef")?)).collect()
}
