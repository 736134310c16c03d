//! One statement, both answers: where ours lacks what the server has, and where it has more.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::{
    catalog::Catalog,
    engine::{Ours, Output},
    flow::{Column, Flow},
    walk::{FIRST_USER_OID, Statement},
};

/// How the two answers relate.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Comparison {
    /// What ours lacks in outputs and writes: a fault of the engine that may show a value.
    pub(crate) under: Vec<String>,
    /// Columns that decide and that ours does not list.
    pub(crate) unlisted: Vec<String>,
    /// What ours has beyond the server's, by class and in words.
    pub(crate) over: Vec<(String, String)>,
    /// Values through user-defined functions whose bodies the engine read: the tree cannot judge them.
    pub(crate) unjudged: Vec<String>,
}

/// What is compared with: the names, and what the server's own views are made of.
pub(crate) struct Judge<'a, E> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) expand: E,
}

/// What an answer of ours covers.
struct Cover {
    columns: BTreeSet<Column>,
    /// Names that are in no catalog.
    unknown: Vec<String>,
}

impl<E: FnMut(Column) -> Result<Option<Flow>>> Judge<'_, E> {
    pub(crate) fn compare(&mut self, server: &Statement, ours: &Ours) -> Result<Comparison> {
        let mut comparison = Comparison::default();
        self.outputs(server.outputs.as_deref(), ours, &mut comparison)?;
        self.writes(server, ours, &mut comparison)?;
        let predicates: Vec<_> = ours.predicates.iter().map(|predicate| predicate.column.clone()).collect();
        let cover = self.cover(&predicates)?;
        // Without rows to choose from, as in a plain INSERT, an untraceable output still hides every predicate.
        let hidden = ours.outputs.iter().flatten().any(|output| output.untraceable.is_some());
        let influence = self.expanded(&server.influence)?;
        // The views of the server's own that we keep whole decide by its catalogs.
        let decides = influence.required.into_iter().filter(|column| column.relation >= FIRST_USER_OID);
        let missing = self.missing(&decides.collect(), &cover.columns);
        if !missing.is_empty() && !hidden {
            comparison.unlisted = missing.iter().map(|column| self.catalog.spoken(*column)).collect();
        }
        Ok(comparison)
    }

    fn outputs(&mut self, server: Option<&[Flow]>, ours: &Ours, comparison: &mut Comparison) -> Result<()> {
        match (server, &ours.outputs) {
            (None, None) => {}
            (None, Some(_)) => {
                comparison.over.push(("rows where the server returns none".into(), String::new()));
            }
            (Some(_), None) => comparison.under.push("no outputs, and the server returns rows".into()),
            (Some(server), Some(outputs)) => {
                if !ours.open && outputs.len() != server.len() || ours.open && outputs.is_empty() {
                    let (ours, theirs) = (outputs.len(), server.len());
                    comparison.under.push(format!("{ours} outputs where the server has {theirs}"));
                    return Ok(());
                }
                for (at, flow) in server.iter().enumerate() {
                    let output = &outputs[if ours.open { 0 } else { at }];
                    let Output { origins, untraceable } = output;
                    self.value(
                        &format!("output {}", at + 1),
                        flow,
                        origins,
                        untraceable.as_deref(),
                        comparison,
                    )?;
                }
            }
        }
        Ok(())
    }

    fn writes(&mut self, server: &Statement, ours: &Ours, comparison: &mut Comparison) -> Result<()> {
        let nothing = Flow::default();
        let flows = server.outputs.iter().flatten().chain(server.writes.values()).chain([&server.influence]);
        let all = Flow::union(flows);
        let called: BTreeSet<_> = all.opaque.union(&all.opaque_tolerated).copied().collect();
        let mut judged = BTreeSet::new();
        for written in &ours.writes {
            let Some(target) = self.catalog.column(&written.target) else {
                comparison.over.push(("a written column of no relation".into(), written.target.clone()));
                continue;
            };
            if !judged.insert(target) {
                continue;
            }
            // The engine may list a column several times, once for each clause that writes it.
            let same = ours.writes.iter().filter(|other| other.target == written.target);
            let origins: Vec<_> = same.clone().flat_map(|other| other.origins.clone()).collect();
            let untraceable = same.clone().find_map(|other| other.untraceable.clone());
            let whole = Column { number: 0, ..target };
            let flow = server.writes.get(&target).or_else(|| server.writes.get(&whole)).unwrap_or(&nothing);
            let mut flow = flow.clone();
            if !server.writes.contains_key(&target) {
                // Code of users that the statement calls may write it; the tree does not show that.
                flow.opaque.extend(called.iter());
            }
            flow.tolerated.insert(target);
            let flow = self.without(&flow, target)?;
            let what = format!("write to {}", written.target);
            self.value(&what, &flow, &origins, untraceable.as_deref(), comparison)?;
        }
        for (target, flow) in &server.writes {
            let flow = &self.without(flow, *target)?;
            let whole = Column { number: 0, ..*target };
            let carries = !flow.required.is_empty() || !flow.opaque.is_empty();
            if carries && !judged.contains(target) && !judged.contains(&whole) {
                let (target, flow) = (self.catalog.spoken(*target), self.names(&flow.required));
                comparison.under.push(format!("no write to {target} from {flow}"));
            }
        }
        Ok(())
    }

    /// What is written to a view's column without what that column is made of, which a trigger is given unchanged.
    fn without(&mut self, flow: &Flow, target: Column) -> Result<Flow> {
        let mut flow = self.expanded(flow)?;
        for own in (self.expand)(target)?.unwrap_or_default().required {
            if flow.required.remove(&own) {
                flow.tolerated.insert(own);
            }
        }
        Ok(flow)
    }

    /// One value: what the server says it draws on, and what ours says.
    fn value(
        &mut self,
        what: &str,
        server: &Flow,
        origins: &[String],
        untraceable: Option<&str>,
        comparison: &mut Comparison,
    ) -> Result<()> {
        if let Some(reason) = untraceable {
            if server.opaque.is_empty() && server.opaque_tolerated.is_empty() {
                comparison
                    .over
                    .push((format!("untraceable: {}", class(reason)), format!("{what}: {reason}")));
            }
            return Ok(());
        }
        let server = &self.expanded(server)?;
        let cover = self.cover(origins)?;
        let missing = self.missing(&server.required, &cover.columns);
        if !server.opaque.is_empty() {
            // A body that was read may ignore an argument and may add what it reads itself.
            comparison.unjudged.push(format!("{what}: ours {}", origins.join(", ")));
            return Ok(());
        }
        if !missing.is_empty() {
            comparison.under.push(format!("{what} lacks {}", self.names(&missing)));
        }
        if !cover.unknown.is_empty() {
            comparison.over.push(("an origin of no relation".into(), cover.unknown.join(", ")));
        }
        let allowed: BTreeSet<_> = server.required.union(&server.tolerated).copied().collect();
        let more = self.missing(&cover.columns, &allowed);
        if !more.is_empty() && server.opaque_tolerated.is_empty() {
            let class = if more.iter().all(|column| column.number == 0) {
                "a whole row where the server names columns"
            } else if missing.is_empty() {
                "more columns than the server"
            } else {
                "other columns than the server"
            };
            comparison.over.push((class.into(), format!("{what}: {}", self.names(&more))));
        }
        Ok(())
    }

    /// A flow with what views are made of in place of their columns, which may be named as well.
    fn expanded(&mut self, flow: &Flow) -> Result<Flow> {
        let mut expanded = Flow { required: BTreeSet::new(), ..flow.clone() };
        let mut seen = BTreeSet::new();
        let mut left: Vec<_> = flow.required.iter().copied().collect();
        while let Some(column) = left.pop() {
            if !seen.insert(column) {
                continue;
            }
            let Some(made_of) = (self.expand)(column)? else {
                expanded.tolerated.extend(self.catalog.sources(column));
                expanded.required.insert(column);
                continue;
            };
            // Views may be made of views.
            left.extend(&made_of.required);
            expanded.merge(&Flow { required: BTreeSet::new(), ..made_of });
            expanded.tolerated.insert(column);
        }
        Ok(expanded)
    }

    /// The columns behind names, those of the server's own views replaced by what they are made of.
    fn cover(&mut self, names: &[String]) -> Result<Cover> {
        let mut cover = Cover { columns: BTreeSet::new(), unknown: Vec::new() };
        for name in names {
            let Some(column) = self.catalog.column(name) else {
                cover.unknown.push(name.clone());
                continue;
            };
            let own = self.catalog.is_own_view(column.relation);
            match if own { (self.expand)(column)? } else { None } {
                Some(flow) => cover.columns.extend(flow.required.into_iter().chain(flow.tolerated)),
                None => {
                    cover.columns.insert(column);
                }
            }
        }
        Ok(cover)
    }

    /// The wanted columns that are not there: a whole row covers its columns, and all its columns cover a row.
    fn missing(&self, wanted: &BTreeSet<Column>, there: &BTreeSet<Column>) -> Vec<Column> {
        let covered = |column: &Column| {
            let whole = Column { number: 0, ..*column };
            let mut columns = self.catalog.columns(column.relation).peekable();
            there.contains(column)
                || (column.number > 0 && there.contains(&whole))
                || (column.number == 0
                    && columns.peek().is_some()
                    && columns.all(|part| there.contains(&part)))
        };
        wanted.iter().filter(|column| !covered(column)).copied().collect()
    }

    fn names<'c>(&self, columns: impl IntoIterator<Item = &'c Column>) -> String {
        let names: Vec<_> = columns.into_iter().map(|column| self.catalog.spoken(*column)).collect();
        names.join(", ")
    }
}

/// A reason without the names in it, so that the like count together.
fn class(reason: &str) -> String {
    let mut class = String::new();
    let mut quoted = false;
    for character in reason.chars() {
        if character == '"' || character == '`' {
            quoted = !quoted;
            if quoted {
                class.push('…');
            }
        } else if !quoted && !character.is_ascii_digit() {
            class.push(character);
        }
    }
    class
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
