//! Asks a server what it has, without a socket: as the only session of a new cluster.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use mask_tests::{Scratch, postgres::native};

use super::Facts;
use crate::setup;

/// Majors the proxy speaks to.
const MAJORS: std::ops::RangeInclusive<u16> = 13..=18;
/// Types of a result that may be a row, whose columns are then not known.
const MAYBE_ROWS: [&str; 5] =
    ["anycompatible", "anycompatiblenonarray", "anyelement", "anynonarray", "record"];

/// Makes all extensions that are there, and leaves out those whose libraries or languages are not, and those of `PostGIS`
/// beside itself, whose tables of addresses take long.
const EXTEND: &str = "DO $$ DECLARE one text; BEGIN \
    FOR one IN SELECT name FROM pg_available_extensions WHERE name !~ '^(postgis|address)_' ORDER BY name LOOP \
        BEGIN EXECUTE format('CREATE EXTENSION IF NOT EXISTS %I CASCADE', one); EXCEPTION WHEN OTHERS THEN NULL; END; \
    END LOOP; END $$\n";

/// What extensions have brought. A type is an extension's own where it is its member, or an array or a domain of one.
const MEMBERS: &str = "COPY (\
    WITH member AS (SELECT e.extname, d.classid, d.objid FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid \
            WHERE d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e'), \
        own AS (SELECT m.extname, t.oid FROM member m JOIN pg_type t ON m.classid = 'pg_type'::regclass \
            AND (t.oid = m.objid OR t.typelem = m.objid AND t.typarray = 0)) \
    SELECT 'member', m.extname, p.proname, l.lanname, p.provolatile::text, p.prosecdef::text, \
        EXISTS (SELECT FROM own WHERE own.extname = m.extname AND own.oid = ANY (p.proargtypes))::text, \
        p.prorettype = 'trigger'::regtype \
        FROM member m JOIN pg_proc p ON m.classid = 'pg_proc'::regclass AND p.oid = m.objid \
            JOIN pg_language l ON l.oid = p.prolang \
    UNION ALL SELECT 'maker', m.extname, o.oprname || ' (operator)', '', '', '', EXISTS (SELECT FROM own \
        WHERE own.extname = m.extname AND own.oid IN (o.oprleft, o.oprright))::text, false \
        FROM member m JOIN pg_operator o ON m.classid = 'pg_operator'::regclass AND o.oid = m.objid \
    UNION ALL SELECT 'maker', m.extname, format('%s to %s (cast)', castsource::regtype, casttarget::regtype), '', '', '', \
        EXISTS (SELECT FROM own WHERE own.extname = m.extname AND own.oid IN (castsource, casttarget))::text, false \
        FROM member m JOIN pg_cast c ON m.classid = 'pg_cast'::regclass AND c.oid = m.objid\
    ) TO STDOUT\n";

/// One line, as the single-user mode takes a statement. A tab cannot be in any name it returns.
const QUESTION: &str = "COPY (\
    SELECT 'function', p.proname, p.prokind::text, p.proretset::text, p.provolatile::text, \
        CASE WHEN t.typtype = 'c' THEN 'record' ELSE t.typname::text END, \
        coalesce((SELECT string_agg(coalesce(a.name, ''), ',' ORDER BY a.place) \
            FROM unnest(p.proargmodes, p.proargnames) WITH ORDINALITY AS a(mode, name, place) \
            WHERE a.mode IN ('o', 'b', 't')), '-') \
        FROM pg_proc p JOIN pg_type t ON t.oid = p.prorettype \
    UNION ALL SELECT 'operator', p.proname, '', '', '', '', '' \
        FROM pg_operator o JOIN pg_proc p ON p.oid = o.oprcode \
    UNION ALL SELECT 'cast', p.proname, '', '', '', '', '' \
        FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc\
    ) TO STDOUT\n";

/// The programs of one major.
pub(super) struct Server {
    pub(super) major: u16,
    bin: PathBuf,
    /// Where its libraries are, if not where the system has them.
    lib: Option<PathBuf>,
    scratch: Scratch,
}

/// A function that an extension has brought.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) extension: String,
    pub(super) name: String,
    pub(super) language: String,
    /// As `pg_proc.provolatile`.
    pub(super) volatility: String,
    pub(super) is_definers: bool,
    /// Whether an argument is of a type of the extension.
    pub(super) takes_own: bool,
    pub(super) is_trigger: bool,
}

/// What a server says of itself.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) functions: BTreeMap<String, Facts>,
    /// Functions that its operators call.
    pub(super) operators: BTreeSet<String>,
    /// Functions that its casts call.
    pub(super) casts: BTreeSet<String>,
    /// Functions of all extensions that can be made.
    pub(super) members: Vec<Member>,
    /// Extension, and an operator or a cast of it that is of none of its types.
    pub(super) foreign_makers: Vec<(String, String)>,
}

/// One for each major that `cargo xtask setup` or the system has put here.
pub(super) fn installed() -> Result<Vec<Server>> {
    let mut servers = Vec::new();
    for major in MAJORS {
        let scratch = Scratch::new("functions")?;
        let system = PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"));
        if let Some(own) = native(major, &scratch)? {
            servers.push(Server { major, bin: own.join("bin"), lib: Some(own.join("lib")), scratch });
        } else if system.join("postgres").exists() {
            servers.push(Server { major, bin: system, lib: None, scratch });
        }
    }
    if servers.is_empty() {
        bail!("no PostgreSQL server is installed; run `cargo xtask setup`");
    }
    Ok(servers)
}

impl Server {
    pub(super) fn ask(&self) -> Result<Answer> {
        if setup::is_root() {
            std::os::unix::fs::chown(&self.scratch.0, Some(server_user()?), None)?;
        }
        let data = self.scratch.0.join("data");
        let mut initdb = self.command("initdb");
        initdb.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "--no-sync", "-A", "trust", "-D"]);
        let made = initdb.arg(&data).output()?;
        if !made.status.success() {
            bail!("initdb of {}: {}", self.major, String::from_utf8_lossy(&made.stderr));
        }
        let mut postgres = self.command("postgres");
        postgres.arg("--single").arg("-D").arg(&data).arg("template1");
        let mut child =
            postgres.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        child
            .stdin
            .take()
            .context("a piped child has an input")?
            .write_all([QUESTION, EXTEND, MEMBERS].concat().as_bytes())?;
        let output = child.wait_with_output()?;
        let answer = read(&String::from_utf8(output.stdout)?);
        // The smallest has some 2,500 names; less is an error that went to the log.
        if !output.status.success() || answer.functions.len() < 2_000 || answer.members.len() < 500 {
            bail!("PostgreSQL {} did not answer what its functions are", self.major);
        }
        Ok(answer)
    }

    /// It refuses to run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.bin.join(program);
        let mut command = if setup::is_root() {
            let mut command = Command::new("setpriv");
            command.args(["--reuid", "postgres", "--regid", "postgres", "--clear-groups", "--"]).arg(program);
            command
        } else {
            Command::new(program)
        };
        if let Some(lib) = &self.lib {
            command.env("LD_LIBRARY_PATH", lib);
        }
        command.current_dir("/");
        command
    }
}

fn server_user() -> Result<u32> {
    let users = fs::read_to_string(Path::new("/etc/passwd"))?;
    let user = users.lines().find_map(|line| line.strip_prefix("postgres:"));
    Ok(user.and_then(|rest| rest.split(':').nth(1)).context("there is no user postgres")?.parse()?)
}

fn read(output: &str) -> Answer {
    let mut answer = Answer::default();
    let mut overloads = BTreeMap::<&str, Vec<Overload>>::new();
    for line in output.lines() {
        // The prompt stands before the first.
        let fields = line.trim_start_matches("backend> ").split('\t').collect::<Vec<_>>();
        match fields[..] {
            ["function", name, kind, set, volatile, result, columns] => {
                overloads.entry(name).or_default().push(Overload {
                    kind,
                    set: set == "true",
                    volatile: volatile == "v",
                    row: MAYBE_ROWS.contains(&result) && columns == "-",
                    columns,
                });
            }
            ["operator", name, ..] => {
                answer.operators.insert(name.to_owned());
            }
            ["cast", name, ..] => {
                answer.casts.insert(name.to_owned());
            }
            ["member", extension, name, language, volatility, definers, takes_own, trigger] => {
                answer.members.push(Member {
                    extension: extension.to_owned(),
                    name: name.to_owned(),
                    language: language.to_owned(),
                    volatility: volatility.to_owned(),
                    is_definers: definers == "true",
                    takes_own: takes_own == "true",
                    is_trigger: trigger == "t",
                });
            }
            ["maker", extension, name, .., "false", _] => {
                answer.foreign_makers.push((extension.to_owned(), name.to_owned()));
            }
            _ => {}
        }
    }
    answer.functions =
        overloads.into_iter().map(|(name, overloads)| (name.to_owned(), together(&overloads))).collect();
    answer
}

struct Overload<'a> {
    kind: &'a str,
    set: bool,
    row: bool,
    volatile: bool,
    columns: &'a str,
}

/// What holds of all of them: the columns, if all that could have any have the same.
fn together(overloads: &[Overload]) -> Facts {
    let any = |is: fn(&Overload) -> bool| overloads.iter().any(is);
    let kinds = ["a", "w", "p", "f"];
    let kind = kinds.into_iter().find(|kind| overloads.iter().any(|overload| overload.kind == *kind));
    let wide = overloads.iter().filter(|overload| overload.set || overload.row || overload.columns != "-");
    let columns: BTreeSet<_> = wide.map(|overload| overload.columns).collect();
    let disagree = columns.len() > 1;
    let row = any(|overload| overload.row) || disagree;
    let flags = [('s', any(|overload| overload.set)), ('r', row), ('v', any(|overload| overload.volatile))];
    let flags: String = flags.into_iter().filter_map(|(flag, holds)| holds.then_some(flag)).collect();
    Facts {
        kind: kind.unwrap_or("f").to_owned(),
        flags: if flags.is_empty() { "-".to_owned() } else { flags },
        columns: columns.first().filter(|_| !disagree).map_or("-", |columns| columns).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overloads_that_disagree_have_no_columns_but_may_be_a_row() {
        let answer = read(
            "backend> function\tunnest\tf\ttrue\ti\tanyelement\t-\n\
             function\tunnest\tf\ttrue\ti\trecord\tlexeme,positions\n\
             function\teach\tf\ttrue\ti\trecord\tkey,value\n\
             operator\ttexteq\t\t\t\t\t\n",
        );
        let unnest = &answer.functions["unnest"];
        assert_eq!((&*unnest.flags, &*unnest.columns), ("sr", "-"));
        let each = &answer.functions["each"];
        assert_eq!((&*each.flags, &*each.columns), ("s", "key,value"));
        assert!(answer.operators.contains("texteq"));
    }
}
