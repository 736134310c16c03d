//! Which columns of a database a policy masks.

/// What only definitions mask.
mod kept;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use super::{AllowList, Policy, Taint, ruling::TAINTED};
use crate::{
    catalog::{Catalog, Column, ConstraintKind, Relation, Symbol},
    lineage::{ColumnId, Holds, Masked, SYSTEM_COLUMNS, Standing},
    masking::{ColumnRule, MaskKind},
};

/// Relations of the server that hold values of others, or credentials.
const VALUE_RELATIONS: [&str; 12] = [
    "pg_authid",
    "pg_largeobject",
    "pg_shadow",
    "pg_statistic",
    "pg_statistic_ext_data",
    "pg_stats",
    "pg_stats_ext",
    "pg_stats_ext_exprs",
    "pg_subscription",
    "pg_user_mapping",
    "pg_user_mappings",
    "user_mapping_options",
];

/// Relations of the server whose `query`-like column quotes what other sessions sent.
const QUERY_RELATIONS: [&str; 4] =
    ["pg_cursors", "pg_prepared_statements", "pg_stat_activity", "pg_stat_statements"];

/// Columns of value relations that identify and hold no value.
const NAME_COLUMNS: [&str; 10] = [
    "attname",
    "schemaname",
    "tablename",
    "starelid",
    "staattnum",
    "stxoid",
    "oid",
    "rolname",
    "usename",
    "inherited",
];

/// Columns of a relation that are masked, each once: its number, its name, and how.
type Labels = Vec<(i16, Symbol, ColumnRule)>;

/// Labels by relation, of those that have any.
type ByRelation = HashMap<u32, Arc<Labels>>;

/// The columns of one database that are masked.
#[derive(Debug, Default)]
pub struct Classification {
    relations: ByRelation,
    names: HashSet<Symbol>,
    /// What is masked of each relation for what it is called itself.
    own: Arc<ByRelation>,
    /// What columns hold that were filled from masked ones.
    holds: HashMap<(u32, i16), Holds>,
    /// Columns that are remembered.
    remembered: HashSet<(u32, i16)>,
    /// What triggers and defaults put where, where it has been read for these columns.
    pub(super) standing: Option<Standing>,
    /// What only definitions mask, found out when it is asked for.
    defined: OnceLock<Vec<(ColumnId, Taint)>>,
}

impl Classification {
    /// How a column is masked, by its relation's OID and its number.
    pub fn column(&self, relation: u32, number: i16) -> Option<&ColumnRule> {
        label(self.relations.get(&relation)?, number)
    }

    /// Those of the columns that are masked, each once; of a whole row, those of its columns that are.
    pub fn masked_parts(
        &self,
        catalog: &Catalog,
        columns: impl IntoIterator<Item = ColumnId>,
    ) -> Vec<ColumnId> {
        let mut parts = BTreeSet::new();
        for column in columns {
            let row = catalog.relation(column.relation).filter(|_| column.number == 0);
            match row {
                Some(relation) => parts.extend(
                    relation
                        .columns
                        .iter()
                        .map(|part| ColumnId { number: part.number, ..column })
                        .filter(|part| self.is_masked(part.relation, part.number)),
                ),
                None if self.is_masked(column.relation, column.number) => drop(parts.insert(column)),
                None => {}
            }
        }
        parts.into_iter().collect()
    }

    /// Notes what a column holds; whether that is worse than what was known.
    fn note(&mut self, relation: u32, number: i16, holds: Holds) -> bool {
        let known = self.holds.get(&(relation, number)).copied();
        let is_worse = known < Some(holds);
        if is_worse {
            self.holds.insert((relation, number), holds);
        }
        is_worse
    }

    fn insert(&mut self, relation: u32, number: i16, name: &Symbol, rule: ColumnRule) {
        let labels = self.relations.entry(relation).or_default();
        if label(labels, number).is_none() {
            Arc::make_mut(labels).push((number, name.clone(), rule));
        }
        self.name(name);
    }

    fn name(&mut self, name: &Symbol) {
        if !self.names.contains(name) {
            self.names.insert(name.clone());
        }
    }
}

fn label(labels: &Labels, number: i16) -> Option<&ColumnRule> {
    labels.iter().find(|(known, ..)| *known == number).map(|(_, _, rule)| rule)
}

impl Masked for Classification {
    fn is_masked(&self, relation: u32, number: i16) -> bool {
        if number == 0 { self.is_sensitive(relation) } else { self.column(relation, number).is_some() }
    }

    fn is_sensitive(&self, relation: u32) -> bool {
        self.relations.contains_key(&relation)
    }

    fn holds(&self, relation: u32, number: i16) -> Option<Holds> {
        self.holds.get(&(relation, number)).copied()
    }

    fn names_column(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    fn standing(&self) -> Option<&Standing> {
        self.standing.as_ref()
    }
}

/// What relations are called says the same of them as before where they are the same.
#[derive(Clone, Copy)]
pub(super) struct Before<'a> {
    pub(super) catalog: &'a Catalog,
    pub(super) classes: &'a Classification,
}

/// What is masked for what it is called itself.
pub(super) fn own(policy: &Policy, catalog: &Catalog, before: Option<Before<'_>>) -> Arc<ByRelation> {
    if let Some(before) = before.filter(|before| std::ptr::eq(before.catalog, catalog)) {
        return before.classes.own.clone();
    }
    let mut own = ByRelation::new();
    let mut patterns = Patterns { policy, fitting: HashMap::new() };
    for relation in catalog.relations() {
        let known = before.filter(|before| before.catalog.has_same(relation));
        let labels = match known {
            Some(before) => before.classes.own.get(&relation.oid).cloned(),
            None => Some(labels(&mut patterns, relation)).filter(|labels| !labels.is_empty()).map(Arc::new),
        };
        if let Some(labels) = labels {
            own.insert(relation.oid, labels);
        }
    }
    Arc::new(own)
}

fn labels(patterns: &mut Patterns<'_>, relation: &Relation) -> Labels {
    let mut labels = Labels::new();
    classify_system(relation, &mut labels);
    if !matches!(&*relation.schema, "pg_catalog" | "information_schema" | "pg_toast") {
        classify_user(patterns, relation, &mut labels);
    }
    labels
}

/// What is masked: `own`, what holds masked values, and where the same values stand.
pub(super) fn classify(own: &Arc<ByRelation>, catalog: &Catalog, taints: &[Taint]) -> Classification {
    let mut classes =
        Classification { relations: (**own).clone(), own: own.clone(), ..Classification::default() };
    for (_, name, _) in own.values().flat_map(|labels| &**labels) {
        classes.name(name);
    }
    for taint in taints {
        classify_tainted(taint, catalog, &mut classes);
    }
    spread(catalog, &mut classes);
    classes
}

/// The column that stands for all of a relation's by which a row shows that it was touched.
pub(super) const PLACE: &str = "ctid";

/// The server's own columns of a row that are others once it is changed or locked.
fn places() -> impl Iterator<Item = (&'static str, i16)> {
    SYSTEM_COLUMNS.into_iter().filter(|(name, _)| *name != "tableoid")
}

/// A column that was given masked values holds them in whatever form they were put.
fn classify_tainted(taint: &Taint, catalog: &Catalog, classes: &mut Classification) {
    for relation in meant(taint, catalog) {
        if matches!(&*taint.column, "*" | PLACE) {
            for (name, number) in places() {
                let mask = Arc::new(MaskKind::Redact { placeholder: None });
                // Whether a row was touched is all they tell, in whatever way they are asked.
                classes.note(relation.oid, number, Holds::Mixed);
                classes.insert(relation.oid, number, &name.into(), ColumnRule { rule: TAINTED.into(), mask });
            }
        }
        for column in &relation.columns {
            if taint.column == "*" || column.name == taint.column {
                let mask = Arc::new(MaskKind::Redact { placeholder: None });
                classes.note(relation.oid, column.number, taint.holds);
                classes.insert(
                    relation.oid,
                    column.number,
                    &column.name,
                    ColumnRule { rule: TAINTED.into(), mask },
                );
            }
        }
    }
}

/// The relations whose column is remembered.
fn meant<'a>(taint: &'a Taint, catalog: &'a Catalog) -> impl Iterator<Item = &'a Relation> {
    catalog.named(None, &taint.relation).filter(|relation| match &*taint.schema {
        "" => !matches!(&*relation.schema, "pg_catalog" | "information_schema"),
        "pg_temp" => relation.schema.starts_with("pg_temp"),
        schema => relation.schema == schema,
    })
}

/// By name in any schema: an extension's `pg_stat_statements` may stand anywhere.
fn classify_system(relation: &Relation, labels: &mut Labels) {
    let toast = relation.schema.starts_with("pg_toast");
    let holds_values = toast || VALUE_RELATIONS.contains(&&*relation.name);
    let quotes = QUERY_RELATIONS.contains(&&*relation.name);
    for column in &relation.columns {
        // Of a subscription only how it connects is a secret.
        let plain = relation.name == "pg_subscription" && column.name != "subconninfo";
        if holds_values && !plain && !NAME_COLUMNS.contains(&&*column.name) {
            let rule = ColumnRule { rule: "system:values".into(), mask: Arc::new(MaskKind::Null) };
            add(labels, column, rule);
        } else if quotes && matches!(&*column.name, "query" | "statement") {
            let mask = Arc::new(MaskKind::Redact { placeholder: None });
            let rule = ColumnRule { rule: "system:query-text".into(), mask };
            add(labels, column, rule);
        }
    }
}

fn add(labels: &mut Labels, column: &Column, rule: ColumnRule) {
    if label(labels, column.number).is_none() {
        labels.push((column.number, column.name.clone(), rule));
    }
}

/// What the policy says of a column's name alone.
struct Patterns<'a> {
    policy: &'a Policy,
    /// By name, as a large database has few of them: which patterns fit it, in order.
    fitting: HashMap<Symbol, Arc<[usize]>>,
}

impl Patterns<'_> {
    fn of(&mut self, name: &Symbol) -> Arc<[usize]> {
        if let Some(known) = self.fitting.get(name) {
            return known.clone();
        }
        let lower = name.to_lowercase();
        let patterns = self.policy.patterns.iter().enumerate();
        let fitting: Arc<[usize]> =
            patterns.filter(|(_, pattern)| matches(&pattern.name, &lower)).map(|(index, _)| index).collect();
        self.fitting.insert(name.clone(), fitting.clone());
        fitting
    }
}

fn classify_user(patterns: &mut Patterns<'_>, relation: &Relation, labels: &mut Labels) {
    let own = Table::new(patterns.policy, &relation.schema, &relation.name);
    let foreign = relation.foreign.as_deref().map(|foreign| {
        let schema = foreign.schema.as_ref().unwrap_or(&relation.schema);
        (Table::new(patterns.policy, schema, foreign.name.as_ref().unwrap_or(&relation.name)), foreign)
    });
    for column in &relation.columns {
        let mut said = own.says(patterns, &column.name);
        if let (Said::Nothing, Some((table, foreign))) = (&said, &foreign) {
            let other = foreign.columns.iter().find(|(number, _)| *number == column.number);
            said = table.says(patterns, other.map_or(&column.name, |(_, name)| name));
        }
        match said {
            Said::Masked(rule) => add(labels, column, rule.clone()),
            Said::Allowed | Said::Nothing => {}
        }
    }
}

/// What a policy says of a column by its names.
enum Said<'a> {
    /// Its table has an allow list, which names it.
    Allowed,
    Masked(&'a ColumnRule),
    Nothing,
}

/// A table as a policy names it.
struct Table<'a> {
    name: String,
    allow: Option<&'a AllowList>,
}

impl<'a> Table<'a> {
    fn new(policy: &'a Policy, schema: &str, name: &str) -> Self {
        let name = format!("{schema}.{name}").to_lowercase();
        let allow = policy.allow.iter().find(|allow| matches(&allow.table, &name));
        Self { name, allow }
    }

    fn says(&self, patterns: &mut Patterns<'a>, column: &Symbol) -> Said<'a> {
        let policy = patterns.policy;
        let is_allowed = |allow: &AllowList| {
            let name = column.to_lowercase();
            allow.columns.iter().any(|pattern| matches(pattern, &name))
        };
        if self.allow.is_some_and(is_allowed) {
            return Said::Allowed;
        }
        let fitting = patterns.of(column);
        let pattern = fitting
            .iter()
            .filter_map(|index| policy.patterns.get(*index))
            .find(|pattern| pattern.table.as_ref().is_none_or(|pattern| matches(pattern, &self.name)));
        let rule = pattern.map(|pattern| &pattern.rule).or_else(|| self.allow.map(|_| &policy.unlisted));
        rule.map_or(Said::Nothing, Said::Masked)
    }
}

/// Carries labels to where the same values stand.
fn spread(catalog: &Catalog, classes: &mut Classification) {
    while holds_over_inheritance(catalog, classes) {}
    loop {
        let mut found = over_inheritance(catalog, classes);
        found.extend(over_keys(catalog, classes));
        if found.is_empty() {
            return;
        }
        for (relation, number, name, rule) in found {
            classes.insert(relation, number, &name, rule);
        }
    }
}

/// A column that is masked as well: its relation, number and name, and how.
type Found = (u32, i16, Symbol, ColumnRule);

/// A foreign key has the values of the column it refers to, whatever it is called.
fn over_keys(catalog: &Catalog, classes: &Classification) -> Vec<Found> {
    let mut found = Vec::new();
    for relation in catalog.relations() {
        for constraint in &relation.constraints {
            let ConstraintKind::ForeignKey { relation: other, columns, .. } = &constraint.kind else {
                continue;
            };
            for (own, number) in constraint.columns.iter().zip(columns) {
                let Some(rule) = classes.column(*other, *number) else { continue };
                let column = relation.columns.iter().find(|column| column.number == *own);
                if let Some(column) = column.filter(|_| classes.column(relation.oid, *own).is_none()) {
                    found.push((relation.oid, *own, column.name.clone(), rule.clone()));
                }
            }
        }
    }
    found
}

/// What a relation's rows hold, those of its parents and children may; whether anything was not known.
fn holds_over_inheritance(catalog: &Catalog, classes: &mut Classification) -> bool {
    let known: Vec<((u32, i16), Holds)> =
        classes.holds.iter().map(|(column, holds)| (*column, *holds)).collect();
    let mut is_new = false;
    for ((oid, number), holds) in known {
        let Some(relation) = catalog.relation(oid) else { continue };
        let relatives = relation.parents.iter().chain(catalog.heirs(oid));
        let relatives = relatives.filter_map(|relative| catalog.relation(*relative));
        if number < 0 {
            for relative in relatives {
                is_new |= classes.note(relative.oid, number, holds);
            }
            continue;
        }
        let Some(column) = relation.columns.iter().find(|column| column.number == number) else { continue };
        for relative in relatives {
            for twin in relative.columns.iter().filter(|twin| twin.name == column.name) {
                is_new |= classes.note(relative.oid, twin.number, holds);
            }
        }
    }
    is_new
}

/// A parent shows its children's rows and a child may be read by itself: both carry the label.
fn over_inheritance(catalog: &Catalog, classes: &Classification) -> Vec<Found> {
    let mut found = Vec::new();
    for child in catalog.relations() {
        for parent in child.parents.iter().filter_map(|oid| catalog.relation(*oid)) {
            for (from, to) in [(parent, child), (child, parent)] {
                for (name, number) in places() {
                    let Some(rule) = classes.column(from.oid, number) else { continue };
                    if classes.column(to.oid, number).is_none() {
                        found.push((to.oid, number, name.into(), rule.clone()));
                    }
                }
                for column in &from.columns {
                    let Some(rule) = classes.column(from.oid, column.number) else { continue };
                    let twin = to.columns.iter().find(|twin| twin.name == column.name);
                    if let Some(twin) = twin
                        && classes.column(to.oid, twin.number).is_none()
                    {
                        found.push((to.oid, twin.number, twin.name.clone(), rule.clone()));
                    }
                }
            }
        }
    }
    found
}

/// Whether a text fits a pattern in which * stands for any run of characters.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(first) = parts.next() else { return false };
    let Some(mut rest) = text.strip_prefix(first) else { return false };
    let Some(last) = pattern.contains('*').then(|| parts.next_back()).flatten() else {
        return rest.is_empty();
    };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
