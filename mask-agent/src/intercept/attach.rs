//! Attaching in one step: every hook is this build's, or every hook is as it was.
//!
//! ```text
//! pin of an earlier daemon, same cgroup    another program under the same link
//! no pin                                   a link, pinned
//! pin, but another cgroup or none any more a link beside it, which takes over its pin at the end
//! ```

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Path, PathBuf},
};

use aya::{
    Ebpf,
    programs::{CgroupAttachMode, Program, ProgramError, links::FdLink},
};

use super::{
    AT_ROOT, InterceptError, PROGRAMS,
    link::{self, Link},
    pin_error,
};

/// Links always allow several programs; `AllowMultiple` would be EINVAL.
const MODE: CgroupAttachMode = CgroupAttachMode::Single;

/// Before the name of a link's pin until it takes over another's; bpffs allows no dots.
const BESIDE: &str = "new_";

/// Where the hooks belong.
pub(super) struct Cgroup {
    path: PathBuf,
    folder: File,
    id: u64,
}

impl Cgroup {
    pub(super) fn open(path: &Path) -> Result<Self, InterceptError> {
        let folder = File::open(path).map_err(|source| pin_error(path, source))?;
        // A cgroup's number is the inode of its folder.
        let id = folder.metadata().map_err(|source| pin_error(path, source))?.ino();
        Ok(Self { path: path.to_owned(), folder, id })
    }

    fn failed(&self, program: &'static str, error: impl Into<super::Source>) -> InterceptError {
        InterceptError::Attach { program, cgroup: self.path.clone(), source: error.into() }
    }
}

enum Step {
    /// A link where none was.
    Added { pin: PathBuf },
    /// A link beside an old one.
    Beside { new: PathBuf, pin: PathBuf },
    /// Another program under a link.
    Replaced { link: Link, before: OwnedFd },
}

/// What has been done so far; undone when dropped before [`Change::commit`].
#[derive(Default)]
pub(super) struct Change(Vec<Step>);

impl Change {
    /// Attaches every program to the cgroup, and the one that names callers to the root of all: it has to see
    /// both ends of a connection, and the daemon's may lie elsewhere.
    ///
    /// # Errors
    /// When one cannot be; by then everything is undone.
    pub(super) fn attach(
        programs: &mut Ebpf,
        links: &Path,
        root: &Cgroup,
        cgroup: &Cgroup,
    ) -> Result<Self, InterceptError> {
        let mut change = Self::default();
        for name in PROGRAMS {
            let program = programs.program_mut(name);
            let program = program.ok_or_else(|| cgroup.failed(name, "not in the object"))?;
            load(program).map_err(|error| InterceptError::Load(error.into()))?;
        }
        for name in PROGRAMS {
            let Some(program) = programs.program_mut(name) else { continue };
            let cgroup = if name == AT_ROOT { root } else { cgroup };
            let step = attach_one(program, name, &links.join(name), cgroup)?;
            change.0.push(step);
        }
        Ok(change)
    }

    /// Keeps it.
    pub(super) fn commit(mut self) -> Result<(), InterceptError> {
        for step in std::mem::take(&mut self.0) {
            if let Step::Beside { new, pin } = step {
                fs::rename(&new, &pin).map_err(|source| pin_error(&pin, source))?;
            }
        }
        Ok(())
    }
}

impl Drop for Change {
    fn drop(&mut self) {
        for step in self.0.drain(..).rev() {
            let (undone, what) = match &step {
                Step::Added { pin } | Step::Beside { new: pin, .. } => (fs::remove_file(pin), "a new link"),
                Step::Replaced { link, before } => (link.replace(before.as_fd()), "a replaced program"),
            };
            if let Err(error) = undone {
                tracing::error!(%error, what, "attaching failed, and part of it could not be undone");
            }
        }
    }
}

fn attach_one(
    program: &mut Program,
    name: &'static str,
    pin: &Path,
    cgroup: &Cgroup,
) -> Result<Step, InterceptError> {
    let failed = |error: io::Error| cgroup.failed(name, error);
    let at_pin = |source| pin_error(pin, source);
    let Some(link) = Link::open(pin).map_err(at_pin)? else {
        pin_link(create(program, cgroup).map_err(|error| cgroup.failed(name, error))?, pin)?;
        return Ok(Step::Added { pin: pin.to_owned() });
    };
    let info = link.info().map_err(at_pin)?;
    if info.cgroup == cgroup.id {
        let before = link::program(info.program).map_err(failed)?;
        let now = program.fd().map_err(|error| cgroup.failed(name, error))?;
        link.replace(now.as_fd()).map_err(failed)?;
        return Ok(Step::Replaced { link, before });
    }
    let new = pin.with_file_name(format!("{BESIDE}{name}"));
    // A daemon that was killed here before may have left one.
    if let Err(error) = fs::remove_file(&new)
        && error.kind() != io::ErrorKind::NotFound
    {
        return Err(pin_error(&new, error));
    }
    pin_link(create(program, cgroup).map_err(|error| cgroup.failed(name, error))?, &new)?;
    Ok(Step::Beside { new, pin: pin.to_owned() })
}

fn load(program: &mut Program) -> Result<(), ProgramError> {
    match program {
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SockOps(program) => program.load(),
        _ => Err(ProgramError::UnexpectedProgramType),
    }
}

fn create(program: &mut Program, cgroup: &Cgroup) -> Result<FdLink, ProgramError> {
    let link = match program {
        Program::CgroupSock(program) => {
            let id = program.attach(&cgroup.folder, MODE)?;
            program.take_link(id)?.try_into()
        }
        Program::CgroupSockAddr(program) => {
            let id = program.attach(&cgroup.folder, MODE)?;
            program.take_link(id)?.try_into()
        }
        Program::SockOps(program) => {
            let id = program.attach(&cgroup.folder, MODE)?;
            program.take_link(id)?.try_into()
        }
        _ => return Err(ProgramError::UnexpectedProgramType),
    };
    link.map_err(|_| ProgramError::NotAttached)
}

fn pin_link(link: FdLink, pin: &Path) -> Result<(), InterceptError> {
    link.pin(pin).map(drop).map_err(|error| pin_error(pin, io::Error::other(error)))
}
