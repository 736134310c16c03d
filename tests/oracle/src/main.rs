//! Compares our lineage with PostgreSQL's own rewritten query tree; `cargo xtask oracle` starts it.

mod catalog;
mod compare;
mod engine;
mod flow;
mod regress;
mod report;
mod server;
mod sets;
mod split;
mod tree;
mod vocabulary;
mod walk;
mod wire;

use std::{
    collections::{BTreeMap, HashMap, btree_map::Entry},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, Result};
use catalog::{Catalog, Expansions, observer};
use clap::Parser;
use compare::Judge;
use report::Report;
use server::Server;
use sets::{Batch, Set};
use vocabulary::Vocabulary;
use walk::{Statement, WalkError};
use wire::Session;

/// Trees of deep expressions are read by recursion; the server's own limit on depth is reached far before this.
const STACK_BYTES: usize = 1 << 30;

/// Compare our lineage with PostgreSQL's own rewritten query tree.
#[derive(Parser)]
struct Options {
    /// Major version of the server, 13 to 18; what is not installed is fetched.
    #[arg(long, default_value_t = 15)]
    major: u32,
    /// regress, tpch, tpcds, job, corpus or an SQL file; may be given several times, and is all of them by default.
    #[arg(long)]
    set: Vec<Set>,
    /// Compare no more than so many statements of each set.
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// The program whose `explain` is compared.
    #[arg(long, default_value = "target/debug/mask-agent")]
    engine: PathBuf,
    /// Only read the server's trees, and print what they say.
    #[arg(long)]
    server_only: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    mask_tests::catch_interrupts();
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || run(&options));
    match thread.map(std::thread::JoinHandle::join) {
        Ok(Ok(Ok(true))) => ExitCode::SUCCESS,
        Ok(Ok(Err(error))) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
        Ok(Ok(Ok(false)) | Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

/// Every set, also after one that fails; whether all passed.
fn run(options: &Options) -> Result<bool> {
    let all = [Set::Job, Set::Tpch, Set::Tpcds, Set::Corpus, Set::Regress];
    let mut passed = true;
    for set in if options.set.is_empty() { &all[..] } else { &options.set } {
        match run_set(options, set) {
            Ok(report) => {
                let name = format!("{} on {}", set.name(), options.major);
                // What the attack corpus tries is refused.
                let is_held = !options.server_only && !matches!(set, Set::Corpus);
                passed &= report.print(&name, is_held);
            }
            Err(error) => {
                println!("{} on {}: not compared: {error:#}", set.name(), options.major);
                passed = false;
            }
        }
        mask_tests::check_interrupt()?;
    }
    Ok(passed)
}

fn run_set(options: &Options, set: &Set) -> Result<Report> {
    let server = Server::start(options.major, &set.name())?;
    let mut report = Report::default();
    let mut left = options.limit.unwrap_or(usize::MAX);
    let mut databases: BTreeMap<String, Database> = BTreeMap::new();
    for mut batch in set.batches(&server)? {
        batch.statements.truncate(left);
        left -= batch.statements.len();
        if !batch.statements.is_empty() {
            let database = match databases.entry(batch.database.clone()) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => {
                    let catalog = Catalog::load(&mut observer(server.port, &batch.database, None)?)?;
                    entry.insert(Database { catalog, judged: Vec::new() })
                }
            };
            read_trees(options, &server, batch, database, &mut report)?;
        }
        mask_tests::check_interrupt()?;
    }
    for (name, database) in &databases {
        if options.server_only {
            database.judged.iter().for_each(|judged| show(&database.catalog, judged));
        } else {
            compare(options, &server, name, database, &mut report)?;
        }
    }
    Ok(report)
}

/// One database of a set.
struct Database {
    catalog: Catalog,
    judged: Vec<Judged>,
}

/// A statement the server could parse, and what its tree says.
struct Judged {
    sql: String,
    search_path: Option<String>,
    server: Statement,
}

fn read_trees(
    options: &Options,
    server: &Server,
    batch: Batch,
    database: &mut Database,
    report: &mut Report,
) -> Result<()> {
    let vocabulary = Vocabulary::of(options.major)?;
    let mut session = observer(server.port, &batch.database, batch.search_path.as_deref())?;
    for sql in batch.statements {
        match tree_of(&mut session, &sql, &vocabulary, &database.catalog)? {
            Some(Ok(server)) => {
                report.tree();
                let search_path = batch.search_path.clone();
                database.judged.push(Judged { sql, search_path, server });
            }
            Some(Err(error)) => report.oracle_error(&sql, &error.to_string()),
            None => report.server_error(),
        }
    }
    Ok(())
}

/// Has one run of the engine explain all statements of a database, each after the search path it is to be read along.
fn compare(
    options: &Options,
    server: &Server,
    name: &str,
    database: &Database,
    report: &mut Report,
) -> Result<()> {
    let Database { catalog, judged } = database;
    let statements = judged.iter().map(|Judged { sql, search_path, .. }| match search_path {
        Some(path) => format!("set search_path = {path};{sql}"),
        None => sql.clone(),
    });
    let explained = engine::explain(&options.engine, &server.dsn(name), &statements.collect::<Vec<_>>())?;
    let vocabulary = &Vocabulary::of(options.major)?;
    let session = &mut observer(server.port, name, None)?;
    let mut expansions = Expansions { catalog, session, vocabulary, known: HashMap::new() };
    let mut judge = Judge { catalog, expand: |column| expansions.of(column) };
    for (Judged { sql, search_path, server }, explained) in judged.iter().zip(&explained) {
        let before = usize::from(search_path.is_some());
        match (&explained.error, explained.statements.get(before..).unwrap_or_default()) {
            (Some(error), _) => report.engine_error(sql, error),
            (None, [ours]) => match &ours.refusal {
                Some(reason) => report.refused(sql, &reason.to_string()),
                None => report.compared(sql, &judge.compare(server, ours).with_context(|| sql.clone())?),
            },
            (None, several) => {
                report.engine_error(sql, &format!("{} statements instead of one", several.len()));
            }
        }
    }
    Ok(())
}

/// What the server's tree says of a statement; `None` where the server does not parse it.
fn tree_of(
    session: &mut Session,
    sql: &str,
    vocabulary: &Vocabulary,
    catalog: &Catalog,
) -> Result<Option<Result<Statement, WalkError>>> {
    let Ok(text) = session.tree(sql)? else { return Ok(None) };
    let tree = vocabulary.read(&text).map_err(WalkError::from);
    let statement = tree.and_then(|tree| walk::statement(&tree, vocabulary, &catalog.facts));
    Ok(Some(statement))
}

/// Prints what a tree says.
fn show(catalog: &Catalog, judged: &Judged) {
    let spoken = |flow: &flow::Flow| {
        let mut words: Vec<_> = flow.required.iter().map(|column| catalog.spoken(*column)).collect();
        words.extend(flow.tolerated.iter().map(|column| format!("({})", catalog.spoken(*column))));
        words.extend(flow.opaque.iter().map(|function| format!("function {function}")));
        words.join(", ")
    };
    println!("{}", judged.sql);
    for (flow, at) in judged.server.outputs.iter().flatten().zip(1..) {
        println!("    output {at} <- {}", spoken(flow));
    }
    for (target, flow) in &judged.server.writes {
        println!("    write {} <- {}", catalog.spoken(*target), spoken(flow));
    }
    println!("    influence <- {}", spoken(&judged.server.influence));
}
