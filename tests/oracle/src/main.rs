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

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, Result};
use catalog::{Catalog, observer};
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
    /// regress, tpch, tpcds, job, corpus or an SQL file; may be given several times.
    #[arg(long, required = true)]
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
        Ok(Ok(Ok(false))) => ExitCode::FAILURE,
        Ok(Ok(Err(error))) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
        Ok(Err(_)) | Err(_) => ExitCode::FAILURE,
    }
}

fn run(options: &Options) -> Result<bool> {
    let mut passed = true;
    for set in &options.set {
        let server = Server::start(options.major, &set.name())?;
        let mut report = Report::default();
        let mut left = options.limit.unwrap_or(usize::MAX);
        for mut batch in set.batches(&server)? {
            batch.statements.truncate(left);
            left -= batch.statements.len();
            if !batch.statements.is_empty() {
                compare_batch(options, &server, &batch, &mut report)?;
            }
            mask_tests::check_interrupt()?;
        }
        passed &= report.print(&format!("{} on {}", set.name(), options.major)) || options.server_only;
    }
    Ok(passed)
}

/// A statement the server could parse, and what its tree says.
struct Judged<'b> {
    sql: &'b str,
    server: Statement,
}

fn compare_batch(options: &Options, server: &Server, batch: &Batch, report: &mut Report) -> Result<()> {
    let vocabulary = Vocabulary::of(options.major)?;
    let mut session = observer(server.port, &batch.database, batch.search_path.as_deref())?;
    let mut catalog = Catalog::load(&mut session)?;
    let mut judged = Vec::new();
    for sql in &batch.statements {
        match tree_of(&mut session, sql, &vocabulary, &catalog)? {
            Some(Ok(statement)) => {
                report.tree();
                judged.push(Judged { sql, server: statement });
            }
            Some(Err(error)) => report.oracle_error(sql, &error.to_string()),
            None => report.server_error(),
        }
    }
    if options.server_only {
        judged.iter().for_each(|judged| show(&catalog, judged));
        return Ok(());
    }
    let dsn = server.dsn(&batch.database, batch.search_path.as_deref());
    let statements: Vec<_> = judged.iter().map(|judged| judged.sql.to_owned()).collect();
    let explained = engine::explain(&options.engine, &dsn, &statements)?;
    let mut judge = Judge { catalog: &mut catalog, session: &mut session, vocabulary: &vocabulary };
    for (Judged { sql, server }, explained) in judged.iter().zip(&explained) {
        match (&explained.error, &explained.statements[..]) {
            (Some(error), _) => report.engine_error(sql, error),
            (None, [ours]) => match &ours.refusal {
                Some(reason) => report.refused(sql, &reason.to_string()),
                None => report.compared(sql, &judge.compare(server, ours).context((*sql).to_owned())?),
            },
            (None, several) => {
                report.engine_error(sql, &format!("{} statements instead of one", several.len()))
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
fn show(catalog: &Catalog, judged: &Judged<'_>) {
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
