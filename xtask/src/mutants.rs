//! Mutation testing of what decides: one change to the code at a time, and whether a test sees it.
//!
//! All changes that cargo-mutants knows are woven into one program, which is built once and told by its
//! environment which of them it is.

mod build;
mod explained;
mod fates;
mod judge;
mod list;
mod weave;

use std::{fs, num::NonZero, time::Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use fates::{Fate, Fates};
use judge::Outcome;
use list::Mutant;

/// A run that is ended keeps all but the last so many.
const JUDGED_PER_WRITE: u32 = 10;

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
    /// Only those whose line in the lists has this in it, or one of these.
    #[arg(long)]
    named: Vec<String>,
    /// Only those that the last run missed or did not try.
    #[arg(long)]
    again: bool,
    /// Only those that no run has come to, as where the last one was ended.
    #[arg(long)]
    left: bool,
    /// How many are judged at once; by default as many as the machine runs.
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
}

/// Tries mutants in a copy of the tree; what became of each stands in `target/mutants`, as soon as it is known.
pub(crate) fn run_them(options: &Options) -> Result<()> {
    weave::require()?;
    let start = Instant::now();
    let folder = std::env::current_dir()?.join("target/mutants");
    fs::create_dir_all(&folder)?;
    let all = list::mutants(&Module::ALL.map(Module::name))?;
    let mut fates = Fates::read(&folder, &all);
    let mutants: Vec<Mutant> = all.into_iter().filter(|mutant| chosen(options, &fates, mutant)).collect();
    if mutants.is_empty() {
        bail!("no mutant is meant");
    }
    let tree = folder.join("tree");
    weave::copy(&tree, &mutants)?;
    let known = (1..).zip(&mutants).filter(|(_, mutant)| fates.of(&mutant.key) == Some(Fate::Unviable));
    let built = build::build(&tree, &folder.join("build"), &mutants, known.map(|(id, _)| id).collect())?;
    for (id, mutant) in (1..).zip(&mutants).filter(|(id, _)| !built.woven.functions.contains_key(id)) {
        let fate = if built.unviable.contains(&id) { Fate::Unviable } else { Fate::Untried };
        fates.put(&mutant.key, fate);
    }
    fates.write()?;
    println!("built {} mutants after {} s", built.woven.functions.len(), start.elapsed().as_secs());
    let threads = options.jobs.map_or_else(std::thread::available_parallelism, Ok)?.get();
    let tests = judge::tests(&built.binaries, &folder, threads)?;
    println!("{} tests run alone after {} s", tests.len(), start.elapsed().as_secs());
    let mut done = 0;
    judge::judge(&built.woven.functions, &tests, &folder, threads, |id, outcome| {
        done += 1;
        let key = &mutants[id - 1].key;
        if outcome != Outcome::Caught {
            println!("{done:5} {:6} s  {outcome:?}: {key}", start.elapsed().as_secs());
        }
        fates.put(key, outcome.into());
        if done % JUDGED_PER_WRITE == 0 { fates.write() } else { Ok(()) }
    })?;
    for (id, mutant) in (1..).zip(&mutants) {
        if fates.of(&mutant.key) == Some(Fate::Untried) {
            let fate = match build::alone(&tree, &folder.join("build"), &mutants, id)? {
                Some(binaries) => judge::alone(&binaries, &tests, &folder)?.into(),
                None => Fate::Unviable,
            };
            println!("alone {:6} s  {}: {}", start.elapsed().as_secs(), fate.name(), mutant.key);
            fates.put(&mutant.key, fate);
            fates.write()?;
        }
    }
    fates.write()?;
    fates.print();
    println!("{} s", start.elapsed().as_secs());
    verdict(&fates)
}

/// Whether a mutant is meant.
fn chosen(options: &Options, fates: &Fates, mutant: &Mutant) -> bool {
    let modules = if options.module.is_empty() { &Module::ALL[..] } else { &options.module };
    let fate = fates.of(&mutant.key);
    modules.iter().any(|module| mutant.module() == module.name())
        && (!options.again || matches!(fate, Some(Fate::Missed | Fate::Untried)))
        && (!options.left || fate.is_none())
        && (options.named.is_empty() || options.named.iter().any(|part| mutant.key.contains(part)))
}

/// Fails where a mutant was missed that is not explained.
fn verdict(fates: &Fates) -> Result<()> {
    let explained = explained::read()?;
    let unseen = fates.keys(&[Fate::Missed, Fate::Untried]);
    let unexplained: Vec<&str> = unseen.filter(|key| !explained.contains_key(*key)).collect();
    for key in fates.keys(&[Fate::Caught, Fate::TimedOut, Fate::Unviable]) {
        if explained.contains_key(key) {
            println!("explained, but seen: {key}");
        }
    }
    if !unexplained.is_empty() {
        bail!("{} mutants are missed and not explained:\n{}", unexplained.len(), unexplained.join("\n"));
    }
    Ok(())
}
