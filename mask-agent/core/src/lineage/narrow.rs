//! Types that keep only a part of what is put into them: `numeric(2,-6)` keeps how many millions a salary has, `"char"` the
//! first letter of a number. What they hold was made of a value, and is not the value.

use pg_query::{
    NodeEnum,
    protobuf::{ColumnDef, TypeName},
};

use super::{
    ColumnId, Origins,
    code::code,
    graph::NodeId,
    names::{literal, type_name},
    scope::Columns,
    trace::{Target, Tracer},
};
use crate::catalog::{Catalog, Column, FIRST_USER_OID, Routine};

/// A type by its OID and its modifier.
type Typed = (u32, i32);

const BOOL: u32 = 16;
const INT8: u32 = 20;
const INT2: u32 = 21;
const INT4: u32 = 23;
const TEXT: u32 = 25;
const FLOAT4: u32 = 700;
const FLOAT8: u32 = 701;
const CIDR: u32 = 650;
const INET: u32 = 869;
const BPCHAR: u32 = 1042;
const VARCHAR: u32 = 1043;
const DATE: u32 = 1082;
const TIMESTAMP: u32 = 1114;
const TIMESTAMPTZ: u32 = 1184;
const NUMERIC: u32 = 1700;

/// Types by name that keep what is commonly put into them, where they have no modifier.
const WIDE: [&str; 26] = [
    "bool",
    "bytea",
    "citext",
    "date",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "numeric",
    "record",
    "serial",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "trigger",
    "uuid",
    "varchar",
    "bpchar",
    "void",
    "xml",
];

/// Whether a type that is written out may keep only a part.
pub(super) fn is_narrow(name: &TypeName) -> bool {
    let known = type_name(Some(name)).unwrap_or_default();
    let known =
        if matches!(known, "bigserial" | "serial4" | "serial8" | "smallserial") { "serial" } else { known };
    let keeps_pence = match &*name.typmods {
        [_, scale] => literal(scale).and_then(|scale| scale.parse::<i32>().ok()) >= Some(2),
        _ => false,
    };
    let is_whole = match known {
        // For a longer text than there is room for, the server says no.
        "bpchar" | "varchar" => true,
        "numeric" => name.typmods.is_empty() || keeps_pence,
        _ => name.typmods.is_empty(),
    };
    !(WIDE.contains(&known) && is_whole)
}

/// Whether a column that is written out may keep only a part.
pub(super) fn is_narrow_column(column: &ColumnDef) -> bool {
    column.type_name.as_ref().is_some_and(is_narrow)
}

/// Whether a column of the catalog may, whatever is put into it.
pub(super) fn is_narrow_known(column: &Column) -> bool {
    let (oid, modifier) = (column.type_oid, column.type_modifier);
    match oid {
        TEXT | VARCHAR | BPCHAR => false,
        NUMERIC if modifier >= 0 => scale(modifier) < 2,
        BOOL | INT2 | INT4 | INT8 | FLOAT8 | INET | DATE | TIMESTAMP | TIMESTAMPTZ | NUMERIC => modifier >= 0,
        _ => !matches!(oid, 17 | 114 | 142 | 1083 | 1186 | 1266 | 2950 | 3802) || modifier >= 0,
    }
}

/// Digits behind the point of a `numeric` (`numeric_typmod_scale`).
fn scale(modifier: i32) -> i32 {
    (((modifier - 4) & 0x7ff) ^ 1024) - 1024
}

/// Whether a value of one type is the same value once it is put where another one is declared. Too long a text is refused.
fn keeps(from: Typed, to: Typed) -> bool {
    let is_whole = |oid: u32| matches!(oid, INT2 | INT4 | INT8);
    let rank = |oid: u32| [INT2, INT4, INT8].iter().position(|known| *known == oid);
    match (from, to) {
        (_, (TEXT | VARCHAR | BPCHAR, _)) => true,
        ((own, _), (declared, modifier)) if own == declared && (from == to || modifier == -1) => true,
        ((from, _), (to, _)) if is_whole(from) && is_whole(to) => rank(from) <= rank(to),
        ((from, _), (NUMERIC, modifier)) if is_whole(from) => modifier < 0 || scale(modifier) >= 0,
        ((NUMERIC, from), (NUMERIC, to)) => from >= 0 && scale(to) >= scale(from),
        ((INT2 | INT4 | FLOAT4, _), (FLOAT8, _))
        | ((CIDR, _), (INET, _))
        | ((DATE | TIMESTAMP | TIMESTAMPTZ, _), (TIMESTAMP | TIMESTAMPTZ, -1)) => true,
        _ => false,
    }
}

fn column(catalog: &Catalog, id: ColumnId) -> Option<&Column> {
    let relation = catalog.relation(id.relation)?;
    relation.columns.iter().find(|column| column.number == id.number)
}

impl Tracer<'_> {
    /// Whether a column keeps values of these columns as they are.
    pub(super) fn keeps_whole(&self, target: &Target, origins: &Origins) -> bool {
        let catalog = self.env.catalog;
        let known = match target {
            Target::Column(id) => column(catalog, *id),
            Target::New { column, .. } => return !self.env.overlay.is_narrow(column),
        };
        let Some(known) = known else { return !self.env.overlay.has_any_narrow() };
        let to = (known.type_oid, known.type_modifier);
        let mut from = origins.columns.iter().chain(&origins.views);
        from.all(|id| column(catalog, *id).is_some_and(|from| keeps((from.type_oid, from.type_modifier), to)))
    }

    /// Makes the columns of a function's result what is made of them where its types keep only a part.
    pub(super) fn cut(&mut self, routine: &Routine, columns: &mut Columns<'_>) {
        let catalog = self.env.catalog;
        let is_cut = |tracer: &Self, node: NodeId| {
            let origins = tracer.graph.origins(node);
            let mut from = origins.columns.iter().chain(&origins.views);
            !from.all(|id| {
                let from = column(catalog, *id);
                let from = from.map(|from| (from.type_oid, from.type_modifier));
                from.is_none_or(|from| keeps(from, (routine.returns, -1)))
            })
        };
        if !columns.list.iter().any(|(_, node)| self.graph.reads(*node)) {
            return;
        }
        let is_row = match self.outputs_of(routine) {
            Outputs::Cut => true,
            Outputs::One => false,
            Outputs::Whole => return,
        };
        for (_, node) in &mut columns.list {
            if is_row || is_cut(self, *node) {
                *node = self.graph.made(vec![*node]);
            }
        }
    }

    fn outputs_of(&self, routine: &Routine) -> Outputs {
        let code = routine.definition.as_deref().and_then(code);
        let created = code.as_ref().map(|code| &code.created);
        if !routine.outputs.is_empty() {
            let parameters = created.into_iter().flat_map(|created| &created.parameters);
            let mut types = parameters.filter_map(|parameter| match parameter.node.as_ref()? {
                NodeEnum::FunctionParameter(parameter) => parameter.arg_type.as_ref(),
                _ => None,
            });
            return if types.any(is_narrow) { Outputs::Cut } else { Outputs::Whole };
        }
        if let Some(row) = self.row_type(routine) {
            return if row.columns.iter().any(is_narrow_known) { Outputs::Cut } else { Outputs::Whole };
        }
        let declared = created.and_then(|created| created.return_type.as_ref());
        let is_plain = declared.is_some_and(|declared| !is_narrow(declared));
        let is_known = (1..FIRST_USER_OID).contains(&routine.returns);
        match (is_plain, is_known) {
            _ if is_pseudo(routine.returns) => Outputs::Whole,
            (true, false) => Outputs::Whole,
            (_, true) => Outputs::One,
            (false, false) => Outputs::Cut,
        }
    }
}

/// Whether a type stands for whatever is given or found: `anyelement`, `record`, and their like.
fn is_pseudo(oid: u32) -> bool {
    matches!(oid, 2249 | 2276..=2279 | 2283 | 2776 | 3500 | 3831 | 4537 | 5077..=5080)
}

/// What the columns of a function's result become.
enum Outputs {
    /// Of types of which one keeps only a part.
    Cut,
    /// One value of the type it returns.
    One,
    /// What they are.
    Whole,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_no_copy() {
        /// A `numeric` of ten digits, so many of them behind the point.
        fn numeric(scale: i32) -> Typed {
            (NUMERIC, ((10 << 16) | (scale & 0x7ff)) + 4)
        }
        for (from, to) in [
            ((TEXT, -1), (VARCHAR, 20)),
            ((VARCHAR, 20), (TEXT, -1)),
            ((INT4, -1), (INT8, -1)),
            ((INT2, -1), (INT8, -1)),
            ((INT4, -1), numeric(0)),
            ((INT4, -1), (NUMERIC, -1)),
            (numeric(2), numeric(4)),
            (numeric(2), (NUMERIC, -1)),
            ((DATE, -1), (TIMESTAMP, -1)),
            ((3802, -1), (3802, -1)),
        ] {
            assert!(keeps(from, to), "{from:?} {to:?}");
        }
        for (from, to) in [
            ((TEXT, -1), (18, -1)),
            ((TEXT, -1), (19, -1)),
            ((INT4, -1), numeric(-6)),
            ((NUMERIC, -1), numeric(2)),
            (numeric(2), numeric(1)),
            ((NUMERIC, -1), (INT4, -1)),
            ((TIMESTAMP, -1), (DATE, -1)),
            ((TIMESTAMP, -1), (TIMESTAMP, 0)),
            ((INET, -1), (CIDR, -1)),
            ((INT8, -1), (INT4, -1)),
            ((INT4, -1), (INT2, -1)),
        ] {
            assert!(!keeps(from, to), "{from:?} {to:?}");
        }
    }

    #[test]
    fn columns_of_some_types_keep_all_that_is_put_into_them() {
        let is_narrow = |(type_oid, type_modifier): Typed| {
            is_narrow_known(&Column { type_modifier, ..Column::new(1, "a", type_oid) })
        };
        let numeric = |scale: i32| (NUMERIC, ((10 << 16) | scale) + 4);
        let (json, uuid, bytea, interval, time) = (114, 2950, 17, 1186, 1083);
        for column in [
            (TEXT, -1),
            (VARCHAR, 24),
            (BPCHAR, 24),
            (NUMERIC, -1),
            numeric(2),
            numeric(3),
            (INT4, -1),
            (TIMESTAMP, -1),
            (json, -1),
            (uuid, -1),
            (bytea, -1),
            (interval, -1),
        ] {
            assert!(!is_narrow(column), "{column:?}");
        }
        for column in [
            numeric(0),
            numeric(1),
            (TIMESTAMP, 0),
            (TIMESTAMPTZ, 3),
            (interval, 0),
            (time, 0),
            (FLOAT4, -1),
            (CIDR, -1),
            (18, -1),
            (40_001, -1),
        ] {
            assert!(is_narrow(column), "{column:?}");
        }
    }
}
