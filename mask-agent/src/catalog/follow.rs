//! Reads what has changed in a database's catalogs, and makes a new snapshot of it and the old one.
//!
//! What a row is about is read anew as a whole: a relation with its columns, a type, a function. What is short is read
//! anew in full where any of its rows has changed: triggers, rules, parents, functions without their bodies, and
//! operators and casts where functions or types have. New constraints are read by their relations, and all of them
//! where one is gone, as nothing says whose it was. Written out anew is what has changed itself and what depends on it,
//! as the server knows it, because a definition names what it reads as it is called now.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use anyhow::{Context, Result};
use mask_core::catalog::{Catalog, Change, FIRST_USER_OID, Relation, Routine, Symbols};
use tokio_postgres::{Row, types::Type};

use super::{
    definitions::{Missing, define},
    mark::{Counts, Mark, Seen, count},
    queries::{self, Scope, Watched},
    read::{BEGIN, COMMIT, Known},
    reader::{Parameter, Reader},
    rows::{self, Facts, Held, Told},
};

/// Relations, types or functions that are read one by one; more are read faster with all others.
const CHANGED_MAX: usize = 2_000;

/// What has changed, by OID.
struct Changed {
    relations: Vec<u32>,
    types: Vec<u32>,
    routines: HashSet<u32>,
    operators: Vec<u32>,
    held: Held,
}

/// What is known from now on; none where everything is to be read.
pub(super) async fn follow(
    reader: &Reader,
    mut mark: Mark,
    known: &Known,
    since: u32,
) -> Result<Option<Known>> {
    let (what, since) = (queries::changes(), since.to_string());
    let since: &[Parameter<'_>] = &[(&since, Type::TEXT)];
    let (_, seen) = tokio::try_join!(biased; reader.run(BEGIN), reader.ask(&what, since))?;
    let seen = Seen::new(&seen)?;
    let earlier = &known.mark.counts;
    mark.counts = seen.counts;
    let is_same = !Watched::ALL.iter().any(|watched| seen.has_changed(*watched, earlier));
    let is_same = is_same
        && mark.search_path() == known.catalog.search_path()
        && mark.loose_collations() == known.catalog.loose_collations();
    if is_same && known.is_complete() {
        reader.run(COMMIT).await?;
        return Ok(Some(Known { mark, ..known.clone() }));
    }
    let Some(changed) = Changed::of(&seen, earlier, &known.missing) else {
        reader.run(COMMIT).await?;
        return Ok(None);
    };
    let answers = Box::pin(Answers::read(reader, &seen, earlier, &changed, &known.catalog)).await?;

    let old = &*known.catalog;
    let mut draft = Draft::new(known, &changed, answers)?;
    draft.change.search_path = mark.search_path().map(<[String]>::to_vec);
    draft.change.loose_collations = mark.loose_collations().clone();
    let Draft { mut change, facts, bodies } = draft;
    let routines = change.routines.as_deref_mut().unwrap_or_default();
    let is_wanted = |oid| bodies.contains(&oid);
    // In this order: what is written out locks tables until its transaction ends.
    let defined = define(reader, &mut change.relations, routines, is_wanted, &facts);
    let (_, missing) = tokio::try_join!(biased; reader.run(COMMIT), defined)?;
    let Facts { defaults, rules, policies, .. } = facts;
    let mut read = Known { catalog: Arc::new(old.changed(change)), mark, defaults, rules, policies, missing };
    read.share(known);
    Ok(Some(read))
}

impl Changed {
    /// None where it is too much, or of a kind that anything may depend on.
    fn of(seen: &Seen, earlier: &Counts, missing: &Missing) -> Option<Self> {
        let is_replaced = |watched| seen.replaced(watched, earlier) != 0;
        if seen.has_changed(Watched::Extension, earlier)
            || is_replaced(Watched::Namespace)
            || is_replaced(Watched::Language)
        {
            return None;
        }
        let all = |catalogs: &[Watched]| -> HashSet<u32> {
            catalogs.iter().flat_map(|watched| seen.fresh(*watched)).copied().collect()
        };
        let mut relations = all(&[
            Watched::Attribute,
            Watched::Class,
            Watched::Composite,
            Watched::Default,
            Watched::ForeignTable,
            Watched::Policy,
            Watched::Rule,
        ]);
        relations.extend(&missing.relations);
        let types = all(&[Watched::Enum, Watched::Type]);
        let mut routines = all(&[Watched::Routine]);
        routines.extend(&missing.routines);
        let operators = all(&[Watched::Operator]);
        let is_far_reaching = |set: &HashSet<u32>| {
            // Nothing says what depends on what is the server's own.
            set.len() > CHANGED_MAX || set.iter().any(|oid| *oid < FIRST_USER_OID)
        };
        if [&relations, &types, &routines, &operators].into_iter().any(is_far_reaching) {
            return None;
        }
        let held = all(&[Watched::Constraint, Watched::UniqueIndex]);
        let are_lost = is_replaced(Watched::Constraint) || is_replaced(Watched::UniqueIndex);
        Some(Self {
            relations: relations.into_iter().collect(),
            types: types.into_iter().collect(),
            routines,
            operators: operators.into_iter().collect(),
            held: if are_lost || held.len() > CHANGED_MAX { Held::All } else { Held::These(held) },
        })
    }
}

/// What the server answers to what is asked of it then; none where it was not asked.
struct Answers {
    relations: Vec<Row>,
    columns: Vec<Row>,
    types: Vec<Row>,
    arrays: Vec<Row>,
    dependents: Vec<Row>,
    user_names: Option<Vec<Row>>,
    operators: Option<Vec<Row>>,
    casts: Option<Vec<Row>>,
    triggers: Option<Vec<Row>>,
    constraints: Vec<Row>,
    rules: Option<Vec<Row>>,
    policies: Option<Vec<Row>>,
    parents: Option<Vec<Row>>,
    defaults: Option<Vec<Row>>,
    routines: Option<Vec<Row>>,
    relations_left: Option<Vec<Row>>,
    types_left: Option<Vec<Row>>,
}

impl Answers {
    async fn read(
        reader: &Reader,
        seen: &Seen,
        earlier: &Counts,
        changed: &Changed,
        old: &Catalog,
    ) -> Result<Self> {
        let has_changed = |watched: &[Watched]| watched.iter().any(|one| seen.has_changed(*one, earlier));
        // A row that is no longer as it was has another in its place, or is gone.
        let are_gone = |watched, is_known: &dyn Fn(u32) -> bool| {
            let known = seen.fresh(watched).iter().filter(|oid| is_known(**oid)).count();
            seen.replaced(watched, earlier) != count(known)
        };
        let relations_gone = are_gone(Watched::Class, &|oid| old.relation(oid).is_some());
        let types_gone = relations_gone
            || are_gone(Watched::Type, &|oid| old.type_shape(oid).is_some())
            || seen.replaced(Watched::Composite, earlier) != 0;
        let has_code = has_changed(&[Watched::Routine, Watched::Member]) || !changed.routines.is_empty();
        // Without functions of users there is nothing that runs them.
        let may_run = !old.all_routines().is_empty();
        let has_written = has_code
            || may_run
                && has_changed(&[
                    Watched::Attribute,
                    Watched::Constraint,
                    Watched::Default,
                    Watched::DomainCheck,
                    Watched::ExpressionIndex,
                    Watched::Operator,
                    Watched::Type,
                ]);
        // Which operators and casts run code of users, and of what types their operands are.
        let has_operators =
            has_code || may_run && has_changed(&[Watched::Cast, Watched::Operator, Watched::Type]);
        let has_names = has_operators || may_run && has_changed(&[Watched::DomainCheck]);

        let (operators, casts) = (queries::operators(), queries::casts());
        let (relations, columns) = (queries::relations(Scope::Named), queries::columns(Scope::Named));
        let (types, arrays) = (queries::types(Scope::Named), queries::arrays(Scope::Named));
        let (defaults, routines, user_names) =
            (queries::defaults(), queries::routines(), queries::user_names());
        let routines_changed: Vec<u32> = changed.routines.iter().copied().collect();
        let types_of = [&changed.types[..], &changed.relations].concat();
        let dependents = [&changed.relations, &changed.types, &routines_changed, &changed.operators];
        let (
            relations,
            columns,
            types,
            arrays,
            dependents,
            user_names,
            operators,
            casts,
            triggers,
            constraints,
            rules,
            policies,
            parents,
            defaults,
            routines,
            relations_left,
            types_left,
        ) = tokio::try_join!(
            named(reader, &relations, [&changed.relations]),
            named(reader, &columns, [&changed.relations]),
            named(reader, &types, [&types_of]),
            named(reader, &arrays, [&changed.types]),
            named(reader, queries::DEPENDENTS, dependents),
            optional(reader, has_names.then_some(&user_names)),
            optional(reader, has_operators.then_some(&operators)),
            optional(reader, has_operators.then_some(&casts)),
            optional(reader, has_changed(&[Watched::Trigger]).then_some(queries::TRIGGERS)),
            held(reader, &changed.held),
            optional(reader, has_changed(&[Watched::Rule]).then_some(queries::RULES)),
            optional(reader, has_changed(&[Watched::Policy]).then_some(queries::POLICIES)),
            optional(reader, has_changed(&[Watched::Inheritance]).then_some(queries::PARENTS)),
            optional(reader, has_written.then_some(&defaults)),
            optional(reader, has_code.then_some(&routines)),
            optional(reader, relations_gone.then_some(queries::RELATIONS_LEFT)),
            optional(reader, types_gone.then_some(queries::TYPES_LEFT)),
        )?;
        Ok(Self {
            relations,
            columns,
            types,
            arrays,
            dependents,
            user_names,
            operators,
            casts,
            triggers,
            constraints,
            rules,
            policies,
            parents,
            defaults,
            routines,
            relations_left,
            types_left,
        })
    }
}

async fn named<const N: usize>(reader: &Reader, text: &str, oids: [&Vec<u32>; N]) -> Result<Vec<Row>> {
    reader.ask(text, &oids.map(|oids| -> Parameter<'_> { (oids, Type::OID_ARRAY) })).await
}

/// Constraints, of which those of no relation cost no question.
async fn held(reader: &Reader, held: &Held) -> Result<Vec<Row>> {
    match held {
        Held::All => reader.ask(&queries::constraints(Scope::All), &[]).await,
        Held::These(relations) if relations.is_empty() => Ok(Vec::new()),
        Held::These(relations) => {
            let relations = relations.iter().copied().collect();
            named(reader, &queries::constraints(Scope::Named), [&relations]).await
        }
    }
}

async fn optional(reader: &Reader, text: Option<&str>) -> Result<Option<Vec<Row>>> {
    match text {
        Some(text) => reader.ask(text, &[]).await.map(Some),
        None => Ok(None),
    }
}

/// A change before its definitions are written out.
struct Draft {
    change: Change,
    facts: Facts,
    /// Functions whose bodies are to be written out.
    bodies: HashSet<u32>,
}

impl Draft {
    fn new(known: &Known, changed: &Changed, answers: Answers) -> Result<Self> {
        let Known { catalog: old, defaults, rules, policies, .. } = known;
        let mut change = Change::default();
        let (mut relations_defined, mut bodies) = (HashSet::new(), changed.routines.clone());
        for row in &answers.dependents {
            let set = if row.try_get(1)? { &mut bodies } else { &mut relations_defined };
            set.insert(row.try_get::<_, u32>(0)?);
        }
        let told = Told {
            triggers: answers.triggers.is_some(),
            constraints: &changed.held,
            parents: answers.parents.is_some(),
        };
        let mut facts = Facts {
            triggers: rows::pairs(answers.triggers.as_deref().unwrap_or_default())?,
            constraints: rows::constraints(&answers.constraints)?,
            parents: rows::pairs(answers.parents.as_deref().unwrap_or_default())?,
            rules: match &answers.rules {
                Some(rows) => rows::pairs(rows)?,
                None => rules.clone(),
            },
            policies: match &answers.policies {
                Some(rows) => rows::pairs(rows)?,
                None => policies.clone(),
            },
            defaults: match &answers.defaults {
                Some(rows) => rows::firsts(rows)?,
                None => defaults.clone(),
            },
        };

        let mut symbols = Symbols::default();
        let all = changed.relations.iter().copied().collect();
        let mut columns = rows::columns(&answers.columns, &all, &mut symbols)?;
        rows::add_types(&mut change.types, &mut change.type_names, &answers.types, &columns)?;
        rows::add_arrays(&mut change.types, &answers.arrays)?;
        for row in &answers.relations {
            let (relation, row_type) = rows::relation(row, &mut columns, &mut symbols)?;
            if row_type != 0 {
                change.types.insert(row_type, rows::composite(&relation.columns));
            }
            change.relations.push(relation);
        }
        let read: HashSet<u32> = change.relations.iter().map(|relation| relation.oid).collect();
        let left = answers.relations_left.map(|rows| one_list(&rows)).transpose()?;
        change.gone = gone(old, changed, &read, left.as_ref());
        change.types_left = answers.types_left.map(|rows| one_list(&rows)).transpose()?;
        let is_other = |relation: &&Relation| {
            relations_defined.contains(&relation.oid)
                || defaults.contains(&relation.oid) != facts.defaults.contains(&relation.oid)
                || rules.get(&relation.oid) != facts.rules.get(&relation.oid)
                || policies.get(&relation.oid) != facts.policies.get(&relation.oid)
                || !facts.agree(relation, &told)
        };
        let others = old.relations().filter(is_other);
        let others = others.filter(|old| !read.contains(&old.oid) && !change.gone.contains(&old.oid));
        change.relations.extend(others.cloned());
        for relation in &mut change.relations {
            if let Some(before) = old.relation(relation.oid) {
                facts.learn(before, &told);
            }
            facts.apply(relation);
        }

        change.user_names = answers.user_names.as_deref().map(rows::firsts).transpose()?;
        change.operators = answers.operators.as_deref().map(rows::operators).transpose()?;
        change.casts = answers.casts.as_deref().map(rows::casts).transpose()?;
        change.routines = routines(old, answers.routines.as_deref(), &bodies)?;
        Ok(Self { change, facts, bodies })
    }
}

/// Relations that were there, and are no more.
fn gone(old: &Catalog, changed: &Changed, read: &HashSet<u32>, left: Option<&HashSet<u32>>) -> HashSet<u32> {
    let asked = changed.relations.iter().filter(|oid| !read.contains(oid) && old.relation(**oid).is_some());
    let mut gone: HashSet<u32> = asked.copied().collect();
    if let Some(left) = left {
        gone.extend(old.relations().map(|relation| relation.oid).filter(|oid| !left.contains(oid)));
    }
    gone
}

/// Functions, with the bodies of those that keep theirs; none where all are as they were.
fn routines(old: &Catalog, rows: Option<&[Row]>, bodies: &HashSet<u32>) -> Result<Option<Vec<Routine>>> {
    let Some(rows) = rows else {
        return Ok((!bodies.is_empty()).then(|| old.all_routines().to_vec()));
    };
    let mut routines = rows.iter().map(rows::routine).collect::<Result<Vec<_>>>()?;
    let kept: HashMap<u32, &Routine> = old.all_routines().iter().map(|old| (old.oid, old)).collect();
    for routine in routines.iter_mut().filter(|routine| !bodies.contains(&routine.oid)) {
        routine.definition = kept.get(&routine.oid).and_then(|old| old.definition.clone());
    }
    Ok(Some(routines))
}

fn one_list(rows: &[Row]) -> Result<HashSet<u32>> {
    let row = rows.first().context("the server gave no row")?;
    Ok(rows::list(row, 0)?.into_iter().collect())
}
