//! Names as a parse tree holds them, and the name an output gets where none is written.

use pg_query::{
    NodeEnum,
    protobuf::{Node, SubLinkType, TypeName, XmlExprOp},
};

/// A String node's text.
pub(super) fn text(node: &Node) -> Option<&str> {
    match node.node.as_ref()? {
        NodeEnum::String(text) => Some(&text.sval),
        _ => None,
    }
}

/// The strings of a list of String nodes, such as a qualified name.
pub(super) fn strings(list: &[Node]) -> Vec<String> {
    list.iter().filter_map(|node| text(node).map(ToOwned::to_owned)).collect()
}

/// The schema and the name of a qualified name.
pub(super) fn qualified(list: &[Node]) -> (String, String) {
    let mut names = strings(list);
    let name = names.pop().unwrap_or_default();
    (names.pop().unwrap_or_default(), name)
}

/// The last part of a type's name.
pub(super) fn type_name(name: Option<&TypeName>) -> Option<&str> {
    text(name?.names.last()?)
}

/// The constant of a node, as text; casts of a constant are read through.
pub(super) fn literal(node: &Node) -> Option<String> {
    use pg_query::protobuf::a_const::Val;
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            Val::Sval(text) => Some(text.sval.clone()),
            Val::Ival(number) => Some(number.ival.to_string()),
            Val::Fval(number) => Some(number.fval.clone()),
            Val::Boolval(boolean) => Some(boolean.boolval.to_string()),
            Val::Bsval(bits) => Some(bits.bsval.clone()),
        },
        NodeEnum::TypeCast(cast) => literal(cast.arg.as_deref()?),
        _ => None,
    }
}

/// What the server calls an output without a name (`FigureColname` in `parse_target.c`).
pub(super) fn output_name(node: &Node) -> String {
    figured(node).map_or_else(|| "?column?".to_owned(), |(name, _)| name)
}

/// The name, and whether it is one a cast around it does not replace.
fn figured(node: &Node) -> Option<(String, bool)> {
    let strong = |name: &str| Some((name.to_owned(), true));
    match node.node.as_ref()? {
        NodeEnum::ColumnRef(reference) => strong(reference.fields.iter().rev().find_map(text)?),
        NodeEnum::AIndirection(indirection) => match indirection.indirection.iter().rev().find_map(text) {
            Some(name) => strong(name),
            None => figured(indirection.arg.as_deref()?),
        },
        NodeEnum::FuncCall(call) => strong(text(call.funcname.last()?)?),
        NodeEnum::AExpr(expression) if expression.kind() == pg_query::protobuf::AExprKind::AexprNullif => {
            strong("nullif")
        }
        NodeEnum::TypeCast(cast) => {
            let inner = cast.arg.as_deref().and_then(figured);
            match inner {
                Some((name, true)) => Some((name, true)),
                _ => Some((type_name(cast.type_name.as_ref())?.to_owned(), false)),
            }
        }
        NodeEnum::CollateClause(collate) => figured(collate.arg.as_deref()?),
        NodeEnum::GroupingFunc(_) => strong("grouping"),
        NodeEnum::MergeSupportFunc(_) => strong("merge_action"),
        NodeEnum::SubLink(link) => match link.sub_link_type() {
            SubLinkType::ExistsSublink => strong("exists"),
            SubLinkType::ArraySublink => strong("array"),
            SubLinkType::ExprSublink => {
                let NodeEnum::SelectStmt(select) = link.subselect.as_deref()?.node.as_ref()? else {
                    return None;
                };
                // The name is that of the first output of its leftmost query.
                let mut select = select.as_ref();
                while let Some(left) = select.larg.as_deref() {
                    select = left;
                }
                let NodeEnum::ResTarget(target) = select.target_list.first()?.node.as_ref()? else {
                    return None;
                };
                if target.name.is_empty() { figured(target.val.as_deref()?) } else { strong(&target.name) }
            }
            _ => None,
        },
        NodeEnum::CaseExpr(case) => match case.defresult.as_deref().and_then(figured) {
            Some((name, true)) => Some((name, true)),
            _ => Some(("case".to_owned(), false)),
        },
        NodeEnum::AArrayExpr(_) => strong("array"),
        NodeEnum::RowExpr(_) => strong("row"),
        NodeEnum::CoalesceExpr(_) => strong("coalesce"),
        NodeEnum::MinMaxExpr(least) => {
            strong(if least.op() == pg_query::protobuf::MinMaxOp::IsGreatest { "greatest" } else { "least" })
        }
        NodeEnum::SqlvalueFunction(function) => {
            let name = function.op().as_str_name().trim_start_matches("SVFOP_").to_lowercase();
            strong(name.trim_end_matches("_n"))
        }
        NodeEnum::XmlExpr(xml) => match xml.op() {
            XmlExprOp::IsXmlconcat => strong("xmlconcat"),
            XmlExprOp::IsXmlelement => strong("xmlelement"),
            XmlExprOp::IsXmlforest => strong("xmlforest"),
            XmlExprOp::IsXmlparse => strong("xmlparse"),
            XmlExprOp::IsXmlpi => strong("xmlpi"),
            XmlExprOp::IsXmlroot => strong("xmlroot"),
            XmlExprOp::IsXmlserialize => strong("xmlserialize"),
            XmlExprOp::IsDocument | XmlExprOp::Undefined => None,
        },
        NodeEnum::XmlSerialize(_) => strong("xmlserialize"),
        NodeEnum::JsonParseExpr(_) => strong("json"),
        NodeEnum::JsonScalarExpr(_) => strong("json_scalar"),
        NodeEnum::JsonSerializeExpr(_) => strong("json_serialize"),
        NodeEnum::JsonObjectConstructor(_) => strong("json_object"),
        NodeEnum::JsonArrayConstructor(_) | NodeEnum::JsonArrayQueryConstructor(_) => strong("json_array"),
        NodeEnum::JsonObjectAgg(_) => strong("json_objectagg"),
        NodeEnum::JsonArrayAgg(_) => strong("json_arrayagg"),
        NodeEnum::JsonFuncExpr(json) => match json.op() {
            pg_query::protobuf::JsonExprOp::JsonExistsOp => strong("json_exists"),
            pg_query::protobuf::JsonExprOp::JsonQueryOp => strong("json_query"),
            pg_query::protobuf::JsonExprOp::JsonValueOp => strong("json_value"),
            _ => None,
        },
        _ => None,
    }
}
