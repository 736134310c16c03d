//! A part of PostgreSQL's own suites, direct and through the agent, where `cargo xtask compat` runs them whole.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use mask_tests::{agent::binary, output};

/// What clients do besides queries: COPY, cursors, prepared statements, transactions, sequences, settings, locks and
/// errors. What they fill tables with is made by the first, which is run direct.
const REGRESS: &str = "test_setup,copyselect,copydml,portals,prepare,plancache,transactions,prepared_xacts,async,\
                       errors,sequence,temp,guc,xmlmap,lock";
/// Several at once: locks, deadlocks, notifications.
const ISOLATION: &str =
    "async-notify,deadlock-simple,nowait,skip-locked,insert-conflict-do-nothing,sequence-ddl";

fn compared(suite: &str, only: &str, more: &[&str]) -> Result<()> {
    let xtask = binary()?.with_file_name("xtask");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the tests lie in the repository")?;
    let mut compat = Command::new(xtask);
    compat.args(["compat", "--suite", suite, "--only", only]).args(more);
    let (same, text) = output(compat.env("MASK_XTASK_READY", "1").current_dir(root))?;
    ensure!(same, "{text}");
    Ok(())
}

#[test]
fn what_clients_do_besides_queries_is_answered_as_without_the_agent() -> Result<()> {
    compared("regress", REGRESS, &[])
}

#[test]
fn sessions_that_wait_for_each_other_do_so_through_tls_and_scram_as_well() -> Result<()> {
    compared("isolation", ISOLATION, &["--auth", "scram", "--tls"])
}
