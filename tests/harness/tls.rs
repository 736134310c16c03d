//! Certificates for servers and clients, made by OpenSSL as an operator makes them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use crate::{Postgres, Scratch, output};

/// The script that speaks TLS by hand.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/cases/tls.py");

/// A folder of certificates and keys, which the server's user may read.
pub struct Certificates {
    scratch: Scratch,
}

impl Certificates {
    /// An authority, `ca.crt`, and nothing by it yet.
    pub fn new() -> Result<Self> {
        let made = Self { scratch: Scratch::new("tls")? };
        made.openssl(
            &["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", "ca.key", "-out", "ca.crt", "-days", "2", "-subj", "/CN=test authority"],
        )?;
        Ok(made)
    }

    /// Where a file of it is.
    pub fn path(&self, file: &str) -> PathBuf {
        self.scratch.0.join(file)
    }

    /// The same as text.
    pub fn text(&self, file: &str) -> String {
        self.path(file).display().to_string()
    }

    /// `NAME.crt` and `NAME.key` that nobody vouches for, as the manual of PostgreSQL makes them.
    pub fn self_signed(&self, name: &str, subject: &str) -> Result<()> {
        let (key, certificate) = (format!("{name}.key"), format!("{name}.crt"));
        self.openssl(
            &["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"],
            &["-keyout", &key, "-out", &certificate, "-subj", subject],
        )?;
        self.hand_over(&key)
    }

    /// `NAME.crt` and `NAME.key` by the authority, for these alternative names (`DNS:…,IP:…`); without any it is of
    /// version 1, as older OpenSSL makes it.
    pub fn signed(&self, name: &str, subject: &str, names: &str) -> Result<()> {
        let (key, request, certificate) =
            (format!("{name}.key"), format!("{name}.csr"), format!("{name}.crt"));
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
            &["-keyout", &key, "-out", &request, "-subj", subject],
        )?;
        let mut sign =
            vec!["-in", &request, "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2"];
        if !names.is_empty() {
            std::fs::write(self.path("extensions"), format!("subjectAltName={names}\n"))?;
            sign.extend(["-extfile", "extensions"]);
        }
        sign.extend(["-out", &certificate]);
        self.openssl(&["x509", "-req"], &sign)?;
        self.hand_over(&key)
    }

    /// Puts a certificate and its key in the place of others.
    pub fn replace(&self, old: &str, new: &str) -> Result<()> {
        for kind in ["crt", "key"] {
            std::fs::copy(self.path(&format!("{new}.{kind}")), self.path(&format!("{old}.{kind}")))?;
        }
        self.hand_over(&format!("{old}.key"))
    }

    /// Gives a server TLS with a certificate of it, and waits until it has it.
    pub fn turn_on(&self, postgres: &Postgres, name: &str) -> Result<()> {
        for (setting, file) in [("cert_file", format!("{name}.crt")), ("key_file", format!("{name}.key"))] {
            postgres.setup(&format!("alter system set ssl_{setting} = '{}'", self.text(&file)))?;
        }
        postgres.setup(&format!("alter system set ssl_ca_file = '{}'", self.text("ca.crt")))?;
        postgres.setup("alter system set ssl = on")?;
        postgres.setup("select pg_reload_conf()")?;
        postgres.wait_until("sslmode=require", true)
    }

    /// Takes a server's TLS away.
    pub fn turn_off(&self, postgres: &Postgres) -> Result<()> {
        postgres.setup("alter system set ssl = off")?;
        postgres.setup("select pg_reload_conf()")?;
        postgres.wait_until("sslmode=require", false)
    }

    fn openssl(&self, head: &[&str], rest: &[&str]) -> Result<()> {
        let mut command = Command::new("openssl");
        let (ok, text) = output(command.args(head).args(rest).current_dir(&self.scratch.0))?;
        ensure!(ok, "openssl {head:?} {rest:?}: {text}");
        Ok(())
    }

    /// A key is the server's, and nobody else's, or it does not start.
    fn hand_over(&self, key: &str) -> Result<()> {
        hand_over(&self.path(key))
    }
}

fn hand_over(key: &Path) -> Result<()> {
    let (ok, text) = output(Command::new("chown").arg("postgres").arg(key))?;
    ensure!(ok, "{text}");
    Ok(std::fs::set_permissions(key, std::os::unix::fs::PermissionsExt::from_mode(0o600))?)
}
