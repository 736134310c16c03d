//! Hostile peers: six fuzz targets, each for a bounded time.

use std::{path::Path, process::Command, thread};

use anyhow::{Result, anyhow};

use crate::run;

const FOLDER: &str = "mask-agent/core/fuzz";
static TARGETS: [&str; 6] =
    ["client_raw", "client_structured", "copy_raw", "copy_structured", "server_raw", "server_structured"];

/// What makes the compiler count edges for libFuzzer, and check memory.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Zsanitizer=address";

/// The machines of `ci` have two processors.
const AT_ONCE: usize = 2;

/// Longer inputs find nothing that these do not, and take longer.
const INPUT_BYTES_MAX: u32 = 4096;

/// Builds the targets and runs each from its committed seeds; what is found stays in `target/fuzz`.
pub(crate) fn fuzz(seconds: u32) -> Result<()> {
    let target = std::env::current_dir()?.join("target/fuzz");
    // A named target triple keeps build scripts free of the sanitizer.
    let triple = "x86_64-unknown-linux-gnu";
    let mut build = Command::new("cargo");
    build.args(["+nightly", "build", "--release", "--target", triple, "--manifest-path"]);
    build.arg(Path::new(FOLDER).join("Cargo.toml")).env("CARGO_TARGET_DIR", &target);
    run(build.env("RUSTFLAGS", FLAGS))?;
    let (programs, target) = (&target.join(triple).join("release"), &target);
    for pair in TARGETS.chunks(AT_ONCE) {
        thread::scope(|scope| {
            let start = |name: &'static &str| scope.spawn(move || try_one(name, programs, target, seconds));
            let runs: Vec<_> = pair.iter().map(start).collect();
            runs.into_iter()
                .try_for_each(|run| run.join().map_err(|_| anyhow!("a fuzzer's thread panicked"))?)
        })?;
    }
    Ok(())
}

/// Runs a target from its seeds and from what earlier runs found.
fn try_one(name: &str, programs: &Path, target: &Path, seconds: u32) -> Result<()> {
    let found = target.join("corpus").join(name);
    std::fs::create_dir_all(&found)?;
    let mut fuzz = Command::new(programs.join(name));
    fuzz.arg(&found).arg(Path::new(FOLDER).join("seeds").join(name));
    fuzz.arg(format!("-max_total_time={seconds}")).arg(format!("-max_len={INPUT_BYTES_MAX}"));
    // Short runs have no time to let the length of inputs grow by itself.
    fuzz.args([
        "-len_control=0",
        "-verbosity=0",
        "-timeout=10",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
    ]);
    fuzz.arg(format!("-artifact_prefix={}/{name}-", target.display()));
    run(&mut fuzz)
}
