//! What a policy says of statements, printed.

use std::{
    io::{self, BufRead, Write},
    sync::Arc,
    thread,
};

use anyhow::{Context, Result};
use mask_core::{
    catalog::Catalog,
    explain::{Approval, Explained, ExplainedOutput, ExplainedRefusal, Report},
    lineage::STACK_BYTES,
    policy::{Budget, Policy, Snapshot},
};

/// Explains one string of statements, or with `-` each of those on standard input.
pub(crate) fn explain(catalog: Arc<Catalog>, policy: &Policy, sql: &str, json: bool) -> Result<()> {
    let snapshot = Snapshot::new(catalog, policy, &[], Arc::new(Budget::default()));
    thread::scope(|scope| {
        let work = || if sql == "-" { each(&snapshot, json) } else { one(&snapshot, sql, json) };
        // As the daemon's own threads, so that it reads what they read.
        let thread = thread::Builder::new().stack_size(2 * STACK_BYTES).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn each(snapshot: &Snapshot, json: bool) -> Result<()> {
    let mut input = io::stdin().lock();
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        if input.read_until(0, &mut bytes).context("cannot read standard input")? == 0 {
            return Ok(());
        }
        let sql = bytes.strip_suffix(&[0]).unwrap_or(&bytes);
        if let Ok(sql) = std::str::from_utf8(sql) {
            one(snapshot, sql, json)?;
        } else {
            let error = Some("the statement is not UTF-8".to_owned());
            print(&Report { error, ..Report::default() }, json)?;
        }
    }
}

fn one(snapshot: &Snapshot, sql: &str, json: bool) -> Result<()> {
    print(&mask_core::explain::explain(sql, snapshot), json)
}

fn print(report: &Report, json: bool) -> Result<()> {
    let mut out = Vec::new();
    if json {
        serde_json::to_writer(&mut out, report)?;
        out.push(b'\n');
    } else {
        text(&mut out, report)?;
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()?;
    Ok(())
}

fn text(out: &mut Vec<u8>, report: &Report) -> io::Result<()> {
    if let Some(error) = &report.error {
        writeln!(out, "refused: {error}")?;
    }
    for (index, statement) in report.statements.iter().enumerate() {
        writeln!(out, "{}. {}", index + 1, statement.command)?;
        outputs(out, statement)?;
        for use_ in &statement.predicates {
            let ruling = use_.ruling.unwrap_or("not masked");
            writeln!(out, "   {} on {}: {ruling}", use_.usage, use_.column)?;
        }
        for write in &statement.writes {
            let origins = sources(&write.origins, &write.implied, write.untraceable);
            let then = if write.taints { ": masked from then on" } else { "" };
            writeln!(out, "   writes {} from {origins}{then}", write.target)?;
        }
        if let Some(refusal) = &statement.refusal {
            let ExplainedRefusal { code, rule, message, hint, .. } = refusal;
            writeln!(out, "   refused ({code}, by {rule}): {message}. {hint}")?;
        }
        if let Some(approval) = &statement.approval {
            needed(out, approval)?;
        }
    }
    Ok(())
}

fn needed(out: &mut Vec<u8>, approval: &Approval) -> io::Result<()> {
    if let Some(never) = approval.never {
        return writeln!(out, "   no approval would do: {never}");
    }
    if !approval.show.is_empty() {
        writeln!(out, "   an approval would have to show: {}", approval.show.join(", "))?;
    }
    if !approval.admit.is_empty() {
        let admit: Vec<&str> = approval.admit.iter().copied().collect();
        writeln!(out, "   an approval would have to admit: {}", admit.join(", "))?;
    }
    Ok(())
}

fn outputs(out: &mut Vec<u8>, statement: &Explained) -> io::Result<()> {
    let Some(outputs) = &statement.outputs else { return Ok(()) };
    let head = ["output", "ruling", "rule", "made of"].map(str::to_owned);
    let rows = outputs.iter().map(|output| {
        let name = if statement.open { "every column" } else { &output.name };
        let ruling =
            output.mask.map_or_else(|| output.ruling.to_owned(), |mask| format!("{}: {mask}", output.ruling));
        [name.to_owned(), ruling, output.rule.to_string(), made_of(output)]
    });
    let rows: Vec<[String; 4]> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let [first, second, third] = [0, 1, 2].map(width);
    for [name, ruling, rule, made_of] in &rows {
        writeln!(out, "   {name:first$}  {ruling:second$}  {rule:third$}  {made_of}")?;
    }
    Ok(())
}

fn made_of(output: &ExplainedOutput) -> String {
    let sources = sources(&output.origins, &output.implied, output.untraceable);
    if output.identity || output.origins.is_empty() { sources } else { format!("derived from {sources}") }
}

fn sources(origins: &[String], implied: &[String], untraceable: Option<&str>) -> String {
    let mut parts = Vec::new();
    if !origins.is_empty() {
        parts.push(origins.join(", "));
    }
    if !implied.is_empty() {
        parts.push(format!("tells about {}", implied.join(", ")));
    }
    parts.extend(untraceable.map(|why| format!("untraceable: {why}")));
    if parts.is_empty() { "constants".to_owned() } else { parts.join("; ") }
}
