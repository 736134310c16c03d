//! `mask-agent ca` and `mask-agent pins`.

use std::{
    fs,
    io::{self, Write},
    net::SocketAddr,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};

use super::{authority, authority::Authority, install::Plan, pins};

fn existing(state_dir: &Path) -> Result<Authority> {
    Authority::read(state_dir)?.with_context(|| {
        format!("there is no authority in {}; run `mask-agent ca init`", state_dir.display())
    })
}

/// Makes the authority.
pub(crate) fn init(state_dir: &Path) -> Result<()> {
    let authority = Authority::make(state_dir)?;
    let path = authority::path(state_dir);
    writeln!(io::stdout(), "made {}\nsha256 {}", path.display(), authority.fingerprint())?;
    Ok(())
}

/// Prints what it is.
pub(crate) fn show(state_dir: &Path) -> Result<()> {
    let authority = existing(state_dir)?;
    let (subject, until) = authority.describe()?;
    let path = authority::path(state_dir);
    let fingerprint = authority.fingerprint();
    writeln!(
        io::stdout(),
        "file    {}\nsubject {subject}\nuntil   {until}\nsha256  {fingerprint}",
        path.display()
    )?;
    Ok(())
}

/// Prints its certificate, or writes it to a file that everybody may read.
pub(crate) fn export(state_dir: &Path, file: Option<&Path>) -> Result<()> {
    let authority = existing(state_dir)?;
    match file {
        Some(file) => publish(authority.pem(), file),
        None => Ok(io::stdout().write_all(authority.pem().as_bytes())?),
    }
}

fn publish(pem: &str, file: &Path) -> Result<()> {
    super::write_whole(file, pem.as_bytes(), |draft, file| {
        fs::set_permissions(draft, fs::Permissions::from_mode(0o644))?;
        fs::rename(draft, file)
    })
}

/// Makes every program of this host trust it that asks the distribution whom to trust.
pub(crate) fn install(state_dir: &Path, dry_run: bool) -> Result<()> {
    let authority = existing(state_dir)?;
    let Plan { file, command } = Plan::below(Path::new("/"))?;
    let mut out = io::stdout();
    if dry_run {
        writeln!(out, "would write {} and run {command}", file.display())?;
        return Ok(());
    }
    publish(authority.pem(), &file)?;
    let status = Command::new(command).status().with_context(|| format!("cannot run {command}"))?;
    ensure!(status.success(), "{command} failed; {} is in place", file.display());
    writeln!(out, "wrote {} and ran {command}", file.display())?;
    Ok(())
}

/// Prints the pins.
pub(crate) fn list_pins(state_dir: &Path) -> Result<()> {
    let mut out = io::stdout().lock();
    for (server, pin) in pins::list(state_dir)? {
        let names = if pin.names.is_empty() { String::new() } else { format!("  {}", pin.names.join(", ")) };
        writeln!(out, "{server}  sha256 {}{names}", pin.spki_sha256)?;
    }
    Ok(())
}

/// Forgets a pin, or all.
pub(crate) fn forget_pins(state_dir: &Path, server: Option<SocketAddr>) -> Result<()> {
    let forgotten = pins::forget(state_dir, server)?;
    if let Some(server) = server {
        ensure!(!forgotten.is_empty(), "nothing is remembered of {server}; see `mask-agent pins list`");
    }
    let mut out = io::stdout().lock();
    for server in forgotten {
        writeln!(out, "forgot {server}; the next certificate it shows is believed")?;
    }
    Ok(())
}
