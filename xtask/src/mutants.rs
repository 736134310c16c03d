//! Mutation testing of what decides: one change to the code at a time, and whether a test sees it.
//!
//! All changes that cargo-mutants knows are woven into one program, which is built once and told by its
//! environment which of them it is.

mod build;
mod explained;
mod judge;
mod list;
mod weave;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    time::Instant,
};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use judge::Outcome;
use list::Mutant;

/// A module of the core.
#[derive(Clone, Copy, ValueEnum)]
enum Module {
    Lineage,
    Masking,
    Policy,
}

impl Module {
    const ALL: [Self; 3] = [Self::Policy, Self::Masking, Self::Lineage];

    fn name(self) -> &'static str {
        match self {
            Self::Lineage => "lineage",
            Self::Masking => "masking",
            Self::Policy => "policy",
        }
    }
}

/// Which mutants are tried.
#[derive(Args)]
pub(crate) struct Options {
    /// Of these modules; all three by default.
    #[arg(long)]
    module: Vec<Module>,
    /// Only those whose line in the lists has this in it.
    #[arg(long)]
    named: Option<String>,
    /// Only those that the last run missed.
    #[arg(long)]
    again: bool,
}

/// What became of a mutant, as a list of it is called.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    Caught,
    TimedOut,
    Missed,
    Unviable,
    /// It has no place in the woven program: a constant, or a function that runs at compile time.
    Untried,
}

impl Fate {
    const ALL: [Self; 5] = [Self::Caught, Self::TimedOut, Self::Missed, Self::Unviable, Self::Untried];

    fn name(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::TimedOut => "timeout",
            Self::Missed => "missed",
            Self::Unviable => "unviable",
            Self::Untried => "untried",
        }
    }
}

/// Tries mutants in a copy of the tree; what became of each stands in `target/mutants`.
pub(crate) fn run_them(options: &Options) -> Result<()> {
    weave::require()?;
    let start = Instant::now();
    let folder = std::env::current_dir()?.join("target/mutants");
    fs::create_dir_all(&folder)?;
    let (mutants, others) =
        list::mutants(&Module::ALL.map(Module::name))?.into_iter().partition(chosen(options, &folder)?);
    let (mutants, others): (Vec<Mutant>, Vec<Mutant>) = (mutants, others);
    if mutants.is_empty() {
        bail!("no mutant is meant");
    }
    let tree = folder.join("tree");
    weave::copy(&tree, &mutants)?;
    let known = listed(Fate::Unviable, &folder).unwrap_or_default();
    let known = (1..).zip(&mutants).filter(|(_, mutant)| known.contains(&mutant.key)).map(|(id, _)| id);
    let built = build::build(&tree, &folder.join("build"), &mutants, known.collect())?;
    println!("built {} mutants after {} s", built.woven.functions.len(), start.elapsed().as_secs());
    let tests = judge::tests(&built.binaries, &folder)?;
    println!("{} tests run alone after {} s", tests.len(), start.elapsed().as_secs());
    let mut done = 0;
    let tell = |id: usize, outcome: Outcome| {
        done += 1;
        if outcome != Outcome::Caught {
            println!("{done:5} {:6} s  {outcome:?}: {}", start.elapsed().as_secs(), mutants[id - 1].key);
        }
    };
    let outcomes = judge::judge(&built.woven.functions, &tests, &folder, tell)?;
    let fate = |index: usize| match outcomes.get(&(index + 1)) {
        Some(Outcome::Caught) => Fate::Caught,
        Some(Outcome::TimedOut) => Fate::TimedOut,
        Some(Outcome::Missed | Outcome::Unreached) => Fate::Missed,
        None if built.unviable.contains(&(index + 1)) => Fate::Unviable,
        None => Fate::Untried,
    };
    let mut fates = earlier(&others, &folder);
    fates.extend(mutants.iter().enumerate().map(|(index, mutant)| (mutant, fate(index))));
    report(&fates, &folder)?;
    println!("{} s", start.elapsed().as_secs());
    verdict(&fates)
}

/// Whether a mutant is meant.
fn chosen(options: &Options, folder: &Path) -> Result<impl Fn(&Mutant) -> bool> {
    let modules = if options.module.is_empty() { &Module::ALL[..] } else { &options.module };
    let folders: Vec<String> = modules.iter().map(|module| format!("{}/", module.name())).collect();
    let missed = options.again.then(|| listed(Fate::Missed, folder)).transpose()?;
    let part = options.named.clone();
    Ok(move |mutant: &Mutant| {
        folders.iter().any(|folder| mutant.key.starts_with(folder))
            && missed.as_ref().is_none_or(|missed| missed.contains(&mutant.key))
            && part.as_ref().is_none_or(|part| mutant.key.contains(part))
    })
}

/// What the last run put on a list.
fn listed(fate: Fate, folder: &Path) -> Result<BTreeSet<String>> {
    let list = fs::read_to_string(folder.join(format!("{}.txt", fate.name())))?;
    Ok(list.lines().map(str::to_owned).collect())
}

/// What became of those that are not tried now, when they last were.
fn earlier<'m>(others: &'m [Mutant], folder: &Path) -> Vec<(&'m Mutant, Fate)> {
    let lists = Fate::ALL.map(|fate| (fate, listed(fate, folder).unwrap_or_default()));
    let known = others.iter().filter_map(|mutant| {
        let (fate, _) = lists.iter().find(|(_, list)| list.contains(&mutant.key))?;
        Some((mutant, *fate))
    });
    known.collect()
}

/// Writes a list per fate, and prints how many there are of each per module.
fn report(fates: &[(&Mutant, Fate)], folder: &Path) -> Result<()> {
    let mut table: BTreeMap<&str, BTreeMap<Fate, u32>> = BTreeMap::new();
    for fate in Fate::ALL {
        let mut list = String::new();
        for (mutant, _) in fates.iter().filter(|(_, of)| *of == fate) {
            writeln!(list, "{}", mutant.key)?;
        }
        fs::write(folder.join(format!("{}.txt", fate.name())), list)?;
    }
    for (mutant, fate) in fates {
        let module = mutant.key.split('/').next().unwrap_or_default();
        *table.entry(module).or_default().entry(*fate).or_default() += 1;
    }
    println!("| module | mutants | {} |", Fate::ALL.map(Fate::name).join(" | "));
    for (module, counts) in table {
        let all: u32 = counts.values().sum();
        let each = Fate::ALL.map(|fate| counts.get(&fate).copied().unwrap_or_default().to_string());
        println!("| {module} | {all} | {} |", each.join(" | "));
    }
    Ok(())
}

/// Fails where a mutant was missed that is not explained.
fn verdict(fates: &[(&Mutant, Fate)]) -> Result<()> {
    let explained = explained::read()?;
    let unseen = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Missed | Fate::Untried));
    let unexplained: Vec<&str> =
        unseen.map(|(mutant, _)| &*mutant.key).filter(|key| !explained.contains_key(*key)).collect();
    let seen =
        fates.iter().filter(|(_, fate)| matches!(fate, Fate::Caught | Fate::TimedOut | Fate::Unviable));
    for (mutant, _) in seen.filter(|(mutant, _)| explained.contains_key(&mutant.key)) {
        println!("explained, but seen: {}", mutant.key);
    }
    if !unexplained.is_empty() {
        bail!("{} mutants are missed and not explained:\n{}", unexplained.len(), unexplained.join("\n"));
    }
    Ok(())
}
