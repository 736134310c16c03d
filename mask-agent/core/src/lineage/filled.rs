//! Columns that a write fills without naming them: generated ones, those of views, and those that triggers fill.

use super::{
    ColumnId,
    block::row_written,
    code::code,
    graph::NodeId,
    plpgsql::{Body, Piece},
    scope::Item,
    trace::Tracer,
};
use crate::catalog::{Catalog, FIRST_USER_OID, Routine};

/// `tsvector`.
const TSVECTOR: u32 = 3614;

impl<'a> Tracer<'a> {
    /// Whether a column of a target may be made of what is put into others.
    pub(super) fn is_made_of(&self, item: &Item<'a>, name: &str, written: &[(String, NodeId)]) -> bool {
        self.is_generated(item, name)
            || self.is_filled(item, name)
            || self.may_be_view(item)
                && written.iter().all(|(column, _)| column != name)
                && self.shows_written(item, name, written)
    }

    /// Whether a column of a target is made of the others of its row.
    pub(super) fn is_generated(&self, item: &Item<'a>, name: &str) -> bool {
        let mut known = item.relations.iter().filter_map(|oid| self.env.catalog.relation(*oid));
        known.any(|relation| {
            relation.columns.iter().any(|column| column.name == name && column.generated.is_some())
        }) || self.env.overlay.is_generated(&item.source.name, name)
    }

    /// Whether a view's column is made of a table's that others of its columns are put into, or that is generated.
    fn shows_written(&self, item: &Item<'a>, name: &str, written: &[(String, NodeId)]) -> bool {
        if self.env.overlay.is_view(&item.source.name) {
            return true;
        }
        let put: Vec<ColumnId> =
            written.iter().flat_map(|(column, _)| self.written_through(item, column)).collect();
        let is_generated = |column: &ColumnId| {
            let relation = self.env.catalog.relation(column.relation);
            let mut columns = relation.into_iter().flat_map(|relation| &relation.columns);
            columns.any(|known| known.number == column.number && known.generated.is_some())
        };
        item.columns.named(name).into_iter().map(|node| self.graph.origins(node)).any(|origins| {
            origins.untraceable.is_some()
                || origins.columns.iter().any(|column| {
                    // A whole row has number 0.
                    column.number <= 0 || put.contains(column) || is_generated(column)
                })
        })
    }

    /// Whether a trigger may put something into a column of the row that is written, or into what a view makes it of: one
    /// that stands there, by the body it has or has got just now, or one that was made just now.
    fn is_filled(&self, item: &Item<'a>, name: &str) -> bool {
        let (catalog, overlay) = (self.env.catalog, self.env.overlay);
        let nodes = if self.may_be_view(item) { item.columns.named(name) } else { Vec::new() };
        let made_of = nodes.into_iter().map(|node| self.graph.origins(node));
        let made_of = made_of.flat_map(|origins| [origins.columns, origins.views].concat());
        let named = |column: ColumnId| {
            let mut columns = catalog.relation(column.relation).into_iter().flat_map(|known| &known.columns);
            let known = columns.find(|known| known.number == column.number);
            (column.relation, known.map(|known| known.name.to_string()))
        };
        let own = item.relations.iter().map(|oid| (*oid, Some(name.to_owned())));
        let meant: Vec<(u32, Option<String>)> = made_of.map(named).chain(own).collect();
        let by_standing = |(relation, column): &(u32, Option<String>)| {
            let reached = catalog.with_heirs(vec![*relation]);
            let relations = reached.iter().filter_map(|oid| catalog.relation(*oid));
            let mut triggers = relations.flat_map(|relation| &relation.triggers);
            triggers.any(|oid| {
                if *oid < FIRST_USER_OID {
                    return is_search_vector(catalog, *relation, column.as_deref());
                }
                catalog.routine(*oid).is_none_or(|routine| {
                    fills(Some(routine), column.as_deref())
                        || overlay.bodies(&routine.name).any(|body| fills(body, column.as_deref()))
                })
            })
        };
        // A table that no snapshot knows has no column of which a number is known.
        let all = || meant.iter().map(|(_, column)| column.as_deref()).chain([Some(name)]);
        let mut new = overlay.triggers().iter().map(|trigger| &trigger.function);
        meant.iter().any(by_standing)
            || new.any(|function| {
                let mut known = overlay.bodies(function).peekable();
                let is_stored = known.peek().is_none();
                known.any(|body| all().any(|column| fills(body, column)))
                    || is_stored
                        && catalog
                            .routines(function)
                            .any(|routine| all().any(|column| fills(Some(routine), column)))
            })
    }
}

/// Whether a column is of the type that the server's own functions for triggers fill.
fn is_search_vector(catalog: &Catalog, relation: u32, column: Option<&str>) -> bool {
    let mut columns = catalog.relation(relation).into_iter().flat_map(|known| &known.columns);
    columns.any(|known| column.is_none_or(|name| known.name == name) && known.type_oid == TSVECTOR)
}

/// Whether a trigger's function may give a column of NEW a value; what cannot be read may give any.
fn fills(routine: Option<&Routine>, column: Option<&str>) -> bool {
    let read = || {
        let routine = routine.filter(|routine| routine.language == "plpgsql")?;
        let code = code(routine.definition.as_deref()?)?;
        Some(fills_by(code.block()?, column?))
    };
    read().unwrap_or(true)
}

fn fills_by(body: &Body, column: &str) -> bool {
    let is_meant = |target: &Vec<String>| {
        row_written(target).is_some_and(|field| field.first().is_none_or(|field| field == column))
    };
    body.pieces.iter().any(|piece| match piece {
        Piece::Assign { target, value } => is_meant(target) && (body.decides() || !is_of_no_row(&value.text)),
        Piece::Caught(target) => is_meant(target),
        Piece::Dynamic => true,
        // CALL fills variables that it does not name as such.
        Piece::Query { sql, into, .. } => {
            into.iter().any(is_meant)
                || sql.text.get(..4).is_some_and(|word| word.eq_ignore_ascii_case("call"))
        }
        Piece::Return(value) => !["new", "null", "old"].contains(&&*value.text.to_ascii_lowercase()),
        Piece::Loop(_) | Piece::Raise(_) | Piece::Value(_) => false,
    })
}

/// What a trigger puts into a row whatever is in it, as most that keep the time of a change do.
fn is_of_no_row(value: &str) -> bool {
    const OF_NO_ROW: [&str; 7] = [
        "clock_timestamp()",
        "current_timestamp",
        "current_user",
        "localtimestamp",
        "now()",
        "statement_timestamp()",
        "transaction_timestamp()",
    ];
    OF_NO_ROW.iter().any(|known| value.trim().eq_ignore_ascii_case(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        catalog::{Column, Contents, Relation, RelationKind},
        lineage::{Env, Holds, Masked, Outputs, Overlay, analyse},
    };

    struct Nothing;

    impl Masked for Nothing {
        fn is_masked(&self, _: u32, _: i16) -> bool {
            false
        }

        fn is_sensitive(&self, _: u32) -> bool {
            false
        }

        fn holds(&self, _: u32, _: i16) -> Option<Holds> {
            None
        }

        fn names_column(&self, _: &str) -> bool {
            false
        }
    }

    /// Whether `excluded` has in a column what is put into another, where a trigger of this function stands.
    fn is_filled(function: u32, column: &str) -> bool {
        let columns =
            vec![Column::new(1, "id", 23), Column::new(2, "title", 25), Column::new(3, "words", TSVECTOR)];
        let table = Relation::new(20_001, "public", "t", RelationKind::Table, columns);
        let source = vec![Column::new(1, "secret", 25)];
        let relations = vec![
            Relation { triggers: vec![function], ..table },
            Relation::new(20_002, "public", "s", RelationKind::Table, source),
        ];
        let catalog = Catalog::new(Contents { relations, ..Contents::default() });
        let env =
            Env { catalog: &catalog, path: Some(vec!["public".to_owned()]), overlay: &Overlay::default() };
        let sql = format!(
            "insert into t (id, title) select 1, secret from s on conflict (id)
             do update set id = length(excluded.{column}::text) returning id"
        );
        let statements = analyse(&sql, &env, &Nothing).unwrap();
        let Outputs::Columns(shown) = &statements[0].outputs else { panic!("it returns a column") };
        shown[0].origins.columns.iter().any(|column| column.relation == 20_002)
    }

    /// Whether a view shows in a column what is put into another.
    fn is_shown(column: &str) -> bool {
        let made = Column { generated: Some("upper(title)".into()), ..Column::new(3, "made", 25) };
        let columns =
            vec![Column::new(1, "id", 23), Column::new(2, "title", 25), made, Column::new(4, "plain", 25)];
        let shown = ["id", "title", "again", "made", "plain"];
        let shown = (1..).zip(shown).map(|(number, name)| Column::new(number, name, 25)).collect();
        let view = Relation {
            definition: Some(
                " SELECT t.id, t.title, t.title AS again, t.made, t.plain FROM public.t;".to_owned(),
            ),
            ..Relation::new(20_003, "public", "v", RelationKind::View, shown)
        };
        let relations = vec![
            Relation::new(20_001, "public", "t", RelationKind::Table, columns),
            Relation::new(20_002, "public", "s", RelationKind::Table, vec![Column::new(1, "secret", 25)]),
            view,
        ];
        let catalog = Catalog::new(Contents { relations, ..Contents::default() });
        let env =
            Env { catalog: &catalog, path: Some(vec!["public".to_owned()]), overlay: &Overlay::default() };
        let sql = format!("insert into v (id, title) select 1, secret from s returning {column}");
        let statements = analyse(&sql, &env, &Nothing).unwrap();
        let Outputs::Columns(shown) = &statements[0].outputs else { panic!("it returns a column") };
        shown[0].origins.columns.iter().any(|column| column.relation == 20_002)
    }

    #[test]
    fn a_view_shows_what_is_put_into_what_its_columns_are_made_of() {
        assert!(is_shown("title"), "it is put there");
        assert!(is_shown("again"), "the same column");
        assert!(is_shown("made"), "a generated one");
        assert!(!is_shown("plain"));
    }

    #[test]
    fn the_servers_own_triggers_fill_search_vectors_only() {
        assert!(is_filled(3_752, "words") && !is_filled(3_752, "id"));
        assert!(is_filled(20_010, "words") && is_filled(20_010, "id"), "nobody knows what it does");
        assert!(is_filled(FIRST_USER_OID, "id"), "the first of users' functions");
        assert!(is_filled(3_752, "title"), "it is put there");
    }
}
