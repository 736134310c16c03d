//! Whether the tests see a mutant.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Read as _,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use super::weave::Id;

/// Of memory, for a mutant that never stops to take more.
const KIBIBYTES_MAX: u32 = 4 << 20;
/// A slower mutant hangs: so many times the processor time the tests took, and some on top. Waiting takes longer on a
/// busy machine.
const TIMES_MAX: u32 = 3;
const SECONDS_ON_TOP: u64 = 2;
const WAITED_ON_TOP: Duration = Duration::from_mins(1);
/// `SIGXCPU`.
const OUT_OF_TIME: i32 = 24;
/// How often a process is asked whether it is done.
const PAUSE: Duration = Duration::from_millis(2);
/// What the first tests of a mutant take together; those after them take twice as long each time.
const FIRST_TESTS: Duration = Duration::from_millis(40);

/// A test, what it takes and where it comes along.
pub(super) struct Test {
    binary: PathBuf,
    name: String,
    time: Duration,
    reached: BTreeSet<usize>,
}

/// What became of a mutant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    Caught,
    Missed,
    TimedOut,
    /// No test comes to its function.
    Unreached,
}

/// Each test by itself, with no mutant.
pub(super) fn tests(binaries: &[PathBuf], folder: &Path, threads: usize) -> Result<Vec<Test>> {
    let mut tests = Vec::new();
    for binary in binaries {
        let listed = process(binary, folder, None)
            .args(["--list", "--format", "terse"])
            .stdout(Stdio::piped())
            .output()?;
        ensure!(listed.status.success(), "{}: cannot list its tests", binary.display());
        for line in String::from_utf8(listed.stdout)?.lines() {
            let Some(name) = line.strip_suffix(": test") else { continue };
            tests.push((binary.clone(), name.to_owned()));
        }
    }
    ensure!(!tests.is_empty(), "no tests");
    let mut measured = in_parallel(threads, &tests, |number, (binary, name)| {
        let list = folder.join(format!("reached.{number}"));
        let _ = fs::remove_file(&list);
        let start = Instant::now();
        let status = process(binary, folder, None)
            .args(["--exact", name, "--test-threads", "1"])
            .env("MUTANT_REACHED", &list)
            .status()?;
        let time = start.elapsed();
        ensure!(status.success(), "{name} fails without a mutant: {status}");
        let reached = fs::read_to_string(&list).unwrap_or_default();
        let _ = fs::remove_file(&list);
        let reached = reached.lines().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Test { binary: binary.clone(), name: name.clone(), time, reached })
    })?;
    measured.sort_by_key(|test| test.time);
    Ok(measured)
}

/// A test, where nothing is read or told and nothing takes the machine, for so much processor time.
fn process(binary: &Path, folder: &Path, seconds: Option<u64>) -> Command {
    let mut command = Command::new("sh");
    let seconds = seconds.map(|seconds| format!("ulimit -S -t {seconds}; ")).unwrap_or_default();
    let limit = format!("{seconds}ulimit -v {KIBIBYTES_MAX}; ulimit -c 0; exec \"$0\" \"$@\"");
    command.arg("-c").arg(limit).arg(binary);
    // As cargo does it: tests read files of their package.
    command.current_dir(folder.join("tree/mask-agent/core"));
    command.env("CARGO_MANIFEST_DIR", folder.join("tree/mask-agent/core"));
    command.env("PROPTEST_CASES", "24").env("PROPTEST_RNG_SEED", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Judges each mutant by the tests that come to its function: those that saw another mutant of it, then quick ones first.
pub(super) fn judge(
    functions: &BTreeMap<Id, usize>,
    tests: &[Test],
    folder: &Path,
    threads: usize,
    mut tell: impl FnMut(Id, Outcome) -> Result<()> + Send,
) -> Result<()> {
    let tell = Mutex::new(&mut tell);
    let sharp: Mutex<BTreeMap<usize, Vec<&Test>>> = Mutex::default();
    let mutants: Vec<(Id, usize)> = functions.iter().map(|(id, function)| (*id, *function)).collect();
    in_parallel(threads, &mutants, |_, (id, function)| {
        let first =
            sharp.lock().expect("no thread panics with it").get(function).cloned().unwrap_or_default();
        let (outcome, by) = judge_one(*id, *function, tests, &first, folder)?;
        if let Some(by) = by.filter(|by| first.iter().all(|known| known.name != by.name)) {
            sharp.lock().expect("no thread panics with it").entry(*function).or_default().push(by);
        }
        tell.lock().expect("no thread panics with it")(*id, outcome)
    })?;
    Ok(())
}

/// Judges a mutant that was built by itself, by all tests.
pub(super) fn alone(binaries: &[PathBuf], tests: &[Test], folder: &Path) -> Result<Outcome> {
    for binary in binaries {
        let time_max = tests.iter().map(|test| test.time).sum::<Duration>() * TIMES_MAX;
        let mut child = process(binary, folder, Some(time_max.as_secs() + SECONDS_ON_TOP)).spawn()?;
        match ended(&mut child, time_max + WAITED_ON_TOP)? {
            Some(true) => {}
            Some(false) => return Ok(Outcome::Caught),
            None => return Ok(Outcome::TimedOut),
        }
    }
    Ok(Outcome::Missed)
}

/// What becomes of a mutant, and the test that saw it; the `first` of the tests come before all others.
fn judge_one<'t>(
    id: Id,
    function: usize,
    tests: &'t [Test],
    first: &[&'t Test],
    folder: &Path,
) -> Result<(Outcome, Option<&'t Test>)> {
    let is_first = |test: &Test| first.iter().any(|known| known.name == test.name);
    let reaching = tests.iter().filter(|test| test.reached.contains(&function));
    let mut left: Vec<&Test> = reaching.filter(|test| !is_first(test)).collect();
    if left.is_empty() && first.is_empty() {
        return Ok((Outcome::Unreached, None));
    }
    let mut next = first.to_vec();
    let mut budget = FIRST_TESTS;
    while !(next.is_empty() && left.is_empty()) {
        let mut of_binary: BTreeMap<&Path, Vec<&Test>> = BTreeMap::new();
        for test in next {
            of_binary.entry(&test.binary).or_default().push(test);
        }
        for (binary, chunk) in of_binary {
            let time: Duration = chunk.iter().map(|test| test.time).sum();
            let time_max = time * TIMES_MAX;
            let mut run = process(binary, folder, Some(time_max.as_secs() + SECONDS_ON_TOP));
            run.args(["--exact", "--test-threads", "1"]).args(chunk.iter().map(|test| &test.name));
            let mut child = run.env("MUTANT", id.to_string()).stdout(Stdio::piped()).spawn()?;
            let succeeded = ended(&mut child, time_max + WAITED_ON_TOP)?;
            if succeeded == Some(true) {
                continue;
            }
            let outcome = if succeeded.is_some() { Outcome::Caught } else { Outcome::TimedOut };
            let mut told = String::new();
            child.stdout.take().context("what tests tell")?.read_to_string(&mut told)?;
            // Its name stands there before it runs.
            let last = told.lines().last().and_then(|line| line.strip_prefix("test ")?.split(' ').next());
            return Ok((outcome, chunk.into_iter().find(|test| last == Some(&*test.name))));
        }
        let mut time = Duration::ZERO;
        let enough = |test: &&Test| {
            time += test.time;
            time <= budget
        };
        let count = left.iter().copied().take_while(enough).count().max(1).min(left.len());
        let rest = left.split_off(count);
        next = std::mem::replace(&mut left, rest);
        budget *= 2;
    }
    Ok((Outcome::Missed, None))
}

/// Whether a process succeeds; none where it took too long, and is ended.
fn ended(child: &mut Child, time_max: Duration) -> Result<Option<bool>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok((status.signal() != Some(OUT_OF_TIME)).then(|| status.success()));
        }
        if start.elapsed() > time_max {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(PAUSE);
    }
}

/// All of them on so many threads, in the order given.
fn in_parallel<T: Sync, R: Send>(
    threads: usize,
    items: &[T],
    work: impl Fn(usize, &T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let worker = || -> Result<Vec<(usize, R)>> {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Relaxed);
            let Some(item) = items.get(index) else { return Ok(done) };
            done.push((index, work(index, item)?));
        }
    };
    let mut done = std::thread::scope(|scope| -> Result<Vec<(usize, R)>> {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let mut all = Vec::new();
        for worker in workers {
            all.extend(worker.join().ok().context("a worker panicked")??);
        }
        Ok(all)
    })?;
    done.sort_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}
