//! System calls aya has no safe wrapper for: a pinned link's cgroup and program, changing the program in place,
//! and mounting bpffs.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
        unix::ffi::OsStrExt,
    },
    path::Path,
};

const BPF_OBJ_GET: libc::c_int = 7;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

#[repr(C)]
struct ObjGet {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct ProgGet {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

#[repr(C)]
struct InfoGet {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
struct LinkDetach {
    link_fd: u32,
}

#[repr(C)]
struct LinkUpdate {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

/// What joins a program and a cgroup, as the kernel tells it: the head of `struct bpf_link_info`.
#[repr(C)]
#[derive(Default)]
pub(super) struct Info {
    kind: u32,
    /// The link.
    pub(super) id: u32,
    /// The program.
    pub(super) program: u32,
    padding: u32,
    /// The cgroup, by the inode of its folder; 0 once it is gone, and the hook with it.
    pub(super) cgroup: u64,
    attach_type: u32,
    padding_end: u32,
}

/// A pinned link.
pub(super) struct Link(OwnedFd);

impl Link {
    /// Opens a pin; none where there is none.
    pub(super) fn open(pin: &Path) -> io::Result<Option<Self>> {
        let path = CString::new(pin.as_os_str().as_bytes())?;
        let get = ObjGet { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
        match bpf(BPF_OBJ_GET, &get) {
            Ok(link) => Ok(Some(Self(owned(link)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What it joins.
    pub(super) fn info(&self) -> io::Result<Info> {
        let mut info = Info::default();
        let get = InfoGet {
            bpf_fd: self.0.as_raw_fd().cast_unsigned(),
            info_len: size_of::<Info>() as u32,
            info: std::ptr::from_mut(&mut info) as u64,
        };
        bpf(BPF_OBJ_GET_INFO_BY_FD, &get)?;
        Ok(info)
    }

    /// Puts another program in place of its own; no connection meets neither or both.
    pub(super) fn replace(&self, program: BorrowedFd<'_>) -> io::Result<()> {
        let update = LinkUpdate {
            link_fd: self.0.as_raw_fd().cast_unsigned(),
            new_prog_fd: program.as_raw_fd().cast_unsigned(),
            flags: 0,
            old_prog_fd: 0,
        };
        bpf(BPF_LINK_UPDATE, &update).map(drop)
    }

    /// Takes the program off the cgroup before it returns; dropping the last reference does so some time later.
    pub(super) fn detach(&self) -> io::Result<()> {
        bpf(BPF_LINK_DETACH, &LinkDetach { link_fd: self.0.as_raw_fd().cast_unsigned() }).map(drop)
    }
}

/// A loaded program by its number.
pub(super) fn program(id: u32) -> io::Result<OwnedFd> {
    bpf(BPF_PROG_GET_FD_BY_ID, &ProgGet { prog_id: id, next_id: 0, open_flags: 0 }).map(owned)
}

fn owned(fd: i32) -> OwnedFd {
    // SAFETY: every caller has just been given this descriptor by the kernel.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<i32> {
    // SAFETY: the pointer and size describe one live struct in the layout of this command of union bpf_attr.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(i32::try_from(result).unwrap_or(i32::MAX)) }
}

/// Mounts the bpf file system, as systemd does on hosts that have it.
pub(super) fn mount_bpffs(path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: all pointers are NUL-terminated strings that outlive the call.
    let result = unsafe {
        libc::mount(c"bpf".as_ptr(), path.as_ptr(), c"bpf".as_ptr(), 0, c"mode=700".as_ptr().cast())
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
