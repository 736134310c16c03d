//! What became of each mutant: a list per fate, in a folder.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Result;

use super::{judge::Outcome, list::Mutant};

/// What became of a mutant, as a list of it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    Caught,
    TimedOut,
    Missed,
    Unviable,
    /// It has no place in the woven program, as a constant has none, and was not built by itself yet.
    Untried,
}

impl Fate {
    const ALL: [Self; 5] = [Self::Caught, Self::TimedOut, Self::Missed, Self::Unviable, Self::Untried];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::TimedOut => "timeout",
            Self::Missed => "missed",
            Self::Unviable => "unviable",
            Self::Untried => "untried",
        }
    }
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Caught => Self::Caught,
            Outcome::TimedOut => Self::TimedOut,
            Outcome::Missed | Outcome::Unreached => Self::Missed,
        }
    }
}

/// The mutants there are, and what became of each when it was last tried.
pub(super) struct Fates {
    folder: PathBuf,
    of: BTreeMap<String, Option<Fate>>,
}

impl Fates {
    /// As the last runs left them; what is on a list and no more in the code is forgotten.
    pub(super) fn read(folder: &Path, mutants: &[Mutant]) -> Self {
        let mut of: BTreeMap<_, _> = mutants.iter().map(|mutant| (mutant.key.clone(), None)).collect();
        for fate in Fate::ALL {
            let list = fs::read_to_string(folder.join(format!("{}.txt", fate.name()))).unwrap_or_default();
            for key in list.lines() {
                of.entry(key.to_owned()).and_modify(|known| *known = Some(fate));
            }
        }
        Self { folder: folder.to_owned(), of }
    }

    /// None where none has tried it.
    pub(super) fn of(&self, key: &str) -> Option<Fate> {
        self.of.get(key).copied().flatten()
    }

    pub(super) fn put(&mut self, key: &str, fate: Fate) {
        self.of.insert(key.to_owned(), Some(fate));
    }

    pub(super) fn keys(&self, fates: &[Fate]) -> impl Iterator<Item = &str> {
        let meant = |fate: &Option<Fate>| fate.is_some_and(|fate| fates.contains(&fate));
        self.of.iter().filter(move |(_, fate)| meant(fate)).map(|(key, _)| &**key)
    }

    /// Writes the lists.
    pub(super) fn write(&self) -> Result<()> {
        for fate in Fate::ALL {
            let mut list = String::new();
            for key in self.keys(&[fate]) {
                writeln!(list, "{key}")?;
            }
            fs::write(self.folder.join(format!("{}.txt", fate.name())), list)?;
        }
        Ok(())
    }

    /// Prints how many there are of each per module, and how many are left.
    pub(super) fn print(&self) {
        let mut table: BTreeMap<&str, BTreeMap<Option<Fate>, u32>> = BTreeMap::new();
        for (key, fate) in &self.of {
            let module = key.split('/').next().unwrap_or_default();
            *table.entry(module).or_default().entry(*fate).or_default() += 1;
        }
        println!("| module | mutants | {} | left |", Fate::ALL.map(Fate::name).join(" | "));
        for (module, counts) in table {
            let all: u32 = counts.values().sum();
            let columns = Fate::ALL.map(Some).into_iter().chain([None]);
            let each = columns.map(|fate| counts.get(&fate).copied().unwrap_or_default().to_string());
            println!("| {module} | {all} | {} |", each.collect::<Vec<_>>().join(" | "));
        }
    }
}
