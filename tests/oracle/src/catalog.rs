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
const VALUELESS: [&str; 13] = [
    "count",
    "cume_dist",
    "dense_rank",
    "grouping",
    "ntile",
    "num_nonnulls",
    "num_nulls",
    "percent_rank",
    "pg_column_size",
    "pg_typeof",
    "rank",
    "regr_count",
    "row_number",
];

/// What the oracle knows of one database.
pub(crate) struct Catalog {
    names: HashMap<String, Column>,
    columns: HashMap<u32, BTreeSet<i16>>,
    spoken: HashMap<Column, String>,
    views: HashMap<u32, String>,
    expansions: HashMap<Column, Flow>,
    pub(crate) facts: Facts,
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T> {
    text.parse().ok().with_context(|| format!("the server says {text:?} where a number should be"))
}

impl Catalog {
    pub(crate) fn load(session: &mut Session) -> Result<Self> {
        let mut catalog = Self {
            names: HashMap::new(),
            columns: HashMap::new(),
            spoken: HashMap::new(),
            views: HashMap::new(),
            expansions: HashMap::new(),
            facts: Facts::default(),
        };
        let relations = "select c.oid, n.nspname, c.relname, c.relkind = 'v' and c.oid < 16384,
            quote_ident(n.nspname) || '.' || quote_ident(c.relname)
            from pg_class c join pg_namespace n on n.oid = c.relnamespace where c.relkind in ('r','v','m','f','p','S','c')";
        let mut relation_names = HashMap::new();
        for row in session.rows(relations)? {
            let [oid, schema, name, is_system_view, quoted] = &row[..] else { continue };
            let oid = number(oid)?;
            relation_names.insert(oid, format!("{schema}.{name}"));
            catalog.name(Column { relation: oid, number: 0 }, format!("{schema}.{name}.*"));
            catalog.columns.insert(oid, BTreeSet::new());
            if is_system_view == "t" {
                catalog.views.insert(oid, quoted.clone());
            }
        }
        for row in
            session.rows("select attrelid, attnum, attname from pg_attribute where not attisdropped")?
        {
            let [relation, attribute, name] = &row[..] else { continue };
            let column = Column { relation: number(relation)?, number: number(attribute)? };
            let Some(relation) = relation_names.get(&column.relation) else { continue };
            catalog.name(column, format!("{relation}.{name}"));
            if column.number > 0 {
                catalog.columns.entry(column.relation).or_default().insert(column.number);
            }
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

    fn name(&mut self, column: Column, name: String) {
        self.spoken.insert(column, name.clone());
        self.names.insert(name, column);
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

    /// What a column of one of the server's own views is made of: the engine keeps these views whole, and the tree
    /// does not. `None` for any other column.
    pub(crate) fn expansion(
        &mut self,
        session: &mut Session,
        vocabulary: &Vocabulary,
        column: Column,
    ) -> Result<Option<Flow>> {
        let Some(view) = self.views.get(&column.relation) else { return Ok(None) };
        if let Some(flow) = self.expansions.get(&column) {
            return Ok(Some(flow.clone()));
        }
        let sql = format!("select * from {view}");
        let text = session.tree(&sql)?.map_err(|refused| anyhow::anyhow!("{sql}: {}", refused.message))?;
        let statement = walk::statement(&vocabulary.read(&text)?, vocabulary, &self.facts)?;
        let outputs = statement.outputs.context("a view without columns")?;
        let flow = match usize::try_from(column.number).unwrap_or(0).checked_sub(1) {
            None => Flow::union(&outputs),
            Some(at) => outputs.get(at).cloned().context("a view's column that it does not have")?,
        };
        self.expansions.insert(column, flow.clone());
        Ok(Some(flow))
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
