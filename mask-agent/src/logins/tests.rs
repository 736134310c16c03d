use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
};

use super::*;
use crate::intercept::Cause;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mask-logins-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

fn read(text: &str) -> Result<Logins> {
    Logins::read(&serde_norway::from_str::<Vec<Login>>(text)?, [7; 32])
}

fn wrong(text: &str) -> String {
    format!("{:#}", read(text).err().unwrap())
}

/// A login with the rest of what it needs.
fn with(rest: &str) -> String {
    format!("[{{ prefix: 10.0.0.1, clients: {{ uids: [7] }}, {rest} }}]")
}

#[test]
fn what_cannot_be_is_refused_with_what_can() {
    for (text, words) in [
        ("[{ clients: { uids: [1] }, method: inject, password: { env: X } }]", "prefix"),
        ("[{ prefix: 10.0.0.1, method: inject, password: { env: X } }]", "clients"),
        ("[{ prefix: 10.0.0.1, clients: {}, method: inject, password: { env: X } }]", "names nobody"),
        ("[{ prefix: '::1', clients: { cgroups: [a] }, method: inject, password: { env: X } }]", "no cgroup"),
    ] {
        assert!(wrong(text).contains(words), "{text}: {}", wrong(text));
    }
    for (rest, words) in [
        ("method: relay, password: { env: X }", "`inject` or `scram`"),
        ("method: inject, password: secret", "expected"),
        ("method: inject, password: {}", "one source"),
        ("method: inject, password: { env: A, file: /b }", "one source"),
        ("method: inject, password: { file: b }", "no whole path"),
        ("method: inject, password: { credential: a/b }", "no name"),
        ("method: inject, password: { file: /nowhere/x }", "cannot read /nowhere/x"),
        ("method: inject, password: { credential: x }", "LoadCredential=x:/PATH"),
        ("method: inject, password: { env: MASK_NO_SUCH }", "environment variable MASK_NO_SUCH is not set"),
        ("method: inject, users: [], password: { env: PATH }", "`users` is empty"),
        ("method: inject, password: { env: PATH }, placeholder: { env: HOME }", "`method: scram`"),
        ("method: scram, password: { env: PATH }", "needs a `placeholder`"),
        ("method: scram, password: { env: PATH }, placeholder: { env: PATH }", "is the password itself"),
    ] {
        let told = wrong(&with(rest));
        assert!(told.contains(words), "{rest}: {told}");
    }
    assert!(
        wrong(&with("method: inject, password: { file: /nowhere/x }")).starts_with("`logins`, entry 1: ")
    );
}

#[test]
fn a_file_that_others_can_read_or_have_written_is_not_used() {
    let folder = folder("file");
    let file = folder.join("password");
    fs::write(&file, "s3cret\r\n").unwrap();
    let password =
        |path: &std::path::Path| with(&format!("method: inject, password: {{ file: {} }}", path.display()));
    for mode in [0o644, 0o640, 0o620, 0o602] {
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
        let told = wrong(&password(&file));
        assert!(told.contains(&format!("mode {mode:04o}")) && told.contains("chmod 600"), "{told}");
        assert!(!told.contains("s3cret"), "{told}");
    }
    fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(read(&password(&file)).unwrap().some[0].password.expose(), b"s3cret");
    let link = folder.join("link");
    symlink(&file, &link).unwrap();
    assert_eq!(read(&password(&link)).unwrap().some[0].password.expose(), b"s3cret");
    for (content, words) in [("\n", "is empty"), ("a\0b", "NUL"), (&*"x".repeat(65_536), "longer than")] {
        fs::write(&file, content).unwrap();
        assert!(wrong(&password(&file)).contains(words), "{words}");
    }
    assert!(wrong(&password(&folder)).contains("is no file"));
    if rustix::process::geteuid().is_root() {
        fs::write(&file, "s3cret").unwrap();
        std::os::unix::fs::chown(&file, Some(1), None).unwrap();
        let told = wrong(&password(&file));
        assert!(told.contains("belongs to user 1") && told.contains("chown root"), "{told}");
    }
    fs::remove_dir_all(folder).unwrap();
}

fn caller(to: &str, uid: u32) -> Caller {
    let (original, comm) = (to.parse().unwrap(), String::new());
    Caller { original, pid: 1, uid, gid: 0, cgroup_id: 0, netns: 0, comm, cause: Cause::Target }
}

#[test]
fn the_first_that_covers_a_login_holds_and_others_have_their_own_password() {
    let text = "
        - { prefix: 10.0.0.1, port: 5432, databases: [shop], clients: { uids: [7] }, users: [agent], user: reader,
            method: inject, password: { env: PATH } }
        - { prefix: 10.0.0.0/8, clients: { uids: [7, 8] }, method: inject, password: { env: PATH } }";
    let logins = Arc::new(read(text).unwrap());
    for (to, uid, user, database, expected) in [
        ("10.0.0.1:5432", 7, "agent", "shop", "reader"),
        ("[::ffff:10.0.0.1]:5432", 7, "agent", "shop", "reader"),
        ("10.0.0.1:5432", 7, "other", "shop", "refused"),
        ("10.0.0.1:5432", 7, "other", "else", "own name"),
        ("10.0.0.1:5433", 7, "agent", "shop", "own name"),
        ("10.0.0.1:5432", 8, "agent", "shop", "own name"),
        ("10.0.0.1:5432", 9, "agent", "shop", "relayed"),
        ("11.0.0.1:5432", 7, "agent", "shop", "relayed"),
    ] {
        let asking = Asking {
            logins: logins.clone(),
            caller: caller(to, uid),
            disclosure: Disclosure::Proof,
            nonce: [0; NONCE_BYTES],
        };
        let found = match asking.find(user, database) {
            Access::Held(held) => held.user.unwrap_or("own name".to_owned()),
            Access::Refused => "refused".to_owned(),
            Access::Relayed => "relayed".to_owned(),
        };
        assert_eq!(found, expected, "{to} {uid} {user} {database}");
    }
}

#[test]
fn a_secret_is_in_no_text_of_what_holds_it() {
    let held = Secret::new(b"s3cret".to_vec());
    assert!(!format!("{held:?}").contains("s3cret") && !format!("{held:?}").contains("115"), "{held:?}");
}
