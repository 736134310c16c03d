//! How every attack is answered, as recorded: who refuses more than before, or less, changes a file.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::{Case, Form, Policy, Verdict, verdicts_file};

/// What a difference from the record is told with.
pub const RENEWAL: &str = "`cargo xtask corpus --write-verdicts` renews tests/corpus/verdicts.yaml, and \
    `--major` with it where a case is for newer servers: each line that changes wants a reason";

const HEAD: &str = "# How each attack is answered, on every major version: masked, refused, or in which forms refused.\n\
    # Written by `cargo xtask corpus --write-verdicts`; each line that changes wants a reason.\n";

/// The record: `verdicts.yaml`.
pub struct Verdicts(BTreeMap<String, Answers>);

/// What was found of attacks, by case and policy.
pub type Found = BTreeMap<(String, Policy), Answer>;

/// Of one attack.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Answers {
    zero: Answer,
    strict: Answer,
}

impl Answers {
    fn of(&self, policy: Policy) -> &Answer {
        match policy {
            Policy::Zero => &self.zero,
            Policy::Strict => &self.strict,
        }
    }
}

/// How an attack is answered in all its forms.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// As direct but for the values.
    Masked,
    /// With SQLSTATE 42501.
    Refused,
    /// Refused in these forms, in the order of reports, and masked in the others.
    #[serde(untagged)]
    RefusedIn(Vec<Form>),
}

impl Answer {
    /// From the forms, and those of them in which the attack was refused.
    pub(super) fn new(forms: &[Form], refused: Vec<Form>) -> Self {
        match refused.len() {
            0 => Self::Masked,
            count if count == forms.len() => Self::Refused,
            _ => Self::RefusedIn(refused),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Masked => "masked".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::RefusedIn(forms) => {
                let names: Vec<_> = forms.iter().map(|form| form.name()).collect();
                format!("[{}]", names.join(", "))
            }
        }
    }

    /// Whether it is what a case promises.
    fn keeps(&self, promise: Verdict) -> bool {
        match promise {
            Verdict::Masked => *self == Self::Masked,
            Verdict::Recorded => true,
            Verdict::Refused => *self == Self::Refused,
        }
    }
}

impl Verdicts {
    /// Reads the record.
    pub fn load() -> Result<Self> {
        Self::parse(&std::fs::read_to_string(verdicts_file())?)
    }

    fn parse(text: &str) -> Result<Self> {
        let verdicts = Self(serde_norway::from_str(text)?);
        // Of two lines for one case only the last would count.
        let lines = text.lines().filter(|line| !line.starts_with('#')).count();
        ensure!(lines == verdicts.0.len(), "{lines} lines are for {} cases", verdicts.0.len());
        Ok(verdicts)
    }

    /// What is wrong with the record itself: attacks it has no line for, lines that are for no attack, and promises of
    /// cases that it does not keep.
    pub fn faults(&self, cases: &[Case]) -> Vec<String> {
        let attacks: BTreeMap<_, _> =
            cases.iter().filter(|case| case.has_attack()).map(|case| (case.id.as_str(), case)).collect();
        let strays = self.0.keys().filter(|id| !attacks.contains_key(id.as_str()));
        let mut faults: Vec<_> = strays.map(|id| format!("{id}: there is no such attack")).collect();
        for (id, case) in attacks {
            let Some(answers) = self.0.get(id) else {
                faults.push(format!("{id}: nothing is recorded"));
                continue;
            };
            for policy in [Policy::Zero, Policy::Strict] {
                let (answer, promise) = (answers.of(policy), case.promise(policy));
                if !answer.keeps(promise) {
                    let (policy, answer) = (policy.name(), answer.written());
                    faults.push(format!("{policy} {id}: {answer} is recorded, and {promise:?} is promised"));
                }
            }
        }
        faults
    }

    /// The same, and how what was found differs from the record.
    pub fn compare(&self, cases: &[Case], found: &Found) -> Vec<String> {
        let mut faults = self.faults(cases);
        for ((id, policy), now) in found {
            let recorded = self.0.get(id).map(|answers| answers.of(*policy));
            if let Some(recorded) = recorded.filter(|recorded| *recorded != now) {
                let (policy, now) = (policy.name(), now.written());
                faults.push(format!("{policy} {id}: {now}, and {} is recorded", recorded.written()));
            }
        }
        faults
    }

    /// The record with what was found in place of what was, and without the cases that are no more.
    pub fn updated(&self, cases: &[Case], found: &Found) -> String {
        let mut ids: Vec<_> =
            cases.iter().filter(|case| case.has_attack()).map(|case| case.id.as_str()).collect();
        ids.sort_unstable();
        let mut text = HEAD.to_owned();
        for id in ids {
            let answer = |policy| {
                let now = found.get(&(id.to_owned(), policy));
                now.or_else(|| Some(self.0.get(id)?.of(policy))).map(Answer::written)
            };
            if let (Some(zero), Some(strict)) = (answer(Policy::Zero), answer(Policy::Strict)) {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{id}: {{ zero: {zero}, strict: {strict} }}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Case, Answer, Form, Found, Policy, Verdicts};

    const RECORD: &str = "\
        less: { zero: [simple, copy], strict: refused }\n\
        more: { zero: masked, strict: refused }\n";

    const CASES: &str = "
- { id: twin-only, twin: select 1 }
- { id: less, attack: select 1, zero: recorded, strict: refused }
- { id: more, attack: select 1 }
";

    fn found(answers: &[(&str, Policy, Answer)]) -> Found {
        answers.iter().map(|(id, policy, answer)| (((*id).to_owned(), *policy), answer.clone())).collect()
    }

    fn cases() -> anyhow::Result<Vec<Case>> {
        Ok(serde_norway::from_str(CASES)?)
    }

    #[test]
    fn what_is_answered_otherwise_differs_from_the_record() -> anyhow::Result<()> {
        let (record, cases) = (Verdicts::parse(RECORD)?, cases()?);
        let same = found(&[
            ("less", Policy::Zero, Answer::RefusedIn(vec![Form::Simple, Form::Copy])),
            ("less", Policy::Strict, Answer::Refused),
            ("more", Policy::Zero, Answer::Masked),
        ]);
        assert!(record.compare(&cases, &same).is_empty());
        let other = found(&[
            ("less", Policy::Zero, Answer::RefusedIn(vec![Form::Copy])),
            ("less", Policy::Strict, Answer::Masked),
            ("more", Policy::Zero, Answer::Refused),
        ]);
        let expected = [
            "zero less: [copy], and [simple, copy] is recorded",
            "strict less: masked, and refused is recorded",
            "zero more: refused, and masked is recorded",
        ];
        assert_eq!(record.compare(&cases, &other), expected);
        Ok(())
    }

    #[test]
    fn a_record_has_one_line_for_each_attack_and_keeps_what_cases_promise() -> anyhow::Result<()> {
        let faults = |text: &str| Ok::<_, anyhow::Error>(Verdicts::parse(text)?.faults(&cases()?));
        assert!(faults(RECORD)?.is_empty());
        let other = "less: { zero: masked, strict: [copy] }\nold: { zero: masked, strict: masked }\n";
        let expected = [
            "old: there is no such attack",
            "strict less: [copy] is recorded, and Refused is promised",
            "more: nothing is recorded",
        ];
        assert_eq!(faults(other)?, expected);
        assert!(faults(&format!("{RECORD}{RECORD}")).is_err());
        Ok(())
    }

    #[test]
    fn what_was_not_run_stays_in_the_record() -> anyhow::Result<()> {
        let run = found(&[("more", Policy::Zero, Answer::Refused), ("more", Policy::Strict, Answer::Masked)]);
        let text = Verdicts::parse(RECORD)?.updated(&cases()?, &run);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected =
            ["less: { zero: [simple, copy], strict: refused }", "more: { zero: refused, strict: masked }"];
        assert_eq!(lines, expected);
        Ok(())
    }

    #[test]
    fn forms_are_listed_where_they_are_not_answered_alike() {
        let forms = [Form::Simple, Form::Copy];
        assert_eq!(Answer::new(&forms, vec![]), Answer::Masked);
        assert_eq!(Answer::new(&forms, forms.to_vec()), Answer::Refused);
        assert_eq!(Answer::new(&forms, vec![Form::Copy]), Answer::RefusedIn(vec![Form::Copy]));
    }
}
