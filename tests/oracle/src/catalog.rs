//! Names and facts of the database a set runs on.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context, Result};

use crate::{
    flow::{Column, Flow},
    vocabulary::Vocabulary,
    walk::{self, Facts},
    wire::{PRINT_TREES, Session},
};

/// Functions that tell how many rows there are, which comes where, or of what kind a value is, and nothing of the
/// value. An analysis may leave their arguments out.
const VALUELESS: [&str; 12] = [
    "count",
    "cume_dist",
    "dense_rank",
    "grouping",
    "ntile",
    "num_nonnulls",
    "num_nulls",
    "percent_rank",
    "pg_typeof",
    "rank",
    "regr_count",
    "row_number",
];

/// What the oracle knows of one database.
#[derive(Default)]
pub(crate) struct Catalog {
    names: HashMap<String, Column>,
    columns: HashMap<u32, BTreeSet<i16>>,
    spoken: HashMap<Column, String>,
    views: HashMap<u32, View>,
    generated: HashMap<Column, BTreeSet<Column>>,
    pub(crate) facts: Facts,
}

/// A query that shows what a view is made of, and whether the view came with the server.
struct View {
    query: String,
    is_own: bool,
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("the server says {text:?} where a number should be"))
}

impl Catalog {
    pub(crate) fn load(session: &mut Session) -> Result<Self> {
        let mut catalog = Self::default();
        let relations = "select c.oid, n.nspname, c.relname, c.relkind in ('v','m'), c.oid < 16384,
            case c.relkind when 'm' then pg_get_viewdef(c.oid)
                else format('select * from %I.%I', n.nspname, c.relname) end
            from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r','v','m','f','p','S','c')";
        let mut relation_names = HashMap::new();
        for row in session.rows(relations)? {
            let [oid, schema, name, is_view, is_own, query] = &row[..] else { continue };
            let oid = number(oid)?;
            relation_names.insert(oid, format!("{schema}.{name}"));
            catalog.name(Column { relation: oid, number: 0 }, format!("{schema}.{name}.*"));
            if is_view == "t" {
                catalog.views.insert(oid, View { query: query.clone(), is_own: is_own == "t" });
            }
        }
        for row in
            session.rows("select attrelid, attnum, attname from pg_attribute where not attisdropped")?
        {
            let [relation, attribute, name] = &row[..] else { continue };
            let column = Column { relation: number(relation)?, number: number(attribute)? };
            let Some(relation) = relation_names.get(&column.relation) else { continue };
            catalog.name(column, format!("{relation}.{name}"));
        }
        let generated = "select a.attrelid, a.attnum, d.refobjsubid from pg_attribute a
            join pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
            join pg_depend d on d.classid = 'pg_attrdef'::regclass and d.objid = e.oid and d.refobjid = a.attrelid
                and d.refclassid = 'pg_class'::regclass
            where a.attgenerated = 's' and d.refobjsubid not in (0, a.attnum)";
        for row in session.rows(generated)? {
            let [relation, attribute, source] = &row[..] else { continue };
            let column = Column { relation: number(relation)?, number: number(attribute)? };
            catalog.generate(column, Column { number: number(source)?, ..column });
        }
        let valueless = format!(
            "select oid from pg_proc where pronamespace = 'pg_catalog'::regnamespace and proname in ('{}')",
            VALUELESS.join("','")
        );
        catalog.facts.valueless = oids(session, &valueless)?;
        catalog.facts.foreign_types =
            oids(session, "select oid from pg_type where typinput::oid >= 16384 or typoutput::oid >= 16384")?;
        Ok(catalog)
    }

    /// Gives a column its name.
    pub(crate) fn name(&mut self, column: Column, name: String) {
        if column.number > 0 {
            self.columns.entry(column.relation).or_default().insert(column.number);
        }
        self.spoken.insert(column, name.clone());
        self.names.insert(name, column);
    }

    /// Makes a column one that is generated from another.
    pub(crate) fn generate(&mut self, column: Column, source: Column) {
        self.generated.entry(column).or_default().insert(source);
    }

    /// The columns a generated one is made of.
    pub(crate) fn sources(&self, column: Column) -> impl Iterator<Item = Column> {
        self.generated.get(&column).into_iter().flatten().copied()
    }

    /// Makes a relation one of the server's own views.
    #[cfg(test)]
    pub(crate) fn own_view(&mut self, relation: u32) {
        self.views.insert(relation, View { query: String::new(), is_own: true });
    }

    /// Whether a relation is one of the server's own views.
    pub(crate) fn is_own_view(&self, relation: u32) -> bool {
        self.views.get(&relation).is_some_and(|view| view.is_own)
    }

    /// The column of a name as the engine writes it.
    pub(crate) fn column(&self, name: &str) -> Option<Column> {
        self.names.get(name).copied()
    }

    /// The columns of a relation by number.
    pub(crate) fn columns(&self, relation: u32) -> impl Iterator<Item = Column> {
        let numbers = self.columns.get(&relation).into_iter().flatten();
        numbers.map(move |number| Column { relation, number: *number })
    }

    /// A column's name for people.
    pub(crate) fn spoken(&self, column: Column) -> String {
        let Column { relation, number } = column;
        self.spoken.get(&column).cloned().unwrap_or_else(|| format!("relation {relation} column {number}"))
    }
}

/// What columns of views are made of. The engine keeps the server's own views whole, and the tree does not; the tree
/// keeps those whole that are materialized or that a trigger writes for.
pub(crate) struct Expansions<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) session: &'a mut Session,
    pub(crate) vocabulary: &'a Vocabulary,
    pub(crate) known: HashMap<u32, Vec<Flow>>,
}

impl Expansions<'_> {
    /// The columns of a view behind one of its own; `None` for a column of anything else.
    pub(crate) fn of(&mut self, column: Column) -> Result<Option<Flow>> {
        let Some(view) = self.catalog.views.get(&column.relation) else { return Ok(None) };
        if !self.known.contains_key(&column.relation) {
            let sql = &view.query;
            let text =
                self.session.tree(sql)?.map_err(|refused| anyhow::anyhow!("{sql}: {}", refused.message))?;
            let statement =
                walk::statement(&self.vocabulary.read(&text)?, self.vocabulary, &self.catalog.facts)?;
            self.known.insert(column.relation, statement.outputs.context("a view without columns")?);
        }
        let outputs = &self.known[&column.relation];
        match usize::try_from(column.number).unwrap_or(0).checked_sub(1) {
            None => Ok(Some(Flow::union(outputs))),
            Some(at) => outputs.get(at).cloned().map(Some).context("a view's column that it does not have"),
        }
    }
}

fn oids(session: &mut Session, sql: &str) -> Result<std::collections::HashSet<u32>> {
    session.rows(sql)?.iter().map(|row| number(row.first().map_or("", String::as_str))).collect()
}

/// A session that prints trees.
pub(crate) fn observer(port: u16, database: &str, search_path: Option<&str>) -> Result<Session> {
    let path = search_path.map_or_else(String::new, |path| format!(" -c search_path={path}"));
    Session::open(port, database, &format!("{PRINT_TREES}{path}"))
}
