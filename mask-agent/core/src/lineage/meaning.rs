//! What changes the meaning of words that are said later: settings of the session, and definitions.

use pg_query::{
    NodeEnum,
    protobuf::{
        AlterTableType, DiscardMode, Node, ObjectType, TransactionStmt, TransactionStmtKind as End,
        VariableSetKind, VariableSetStmt, a_const::Val,
    },
};

use super::{
    names::{literal, qualified, type_name},
    setting::cannot_mean,
    trace::Tracer,
};

/// A change of a setting by which the same words may mean something else, or what takes such changes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Nobody knows which, or what it is set to.
    Anything,
    /// COMMIT.
    Committed,
    /// DISCARD ALL.
    Discarded,
    /// RESET ALL.
    Reset,
    /// ROLLBACK.
    RolledBack,
    /// One of them.
    Set {
        /// Its name in lower case.
        name: String,
        /// What it is set to.
        to: SetTo,
        /// Until when.
        lasts: Lasts,
    },
    /// ROLLBACK TO, and other ends of a part of a transaction.
    TakenBack,
}

/// What a setting is set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetTo {
    /// What the session began with.
    Default,
    /// The parameter of this number.
    Parameter(u16),
    /// This text.
    Value(String),
}

/// Until when a setting has a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// The session ends, unless the transaction is rolled back.
    Session,
    /// The transaction ends.
    Transaction,
}

/// What a statement that is no query does to settings.
pub(super) fn settings(kind: &NodeEnum) -> Vec<Setting> {
    match kind {
        NodeEnum::VariableSetStmt(set) => set_by(set),
        NodeEnum::DiscardStmt(discard) if discard.target() == DiscardMode::DiscardAll => {
            vec![Setting::Discarded]
        }
        NodeEnum::TransactionStmt(end) => ended_by(end).into_iter().collect(),
        _ => Vec::new(),
    }
}

fn set_by(set: &VariableSetStmt) -> Vec<Setting> {
    let lasts = if set.is_local { Lasts::Transaction } else { Lasts::Session };
    let to = match set.kind() {
        VariableSetKind::VarResetAll => return vec![Setting::Reset],
        // What transactions are like changes no value.
        VariableSetKind::VarSetMulti => return Vec::new(),
        _ if cannot_mean(&set.name) => return Vec::new(),
        VariableSetKind::VarReset | VariableSetKind::VarSetDefault => Some(SetTo::Default),
        VariableSetKind::VarSetValue => {
            let is_constant = |node: &Node| matches!(node.node, Some(NodeEnum::AConst(_)));
            let texts = set.args.iter().map(|node| literal(node).filter(|_| is_constant(node)));
            let texts = texts.collect::<Option<Vec<_>>>();
            texts.map(|texts| SetTo::Value(texts.join("\0")))
        }
        VariableSetKind::Undefined | VariableSetKind::VarSetCurrent => None,
    };
    to.map_or_else(|| vec![Setting::Anything], |to| one(&set.name, to, lasts))
}

/// A setting that is set; two, where it has two halves that are set apart.
fn one(name: &str, to: SetTo, lasts: Lasts) -> Vec<Setting> {
    const STYLE: &str = "datestyle: style";
    const ORDER: &str = "datestyle: order";
    let name = name.to_lowercase();
    let set = |name: &str, to: SetTo| Setting::Set { name: name.to_owned(), to, lasts };
    if name != "datestyle" {
        return vec![set(&name, to)];
    }
    let text = match to {
        SetTo::Default => return vec![set(STYLE, SetTo::Default), set(ORDER, SetTo::Default)],
        SetTo::Parameter(_) => return vec![Setting::Anything],
        SetTo::Value(text) => text.to_lowercase(),
    };
    let words = text.split(|letter: char| matches!(letter, '\0' | ',') || letter.is_whitespace());
    let word = |word: &str| match word {
        "iso" | "postgres" | "sql" => set(STYLE, SetTo::Value(word.to_owned())),
        "dmy" | "mdy" | "ymd" => set(ORDER, SetTo::Value(word.to_owned())),
        // Some of the others set the order where no order is said.
        _ => Setting::Anything,
    };
    words.filter(|text| !text.is_empty()).map(word).collect()
}

fn ended_by(end: &TransactionStmt) -> Option<Setting> {
    match end.kind() {
        End::TransStmtBegin
        | End::TransStmtCommitPrepared
        | End::TransStmtRelease
        | End::TransStmtRollbackPrepared
        | End::TransStmtSavepoint
        | End::TransStmtStart => None,
        End::TransStmtCommit if !end.chain => Some(Setting::Committed),
        End::TransStmtRollback if !end.chain => Some(Setting::RolledBack),
        End::TransStmtCommit
        | End::TransStmtPrepare
        | End::TransStmtRollback
        | End::TransStmtRollbackTo
        | End::Undefined => Some(Setting::TakenBack),
    }
}

impl Tracer<'_> {
    /// What a statement sets by `set_config`: known where that is all it does.
    pub(super) fn set_by_function(&self, kind: &NodeEnum) -> Vec<Setting> {
        let unknown = || vec![Setting::Anything];
        let NodeEnum::SelectStmt(select) = kind else { return unknown() };
        let is_bare = select.from_clause.is_empty()
            && select.where_clause.is_none()
            && select.group_clause.is_empty()
            && select.having_clause.is_none()
            && select.distinct_clause.is_empty()
            && select.with_clause.is_none()
            && select.limit_count.is_none()
            && select.limit_offset.is_none()
            && select.larg.is_none()
            && select.into_clause.is_none()
            && select.sort_clause.is_empty();
        if !is_bare || self.is_user_routine("set_config") {
            return unknown();
        }
        let set = |target: &Node| {
            let NodeEnum::ResTarget(target) = target.node.as_ref()? else { return None };
            let NodeEnum::FuncCall(call) = target.val.as_deref()?.node.as_ref()? else { return None };
            let (schema, name) = qualified(&call.funcname);
            let [setting, to, local] = &*call.args else { return None };
            if name != "set_config" || !matches!(&*schema, "" | "pg_catalog") || call.over.is_some() {
                return None;
            }
            let setting = constant(setting)?;
            if cannot_mean(&setting) {
                return Some(Vec::new());
            }
            let to = match to.node.as_ref()? {
                NodeEnum::ParamRef(parameter) => SetTo::Parameter(u16::try_from(parameter.number).ok()?),
                _ => SetTo::Value(constant(to)?),
            };
            let lasts = match &*literal(local)? {
                "true" => Lasts::Transaction,
                "false" => Lasts::Session,
                _ => return None,
            };
            Some(one(&setting, to, lasts))
        };
        let all: Option<Vec<_>> = select.target_list.iter().map(set).collect();
        all.map_or_else(unknown, |all| all.concat())
    }
}

/// A constant text, not cut by a cast.
pub(super) fn constant(node: &Node) -> Option<String> {
    match node.node.as_ref()? {
        NodeEnum::AConst(constant) => match constant.val.as_ref()? {
            Val::Sval(text) => Some(text.sval.clone()),
            _ => None,
        },
        NodeEnum::TypeCast(cast) if type_name(cast.type_name.as_ref()) == Some("text") => {
            constant(cast.arg.as_deref()?)
        }
        _ => None,
    }
}

/// Whether a definition may change what the words of statements mean that do not name it, or whose definitions are not
/// read: of types, operators, aggregates, casts, text search, and settings of roles. The bodies of views, functions,
/// rules and policies are part of a question by themselves. What is not known not to, does.
pub(super) fn redefines(kind: &NodeEnum) -> bool {
    match kind {
        NodeEnum::AlterTableStmt(alter) => {
            alter.objtype() == ObjectType::ObjectType
                || alter.cmds.iter().any(|command| match command.node.as_ref() {
                    Some(NodeEnum::AlterTableCmd(command)) => {
                        command.subtype() == AlterTableType::AtAlterColumnType
                    }
                    _ => true,
                })
        }
        NodeEnum::RenameStmt(rename) => !is_read(rename.rename_type()),
        NodeEnum::AlterObjectSchemaStmt(moved) => !is_read(moved.object_type()),
        NodeEnum::DropStmt(drop) => !is_read(drop.remove_type()),
        NodeEnum::CreateFunctionStmt(create) => create.options.iter().any(|option| match &option.node {
            Some(NodeEnum::DefElem(option)) => option.defname == "set",
            _ => true,
        }),
        NodeEnum::CreateSchemaStmt(create) => {
            create.schema_elts.iter().filter_map(|element| element.node.as_ref()).any(redefines)
        }
        NodeEnum::AlterDefaultPrivilegesStmt(_)
        | NodeEnum::AlterOwnerStmt(_)
        | NodeEnum::AlterPolicyStmt(_)
        | NodeEnum::AlterPublicationStmt(_)
        | NodeEnum::AlterRoleStmt(_)
        | NodeEnum::AlterSeqStmt(_)
        | NodeEnum::AlterStatsStmt(_)
        | NodeEnum::AlterSubscriptionStmt(_)
        | NodeEnum::CreateForeignServerStmt(_)
        | NodeEnum::CreateForeignTableStmt(_)
        | NodeEnum::CreatePolicyStmt(_)
        | NodeEnum::CreatePublicationStmt(_)
        | NodeEnum::CreateRoleStmt(_)
        | NodeEnum::CreateSeqStmt(_)
        | NodeEnum::CreateStatsStmt(_)
        | NodeEnum::CreateStmt(_)
        | NodeEnum::CreateSubscriptionStmt(_)
        | NodeEnum::CreateTrigStmt(_)
        | NodeEnum::CreateUserMappingStmt(_)
        | NodeEnum::DropRoleStmt(_)
        | NodeEnum::DropSubscriptionStmt(_)
        | NodeEnum::DropUserMappingStmt(_)
        | NodeEnum::ImportForeignSchemaStmt(_)
        | NodeEnum::ReassignOwnedStmt(_)
        | NodeEnum::RefreshMatViewStmt(_)
        | NodeEnum::RuleStmt(_)
        | NodeEnum::SecLabelStmt(_)
        | NodeEnum::ViewStmt(_) => false,
        _ => true,
    }
}

/// Whether it is no definition by which words are read, or one whose text is part of each question that names it.
fn is_read(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectColumn
            | ObjectType::ObjectDefault
            | ObjectType::ObjectForeignTable
            | ObjectType::ObjectFunction
            | ObjectType::ObjectIndex
            | ObjectType::ObjectMatview
            | ObjectType::ObjectPolicy
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectPublication
            | ObjectType::ObjectRole
            | ObjectType::ObjectRule
            | ObjectType::ObjectSequence
            | ObjectType::ObjectStatisticExt
            | ObjectType::ObjectTabconstraint
            | ObjectType::ObjectTable
            | ObjectType::ObjectTrigger
            | ObjectType::ObjectView
    )
}
