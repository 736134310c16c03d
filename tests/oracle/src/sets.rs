//! The statements to compare on, and the databases they run on.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context, Result, bail};
use mask_tests::{output, source::CORPORA};

use crate::{
    regress,
    server::{Server, run},
    split::{optimizable, split},
};

const TPCH_SCHEMA: &str = include_str!("../schemas/tpch.sql");
const TPCDS_SCHEMA: &str = include_str!("../schemas/tpcds.sql");
const IMDB_SCHEMA: &str = include_str!("../schemas/imdb.sql");

/// Statements that run on one database with one search path.
pub(crate) struct Batch {
    pub(crate) database: String,
    pub(crate) search_path: Option<String>,
    pub(crate) statements: Vec<String>,
}

/// A named set of statements.
#[derive(Clone, Debug)]
pub(crate) enum Set {
    /// The attack corpus of `tests/corpus`.
    Corpus,
    /// An SQL script; its tables are made by the statements in it that are no queries.
    File(PathBuf),
    /// The join order benchmark.
    Job,
    /// PostgreSQL's own regression tests.
    Regress,
    Tpcds,
    Tpch,
}

impl FromStr for Set {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "corpus" => Ok(Self::Corpus),
            "job" => Ok(Self::Job),
            "regress" => Ok(Self::Regress),
            "tpcds" => Ok(Self::Tpcds),
            "tpch" => Ok(Self::Tpch),
            path if Path::new(path).exists() => Ok(Self::File(path.into())),
            _ => Err("neither regress, tpch, tpcds, job or corpus nor a file that exists".into()),
        }
    }
}

impl Set {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Corpus => "corpus".into(),
            Self::File(path) => {
                path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
            }
            Self::Job => "job".into(),
            Self::Regress => "regress".into(),
            Self::Tpcds => "tpcds".into(),
            Self::Tpch => "tpch".into(),
        }
    }

    /// Loads what the set needs and gives its statements.
    pub(crate) fn batches(&self, server: &Server) -> Result<Vec<Batch>> {
        let (schema, script) = match self {
            Self::Regress => return regress::batches(server),
            Self::Corpus => return corpus(server),
            Self::File(path) => (String::new(), std::fs::read_to_string(path)?),
            Self::Job => (IMDB_SCHEMA.into(), job()?),
            Self::Tpcds => (TPCDS_SCHEMA.into(), tpc("tpcds")?),
            Self::Tpch => (TPCH_SCHEMA.into(), tpc("tpch")?),
        };
        let database = format!("oracle_{}", self.name().replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        server.database(&database, &schema)?;
        if let Self::File(path) = self {
            let path = path.canonicalize()?;
            let (_, text) = server.psql(&database, &["-f", path.to_str().context("the path is text")?])?;
            print!("{text}");
        }
        Ok(vec![Batch { database, search_path: None, statements: distinct(&split(&script)) }])
    }
}

/// The statements that have a rewritten tree, each once.
pub(crate) fn distinct(statements: &[String]) -> Vec<String> {
    let mut seen = HashSet::new();
    let found = statements.iter().filter_map(|statement| optimizable(statement).ok()).flatten();
    found.filter(|statement| !statement.contains('\0') && seen.insert(statement.clone())).collect()
}

fn job() -> Result<String> {
    let path = "tests/data/job.sql";
    std::fs::read_to_string(path).with_context(|| {
        format!("{path} is missing: put the 113 queries of the join order benchmark there; they are not ours to ship")
    })
}

/// The queries of a benchmark, from the database that brings them in an extension.
fn tpc(name: &str) -> Result<String> {
    const VERSION: &str = "1.5.5";
    let path = Path::new(CORPORA).join(format!("{name}.sql"));
    if path.exists() {
        return Ok(std::fs::read_to_string(path)?);
    }
    println!(
        "fetching the {name} queries: duckdb {VERSION} and duckdb-extension-{name} from the Python index"
    );
    std::fs::create_dir_all(CORPORA)?;
    let environment = Path::new(CORPORA).join("python");
    run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
    let python = environment.join("bin/python");
    let mut install = Command::new(&python);
    install.args(["-m", "pip", "install", "--quiet", &format!("duckdb=={VERSION}")]);
    run(install.arg(format!("duckdb-extension-{name}=={VERSION}")))?;
    // The extension is loaded as a file: by name it would be looked for on the network.
    let script = format!(
        "import duckdb, duckdb_extension_{name} as extension, pathlib
folder = pathlib.Path(extension.__path__[0])
file = next(folder.rglob('{name}.duckdb_extension'))
database = duckdb.connect(config={{'allow_unsigned_extensions': 'true', 'autoinstall_known_extensions': 'false'}})
database.execute(f\"load '{{file}}'\")
for (query,) in database.execute('select query from {name}_queries() order by query_nr').fetchall():
    print(query)"
    );
    let (ok, queries) = output(Command::new(&python).args(["-c", &script]))?;
    if !ok {
        bail!("duckdb did not give the {name} queries: {queries}");
    }
    std::fs::write(&path, &queries)?;
    Ok(queries)
}

/// Every statement of the attack corpus, attacks and twins alike.
fn corpus(server: &Server) -> Result<Vec<Batch>> {
    let folder = Path::new("tests/corpus");
    let schema = std::fs::read_to_string(folder.join("schema.sql"))
        .context("tests/corpus/schema.sql is missing; the attack corpus is not in this checkout")?;
    // A role outlives the database it was made in.
    server.database("oracle_corpus", &format!("drop role if exists c_role;\n{schema}"))?;
    let mut scripts = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|kind| kind == "yaml") {
            let cases: serde_norway::Value = serde_norway::from_str(&std::fs::read_to_string(&path)?)?;
            texts(&cases, false, &mut scripts);
        }
    }
    let statements: Vec<_> = scripts.iter().flat_map(|script| split(script)).collect();
    let (database, search_path) = ("oracle_corpus".into(), None);
    Ok(vec![Batch { database, search_path, statements: distinct(&statements) }])
}

/// The texts below the keys that hold SQL.
fn texts(value: &serde_norway::Value, is_sql: bool, found: &mut Vec<String>) {
    match value {
        serde_norway::Value::String(text) if is_sql => found.push(text.clone()),
        serde_norway::Value::Sequence(items) => items.iter().for_each(|item| texts(item, is_sql, found)),
        serde_norway::Value::Mapping(entries) => {
            for (key, value) in entries {
                let holds_sql =
                    key.as_str().is_some_and(|key| ["attack", "benign", "twin", "setup"].contains(&key));
                texts(value, is_sql || holds_sql, found);
            }
        }
        _ => {}
    }
}
