//! How every attack and every twin is answered, as recorded: who refuses more than before, or less, changes a file.

use std::{collections::BTreeMap, fmt::Write};

use anyhow::{Result, ensure};
use serde::Deserialize;

use super::{Case, Form, Policy, TwinVerdict, Verdict, verdicts_file};

/// What a difference from the record is told with.
pub const RENEWAL: &str = "`cargo xtask corpus --write-verdicts` renews tests/corpus/verdicts.yaml, and \
    `--major` with it where a case is for newer servers: each line that changes wants a reason";

const HEAD: &str = "# How each attack is answered, on every major version: masked, refused, or in which forms refused. Of its twin:\n\
    # passed, refused, or in which forms refused; what passes otherwise than direct is in known.yaml.\n\
    # Written by `cargo xtask corpus --write-verdicts`; each line that changes wants a reason.\n";

/// The record: `verdicts.yaml`.
pub struct Verdicts(BTreeMap<String, Answers>);

/// What was found, by case, policy and side.
pub type Found = BTreeMap<(String, Policy, Side), Answer>;

/// What of a case is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// What must show no clear value.
    Attack,
    /// What must not change.
    Twin,
}

/// Of one case; nothing of the side it does not have.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Answers {
    zero: Option<Answer>,
    strict: Option<Answer>,
    twin_zero: Option<Answer>,
    twin_strict: Option<Answer>,
}

/// In the order of the record.
const KEYS: [(&str, Policy, Side); 4] = [
    ("zero", Policy::Zero, Side::Attack),
    ("strict", Policy::Strict, Side::Attack),
    ("twin_zero", Policy::Zero, Side::Twin),
    ("twin_strict", Policy::Strict, Side::Twin),
];

impl Answers {
    fn of(&self, policy: Policy, side: Side) -> Option<&Answer> {
        match (policy, side) {
            (Policy::Zero, Side::Attack) => self.zero.as_ref(),
            (Policy::Strict, Side::Attack) => self.strict.as_ref(),
            (Policy::Zero, Side::Twin) => self.twin_zero.as_ref(),
            (Policy::Strict, Side::Twin) => self.twin_strict.as_ref(),
        }
    }
}

/// How an attack or a twin is answered in all its forms.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Of an attack: as direct but for the values.
    Masked,
    /// Of a twin: not refused. Whether it is as direct is asked of each run.
    Passed,
    /// With SQLSTATE 42501.
    Refused,
    /// Refused in these forms, in the order of reports, and not in the others.
    #[serde(untagged)]
    RefusedIn(Vec<Form>),
}

impl Answer {
    /// From the forms, and those of them in which it was refused.
    pub(super) fn new(side: Side, forms: &[Form], refused: Vec<Form>) -> Self {
        match (refused.len(), side) {
            (0, Side::Attack) => Self::Masked,
            (0, Side::Twin) => Self::Passed,
            (count, _) if count == forms.len() => Self::Refused,
            _ => Self::RefusedIn(refused),
        }
    }

    fn written(&self) -> String {
        match self {
            Self::Masked => "masked".to_owned(),
            Self::Passed => "passed".to_owned(),
            Self::Refused => "refused".to_owned(),
            Self::RefusedIn(forms) => {
                let names: Vec<_> = forms.iter().map(|form| form.name()).collect();
                format!("[{}]", names.join(", "))
            }
        }
    }

    /// How it differs from what a case promises of a side.
    fn fault(&self, case: &Case, policy: Policy, side: Side) -> Option<String> {
        let (attack, twin) = (case.promise(policy), case.twin_promise(policy));
        let (keeps, promise) = match side {
            Side::Attack => {
                let keeps = match attack {
                    Verdict::Masked => *self == Self::Masked,
                    Verdict::Recorded => matches!(self, Self::Masked | Self::Refused | Self::RefusedIn(_)),
                    Verdict::Refused => *self == Self::Refused,
                };
                (keeps, format!("{attack:?}"))
            }
            Side::Twin => {
                let keeps = match twin {
                    // What is refused nevertheless is in the list of what is known, with its reason.
                    TwinVerdict::Same => *self != Self::Masked,
                    // Where all forms are answered alike the case can promise it.
                    TwinVerdict::Recorded => matches!(self, Self::RefusedIn(_)),
                    TwinVerdict::Refused => *self == Self::Refused,
                };
                (keeps, format!("{twin:?}"))
            }
        };
        (!keeps).then(|| format!("{} is recorded, and {promise} is promised", self.written()))
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

    /// What is wrong with the record itself: what it has nothing of, what it has of nothing, and promises of cases that
    /// it does not keep.
    pub fn faults(&self, cases: &[Case]) -> Vec<String> {
        let cases: BTreeMap<_, _> = cases.iter().map(|case| (case.id.as_str(), case)).collect();
        let strays = self.0.keys().filter(|id| !cases.contains_key(id.as_str()));
        let mut faults: Vec<_> = strays.map(|id| format!("{id}: there is no such case")).collect();
        for (id, case) in cases {
            let answers = self.0.get(id).cloned().unwrap_or_default();
            for (key, policy, side) in KEYS {
                let fault = match (answers.of(policy, side), has(case, side)) {
                    (Some(answer), true) => answer.fault(case, policy, side),
                    (Some(_), false) => Some("there is nothing to be answered".to_owned()),
                    (None, true) => Some("nothing is recorded".to_owned()),
                    (None, false) => None,
                };
                faults.extend(fault.map(|fault| format!("{key} {id}: {fault}")));
            }
        }
        faults
    }

    /// The same, and how what was found differs from the record.
    pub fn compare(&self, cases: &[Case], found: &Found) -> Vec<String> {
        let mut faults = self.faults(cases);
        for (key, policy, side) in KEYS {
            for ((id, ..), now) in found.iter().filter(|((_, by, of), _)| (*by, *of) == (policy, side)) {
                let recorded = self.0.get(id).and_then(|answers| answers.of(policy, side));
                if let Some(recorded) = recorded.filter(|recorded| *recorded != now) {
                    let (now, recorded) = (now.written(), recorded.written());
                    faults.push(format!("{key} {id}: {now}, and {recorded} is recorded"));
                }
            }
        }
        faults
    }

    /// The record with what was found in place of what was, and without the cases that are no more.
    pub fn updated(&self, cases: &[Case], found: &Found) -> String {
        let mut cases: Vec<_> = cases.iter().collect();
        cases.sort_unstable_by_key(|case| case.id.as_str());
        let mut text = HEAD.to_owned();
        for case in cases {
            let answer = |(key, policy, side): &(&str, _, _)| {
                let now = found.get(&(case.id.clone(), *policy, *side));
                let answer = now.or_else(|| self.0.get(&case.id)?.of(*policy, *side))?;
                has(case, *side).then(|| format!("{key}: {}", answer.written()))
            };
            let answers: Vec<_> = KEYS.iter().filter_map(answer).collect();
            if !answers.is_empty() {
                // Writing to a string cannot fail.
                let _ = writeln!(text, "{}: {{ {} }}", case.id, answers.join(", "));
            }
        }
        text
    }
}

fn has(case: &Case, side: Side) -> bool {
    match side {
        Side::Attack => case.has_attack(),
        Side::Twin => case.has_twin(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Case, Answer, Form, Found, Policy, Side, Verdicts};

    const RECORD: &str = "\
        less: { zero: [simple, copy], strict: refused, twin_zero: passed, twin_strict: refused }\n\
        more: { zero: masked, strict: refused }\n\
        twin-only: { twin_zero: [copy], twin_strict: refused }\n";

    const CASES: &str = "
- { id: twin-only, twin: select 1, twin_zero: recorded }
- { id: less, attack: select 1, zero: recorded, strict: refused, twin_strict: refused }
- { id: more, attack: select 1, twin: '' }
";

    fn found(answers: &[(&str, Policy, Side, Answer)]) -> Found {
        let entry = |(id, policy, side, answer): &(&str, _, _, Answer)| {
            (((*id).to_owned(), *policy, *side), answer.clone())
        };
        answers.iter().map(entry).collect()
    }

    fn cases() -> anyhow::Result<Vec<Case>> {
        Ok(serde_norway::from_str(CASES)?)
    }

    #[test]
    fn what_is_answered_otherwise_differs_from_the_record() -> anyhow::Result<()> {
        let (record, cases) = (Verdicts::parse(RECORD)?, cases()?);
        let same = found(&[
            ("less", Policy::Zero, Side::Attack, Answer::RefusedIn(vec![Form::Simple, Form::Copy])),
            ("less", Policy::Strict, Side::Attack, Answer::Refused),
            ("less", Policy::Zero, Side::Twin, Answer::Passed),
            ("more", Policy::Zero, Side::Attack, Answer::Masked),
            ("twin-only", Policy::Zero, Side::Twin, Answer::RefusedIn(vec![Form::Copy])),
        ]);
        assert!(record.compare(&cases, &same).is_empty());
        let other = found(&[
            ("less", Policy::Zero, Side::Attack, Answer::RefusedIn(vec![Form::Copy])),
            ("less", Policy::Strict, Side::Attack, Answer::Masked),
            ("less", Policy::Zero, Side::Twin, Answer::RefusedIn(vec![Form::Copy])),
            ("more", Policy::Zero, Side::Attack, Answer::Refused),
            ("twin-only", Policy::Strict, Side::Twin, Answer::Passed),
        ]);
        let expected = [
            "zero less: [copy], and [simple, copy] is recorded",
            "zero more: refused, and masked is recorded",
            "strict less: masked, and refused is recorded",
            "twin_zero less: [copy], and passed is recorded",
            "twin_strict twin-only: passed, and refused is recorded",
        ];
        assert_eq!(record.compare(&cases, &other), expected);
        Ok(())
    }

    #[test]
    fn a_record_has_one_line_for_each_case_and_keeps_what_cases_promise() -> anyhow::Result<()> {
        let faults = |text: &str| Ok::<_, anyhow::Error>(Verdicts::parse(text)?.faults(&cases()?));
        assert!(faults(RECORD)?.is_empty());
        let other = "less: { zero: masked, strict: [copy], twin_zero: masked, twin_strict: passed }\n\
            more: { zero: masked, strict: masked, twin_zero: passed }\n\
            old: { zero: masked, strict: masked }\n\
            twin-only: { twin_zero: passed }\n";
        let expected = [
            "old: there is no such case",
            "strict less: [copy] is recorded, and Refused is promised",
            "twin_zero less: masked is recorded, and Same is promised",
            "twin_strict less: passed is recorded, and Refused is promised",
            "twin_zero more: there is nothing to be answered",
            "twin_zero twin-only: passed is recorded, and Recorded is promised",
            "twin_strict twin-only: nothing is recorded",
        ];
        assert_eq!(faults(other)?, expected);
        assert!(faults(&format!("{RECORD}{RECORD}")).is_err());
        Ok(())
    }

    #[test]
    fn what_was_not_run_stays_in_the_record() -> anyhow::Result<()> {
        let run = found(&[
            ("more", Policy::Zero, Side::Attack, Answer::Refused),
            ("more", Policy::Strict, Side::Attack, Answer::Masked),
            ("twin-only", Policy::Zero, Side::Twin, Answer::Passed),
        ]);
        let text = Verdicts::parse(RECORD)?.updated(&cases()?, &run);
        let lines: Vec<_> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let expected = [
            "less: { zero: [simple, copy], strict: refused, twin_zero: passed, twin_strict: refused }",
            "more: { zero: refused, strict: masked }",
            "twin-only: { twin_zero: passed, twin_strict: refused }",
        ];
        assert_eq!(lines, expected);
        Ok(())
    }

    #[test]
    fn forms_are_listed_where_they_are_not_answered_alike() {
        let forms = [Form::Simple, Form::Copy];
        assert_eq!(Answer::new(Side::Attack, &forms, vec![]), Answer::Masked);
        assert_eq!(Answer::new(Side::Twin, &forms, vec![]), Answer::Passed);
        for side in [Side::Attack, Side::Twin] {
            assert_eq!(Answer::new(side, &forms, forms.to_vec()), Answer::Refused);
            assert_eq!(Answer::new(side, &forms, vec![Form::Copy]), Answer::RefusedIn(vec![Form::Copy]));
        }
    }
}
