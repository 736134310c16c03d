//! Nodes of the parser as nodes of messages, field by field.
//!
//! Where something is not known, the whole tree comes as a message.

use pg_query::{
    NodeEnum,
    protobuf::{self, Node, a_const::Val},
};

use super::layout::{self, Constant, Known, List, NodeRef, Raw, Text};

/// Deeper trees come as messages: how deep these may be, the library checks.
const DEPTH_MAX: u32 = 64;

/// A node of a kind, or at a depth, that is not known here.
pub(super) struct Unknown;

type Converted<T> = Result<T, Unknown>;

/// The statements of a string; no list is an empty one.
pub(super) fn statements(list: Option<&List<'_>>) -> Converted<Vec<protobuf::RawStmt>> {
    let Some(list) = list else { return Ok(Vec::new()) };
    let nodes = list.nodes().ok_or(Unknown)?;
    let mut statements = Vec::with_capacity(nodes.len());
    for node in nodes {
        let Raw::RawStmt(raw) = node.and_then(NodeRef::raw).ok_or(Unknown)?;
        let stmt = Convert { depth: 0 }.boxed(raw.stmt)?;
        let (stmt_location, stmt_len) = (raw.stmt_location, raw.stmt_len);
        statements.push(protobuf::RawStmt { stmt, stmt_location, stmt_len });
    }
    Ok(statements)
}

/// A message's enumerations begin with one for no value.
fn number(value: i32) -> i32 {
    value + 1
}

fn text(text: Option<Text<'_>>) -> Converted<String> {
    match text {
        Some(text) => text.read().map(str::to_owned).ok_or(Unknown),
        None => Ok(String::new()),
    }
}

struct Convert {
    depth: u32,
}

impl Convert {
    fn boxed(&mut self, node: Option<NodeRef<'_>>) -> Converted<Option<Box<Node>>> {
        match node {
            Some(node) => Ok(Some(Box::new(self.node(node)?))),
            None => Ok(None),
        }
    }

    fn list(&mut self, list: Option<&List<'_>>) -> Converted<Vec<Node>> {
        let Some(list) = list else { return Ok(Vec::new()) };
        let nodes = list.nodes().ok_or(Unknown)?;
        let mut converted = Vec::with_capacity(nodes.len());
        for node in nodes {
            converted.push(match node {
                Some(node) => self.node(*node)?,
                None => Node { node: None },
            });
        }
        Ok(converted)
    }

    fn node(&mut self, node: NodeRef<'_>) -> Converted<Node> {
        if self.depth >= DEPTH_MAX {
            return Err(Unknown);
        }
        self.depth += 1;
        let node = self.kind(&node.known().ok_or(Unknown)?)?;
        self.depth -= 1;
        Ok(Node { node: Some(node) })
    }

    fn kind(&mut self, node: &Known<'_>) -> Converted<NodeEnum> {
        Ok(match *node {
            Known::AArrayExpr(array) => NodeEnum::AArrayExpr(self.array(array)?),
            Known::AConst(constant) => NodeEnum::AConst(value(constant)?),
            Known::AExpr(expression) => NodeEnum::AExpr(Box::new(self.operation(expression)?)),
            Known::AStar(_) => NodeEnum::AStar(protobuf::AStar {}),
            Known::BoolExpr(boolean) => NodeEnum::BoolExpr(Box::new(self.boolean(boolean)?)),
            Known::CaseExpr(case) => NodeEnum::CaseExpr(Box::new(self.case(case)?)),
            Known::CaseWhen(when) => NodeEnum::CaseWhen(Box::new(self.when(when)?)),
            Known::CoalesceExpr(coalesce) => NodeEnum::CoalesceExpr(Box::new(self.coalesce(coalesce)?)),
            Known::ColumnRef(column) => NodeEnum::ColumnRef(self.column(column)?),
            Known::CommonTableExpr(common) => NodeEnum::CommonTableExpr(Box::new(self.common_table(common)?)),
            Known::DeleteStmt(delete) => NodeEnum::DeleteStmt(Box::new(self.delete(delete)?)),
            Known::FuncCall(call) => NodeEnum::FuncCall(Box::new(self.call(call)?)),
            Known::InsertStmt(insert) => NodeEnum::InsertStmt(Box::new(self.insert(insert)?)),
            Known::Integer(of) => NodeEnum::Integer(protobuf::Integer { ival: of.value }),
            Known::JoinExpr(join) => NodeEnum::JoinExpr(Box::new(self.join(join)?)),
            Known::List(list) => NodeEnum::List(protobuf::List { items: self.list(Some(list))? }),
            Known::LockingClause(lock) => NodeEnum::LockingClause(self.lock(lock)?),
            Known::NullTest(test) => NodeEnum::NullTest(Box::new(self.null_test(test)?)),
            Known::ParamRef(of) => {
                NodeEnum::ParamRef(protobuf::ParamRef { number: of.number, location: of.location })
            }
            Known::RangeSubselect(query) => NodeEnum::RangeSubselect(Box::new(self.subquery(query)?)),
            Known::RangeVar(relation) => NodeEnum::RangeVar(self.relation(relation)?),
            Known::ResTarget(target) => NodeEnum::ResTarget(Box::new(self.target(target)?)),
            Known::RowExpr(row) => NodeEnum::RowExpr(Box::new(self.row(row)?)),
            Known::SelectStmt(select) => NodeEnum::SelectStmt(Box::new(self.select(select)?)),
            Known::SetToDefault(of) => NodeEnum::SetToDefault(Box::new(default(of))),
            Known::SortBy(sort) => NodeEnum::SortBy(Box::new(self.sort(sort)?)),
            Known::SqlValueFunction(of) => NodeEnum::SqlvalueFunction(Box::new(value_function(of))),
            Known::String(of) => NodeEnum::String(protobuf::String { sval: text(of.text)? }),
            Known::SubLink(link) => NodeEnum::SubLink(Box::new(self.sub_link(link)?)),
            Known::TransactionStmt(end) => NodeEnum::TransactionStmt(self.transaction(end)?),
            Known::TypeCast(cast) => NodeEnum::TypeCast(Box::new(self.cast(cast)?)),
            Known::UpdateStmt(update) => NodeEnum::UpdateStmt(Box::new(self.update(update)?)),
        })
    }

    fn side(
        &mut self,
        side: Option<&layout::SelectStmt<'_>>,
    ) -> Converted<Option<Box<protobuf::SelectStmt>>> {
        match side {
            Some(_) if self.depth >= DEPTH_MAX => Err(Unknown),
            Some(side) => {
                self.depth += 1;
                let side = self.select(side)?;
                self.depth -= 1;
                Ok(Some(Box::new(side)))
            }
            None => Ok(None),
        }
    }

    fn select(&mut self, from: &layout::SelectStmt<'_>) -> Converted<protobuf::SelectStmt> {
        if from.into_clause.is_some() {
            return Err(Unknown);
        }
        Ok(protobuf::SelectStmt {
            distinct_clause: self.list(from.distinct_clause)?,
            into_clause: None,
            target_list: self.list(from.target_list)?,
            from_clause: self.list(from.from_clause)?,
            where_clause: self.boxed(from.where_clause)?,
            group_clause: self.list(from.group_clause)?,
            group_distinct: from.group_distinct,
            having_clause: self.boxed(from.having_clause)?,
            window_clause: self.list(from.window_clause)?,
            values_lists: self.list(from.values_lists)?,
            sort_clause: self.list(from.sort_clause)?,
            limit_offset: self.boxed(from.limit_offset)?,
            limit_count: self.boxed(from.limit_count)?,
            limit_option: number(from.limit_option),
            locking_clause: self.list(from.locking_clause)?,
            with_clause: self.with(from.with_clause)?,
            op: number(from.op),
            all: from.all,
            larg: self.side(from.larg)?,
            rarg: self.side(from.rarg)?,
        })
    }

    fn insert(&mut self, from: &layout::InsertStmt<'_>) -> Converted<protobuf::InsertStmt> {
        if from.on_conflict_clause.is_some() {
            return Err(Unknown);
        }
        Ok(protobuf::InsertStmt {
            relation: self.named_relation(from.relation)?,
            cols: self.list(from.cols)?,
            select_stmt: self.boxed(from.select_stmt)?,
            on_conflict_clause: None,
            returning_clause: self.returning(from.returning_clause)?,
            with_clause: self.with(from.with_clause)?,
            r#override: number(from.overriding),
        })
    }

    fn update(&mut self, from: &layout::UpdateStmt<'_>) -> Converted<protobuf::UpdateStmt> {
        Ok(protobuf::UpdateStmt {
            relation: self.named_relation(from.relation)?,
            target_list: self.list(from.target_list)?,
            where_clause: self.boxed(from.where_clause)?,
            from_clause: self.list(from.from_clause)?,
            returning_clause: self.returning(from.returning_clause)?,
            with_clause: self.with(from.with_clause)?,
        })
    }

    fn delete(&mut self, from: &layout::DeleteStmt<'_>) -> Converted<protobuf::DeleteStmt> {
        Ok(protobuf::DeleteStmt {
            relation: self.named_relation(from.relation)?,
            using_clause: self.list(from.using_clause)?,
            where_clause: self.boxed(from.where_clause)?,
            returning_clause: self.returning(from.returning_clause)?,
            with_clause: self.with(from.with_clause)?,
        })
    }

    fn transaction(&mut self, from: &layout::TransactionStmt<'_>) -> Converted<protobuf::TransactionStmt> {
        Ok(protobuf::TransactionStmt {
            kind: number(from.kind),
            options: self.list(from.options)?,
            savepoint_name: text(from.savepoint_name)?,
            gid: text(from.gid)?,
            chain: from.chain,
            location: from.location,
        })
    }

    fn returning(
        &mut self,
        clause: Option<&layout::ReturningClause<'_>>,
    ) -> Converted<Option<protobuf::ReturningClause>> {
        let Some(clause) = clause else { return Ok(None) };
        let (options, exprs) = (self.list(clause.options)?, self.list(clause.exprs)?);
        Ok(Some(protobuf::ReturningClause { options, exprs }))
    }

    fn with(&mut self, with: Option<&layout::WithClause<'_>>) -> Converted<Option<protobuf::WithClause>> {
        let Some(with) = with else { return Ok(None) };
        let (recursive, location) = (with.recursive, with.location);
        Ok(Some(protobuf::WithClause { ctes: self.list(with.ctes)?, recursive, location }))
    }

    fn common_table(&mut self, from: &layout::CommonTableExpr<'_>) -> Converted<protobuf::CommonTableExpr> {
        if from.search_clause.is_some() || from.cycle_clause.is_some() {
            return Err(Unknown);
        }
        Ok(protobuf::CommonTableExpr {
            ctename: text(from.ctename)?,
            aliascolnames: self.list(from.aliascolnames)?,
            ctematerialized: number(from.ctematerialized),
            ctequery: self.boxed(from.ctequery)?,
            search_clause: None,
            cycle_clause: None,
            location: from.location,
            cterecursive: from.cterecursive,
            cterefcount: from.cterefcount,
            ctecolnames: self.list(from.ctecolnames)?,
            ctecoltypes: self.list(from.ctecoltypes)?,
            ctecoltypmods: self.list(from.ctecoltypmods)?,
            ctecolcollations: self.list(from.ctecolcollations)?,
        })
    }

    fn lock(&mut self, from: &layout::LockingClause<'_>) -> Converted<protobuf::LockingClause> {
        let (strength, wait_policy) = (number(from.strength), number(from.wait_policy));
        Ok(protobuf::LockingClause { locked_rels: self.list(from.locked_rels)?, strength, wait_policy })
    }

    fn named_relation(
        &mut self,
        from: Option<&layout::RangeVar<'_>>,
    ) -> Converted<Option<protobuf::RangeVar>> {
        from.map(|from| self.relation(from)).transpose()
    }

    fn relation(&mut self, from: &layout::RangeVar<'_>) -> Converted<protobuf::RangeVar> {
        let persistence = match from.relpersistence {
            0 => String::new(),
            persistence => char::from(persistence).to_string(),
        };
        Ok(protobuf::RangeVar {
            catalogname: text(from.catalogname)?,
            schemaname: text(from.schemaname)?,
            relname: text(from.relname)?,
            inh: from.inh,
            relpersistence: persistence,
            alias: self.alias(from.alias)?,
            location: from.location,
        })
    }

    fn alias(&mut self, alias: Option<&layout::Alias<'_>>) -> Converted<Option<protobuf::Alias>> {
        let Some(alias) = alias else { return Ok(None) };
        let (aliasname, colnames) = (text(alias.aliasname)?, self.list(alias.colnames)?);
        Ok(Some(protobuf::Alias { aliasname, colnames }))
    }

    fn subquery(&mut self, from: &layout::RangeSubselect<'_>) -> Converted<protobuf::RangeSubselect> {
        let (subquery, alias) = (self.boxed(from.subquery)?, self.alias(from.alias)?);
        Ok(protobuf::RangeSubselect { lateral: from.lateral, subquery, alias })
    }

    fn join(&mut self, from: &layout::JoinExpr<'_>) -> Converted<protobuf::JoinExpr> {
        Ok(protobuf::JoinExpr {
            jointype: number(from.jointype),
            is_natural: from.is_natural,
            larg: self.boxed(from.larg)?,
            rarg: self.boxed(from.rarg)?,
            using_clause: self.list(from.using_clause)?,
            join_using_alias: self.alias(from.join_using_alias)?,
            quals: self.boxed(from.quals)?,
            alias: self.alias(from.alias)?,
            rtindex: from.rtindex,
        })
    }

    fn target(&mut self, from: &layout::ResTarget<'_>) -> Converted<protobuf::ResTarget> {
        Ok(protobuf::ResTarget {
            name: text(from.name)?,
            indirection: self.list(from.indirection)?,
            val: self.boxed(from.val)?,
            location: from.location,
        })
    }

    fn sort(&mut self, from: &layout::SortBy<'_>) -> Converted<protobuf::SortBy> {
        Ok(protobuf::SortBy {
            node: self.boxed(from.node)?,
            sortby_dir: number(from.sortby_dir),
            sortby_nulls: number(from.sortby_nulls),
            use_op: self.list(from.use_op)?,
            location: from.location,
        })
    }

    fn column(&mut self, from: &layout::ColumnRef<'_>) -> Converted<protobuf::ColumnRef> {
        Ok(protobuf::ColumnRef { fields: self.list(from.fields)?, location: from.location })
    }

    fn operation(&mut self, from: &layout::AExpr<'_>) -> Converted<protobuf::AExpr> {
        Ok(protobuf::AExpr {
            kind: number(from.kind),
            name: self.list(from.name)?,
            lexpr: self.boxed(from.lexpr)?,
            rexpr: self.boxed(from.rexpr)?,
            rexpr_list_start: from.rexpr_list_start,
            rexpr_list_end: from.rexpr_list_end,
            location: from.location,
        })
    }

    fn boolean(&mut self, from: &layout::BoolExpr<'_>) -> Converted<protobuf::BoolExpr> {
        let (boolop, location) = (number(from.boolop), from.location);
        Ok(protobuf::BoolExpr { xpr: None, boolop, args: self.list(from.args)?, location })
    }

    fn null_test(&mut self, from: &layout::NullTest<'_>) -> Converted<protobuf::NullTest> {
        Ok(protobuf::NullTest {
            xpr: None,
            arg: self.boxed(from.arg)?,
            nulltesttype: number(from.nulltesttype),
            argisrow: from.argisrow,
            location: from.location,
        })
    }

    fn sub_link(&mut self, from: &layout::SubLink<'_>) -> Converted<protobuf::SubLink> {
        Ok(protobuf::SubLink {
            xpr: None,
            sub_link_type: number(from.sub_link_type),
            sub_link_id: from.sub_link_id,
            testexpr: self.boxed(from.testexpr)?,
            oper_name: self.list(from.oper_name)?,
            subselect: self.boxed(from.subselect)?,
            location: from.location,
        })
    }

    fn cast(&mut self, from: &layout::TypeCast<'_>) -> Converted<protobuf::TypeCast> {
        let (arg, type_name) = (self.boxed(from.arg)?, self.type_name(from.type_name)?);
        Ok(protobuf::TypeCast { arg, type_name, location: from.location })
    }

    fn type_name(&mut self, from: Option<&layout::TypeName<'_>>) -> Converted<Option<protobuf::TypeName>> {
        let Some(from) = from else { return Ok(None) };
        Ok(Some(protobuf::TypeName {
            names: self.list(from.names)?,
            type_oid: from.type_oid,
            setof: from.setof,
            pct_type: from.pct_type,
            typmods: self.list(from.typmods)?,
            typemod: from.typemod,
            array_bounds: self.list(from.array_bounds)?,
            location: from.location,
        }))
    }

    fn call(&mut self, from: &layout::FuncCall<'_>) -> Converted<protobuf::FuncCall> {
        if from.over.is_some() {
            return Err(Unknown);
        }
        Ok(protobuf::FuncCall {
            funcname: self.list(from.funcname)?,
            args: self.list(from.args)?,
            agg_order: self.list(from.agg_order)?,
            agg_filter: self.boxed(from.agg_filter)?,
            over: None,
            agg_within_group: from.agg_within_group,
            agg_star: from.agg_star,
            agg_distinct: from.agg_distinct,
            func_variadic: from.func_variadic,
            funcformat: number(from.funcformat),
            location: from.location,
        })
    }

    fn case(&mut self, from: &layout::CaseExpr<'_>) -> Converted<protobuf::CaseExpr> {
        Ok(protobuf::CaseExpr {
            xpr: None,
            casetype: from.casetype,
            casecollid: from.casecollid,
            arg: self.boxed(from.arg)?,
            args: self.list(from.args)?,
            defresult: self.boxed(from.defresult)?,
            location: from.location,
        })
    }

    fn when(&mut self, from: &layout::CaseWhen<'_>) -> Converted<protobuf::CaseWhen> {
        let (expr, result) = (self.boxed(from.expr)?, self.boxed(from.result)?);
        Ok(protobuf::CaseWhen { xpr: None, expr, result, location: from.location })
    }

    fn coalesce(&mut self, from: &layout::CoalesceExpr<'_>) -> Converted<protobuf::CoalesceExpr> {
        Ok(protobuf::CoalesceExpr {
            xpr: None,
            coalescetype: from.coalescetype,
            coalescecollid: from.coalescecollid,
            args: self.list(from.args)?,
            location: from.location,
        })
    }

    fn row(&mut self, from: &layout::RowExpr<'_>) -> Converted<protobuf::RowExpr> {
        Ok(protobuf::RowExpr {
            xpr: None,
            args: self.list(from.args)?,
            row_typeid: from.row_typeid,
            row_format: number(from.row_format),
            colnames: self.list(from.colnames)?,
            location: from.location,
        })
    }

    fn array(&mut self, from: &layout::AArrayExpr<'_>) -> Converted<protobuf::AArrayExpr> {
        Ok(protobuf::AArrayExpr {
            elements: self.list(from.elements)?,
            list_start: from.list_start,
            list_end: from.list_end,
            location: from.location,
        })
    }
}

fn value(from: &layout::AConst<'_>) -> Converted<protobuf::AConst> {
    let (isnull, location) = (from.is_null, from.location);
    if isnull {
        return Ok(protobuf::AConst { isnull, location, val: None });
    }
    let val = match from.val.node().constant().ok_or(Unknown)? {
        Constant::Integer(of) => Val::Ival(protobuf::Integer { ival: of.value }),
        Constant::Float(of) => Val::Fval(protobuf::Float { fval: text(of.text)? }),
        Constant::Boolean(of) => Val::Boolval(protobuf::Boolean { boolval: of.value }),
        Constant::String(of) => Val::Sval(protobuf::String { sval: text(of.text)? }),
        Constant::BitString(of) => Val::Bsval(protobuf::BitString { bsval: text(of.text)? }),
    };
    Ok(protobuf::AConst { isnull, location, val: Some(val) })
}

fn default(from: &layout::SetToDefault) -> protobuf::SetToDefault {
    protobuf::SetToDefault {
        xpr: None,
        type_id: from.type_id,
        type_mod: from.type_mod,
        collation: from.collation,
        location: from.location,
    }
}

fn value_function(from: &layout::SqlValueFunction) -> protobuf::SqlValueFunction {
    protobuf::SqlValueFunction {
        xpr: None,
        op: number(from.op),
        r#type: from.type_oid,
        typmod: from.typmod,
        location: from.location,
    }
}
