//! Casts: which of them leave a value what it is, and which run code of users.

use pg_query::{NodeEnum, protobuf};

use super::{
    Untraceable,
    graph::{NodeId, Pace},
    names::type_name,
    operator::{ANY, Family, UNKNOWN, family},
    trace::Tracer,
};
use crate::catalog::{Called, Catalog, FIRST_USER_OID, TypeShape};

/// Code of users that a cast runs.
enum Code {
    /// Nothing but what the server has.
    None,
    /// One of these functions, or none.
    Functions(Vec<Called>),
    /// It cannot be told what.
    Unknown,
}

impl Tracer<'_> {
    /// Whether a type of users may be meant by this name, the rows of a relation included.
    pub(super) fn may_be_of_users(&self, name: &str) -> bool {
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        catalog.types_named(name).iter().any(|oid| *oid >= FIRST_USER_OID)
            || catalog.named(None, name).next().is_some()
            || overlay.has_any()
            || overlay.has_relation(name)
            || overlay.makes_type(name)
    }

    /// A cast to the type the value has already is the value; to another, it is made of it.
    pub(super) fn cast(&mut self, cast: &protobuf::TypeCast) -> NodeId {
        let Some(argument) = cast.arg.as_deref() else { return self.graph.made(Vec::new()) };
        let node = self.expression(argument);
        let name = type_name(cast.type_name.as_ref()).unwrap_or_default().to_owned();
        let Some(target) = cast.type_name.as_ref() else { return self.graph.made(vec![node]) };
        let plain = target.typmods.is_empty() && target.array_bounds.is_empty() && !target.setof;
        let own = self.graph.type_oid(node);
        let same = plain && own != 0 && self.is_type(own, &name);
        let relabelled = plain && is_text(own) && matches!(&*name, "text" | "varchar");
        if self.graph.is_copy(node) && (same || relabelled) {
            return node;
        }
        self.facts.computed.push(node);
        let mut from = vec![node];
        let is_row = matches!(argument.node, Some(NodeEnum::RowExpr(_)));
        let own = if is_row { RECORD } else { self.graph.own_type(node) };
        match self.code(node, own, &name) {
            Code::None => {}
            Code::Functions(functions) => {
                let made = functions.iter().map(|function| self.call_behind(function, &[node]));
                from.extend(made.collect::<Vec<_>>());
            }
            Code::Unknown => {
                let unknown = self.graph.unknown(Untraceable::UserCode);
                self.facts.called.push(unknown);
                from.push(unknown);
            }
        }
        if self.env.catalog.has_user_name(&name) && self.is_domain(&name) {
            // A check changes no value, but may do anything else.
            self.facts.calls_user_code = true;
            self.facts.calls_opaque_code = true;
        }
        let value = self.graph.made(from);
        self.may_be(value, &[node]);
        let types = self.types_named(&name);
        self.graph.set_type(value, if let [oid] = *types { oid } else { ANY });
        match types[..] {
            [DATE] => self.graph.set_pace(value, Pace::Day),
            [TIME | TIMETZ | TIMESTAMP | TIMESTAMPTZ] => self.graph.set_pace(value, Pace::Steady),
            // What has this name now, and the columns of a row of it.
            _ if is_registry(&name) || self.is_row_type(&types, &name) => {
                self.graph.set_pace(value, Pace::Anew);
            }
            _ => {}
        }
        value
    }

    /// What code of users a cast to a type of this name runs, or the input function of that type.
    fn code(&self, node: NodeId, own: u32, name: &str) -> Code {
        let catalog = self.env.catalog;
        let types = self.types_named(name);
        if types.is_empty() {
            // Rows of tables are types without names of their own.
            let is_row = catalog.named(None, name).next().is_some();
            if self.env.overlay.makes_type(name) && !self.env.overlay.has_any() && !is_row {
                return Code::None;
            }
            let casts = if is_row { catalog.has_casts_to_rows() } else { catalog.has_casts() };
            return if casts || self.env.overlay.has_any() { Code::Unknown } else { Code::None };
        }
        let reads_own_type = own == UNKNOWN && types.iter().all(|oid| *oid < FIRST_USER_OID);
        if self.env.overlay.has_any() && !reads_own_type {
            return Code::Unknown;
        }
        let casts = types.iter().flat_map(|oid| catalog.casts_to(root(catalog, *oid)));
        let casts = casts.filter(|cast| match cast.source {
            // From text.
            0 => true,
            source if own != 0 && own != ANY => source == root(catalog, own),
            source => {
                let families = self.families(&[node]);
                source < FIRST_USER_OID
                    || families.contains(&Family::Any)
                    || families.contains(&family(catalog, source))
            }
        });
        let mut functions: Vec<Called> = Vec::new();
        for cast in casts {
            if cast.function.name.is_empty() {
                return Code::Unknown;
            }
            functions.push(cast.function.clone());
        }
        if functions.is_empty() { Code::None } else { Code::Functions(functions) }
    }

    /// Whether a name means rows of a relation, whose columns may be others each time.
    fn is_row_type(&self, types: &[u32], name: &str) -> bool {
        let env = self.env;
        types.is_empty() && (env.catalog.named(None, name).next().is_some() || env.overlay.has_relation(name))
    }

    /// The types that a name may mean.
    fn types_named(&self, name: &str) -> Vec<u32> {
        match BUILT_IN_TYPES.iter().find(|(known, _)| *known == name) {
            Some((_, oid)) => vec![*oid],
            None => self.env.catalog.types_named(name).to_vec(),
        }
    }

    /// Whether a name means nothing but domains over types of the server's own.
    fn is_domain(&self, name: &str) -> bool {
        let catalog = self.env.catalog;
        let over_own = |oid: &u32| {
            matches!(catalog.declared_shape(*oid), Some(TypeShape::Domain(_)))
                && root(catalog, *oid) < FIRST_USER_OID
        };
        let types = catalog.types_named(name);
        !types.is_empty() && types.iter().all(over_own)
    }

    fn is_type(&self, oid: u32, name: &str) -> bool {
        let built_in = BUILT_IN_TYPES.iter().any(|(known, known_oid)| *known == name && *known_oid == oid);
        built_in || self.env.catalog.types_named(name) == [oid]
    }
}

/// Whether a type is one of the server's own that no code of users makes values of.
pub(super) fn is_made_by_server(catalog: &Catalog, name: &str) -> bool {
    let own = BUILT_IN_TYPES.iter().find(|(known, _)| *known == name);
    own.is_some_and(|(_, oid)| catalog.casts_to(*oid).is_empty())
}

/// What arrays and domains are of, in the end.
fn root(catalog: &Catalog, oid: u32) -> u32 {
    /// The longest chain of domains over arrays that anybody makes.
    const DEPTH_MAX: usize = 16;
    let mut oid = oid;
    for _ in 0..DEPTH_MAX {
        match catalog.declared_shape(oid) {
            Some(TypeShape::Array(of) | TypeShape::Domain(of)) => oid = *of,
            _ => break,
        }
    }
    oid
}

pub(super) const INT4: u32 = 23;
pub(super) const DATE: u32 = 1082;
const RECORD: u32 = 2249;
pub(super) const TEXT: u32 = 25;
pub(super) const TIME: u32 = 1083;
pub(super) const TIMESTAMP: u32 = 1114;
pub(super) const TIMESTAMPTZ: u32 = 1184;
pub(super) const TIMETZ: u32 = 1266;
const VARCHAR: u32 = 1043;

/// Types by the names the grammar gives them; an OID is one type on every server.
const BUILT_IN_TYPES: [(&str, u32); 27] = [
    ("bit", 1560),
    ("bool", 16),
    ("bpchar", 1042),
    ("bytea", 17),
    ("cidr", 650),
    ("date", DATE),
    ("float4", 700),
    ("float8", 701),
    ("inet", 869),
    ("int2", 21),
    ("int4", INT4),
    ("int8", 20),
    ("interval", 1186),
    ("json", 114),
    ("jsonb", 3802),
    ("name", 19),
    ("numeric", 1700),
    ("oid", 26),
    ("text", TEXT),
    ("time", TIME),
    ("timestamp", TIMESTAMP),
    ("timestamptz", TIMESTAMPTZ),
    ("timetz", TIMETZ),
    ("uuid", 2950),
    ("varbit", 1562),
    ("varchar", VARCHAR),
    ("xml", 142),
];

/// Whether values of a type are OIDs of what has a name.
fn is_registry(name: &str) -> bool {
    matches!(
        name,
        "regclass"
            | "regcollation"
            | "regconfig"
            | "regdatabase"
            | "regdictionary"
            | "regnamespace"
            | "regoper"
            | "regoperator"
            | "regproc"
            | "regprocedure"
            | "regrole"
            | "regtype"
    )
}

/// Whether a type is for text of any length.
pub(super) fn is_text(oid: u32) -> bool {
    matches!(oid, TEXT | VARCHAR)
}

/// Whether this is one of them.
pub(super) fn is_built_in_type(name: &str) -> bool {
    BUILT_IN_TYPES.iter().any(|(known, _)| *known == name)
}
