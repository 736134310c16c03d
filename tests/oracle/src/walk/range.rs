//! What a variable refers to: the entries of the range table.

use super::{Scope, Walk, WalkError, command, expression::sublink};
use crate::{
    flow::{Column, Flow},
    tree::{Node, Value},
};

/// Values of `RTEKind`.
mod kind {
    pub(super) const RELATION: &str = "0";
    pub(super) const SUBQUERY: &str = "1";
    pub(super) const JOIN: &str = "2";
    pub(super) const FUNCTION: &str = "3";
    pub(super) const TABLEFUNC: &str = "4";
    pub(super) const VALUES: &str = "5";
    pub(super) const CTE: &str = "6";
    pub(super) const RESULT: &str = "8";
    pub(super) const GROUP: &str = "9";
}

/// `VAR_RETURNING_OLD` of `VarReturningType`.
const RETURNING_OLD: &str = "1";

impl<'t> Walk<'t> {
    /// What a variable draws on; of a row, one field where it is given.
    pub(super) fn variable(
        &mut self,
        scope: &Scope<'_, 't>,
        node: &'t Node,
        field: Option<i16>,
    ) -> Result<Flow, WalkError> {
        let scope = scope.up(node.count("varlevelsup")?)?;
        let (entry_number, number) = (node.count("varno")?, node.number("varattno")?);
        let entry = scope.entry(entry_number)?;
        // A whole row's field is the column of that number.
        let (number, field) = match field {
            Some(field) if number == 0 => (i64::from(field), None),
            field => (number, field),
        };
        let at = usize::try_from(number).unwrap_or(0);
        match entry.text("rtekind")? {
            kind::RELATION => {
                let column =
                    Column { relation: entry.oid("relid")?, number: i16::try_from(number).unwrap_or(0) };
                let old = node
                    .field("varreturningtype")
                    .is_ok_and(|kind| matches!(kind, Value::Atom(kind) if kind == RETURNING_OLD));
                self.column(scope, entry_number, column, old)
            }
            kind::SUBQUERY => {
                let query = entry.required("subquery")?;
                match field {
                    Some(field) => self.output_field(query, Some(scope), at, field),
                    None => self.output(query, Some(scope), at),
                }
            }
            kind::CTE => {
                let (query, home) = common(scope, entry)?;
                match field {
                    Some(field) if !entry.flag("self_reference")? => {
                        self.output_field(query, Some(home), at, field)
                    }
                    _ => self.output(query, Some(home), at),
                }
            }
            kind::JOIN => self.listed(scope, entry.list("joinaliasvars")?, at, field),
            kind::GROUP => self.listed(scope, entry.list("groupexprs")?, at, field),
            kind::FUNCTION => self.function(scope, entry, at),
            kind::TABLEFUNC => self.table_function(scope, entry.required("tablefunc")?, at),
            kind::VALUES => {
                let mut all = Flow::default();
                for row in entry.list("values_lists")? {
                    let Value::List(row) = row else {
                        return Err(WalkError::Unknown("a row of VALUES".into()));
                    };
                    all.merge(&self.listed(scope, row, at, field)?);
                }
                Ok(all)
            }
            kind::RESULT => Ok(Flow::default()),
            other => Err(WalkError::Unknown(format!("a range table entry of kind {other}"))),
        }
    }

    fn column(
        &mut self,
        scope: &Scope<'_, 't>,
        entry_number: usize,
        column: Column,
        old: bool,
    ) -> Result<Flow, WalkError> {
        if let Some(conflict) = scope.query.node("onConflict")?
            && conflict.count("exclRelIndex")? == entry_number
        {
            // EXCLUDED is the row that was to be inserted; it looks like one of the table.
            let scope = &Scope { returning: false, ..*scope };
            let written = self.written(scope, &scope.query.nodes("targetList")?)?;
            let proposed = written.iter().filter(|(to, _)| column.number == 0 || *to == column.number);
            let mut flow = Flow::union(proposed.map(|(_, flow)| flow));
            flow.merge(&Flow::of(column).softened());
            return Ok(flow);
        }
        if scope.returning && !old && scope.query.count("resultRelation")? == entry_number {
            return self.returned(scope, column);
        }
        Ok(Flow::of(column))
    }

    /// An item of a list of expressions; item 0 is all of them.
    fn listed(
        &mut self,
        scope: &Scope<'_, 't>,
        items: &'t [Value],
        number: usize,
        field: Option<i16>,
    ) -> Result<Flow, WalkError> {
        let scope = &Scope { returning: false, ..*scope };
        let Some(at) = number.checked_sub(1) else {
            let mut all = Flow::default();
            for item in items {
                all.merge(&self.value(scope, item)?);
            }
            return Ok(all);
        };
        let item = items.get(at).ok_or_else(|| WalkError::Unknown(format!("item {number} of a list")))?;
        match field {
            Some(field) => self.field_of(scope, item, field),
            None => self.value(scope, item),
        }
    }

    /// A column of the functions of FROM: the arguments of the one it comes from. The ordinality has none.
    fn function(&mut self, scope: &Scope<'_, 't>, entry: &'t Node, number: usize) -> Result<Flow, WalkError> {
        let mut flow = Flow::default();
        let mut last = 0;
        for function in entry.nodes("functions")? {
            let first = last + 1;
            last += function.count("funccolcount")?;
            if number == 0 || (first..=last).contains(&number) {
                flow.merge(&self.value(scope, function.field("funcexpr")?)?);
            }
        }
        Ok(flow)
    }

    /// A column of XMLTABLE or `JSON_TABLE`: the document and its own expressions. Those of other columns and the
    /// path of the rows decide.
    fn table_function(
        &mut self,
        scope: &Scope<'_, 't>,
        node: &'t Node,
        number: usize,
    ) -> Result<Flow, WalkError> {
        let mut flow = self.value(scope, node.field("docexpr")?)?;
        for list in ["colexprs", "coldefexprs", "colvalexprs"] {
            let Ok(Value::List(items)) = node.field(list) else { continue };
            for (item, at) in items.iter().zip(1..) {
                let part = self.value(scope, item)?;
                flow.merge(&if number == 0 || at == number { part } else { part.softened() });
            }
        }
        for part in ["rowexpr", "ns_uris"] {
            flow.merge(&self.value(scope, node.field(part)?)?.softened());
        }
        if let Ok(passing) = node.field("passingvalexprs") {
            flow.merge(&self.value(scope, passing)?);
        }
        Ok(flow)
    }
}

/// The WITH query an entry refers to, and the scope it stands in.
pub(super) fn common<'s, 't>(
    scope: &'s Scope<'s, 't>,
    entry: &Node,
) -> Result<(&'t Node, &'s Scope<'s, 't>), WalkError> {
    let home = scope.up(entry.count("ctelevelsup")?)?;
    let name = entry.text("ctename")?;
    for cte in home.query.nodes("cteList")? {
        if cte.text("ctename")? == name {
            return Ok((cte.required("ctequery")?, home));
        }
    }
    Err(WalkError::Unknown(format!("the WITH query {name}")))
}

/// Whether a value is a stored column as it is, through whatever subqueries and joins; of no row it is NULL.
pub(super) fn stored<'t>(scope: &Scope<'_, 't>, value: &'t Value) -> Result<bool, WalkError> {
    let Some(node) = value.node() else { return Ok(false) };
    match node.kind.as_str() {
        "RELABELTYPE" | "COLLATEEXPR" => return stored(scope, node.field("arg")?),
        "SUBLINK" if node.text("subLinkType")? == sublink::EXPR => {
            return stored_output(node.required("subselect")?, scope, 0);
        }
        "VAR" => {}
        _ => return Ok(false),
    }
    let scope = scope.up(node.count("varlevelsup")?)?;
    let entry = scope.entry(node.count("varno")?)?;
    let Some(at) = usize::try_from(node.number("varattno")?).ok().and_then(|number| number.checked_sub(1))
    else {
        return Ok(false);
    };
    let listed = |list: &'t [Value]| list.get(at).map_or(Ok(false), |item| stored(scope, item));
    match entry.text("rtekind")? {
        kind::RELATION => Ok(true),
        kind::JOIN => listed(entry.list("joinaliasvars")?),
        kind::GROUP => listed(entry.list("groupexprs")?),
        kind::SUBQUERY => stored_output(entry.required("subquery")?, scope, at),
        kind::CTE if !entry.flag("self_reference")? => {
            let (query, home) = common(scope, entry)?;
            stored_output(query, home, at)
        }
        _ => Ok(false),
    }
}

fn stored_output(query: &Node, outer: &Scope<'_, '_>, at: usize) -> Result<bool, WalkError> {
    let reads = query.text("commandType")? == command::SELECT && query.node("setOperations")?.is_none();
    let scope = Scope { query, outer: Some(outer), returning: false };
    match query.nodes("targetList")?.get(at) {
        Some(entry) if reads => stored(&scope, entry.field("expr")?),
        _ => Ok(false),
    }
}
