//! What came of the corpus, as tables.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use super::{Answer, Fault, FaultKind, Form, Found, Outcome, Policy, Side};

/// Counts and faults of a whole run.
#[derive(Default)]
pub struct Report {
    outcomes: Vec<Outcome>,
}

/// A row of a table.
#[derive(Default)]
struct Row {
    attacks: usize,
    leaking: usize,
    canaries: usize,
    refused: usize,
    verdicts: usize,
    twins: usize,
    changed: usize,
}

impl Row {
    fn count(&mut self, outcome: &Outcome) {
        let has = |kind| usize::from(outcome.faults.iter().any(|fault| fault.kind == kind));
        self.attacks += usize::from(outcome.attacked);
        self.leaking += usize::from(!outcome.direct.is_empty());
        self.refused += usize::from(outcome.refused);
        self.twins += usize::from(outcome.twinned);
        self.canaries += has(FaultKind::Canary);
        self.verdicts += has(FaultKind::Verdict);
        self.changed += has(FaultKind::Twin);
    }
}

impl Report {
    /// Takes what came of a case.
    pub fn add(&mut self, outcomes: Vec<Outcome>) {
        self.outcomes.extend(outcomes);
    }

    /// Everything that is wrong.
    pub fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.outcomes.iter().flat_map(|outcome| &outcome.faults)
    }

    /// What is wrong, as `known.yaml` has it: policy, kind, case and the forms it shows in.
    pub fn keys(&self) -> BTreeSet<String> {
        let key = |((policy, kind, case), (forms, _)): (_, (Vec<&str>, _))| {
            format!("{policy} {kind} {case}: {}", forms.join(" "))
        };
        self.by_case().into_iter().map(key).collect()
    }

    /// How each attack and each twin was answered through agents.
    pub fn answers(&self) -> Found {
        let mut cases: BTreeMap<_, (Vec<Form>, Vec<Form>)> = BTreeMap::new();
        for outcome in &self.outcomes {
            let Some(policy) = outcome.policy else { continue };
            for (side, was_said, was_refused) in [
                (Side::Attack, outcome.attacked, outcome.refused),
                (Side::Twin, outcome.twinned, outcome.twin_refused.is_some()),
            ] {
                if was_said {
                    let (forms, refused) = cases.entry((outcome.case.clone(), policy, side)).or_default();
                    forms.push(outcome.form);
                    refused.extend(was_refused.then_some(outcome.form));
                }
            }
        }
        let answer = |(key, (forms, refused)): ((_, _, Side), (Vec<_>, _))| {
            let answer = Answer::new(key.2, &forms, refused);
            (key, answer)
        };
        cases.into_iter().map(answer).collect()
    }

    /// Whether a case was run under a policy.
    pub fn ran(&self, policy: &str, case: &str) -> bool {
        let is_it = |outcome: &Outcome| {
            outcome.case == case && outcome.policy.is_some_and(|run| run.name() == policy)
        };
        self.outcomes.iter().any(is_it)
    }

    /// The tables, in Markdown.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for policy in [None, Some(Policy::Zero), Some(Policy::Strict)] {
            let outcomes: Vec<_> = self.outcomes.iter().filter(|outcome| outcome.policy == policy).collect();
            if outcomes.is_empty() {
                continue;
            }
            let title = policy.map_or("Direct", Policy::name);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "## {title}\n\n{}", by_channel(&outcomes));
            text += &table("Form", &outcomes, |outcome| outcome.form.name().to_owned());
            text.push('\n');
            text += &table("File", &outcomes, |outcome| outcome.theme.clone());
            text.push('\n');
            text += &refused_twins(&outcomes);
        }
        text
    }

    /// The faults: a paragraph for a case and kind, with the forms it shows in and what was seen in the first.
    pub fn fault_list(&self) -> String {
        let line = |((policy, kind, case), (forms, seen)): (_, (Vec<&str>, _))| {
            format!("{policy} {kind} {case} ({}): {seen}\n", forms.join(", "))
        };
        self.by_case().into_iter().map(line).collect()
    }

    /// By policy, kind and case: the forms, and what was seen in the first.
    fn by_case(&self) -> BTreeMap<(&str, &str, &str), (Vec<&str>, &str)> {
        let mut cases: BTreeMap<_, (Vec<&str>, &str)> = BTreeMap::new();
        for Fault { policy, case, form, kind, seen } in self.faults() {
            let key = (policy.map_or("direct", Policy::name), kind.name(), case.as_str());
            let forms = &mut cases.entry(key).or_insert((vec![], seen)).0;
            if !forms.contains(&form.name()) {
                forms.push(form.name());
            }
        }
        cases
    }
}

/// Which twins are refused, by the sentence they are refused with.
fn refused_twins(outcomes: &[&Outcome]) -> String {
    let mut reasons: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for outcome in outcomes {
        if let Some(reason) = &outcome.twin_refused {
            reasons.entry(reason).or_default().insert(&outcome.case);
        }
    }
    if reasons.is_empty() {
        return String::new();
    }
    let mut text = "| Twins are refused because | cases |\n|--|--|\n".to_owned();
    for (reason, cases) in reasons {
        let _ = writeln!(text, "| {reason} | {} |", cases.into_iter().collect::<Vec<_>>().join(", "));
    }
    text + "\n"
}

fn by_channel(outcomes: &[&Outcome]) -> String {
    let mut channels: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for outcome in outcomes {
        for channel in &outcome.direct {
            channels.entry(channel).or_default().0 += 1;
        }
        for channel in &outcome.shown {
            channels.entry(channel).or_default().1 += 1;
        }
    }
    let mut text =
        "| Channel | attacks that show a canary direct | through the agent |\n|--|--|--|\n".to_owned();
    for (channel, (direct, shown)) in channels {
        let _ = writeln!(text, "| {channel} | {direct} | {shown} |");
    }
    text
}

fn table(title: &str, outcomes: &[&Outcome], key: impl Fn(&Outcome) -> String) -> String {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut all = Row::default();
    for outcome in outcomes {
        rows.entry(key(outcome)).or_default().count(outcome);
        all.count(outcome);
    }
    let mut text = format!(
        "| {title} | attacks | show a canary direct | through the agent | refused | verdict differs | twins | changed |\n"
    );
    text += "|--|--|--|--|--|--|--|--|\n";
    for (name, row) in rows.iter().map(|(name, row)| (name.as_str(), row)).chain([("all", &all)]) {
        let Row { attacks, leaking, canaries, refused, verdicts, twins, changed } = row;
        let _ = writeln!(
            text,
            "| {name} | {attacks} | {leaking} | {canaries} | {refused} | {verdicts} | {twins} | {changed} |"
        );
    }
    text
}
