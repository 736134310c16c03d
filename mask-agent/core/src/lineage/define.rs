//! Aggregates and operators: the functions they are.

use std::sync::Arc;

use pg_query::{
    NodeEnum,
    protobuf::{DefElem, DefineStmt, Node, ObjectType},
};

use super::{
    Made,
    graph::NodeId,
    names::{qualified, strings},
    operator::ANY,
    scope::Columns,
    trace::Tracer,
};
use crate::catalog::{Called, Routine, RoutineKind, Volatility};

/// What an aggregate is computed by.
const PARTS: [&str; 8] =
    ["combinefunc", "deserialfunc", "finalfunc", "mfinalfunc", "minvfunc", "msfunc", "serialfunc", "sfunc"];
/// The same as releases before 8.2 wrote it.
const PARTS_OLD: [&str; 2] = ["sfunc1", "finalfunc1"];

impl<'a> Tracer<'a> {
    /// An aggregate's state is made of every row, and of what its functions make of it.
    pub(super) fn aggregate(
        &mut self,
        routine: &'a Routine,
        arguments: &[NodeId],
    ) -> (NodeId, Option<Columns<'a>>) {
        let state = self.graph.made(arguments.to_vec());
        let inputs = vec![state; arguments.len() + 1];
        self.calling.push(routine.oid);
        for part in &routine.parts {
            let node = self.call_behind(part, &inputs);
            self.graph.add(state, &[node]);
        }
        self.calling.pop();
        let typed = self.graph.typed(if routine.returns == 0 { ANY } else { routine.returns });
        let node = self.graph.made(vec![state, typed]);
        self.varies = true;
        self.depends_on_rows(node);
        self.facts.called.push(node);
        (node, self.named_outputs(routine, &[], node))
    }
}

/// An aggregate or an operator that a statement makes; `None` for everything else, and where it is not known what it is.
pub(super) fn made(define: &DefineStmt, oid: u32) -> Option<Made> {
    let (schema, name) = qualified(&define.defnames);
    let options: Vec<&DefElem> = define.definition.iter().map(option).collect::<Option<_>>()?;
    match define.kind() {
        ObjectType::ObjectAggregate => {
            let names = PARTS.iter().chain(&PARTS_OLD);
            let parts: Option<Vec<Called>> = options
                .iter()
                .filter(|option| names.clone().any(|name| *name == option.defname))
                .map(|option| function(option))
                .collect();
            let parts = parts.filter(|parts| !parts.is_empty())?;
            let body = Some(Arc::new(aggregate(schema, name.clone(), oid, parts)));
            Some(Made::Function { name, body })
        }
        ObjectType::ObjectOperator => {
            let named = |option: &&&DefElem| matches!(&*option.defname, "function" | "procedure");
            let function = function(options.iter().find(named)?)?;
            Some(Made::Operator { name, function })
        }
        _ => None,
    }
}

/// Whether what is made changes neither what functions, operators and types mean nor which strings are equal.
pub(super) fn leaves_names(define: &DefineStmt) -> bool {
    match define.kind() {
        ObjectType::ObjectTsconfiguration | ObjectType::ObjectTsdictionary => true,
        // One like another, with rules of its own or not deterministic may find different strings equal.
        ObjectType::ObjectCollation => define.definition.iter().all(|node| {
            let known = ["lc_collate", "lc_ctype", "locale", "provider"];
            option(node).is_some_and(|option| known.contains(&&*option.defname))
        }),
        _ => false,
    }
}

fn option(node: &Node) -> Option<&DefElem> {
    match node.node.as_ref()? {
        NodeEnum::DefElem(option) => Some(option),
        _ => None,
    }
}

/// The function that an option names.
fn function(option: &DefElem) -> Option<Called> {
    let names = match option.arg.as_deref()?.node.as_ref()? {
        NodeEnum::TypeName(name) => strings(&name.names),
        NodeEnum::String(name) => vec![name.sval.clone()],
        _ => return None,
    };
    match &*names {
        [name] => Some(Called { schema: String::new(), name: name.clone() }),
        [schema, name] => Some(Called { schema: schema.clone(), name: name.clone() }),
        _ => None,
    }
}

fn aggregate(schema: String, name: String, oid: u32, parts: Vec<Called>) -> Routine {
    Routine {
        oid,
        schema,
        name,
        kind: RoutineKind::Aggregate,
        language: "internal".to_owned(),
        definition: None,
        security_definer: false,
        volatility: Volatility::Volatile,
        inputs: Vec::new(),
        outputs: Vec::new(),
        returns: 0,
        returns_set: false,
        search_path: None,
        harmless: false,
        digest: None,
        parts,
    }
}
