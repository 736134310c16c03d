//! What is known to be answered otherwise, each with the reason why it stays so.

use std::{collections::BTreeSet, fmt::Write};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::known_file;

/// The list of known faults: `known.yaml`.
pub struct Known(Vec<Group>);

/// Faults of one reason.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    /// Why they stay, for a reader who knows the statement and not the agent.
    reason: String,
    /// Major versions they show on; none for all.
    #[serde(default)]
    majors: Vec<u32>,
    /// As [`super::Report::keys`] has them: policy, kind, case and forms.
    faults: Vec<String>,
}

/// How what was found differs from what is known.
#[derive(Debug, Default)]
pub struct Difference {
    /// Found and not known.
    pub new: Vec<String>,
    /// Known, and not found where it was looked for.
    pub mended: Vec<String>,
}

impl Difference {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.new.is_empty() && self.mended.is_empty()
    }
}

/// Policy, kind and case of a fault.
fn head(fault: &str) -> &str {
    fault.split_once(':').map_or(fault, |(head, _)| head)
}

/// The case of a fault.
fn case(fault: &str) -> &str {
    head(fault).rsplit_once(' ').map_or("", |(_, case)| case)
}

impl Known {
    /// Reads the list.
    pub fn load() -> Result<Self> {
        let known = Self::parse(&std::fs::read_to_string(known_file())?)?;
        for group in &known.0 {
            ensure!(!group.reason.trim().is_empty(), "no reason for {:?}", group.faults);
            // What leaks, and attacks that are answered otherwise than they must be, are never known.
            let other = group.faults.iter().find(|fault| fault.split(' ').nth(1) != Some("twin"));
            ensure!(other.is_none(), "only twins may be known to differ: {other:?}");
        }
        Ok(known)
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(Self(serde_norway::from_str(text)?))
    }

    fn on(&self, major: u32) -> impl Iterator<Item = &Group> {
        self.0.iter().filter(move |group| group.majors.is_empty() || group.majors.contains(&major))
    }

    /// Compares what was found on a major version with what is known there, of the policies and cases that were run.
    pub fn compare(
        &self,
        found: &BTreeSet<String>,
        major: u32,
        ran: impl Fn(&str, &str) -> bool,
    ) -> Difference {
        let known: BTreeSet<&String> = self.on(major).flat_map(|group| &group.faults).collect();
        let was_run = |fault: &str| ran(fault.split(' ').next().unwrap_or(""), case(fault));
        Difference {
            new: found.iter().filter(|fault| !known.contains(fault)).cloned().collect(),
            mended: known
                .into_iter()
                .filter(|fault| !found.contains(*fault) && was_run(fault))
                .cloned()
                .collect(),
        }
    }

    /// The reasons for what was found, in Markdown.
    pub fn reasons(&self, found: &BTreeSet<String>, major: u32) -> String {
        let mut text = String::new();
        for group in self.on(major) {
            let mut cases: BTreeSet<(&str, &str)> = BTreeSet::new();
            for fault in group.faults.iter().filter(|fault| found.contains(*fault)) {
                cases.insert((case(fault), fault.split(' ').next().unwrap_or("")));
            }
            if !cases.is_empty() {
                let cases: Vec<_> = cases.iter().map(|(case, policy)| format!("{case} ({policy})")).collect();
                let reason = group.reason.split_whitespace().collect::<Vec<_>>().join(" ");
                // Writing to a string cannot fail.
                let _ = writeln!(text, "- {reason}\n  {}", cases.join(", "));
            }
        }
        if text.is_empty() { text } else { format!("## Changed for a reason\n\n{text}") }
    }

    /// The list as it would be with what was found on a major version, of the policies and cases that were run: what is
    /// new has no reason yet.
    pub fn updated(&self, found: &BTreeSet<String>, major: u32, ran: impl Fn(&str, &str) -> bool) -> String {
        let was_run = |fault: &str| ran(fault.split(' ').next().unwrap_or(""), case(fault));
        let mut left = found.clone();
        let mut text = "# Twins that are known to be answered otherwise: policy, kind, case, forms. No line without a reason.\n"
            .to_owned();
        for group in &self.0 {
            let here = group.majors.is_empty() || group.majors.contains(&major);
            let mut faults = Vec::new();
            for fault in &group.faults {
                let now = left.iter().find(|found| head(found) == head(fault)).cloned();
                match now {
                    Some(now) if here => {
                        left.remove(&now);
                        faults.push(now);
                    }
                    _ if here && was_run(fault) => {}
                    _ => faults.push(fault.clone()),
                }
            }
            text += &written(&group.reason, &group.majors, &faults);
        }
        let left: Vec<_> = left.into_iter().collect();
        text + &written("", &[], &left)
    }
}

fn written(reason: &str, majors: &[u32], faults: &[String]) -> String {
    if faults.is_empty() {
        return String::new();
    }
    let reason = reason.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut text = format!("- reason: {reason:?}\n");
    if !majors.is_empty() {
        let _ = writeln!(text, "  majors: {majors:?}");
    }
    text += "  faults:\n";
    for fault in faults {
        let _ = writeln!(text, "    - '{fault}'");
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Known;

    const LIST: &str = "
- reason: it depends
  faults: ['zero twin a: simple', 'strict twin b: simple batch']
- reason: old
  majors: [13]
  faults: ['zero twin c: simple']
";

    fn found(faults: &[&str]) -> BTreeSet<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_new_and_what_is_right_by_now_differ_from_the_list() -> anyhow::Result<()> {
        let known = Known::parse(LIST)?;
        let all = found(&["zero twin a: simple", "strict twin b: simple batch"]);
        assert!(known.compare(&all, 15, |_, _| true).is_empty());
        let difference = known.compare(&all, 13, |_, _| true);
        assert_eq!(difference.mended, ["zero twin c: simple"]);
        let difference =
            known.compare(&found(&["strict twin b: simple", "zero twin a: simple"]), 15, |_, _| true);
        assert_eq!(difference.new, ["strict twin b: simple"]);
        assert_eq!(difference.mended, ["strict twin b: simple batch"]);
        let difference = known.compare(&found(&[]), 15, |policy, case| (policy, case) == ("zero", "a"));
        assert_eq!(difference.mended, ["zero twin a: simple"]);
        Ok(())
    }

    #[test]
    fn reasons_stay_with_their_cases() -> anyhow::Result<()> {
        let known = Known::parse(LIST)?;
        let text = known.updated(&found(&["strict twin b: simple", "zero twin d: copy"]), 15, |_, _| true);
        let expected = "- reason: \"it depends\"\n  faults:\n    - 'strict twin b: simple'\n\
            - reason: \"old\"\n  majors: [13]\n  faults:\n    - 'zero twin c: simple'\n\
            - reason: \"\"\n  faults:\n    - 'zero twin d: copy'\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(known.reasons(&found(&["zero twin a: simple"]), 15).contains("it depends\n  a (zero)"));
        Ok(())
    }
}
