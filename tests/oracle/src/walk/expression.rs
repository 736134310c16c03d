//! What an expression draws on.

use super::{FIRST_USER_OID, Scope, Walk, WalkError, command, range::stored};
use crate::{
    flow::{Column, Flow},
    tree::{Node, Value},
};

/// Values of `SubLinkType`.
pub(super) mod sublink {
    pub(in crate::walk) const EXISTS: &str = "0";
    pub(in crate::walk) const EXPR: &str = "4";
    pub(in crate::walk) const MULTIEXPR: &str = "5";
    pub(in crate::walk) const ARRAY: &str = "6";
}

/// Values of `ParamKind`.
mod param {
    pub(super) const EXTERN: &str = "0";
    pub(super) const SUBLINK: &str = "2";
    pub(super) const MULTIEXPR: &str = "3";
}

impl<'t> Walk<'t> {
    /// The columns a value draws on; a list is all its items.
    pub(super) fn value(&mut self, scope: &Scope<'_, 't>, value: &'t Value) -> Result<Flow, WalkError> {
        match value {
            Value::Null | Value::Atom(_) | Value::Datum => Ok(Flow::default()),
            Value::List(items) => {
                let mut all = Flow::default();
                for item in items {
                    all.merge(&self.value(scope, item)?);
                }
                Ok(all)
            }
            Value::Node(node) => self.expression(scope, node),
        }
    }

    fn expression(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Flow, WalkError> {
        match node.kind.as_str() {
            "VAR" => self.variable(scope, node, None),
            "AGGREF" => self.aggregate(scope, node),
            "WINDOWFUNC" => {
                let mut flow = self.call(scope, node, node.oid("winfnoid")?)?;
                flow.merge(&self.decides(scope, node.field("aggfilter")?)?);
                Ok(flow)
            }
            "FUNCEXPR" => self.call(scope, node, node.oid("funcid")?),
            "OPEXPR" | "DISTINCTEXPR" | "NULLIFEXPR" | "SCALARARRAYOPEXPR" => {
                self.call(scope, node, node.oid("opfuncid")?.max(node.oid("opno")?))
            }
            "ROWCOMPAREEXPR" => {
                let mut flow = self.carried(scope, node)?;
                let operators = node.list("opnos")?.iter().filter_map(|item| match item {
                    Value::Atom(oid) => oid.parse().ok(),
                    _ => None,
                });
                flow.opaque.extend(operators.filter(|oid: &u32| *oid >= FIRST_USER_OID));
                Ok(flow)
            }
            "COERCEVIAIO" => {
                let mut flow = self.value(scope, node.field("arg")?)?;
                let target = node.oid("resulttype")?;
                if self.facts.foreign_types.contains(&target) {
                    flow.opaque.insert(target);
                }
                Ok(flow)
            }
            "FIELDSELECT" => {
                let number = i16::try_from(node.number("fieldnum")?).unwrap_or(0);
                self.field_of(scope, node.field("arg")?, number)
            }
            "SUBLINK" => self.sublink(scope, node),
            "PARAM" => self.parameter(scope, node),
            // It tells which columns a row was grouped by, not what is in them.
            "GROUPINGFUNC" => Ok(self.value(scope, node.field("args")?)?.softened()),
            "NULLTEST" => {
                let flow = self.value(scope, node.field("arg")?)?;
                // A mask shows NULL as NULL, so that it is there tells nothing new of a stored value.
                let bare = !node.flag("argisrow")? && stored(scope, node.field("arg")?)?;
                Ok(if bare { flow.softened() } else { flow })
            }
            "TARGETENTRY" => self.value(scope, node.field("expr")?),
            "QUERY" => Err(WalkError::Unknown("a query where an expression should be".into())),
            _ => self.carried(scope, node),
        }
    }

    /// The fields that the table says a node's value draws on. Leaves have none.
    fn carried(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Flow, WalkError> {
        const LEAVES: [&str; 9] = [
            "CASETESTEXPR",
            "COERCETODOMAINVALUE",
            "CONST",
            "CURRENTOFEXPR",
            "JSONFORMAT",
            "MERGESUPPORTFUNC",
            "NEXTVALUEEXPR",
            "SETTODEFAULT",
            "SQLVALUEFUNCTION",
        ];
        let carriers = self.vocabulary.carriers(node)?;
        if carriers.is_empty() && !LEAVES.contains(&node.kind.as_str()) {
            return Err(WalkError::Unknown(format!("{} as an expression", node.kind)));
        }
        let mut flow = Flow::default();
        for value in carriers {
            flow.merge(&self.value(scope, value)?);
        }
        Ok(flow)
    }

    fn call(&mut self, scope: &Scope<'_, 't>, node: &'t Node, function: u32) -> Result<Flow, WalkError> {
        let mut flow = self.value(scope, node.field("args")?)?;
        if function >= FIRST_USER_OID {
            flow.opaque.insert(function);
        }
        Ok(if self.facts.valueless.contains(&function) { flow.softened() } else { flow })
    }

    /// The arguments; what they are ordered and filtered by only decides.
    fn aggregate(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Flow, WalkError> {
        let function = node.oid("aggfnoid")?;
        let mut flow = self.value(scope, node.field("aggdirectargs")?)?;
        let mut decides = self.decides(scope, node.field("aggfilter")?)?;
        for argument in node.nodes("args")? {
            let expression = argument.field("expr")?;
            if argument.flag("resjunk")? {
                decides.merge(&self.decides(scope, expression)?);
            } else {
                flow.merge(&self.value(scope, expression)?);
            }
        }
        if function >= FIRST_USER_OID {
            flow.opaque.insert(function);
        }
        if self.facts.valueless.contains(&function) {
            flow = flow.softened();
        }
        flow.merge(&decides);
        Ok(flow)
    }

    /// An expression that decides and is not shown: influence, and tolerated in the value.
    pub(super) fn decides(&mut self, scope: &Scope<'_, 't>, value: &'t Value) -> Result<Flow, WalkError> {
        let flow = self.value(scope, value)?;
        self.influence.merge(&flow);
        Ok(flow.softened())
    }

    fn sublink(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Flow, WalkError> {
        let query = node.required("subselect")?;
        let flows = self.outputs(query, Some(scope))?;
        match node.text("subLinkType")? {
            sublink::EXISTS => Ok(Flow::union(flows.iter()).softened()),
            sublink::EXPR | sublink::ARRAY => self.output(query, Some(scope), 1),
            // ALL, ANY, ROWCOMPARE; and MULTIEXPR, whose outputs are reached through its parameters.
            _ => {
                let mut flow = self.value(scope, node.field("testexpr")?)?;
                flow.merge(&Flow::union(flows.iter()));
                Ok(flow)
            }
        }
    }

    fn parameter(&mut self, scope: &Scope<'_, 't>, node: &'t Node) -> Result<Flow, WalkError> {
        match node.text("paramkind")? {
            param::EXTERN | param::SUBLINK => Ok(Flow::default()),
            param::MULTIEXPR => {
                let (link, output) = (node.number("paramid")? >> 16, node.count("paramid")? & 0xffff);
                let query = multi_assignment(scope.query, link)?;
                self.output(query, Some(scope), output)
            }
            other => Err(WalkError::Unknown(format!("a parameter of kind {other}"))),
        }
    }

    /// One field of a value that is a row.
    pub(super) fn field_of(
        &mut self,
        scope: &Scope<'_, 't>,
        value: &'t Value,
        number: i16,
    ) -> Result<Flow, WalkError> {
        let node = value.node();
        match node.map(|node| node.kind.as_str()) {
            Some("VAR") => self.variable(scope, node.ok_or(WalkError::NoQueries)?, Some(number)),
            Some("ROWEXPR") => {
                let arguments = node.ok_or(WalkError::NoQueries)?.list("args")?;
                let argument = usize::try_from(number - 1).ok().and_then(|at| arguments.get(at));
                self.value(scope, argument.unwrap_or(value))
            }
            Some("RELABELTYPE" | "COLLATEEXPR") => {
                self.field_of(scope, node.ok_or(WalkError::NoQueries)?.field("arg")?, number)
            }
            Some("SUBLINK") => {
                let link = node.ok_or(WalkError::NoQueries)?;
                if link.text("subLinkType")? == sublink::EXPR {
                    self.output_field(link.required("subselect")?, Some(scope), 1, number)
                } else {
                    self.value(scope, value)
                }
            }
            _ => self.value(scope, value),
        }
    }

    /// What goes into each column of a list of assignments, by the column's number.
    pub(super) fn written(
        &mut self,
        scope: &Scope<'_, 't>,
        entries: &[&'t Node],
    ) -> Result<Vec<(i16, Flow)>, WalkError> {
        let mut written = Vec::new();
        for entry in entries {
            let flow = self.value(scope, entry.field("expr")?)?;
            if !entry.flag("resjunk")? {
                written.push((i16::try_from(entry.number("resno")?).unwrap_or(0), flow));
            }
        }
        Ok(written)
    }

    /// Everything assigned to a column by the query of a scope, by its actions or on conflict; column 0 is any.
    pub(super) fn assigned(&mut self, scope: &Scope<'_, 't>, column: i16) -> Result<Vec<Flow>, WalkError> {
        let scope = &Scope { returning: false, ..*scope };
        let mut flows = Vec::new();
        for list in assignments(scope.query)? {
            let written = self.written(scope, &list)?;
            flows.extend(
                written.into_iter().filter(|(to, _)| column == 0 || *to == column).map(|(_, flow)| flow),
            );
        }
        Ok(flows)
    }

    /// What a column of a modified table is once RETURNING shows it.
    pub(super) fn returned(&mut self, scope: &Scope<'_, 't>, column: Column) -> Result<Flow, WalkError> {
        let assigned = self.assigned(scope, column.number)?;
        let fresh = scope.query.text("commandType")? == command::INSERT
            && scope
                .query
                .node("onConflict")?
                .is_none_or(|conflict| conflict.list("onConflictSet").is_ok_and(<[_]>::is_empty));
        let replaced = scope.query.text("commandType")? == command::UPDATE && !assigned.is_empty();
        // Nothing of what was stored is left of a new row, or of a column that was assigned.
        let stored = Flow::of(column);
        let gone = fresh || (replaced && column.number != 0);
        let mut flow = if gone { stored.softened() } else { stored };
        flow.merge(&Flow::union(&assigned));
        Ok(flow)
    }
}

/// The lists of assignments a query has.
pub(super) fn assignments(query: &Node) -> Result<Vec<Vec<&Node>>, WalkError> {
    let mut lists = Vec::new();
    if query.text("commandType")? != command::SELECT {
        lists.push(query.nodes("targetList")?);
    }
    if let Some(conflict) = query.node("onConflict")? {
        lists.push(conflict.nodes("onConflictSet")?);
    }
    if query.text("commandType")? == command::MERGE {
        for action in query.nodes("mergeActionList")? {
            lists.push(action.nodes("targetList")?);
        }
    }
    Ok(lists)
}

/// The query on the right of `(a, b) = (select …)`, which stands in the same list as what refers to it.
fn multi_assignment(query: &Node, link: i64) -> Result<&Node, WalkError> {
    let mut found = None;
    for entry in assignments(query)?.into_iter().flatten() {
        let Some(candidate) = entry.node("expr")?.filter(|node| node.kind == "SUBLINK") else { continue };
        if candidate.text("subLinkType")? == sublink::MULTIEXPR && candidate.number("subLinkId")? == link {
            let several = found.replace(candidate.required("subselect")?).is_some();
            if several {
                // Each action of MERGE counts from one.
                return Err(WalkError::Unknown(format!("multiple assignment {link} in several lists")));
            }
        }
    }
    found.ok_or_else(|| WalkError::Unknown(format!("the parameter of multiple assignment {link}")))
}
