//! Statements that change definitions and settings: what names mean after them.

use std::sync::Arc;

use pg_query::{
    NodeEnum,
    protobuf::{self, ObjectType, VariableSetKind},
};

use prost::Message;

use super::{
    Made, Masked, Origins, Refusal,
    cast::is_made_by_server,
    define,
    extensions::leaves_names,
    facts::Name,
    names::{literal, qualified, strings, type_name},
    overlay::{PolicyMade, Trigger, ViewQuery},
    routine::{self, GivenPath},
    statement::Reader,
    utility,
};
use crate::catalog::Routine;

impl Reader<'_> {
    pub(super) fn sets_path(&mut self, set: &protobuf::VariableSetStmt) {
        // `"$user"` in the path is another schema for another role.
        let role = matches!(&*set.name, "role" | "session_authorization");
        let is_given =
            |value: &protobuf::Node| literal(value).is_none_or(|role| !role.eq_ignore_ascii_case("none"));
        self.statement.sets_role |=
            role && set.kind() == VariableSetKind::VarSetValue && set.args.iter().any(is_given);
        if role || set.name.is_empty() {
            self.statement.sets_path = Some(None);
            return;
        }
        if set.name != "search_path" {
            return;
        }
        let values: Option<Vec<String>> = set.args.iter().map(literal).collect();
        let path = values.filter(|values| !values.is_empty() && !set.is_local).and_then(|values| {
            let known = !values.iter().any(|schema| schema == "$user");
            known.then(|| values.into_iter().filter(|schema| !schema.is_empty()).collect())
        });
        self.statement.sets_path = Some(path);
    }

    /// A block, and what it defines.
    pub(super) fn block(&mut self, block: &protobuf::DoStmt) {
        self.needs_literals = true;
        self.tracer.do_block(block);
        for kind in std::mem::take(&mut self.tracer.facts.defined) {
            self.made_by(&kind);
        }
    }

    /// What the rest of the transaction may find changed.
    pub(super) fn made_by(&mut self, kind: &NodeEnum) {
        let made = match kind {
            NodeEnum::CreateStmt(create) => return self.created(create),
            NodeEnum::ViewStmt(view) => {
                let query = self.tracer.any_query(view.query.as_deref());
                let relation = view
                    .view
                    .as_ref()
                    .map(|view| Name { schema: view.schemaname.clone(), name: view.relname.clone() });
                let relation = relation.unwrap_or_default();
                self.placed_anew(&relation.name);
                let before = self.tracer.puts.len();
                self.tracer.make(&relation, &view.aliases, &query);
                // A view keeps nothing; only what it shows matters, and that while nobody else knows it.
                self.views = self.tracer.puts.split_off(before);
                self.reads_later(view.view.as_ref());
                if let Some(query) = view.query.as_deref() {
                    let (query, names) = (query.clone(), strings(&view.aliases));
                    let (bytes, path) = (query.encoded_len(), self.tracer.path.clone());
                    let shows = Arc::new(ViewQuery { query, bytes, names, path });
                    Made::Shows { name: relation.name, shows, columns: Vec::new() }
                } else {
                    Made::Unknown(relation.name)
                }
            }
            NodeEnum::CreateSchemaStmt(create) => {
                for element in create.schema_elts.iter().filter_map(|element| element.node.as_ref()) {
                    self.made_by(element);
                }
                return;
            }
            NodeEnum::DropStmt(drop) => return self.dropped(drop),
            NodeEnum::DropOwnedStmt(_) => Made::Dropped(None),
            NodeEnum::AlterTableStmt(alter) => return self.altered(alter),
            NodeEnum::RenameStmt(rename) => return self.renamed(rename),
            NodeEnum::CreateFunctionStmt(create) => {
                let body = routine::made(create, self.tracer.env.overlay.next_oid());
                let body = body.filter(routine::is_followed).map(Arc::new);
                Made::Function { name: qualified(&create.funcname).1, body }
            }
            NodeEnum::AlterFunctionStmt(alter) => return self.function_altered(alter),
            NodeEnum::CreateTrigStmt(create) => {
                let relation = create.relation.clone().unwrap_or_default();
                let function = qualified(&create.funcname).1;
                Made::Trigger(Trigger { schema: relation.schemaname, relation: relation.relname, function })
            }
            NodeEnum::CreatePolicyStmt(_) | NodeEnum::AlterPolicyStmt(_) => {
                let Some(policy) = PolicyMade::of(kind) else { return };
                Made::Policy(Arc::new(policy))
            }
            NodeEnum::CreateForeignTableStmt(create) => {
                let Some(base) = &create.base_stmt else { return };
                let Some(relation) = &base.relation else { return };
                self.unknown(Some(relation));
                self.child(&relation.relname, &base.inh_relations);
                Made::Foreign(relation.relname.clone())
            }
            NodeEnum::AlterObjectSchemaStmt(moved) => {
                let Some(relation) = moved.relation.as_ref() else {
                    self.statement.made.push(Made::Renamed);
                    return;
                };
                return self.moved(relation, &relation.relname);
            }
            NodeEnum::AlterDomainStmt(_) | NodeEnum::CreateDomainStmt(_)
                if utility::calls_users(kind, self.tracer.env) =>
            {
                Made::Anything
            }
            NodeEnum::CreateDomainStmt(create) => {
                let over = type_name(create.type_name.as_ref()).unwrap_or_default();
                let (_, name) = qualified(&create.domainname);
                if is_made_by_server(self.tracer.env.catalog, over) {
                    Made::Type(name)
                } else {
                    Made::Unknown(name)
                }
            }
            NodeEnum::IndexStmt(_) if utility::calls_users(kind, self.tracer.env) => Made::Bound,
            // It is a relation without rows.
            NodeEnum::CompositeTypeStmt(create) => {
                let Some(name) = &create.typevar else { return };
                Made::Unknown(name.relname.clone())
            }
            NodeEnum::CreateEnumStmt(create) => Made::Type(qualified(&create.type_name).1),
            NodeEnum::CreateExtensionStmt(create) if leaves_names(&create.extname) => Made::Extension,
            NodeEnum::CreateCastStmt(_) => Made::Cast,
            NodeEnum::CreateExtensionStmt(_)
            | NodeEnum::AlterExtensionStmt(_)
            | NodeEnum::ImportForeignSchemaStmt(_) => Made::Anything,
            NodeEnum::DefineStmt(define) if define::leaves_names(define) => return,
            NodeEnum::DefineStmt(define) => {
                let oid = self.tracer.env.overlay.next_oid();
                define::made(define, oid).unwrap_or(Made::Anything)
            }
            _ => return,
        };
        self.statement.made.push(made);
    }

    pub(super) fn child(&mut self, name: &str, parents: &[protobuf::Node]) {
        for parent in parents {
            if let Some(NodeEnum::RangeVar(parent)) = parent.node.as_ref() {
                let (relation, parent) = (name.to_owned(), parent.relname.clone());
                self.statement.made.push(Made::Child { relation, parent });
            }
        }
    }

    /// Where it was, another relation of its name may be found further on along the search path.
    fn dropped(&mut self, drop: &protobuf::DropStmt) {
        let relations = matches!(
            drop.remove_type(),
            ObjectType::ObjectTable
                | ObjectType::ObjectView
                | ObjectType::ObjectMatview
                | ObjectType::ObjectForeignTable
                | ObjectType::ObjectSequence
        );
        let wide = matches!(drop.remove_type(), ObjectType::ObjectSchema | ObjectType::ObjectExtension);
        if wide || drop.behavior() == protobuf::DropBehavior::DropCascade {
            self.statement.made.push(Made::Dropped(None));
        }
        for object in drop.objects.iter().filter(|_| relations) {
            if let Some(NodeEnum::List(names)) = object.node.as_ref() {
                self.statement.made.push(Made::Dropped(Some(qualified(&names.items).1)));
            }
        }
    }

    /// What this transaction has filled with masked values keeps its name until a snapshot knows it.
    pub(super) fn moves_filled(&self, kind: &NodeEnum, classes: &dyn Masked) -> Option<Refusal> {
        let relation = match kind {
            NodeEnum::RenameStmt(rename) => rename.relation.as_ref(),
            NodeEnum::AlterObjectSchemaStmt(moved) => moved.relation.as_ref(),
            _ => None,
        }?;
        let tells = |origins: &Origins| {
            let masked = origins.all().any(|column| classes.is_masked(column.relation, column.number));
            origins.untraceable.is_some() || masked
        };
        self.tracer.env.overlay.held(&relation.relname).any(tells).then(|| Refusal {
            code: "reclassify",
            message: "moving what this transaction has filled with masked values is refused".to_owned(),
            hint: "Make it under the name it shall have.",
        })
    }

    pub(super) fn unknown(&mut self, relation: Option<&protobuf::RangeVar>) {
        if let Some(relation) = relation {
            self.statement.made.push(Made::Unknown(relation.relname.clone()));
        }
    }

    /// A body may mean something else under another search path.
    fn function_altered(&mut self, alter: &protobuf::AlterFunctionStmt) {
        let mut sets = alter.actions.iter().filter_map(|action| match action.node.as_ref()? {
            NodeEnum::DefElem(action) if action.defname == "set" => Some(action.arg.as_deref()),
            _ => None,
        });
        let Some(set) = sets.next() else { return };
        let path = match set.and_then(|set| set.node.as_ref()) {
            Some(NodeEnum::VariableSetStmt(set)) if sets.next().is_none() => routine::path_set_to(set),
            _ => GivenPath::Unknown,
        };
        let name = alter.func.as_ref().map(|function| qualified(&function.objname).1).unwrap_or_default();
        let env = self.tracer.env;
        let known: Vec<&Routine> = env
            .catalog
            .routines(&name)
            .chain(env.overlay.routines(&name))
            .filter(|known| !known.harmless)
            .collect();
        let is_read = !known.is_empty() && known.iter().all(|known| known.definition.is_some());
        let path = match path {
            GivenPath::Callers if is_read => None,
            GivenPath::Own(path) if is_read => Some(path),
            _ => {
                self.statement.made.push(Made::Function { name, body: None });
                return;
            }
        };
        for known in known {
            let body = Some(Arc::new(Routine { search_path: path.clone(), ..known.clone() }));
            self.statement.made.push(Made::Function { name: name.clone(), body });
        }
    }
}
