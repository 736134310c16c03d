//! The page that is written of a run.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use anyhow::Result;

use super::{
    judge::Cell,
    known::Known,
    list::{FEATURES, MASKED},
};

const FILE: &str = "docs/drivers.md";

const HEAD: &str = "# Drivers

Written by `cargo xtask compat --drivers`, and by nobody else. Each program in `tests/drivers` connects with an ordinary
connection string, once direct and once where the kernel hands its connection to the agent, and prints what the driver
shows it: rows, types, errors with SQLSTATE and text.

- `same`: not a byte of that differs.
- `masked`: a column of every type, and of its arrays, was decoded without an error; masked values have the type of the clear
  ones, and none of the clear ones is there; the columns beside them are the same.
- `–`: the driver has no such thing.
- a number: something in it differs, for the reason below.
";

/// A driver's cells.
pub(super) struct Row {
    pub(super) driver: &'static str,
    pub(super) version: String,
    pub(super) cells: BTreeMap<&'static str, Cell>,
    not_run: Option<String>,
}

impl Row {
    pub(super) fn new(driver: &'static str, version: String) -> Self {
        Self { driver, version, cells: BTreeMap::new(), not_run: None }
    }

    pub(super) fn not_run(driver: &'static str, reason: String) -> Self {
        Self { driver, version: String::new(), cells: BTreeMap::new(), not_run: Some(reason) }
    }
}

/// Writes the page of a run of everything.
pub(super) fn write(rows: &[Row], known: &Known, server: &str) -> Result<()> {
    let mut text = format!("{HEAD}\nPostgreSQL {server}.\n");
    let cells = || rows.iter().flat_map(|row| row.cells.values());
    let used: BTreeSet<usize> = cells()
        .flat_map(|cell| if let Cell::Known(reasons, _) = cell { reasons.as_slice() } else { &[] })
        .copied()
        .collect();
    let numbers: BTreeMap<usize, usize> = used.iter().copied().zip(1..).collect();
    let (modes, others): (Vec<_>, Vec<_>) =
        FEATURES.into_iter().partition(|name| name.starts_with("sslmode"));
    for (title, features) in [("sslmode", modes), ("What is done", others)] {
        write!(text, "\n## {title}\n\n| |")?;
        for name in &features {
            write!(text, " {} |", heading(name))?;
        }
        write!(text, "\n|--|{}", "--|".repeat(features.len()))?;
        for row in rows {
            write!(text, "\n| {} |", row.driver)?;
            for name in &features {
                write!(text, " {} |", shown(row, name, &numbers))?;
            }
        }
        text += "\n";
    }
    text += "\n## Reasons\n\n";
    let reasons: Vec<_> = known.reasons().collect();
    for (place, number) in &numbers {
        writeln!(text, "{number}. {}", reasons[*place])?;
    }
    text += "\n## Versions\n\n";
    for row in rows {
        match &row.not_run {
            Some(reason) => writeln!(text, "- {}: not run: {reason}", row.driver)?,
            None => writeln!(text, "- {}", row.version)?,
        }
    }
    Ok(std::fs::write(FILE, text)?)
}

fn heading(feature: &str) -> String {
    feature.trim_start_matches("sslmode ").replace('_', " ")
}

fn shown(row: &Row, feature: &str, numbers: &BTreeMap<usize, usize>) -> String {
    match row.cells.get(feature) {
        None => "not run".to_owned(),
        Some(Cell::Differs(_)) => "differs".to_owned(),
        Some(Cell::Known(reasons, _)) => {
            let numbers = reasons.iter().filter_map(|reason| numbers.get(reason));
            let numbers = numbers.map(ToString::to_string).collect::<Vec<_>>().join(", ");
            if feature == MASKED { format!("masked; {numbers}") } else { numbers }
        }
        Some(Cell::Masked) => "masked".to_owned(),
        Some(Cell::None) => "–".to_owned(),
        Some(Cell::Same) => "same".to_owned(),
    }
}
