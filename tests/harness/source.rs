//! PostgreSQL's own tests, from the distribution's source package.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::output;

/// Where fetched material is kept; never committed.
pub const CORPORA: &str = "target/corpora";

const SOURCE: &str = "postgresql-15";

/// What of the source is unpacked, and a file by which it is known to be there.
const PARTS: [(&str, &str); 2] =
    [("src/test/regress", "parallel_schedule"), ("src/test/isolation", "isolation_schedule")];

/// The folder of the source, with both suites in it; fetched where it is not there.
pub fn postgresql_source() -> Result<PathBuf> {
    let folder = std::env::current_dir()?.join(CORPORA).join(SOURCE);
    if PARTS.iter().all(|(part, file)| folder.join(part).join(file).exists()) {
        return Ok(folder);
    }
    let archive = match archive(&folder) {
        Some(archive) => archive,
        None => download(&folder)?,
    };
    let mut unpack = Command::new("tar");
    unpack.args(["--strip-components=1", "--wildcards", "-C"]).arg(&folder).arg("-xf").arg(&archive);
    run(unpack.args(PARTS.map(|(part, _)| format!("*/{part}"))))?;
    Ok(folder)
}

fn archive(folder: &Path) -> Option<PathBuf> {
    fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path())).find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.contains(".orig.tar."))
    })
}

fn download(folder: &Path) -> Result<PathBuf> {
    println!("fetching the source package {SOURCE}: its tests are what is compared on");
    fs::create_dir_all(folder.join("lists/partial"))?;
    let known = "$(REPO_URI) $(RELEASE) $(COMPONENT)";
    let (ok, targets) =
        output(Command::new("apt-get").args(["indextargets", "--format", known, "Created-By: Packages"]))?;
    let main = targets.lines().find(|line| line.ends_with(" main") && !line.contains('-'));
    let Some(main) = main.filter(|_| ok) else {
        bail!("apt knows no repository with the component main: {targets}")
    };
    let list = folder.join("sources.list");
    let keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
    fs::write(&list, format!("deb-src [signed-by={keyring}] {main}\n"))?;
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.arg("-o").arg(format!("Dir::Etc::sourcelist={}", list.display()));
        command
            .args(["-o", "Dir::Etc::sourceparts=-", "-o"])
            .arg(format!("Dir::State::lists={}/lists", folder.display()));
        run(command.args(arguments).current_dir(folder))
    };
    apt(&["update", "-qq"])?;
    apt(&["source", "-qq", "--download-only", SOURCE])?;
    fs::remove_dir_all(folder.join("lists"))?;
    fs::remove_file(&list)?;
    archive(folder).context("the source package has no archive of the original")
}

fn run(command: &mut Command) -> Result<()> {
    let (ok, text) = output(command)?;
    if !ok {
        bail!("{command:?}: {text}");
    }
    Ok(())
}
