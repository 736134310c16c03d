//! Functions that the server calls of itself: to sort, to index, to convert, to gather statistics. Nothing names them where
//! they run, so that nobody would see what they put where.

use pg_query::{
    NodeEnum,
    protobuf::{CreateFunctionStmt, CreateOpClassItem, DefElem, Node, ObjectType, ObjectWithArgs},
};

use super::{
    Env, Masked, Refusal,
    builtins::builtin,
    facts::Facts,
    names::{qualified, strings},
    scope::Level,
    trace::Tracer,
};
use crate::catalog::{Called, Routine, has_word, hides_names};

/// What the body of a new function does.
#[derive(Clone, Copy, Default)]
pub(super) struct Body {
    /// It puts or carries anything, or calls what is not there.
    pub(super) acts: bool,
    /// It reads masked columns.
    pub(super) asks: bool,
    /// It reads anything that is stored.
    pub(super) reads: bool,
}

/// `OPCLASS_ITEM_FUNCTION`.
const FUNCTION: i32 = 2;

/// Options of a definition that name functions, by what is defined.
const OF_OPERATORS: [&str; 2] = ["function", "procedure"];
const OF_AGGREGATES: [&str; 4] = ["sfunc", "finalfunc", "msfunc", "mfinalfunc"];
const OF_RANGES: [&str; 2] = ["canonical", "subtype_diff"];

impl Tracer<'_> {
    /// What was read as the body of a function.
    pub(super) fn body(&mut self, classes: &dyn Masked) -> Body {
        Body { acts: self.acts(), asks: self.reads_masked(classes), reads: self.reads_stored() }
    }

    /// Whether what was read puts or carries anything anywhere, or calls what is not there yet.
    fn acts(&mut self) -> bool {
        !self.puts.is_empty() || !self.facts.carried.is_empty() || self.facts.calls_missing
    }

    /// Whether what was read names masked columns, or says or returns what is made of them.
    fn reads_masked(&mut self, classes: &dyn Masked) -> bool {
        self.graph.spread(classes);
        self.graph.tell_of(self.told_values(), &|column| classes.is_masked(column.relation, column.number))
    }

    /// Whether what was read reads anything that is stored, which may be masked by the time it is called.
    fn reads_stored(&self) -> bool {
        let Facts { relations, calls_opaque_code, dangerous, reads_settings, reads_large_objects, .. } =
            &self.facts;
        !relations.is_empty()
            || *calls_opaque_code
            || dangerous.is_some()
            || *reads_settings
            || *reads_large_objects
    }

    /// Reads what the server will call because of a definition, where nothing else does.
    fn called_unasked(&mut self, kind: &NodeEnum) {
        match kind {
            NodeEnum::AlterDomainStmt(alter) => self.held_by(alter.def.as_deref()),
            NodeEnum::AlterOpFamilyStmt(alter) => alter.items.iter().for_each(|item| self.supported(item)),
            NodeEnum::CreateCastStmt(cast) => self.called_with(cast.func.as_ref()),
            NodeEnum::CreateDomainStmt(domain) => {
                domain.constraints.iter().for_each(|constraint| self.held_by(Some(constraint)));
            }
            NodeEnum::CreateStatsStmt(_) | NodeEnum::IndexStmt(_) => self.checked_by(kind),
            NodeEnum::CreateOpClassStmt(class) => class.items.iter().for_each(|item| self.supported(item)),
            NodeEnum::CreateRangeStmt(range) => self.named_in(&range.params, &OF_RANGES),
            NodeEnum::DefineStmt(define) if define.kind() == ObjectType::ObjectOperator => {
                self.named_in(&define.definition, &OF_OPERATORS);
            }
            NodeEnum::DefineStmt(define) if define.kind() == ObjectType::ObjectAggregate => {
                self.named_in(&define.definition, &OF_AGGREGATES);
            }
            _ => {}
        }
    }

    /// A constraint of a domain.
    fn held_by(&mut self, constraint: Option<&Node>) {
        let Some(NodeEnum::Constraint(constraint)) = constraint.and_then(|node| node.node.as_ref()) else {
            return;
        };
        let rows = self.graph.made(Vec::new());
        self.levels.push(Level { items: Vec::new(), rows });
        let outer = std::mem::take(&mut self.refs);
        self.optional(constraint.raw_expr.as_deref());
        self.refs = outer;
        self.levels.pop();
    }

    fn supported(&mut self, item: &Node) {
        if let Some(NodeEnum::CreateOpClassItem(CreateOpClassItem { itemtype: FUNCTION, name, .. })) =
            &item.node
        {
            self.called_with(name.as_ref());
        }
    }

    fn named_in(&mut self, options: &[Node], names: &[&str]) {
        for option in options {
            if let Some(NodeEnum::DefElem(option)) = &option.node
                && names.contains(&&*option.defname)
            {
                self.called_by(&function_names(option));
            }
        }
    }

    fn called_with(&mut self, function: Option<&ObjectWithArgs>) {
        if let Some(function) = function {
            self.called_by(&strings(&function.objname));
        }
    }

    /// Whatever it is given; of several by one name, any.
    fn called_by(&mut self, names: &[String]) {
        let (schema, name) = match names {
            [name] => (String::new(), name.clone()),
            [schema, name] => (schema.clone(), name.clone()),
            _ => return,
        };
        let given = self.graph.made(Vec::new());
        self.call_behind(&Called { schema, name }, &[given, given]);
    }
}

fn function_names(option: &DefElem) -> Vec<String> {
    match option.arg.as_deref().and_then(|value| value.node.as_ref()) {
        Some(NodeEnum::TypeName(name)) => strings(&name.names),
        Some(NodeEnum::String(name)) => vec![name.sval.clone()],
        Some(NodeEnum::List(list)) => strings(&list.items),
        _ => Vec::new(),
    }
}

/// Why a definition is not sent by which the server would call what acts, by itself.
pub(super) fn refusal(kind: &NodeEnum, body: Body, env: &Env<'_>, classes: &dyn Masked) -> Option<Refusal> {
    let mut unasked = anywhere(env);
    unasked.called_unasked(kind);
    let refused = match kind {
        // Whether it fails would tell what the function asks, each time and uncounted.
        NodeEnum::AlterDomainStmt(_) | NodeEnum::CreateDomainStmt(_) => {
            unasked.acts() || unasked.reads_masked(classes)
        }
        // Nothing says where a value is turned into another by it.
        NodeEnum::CreateCastStmt(_) => {
            unasked.acts() || unasked.reads_masked(classes) || unasked.reads_stored()
        }
        NodeEnum::DefineStmt(define) => {
            let (_, name) = qualified(&define.defnames);
            // An aggregate is called only where it is named.
            let is_named = define.kind() == ObjectType::ObjectAggregate;
            unasked.acts() && !is_named
                || (unasked.acts() || unasked.reads_stored()) && is_cast_by(&name, env)
        }
        NodeEnum::IndexStmt(_) => unasked.acts(),
        // Of these no snapshot tells whose functions they call.
        NodeEnum::AlterOpFamilyStmt(_)
        | NodeEnum::CreateOpClassStmt(_)
        | NodeEnum::CreateRangeStmt(_)
        | NodeEnum::CreateStatsStmt(_) => unasked.facts.calls_user_code,
        NodeEnum::AlterObjectSchemaStmt(moved) => {
            is_code(moved.object_type()) && is_bound(env) && {
                let name = function_name(moved.object.as_deref());
                comes_to(name.as_deref(), name.as_deref(), env, classes)
            }
        }
        NodeEnum::CreateFunctionStmt(create) => {
            is_bound(env) && body.acts && replaces(create, env, Tracer::acts)
                || is_bound_by_name(env)
                    && body.asks
                    && replaces(create, env, |read| read.reads_masked(classes))
                || body.reads
                    && is_cast_by(&qualified(&create.funcname).1, env)
                    && replaces(create, env, |read| read.reads_stored())
        }
        NodeEnum::RenameStmt(rename) => {
            is_code(rename.rename_type()) && is_bound(env) && {
                let name = function_name(rename.object.as_deref());
                comes_to(name.as_deref(), Some(&rename.newname), env, classes)
            }
        }
        _ => false,
    };
    refused.then(|| Refusal {
        code: "hidden-flow",
        message: "this definition is refused, because the server could then call by itself a function that \
                  writes, or reads what is or may be masked"
            .to_owned(),
        hint: "Let the function only compute, and make what it calls before, or let an operator create it past mask-agent.",
    })
}

fn is_code(kind: ObjectType) -> bool {
    matches!(
        kind,
        ObjectType::ObjectAggregate
            | ObjectType::ObjectFunction
            | ObjectType::ObjectProcedure
            | ObjectType::ObjectRoutine
    )
}

/// Whether the server may call functions of users that no statement names.
fn is_bound(env: &Env<'_>) -> bool {
    env.overlay.binds() || env.catalog.binds_user_code()
}

/// Whether it may for a type or an operator; what is called for what is written is read wherever something is.
fn is_bound_by_name(env: &Env<'_>) -> bool {
    env.overlay.binds() || env.catalog.has_user_names()
}

/// Whether a cast may come to a function or an operator of a name, by whatever it calls: that it is called so by now, or is
/// once another is found by the name.
fn is_cast_by(name: &str, env: &Env<'_>) -> bool {
    let comes_to = |casting: &Routine| {
        let called = reads(env, casting).facts.routines;
        let mut read = everybody(env).filter(|routine| called.contains(&routine.oid));
        read.any(|routine| routine.name == name || mentions(routine, name))
    };
    env.overlay.has_cast() || env.catalog.casting().any(comes_to)
}

/// Reads names as they may be found by then, whatever schema comes first.
fn anywhere<'a>(env: &'a Env<'a>) -> Tracer<'a> {
    let mut tracer = Tracer::new(env);
    tracer.path = None;
    tracer
}

/// Functions that a name may mean.
fn named<'a>(env: &'a Env<'a>, name: &str) -> impl Iterator<Item = &'a Routine> {
    env.catalog.routines(name).chain(env.overlay.routines(name))
}

fn reads<'a>(env: &'a Env<'a>, routine: &'a Routine) -> Tracer<'a> {
    let mut tracer = anywhere(env);
    tracer.call_routine(routine, &[]);
    tracer
}

fn function_name(object: Option<&Node>) -> Option<String> {
    match object.and_then(|object| object.node.as_ref()) {
        Some(NodeEnum::ObjectWithArgs(function)) => Some(qualified(&function.objname).1),
        _ => None,
    }
}

/// Whether a function that comes to another place acts, or reads masked columns where others may find it, or anything
/// where a cast may; one that nobody knows may.
fn comes_to(name: Option<&str>, new_name: Option<&str>, env: &Env<'_>, classes: &dyn Masked) -> bool {
    let (Some(name), Some(new_name)) = (name, new_name) else { return true };
    let mut known = named(env, name).peekable();
    let is_called = || everybody(env).any(|routine| mentions(routine, new_name));
    known.peek().is_none()
        || known.any(|routine| {
            let mut read = reads(env, routine);
            read.acts()
                || is_bound_by_name(env) && read.reads_masked(classes) && is_called()
                || read.reads_stored() && is_cast_by(new_name, env)
        })
}

/// Whether a function that does something may be called where one was that did not.
fn replaces<'a>(
    create: &CreateFunctionStmt,
    env: &'a Env<'a>,
    does: impl Fn(&mut Tracer<'a>) -> bool,
) -> bool {
    let name = qualified(&create.funcname).1;
    if named(env, &name).any(|routine| does(&mut reads(env, routine))) {
        return false;
    }
    // The one before may have been dropped by now.
    let waits = |routine: &'a Routine| {
        mentions(routine, &name) && {
            let mut tracer = reads(env, routine);
            let misses = std::mem::take(&mut tracer.facts.calls_missing);
            misses && !does(&mut tracer)
        }
    };
    named(env, &name).next().is_some()
        || builtin(env.catalog.major(), &name).is_some()
        || everybody(env).any(waits)
}

/// Functions that can be read.
fn everybody<'a>(env: &'a Env<'a>) -> impl Iterator<Item = &'a Routine> {
    env.catalog.all_routines().iter().chain(env.overlay.all_routines())
}

fn mentions(routine: &Routine, name: &str) -> bool {
    let text = routine.definition.as_deref().unwrap_or_default();
    let is_word = name.chars().any(char::is_alphanumeric);
    // Operators may stand beside each other.
    hides_names(text) || if is_word { has_word(text, &name.to_lowercase()) } else { text.contains(name) }
}
