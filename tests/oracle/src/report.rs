//! Counts of a set, and what has to be read.

use std::collections::BTreeMap;

use crate::compare::Comparison;

/// Equal on at least this share of the statements that have a tree and can be judged.
const EQUAL_PERCENT_MIN: f64 = 98.0;

/// What came of one set.
#[derive(Default)]
pub(crate) struct Report {
    trees: u32,
    equal: u32,
    over: u32,
    under: u32,
    unlisted: u32,
    unjudged: u32,
    server_errors: u32,
    engine_errors: u32,
    refused: u32,
    oracle_errors: u32,
    faults: Vec<String>,
    classes: BTreeMap<String, Class>,
}

/// Inequalities of one kind, and the shortest statement that shows it.
struct Class {
    count: u32,
    example: String,
}

impl Report {
    /// The server printed a tree, and the oracle read it.
    pub(crate) fn tree(&mut self) {
        self.trees += 1;
    }

    pub(crate) fn server_error(&mut self) {
        self.server_errors += 1;
    }

    /// The oracle itself does not understand the tree.
    pub(crate) fn oracle_error(&mut self, sql: &str, error: &str) {
        self.oracle_errors += 1;
        self.faults.push(format!("ORACLE ERROR {error}\n    {}", one_line(sql)));
    }

    pub(crate) fn engine_error(&mut self, sql: &str, error: &str) {
        self.engine_errors += 1;
        self.note(format!("engine error: {error}"), sql, "");
    }

    pub(crate) fn refused(&mut self, sql: &str, reason: &str) {
        self.refused += 1;
        self.note(format!("refused: {reason}"), sql, "");
    }

    pub(crate) fn compared(&mut self, sql: &str, comparison: &Comparison) {
        for (class, detail) in &comparison.over {
            self.note(format!("over: {class}"), sql, detail);
        }
        for detail in &comparison.unjudged {
            self.note("unjudged: a user-defined function whose body the engine read".into(), sql, detail);
        }
        let whole = sql.replace('\n', "\n    ");
        if !comparison.under.is_empty() {
            self.under += 1;
            self.faults.push(format!("UNDER {}\n    {whole}", comparison.under.join("; ")));
        } else if !comparison.unlisted.is_empty() {
            self.unlisted += 1;
            let unlisted = comparison.unlisted.join(", ");
            self.faults.push(format!("UNDER predicates lack {unlisted}\n    {whole}"));
        } else if !comparison.over.is_empty() {
            self.over += 1;
        } else if comparison.unjudged.is_empty() {
            self.equal += 1;
        } else {
            self.unjudged += 1;
        }
    }

    fn note(&mut self, class: String, sql: &str, detail: &str) {
        let example = format!("{}\n        {detail}", one_line(sql));
        let entry = self.classes.entry(class).or_insert_with(|| Class { count: 0, example: example.clone() });
        entry.count += 1;
        if example.len() < entry.example.len() {
            entry.example = example;
        }
    }

    /// Prints it; whether the set passes. One that is not held to how many are equal, as of the server's side alone, fails by
    /// what is under or not understood.
    pub(crate) fn print(&self, name: &str, is_held: bool) -> bool {
        for fault in &self.faults {
            println!("{fault}");
        }
        let mut classes: Vec<_> = self.classes.iter().collect();
        classes.sort_by_key(|(_, class)| std::cmp::Reverse(class.count));
        for (name, class) in classes {
            println!("{:6} × {name}\n        {}", class.count, class.example);
        }
        let judged = self.equal + self.over + self.under + self.unlisted + self.engine_errors + self.refused;
        let share = if judged == 0 { 0.0 } else { f64::from(self.equal) * 100.0 / f64::from(judged) };
        println!(
            "{name}: {} trees, {} equal ({share:.2} % of {judged}), {} over, {} under, {} under in predicates alone, {} engine errors, {} refused, {} unjudged, \
             {} oracle errors, {} server errors",
            self.trees,
            self.equal,
            self.over,
            self.under,
            self.unlisted,
            self.engine_errors,
            self.refused,
            self.unjudged,
            self.oracle_errors,
            self.server_errors
        );
        let enough = !is_held || (judged > 0 && share >= EQUAL_PERCENT_MIN);
        self.under + self.unlisted == 0 && self.oracle_errors == 0 && enough
    }
}

/// A statement on one line, cut where it gets long.
fn one_line(sql: &str) -> String {
    let words: Vec<_> = sql.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{} …", &line[..end]),
        None => line,
    }
}
