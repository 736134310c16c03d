//! Queries of views this transaction has made.

use pg_query::protobuf::Node;

use crate::lineage::{graph::EntryId, scope::Columns, trace::Tracer};

/// What a view shows, to be read anew wherever it is named: what it reads may be filled or replaced later.
#[derive(Debug)]
pub struct ViewQuery {
    pub(in crate::lineage) query: Node,
    /// How long it is, as bytes of a definition.
    pub(in crate::lineage) bytes: usize,
    /// Names of its columns, where they are given.
    pub(in crate::lineage) names: Vec<String>,
    /// Where its names are looked up.
    pub(in crate::lineage) path: Option<Vec<String>>,
}

/// Each stands in a statement of its own.
impl PartialEq for ViewQuery {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for ViewQuery {}

impl<'a> Tracer<'a> {
    /// Columns of any of several views.
    pub(super) fn shown(&mut self, views: Vec<Columns<'a>>, entry: EntryId) -> Columns<'a> {
        let mut shown = Columns::default();
        for view in views {
            for (name, node) in view.list {
                match shown.list.iter().find(|(known, _)| *known == name) {
                    Some((_, known)) => self.graph.add(*known, &[node]),
                    None => shown.list.push((name, self.graph.column(entry, vec![node]))),
                }
            }
            if let Some(open) = view.open {
                shown.open = Some(match shown.open {
                    Some(known) => self.graph.made(vec![known, open]),
                    None => open,
                });
            }
        }
        shown
    }
}
