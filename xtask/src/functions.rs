//! The table of the server's functions: what each server has, and the class that somebody wrote down.

mod extensions;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    fs,
};

use anyhow::{Context, Result, bail};
use server::{Answer, Server};

/// What the core reads.
const TABLE: &str = "mask-agent/core/src/lineage/builtins.tsv";
/// What somebody has read and judged.
const REVIEW: &str = "xtask/src/functions/classes.txt";
const CLASSES: [&str; 6] = ["Channel", "Constant", "Dangerous", "Flows", "Metadata", "Setting"];
const UNREVIEWED: &str = "\t# unreviewed";

/// Names that the grammar makes where `pg_proc` has none, and the majors that miss them. The parser is that of 17:
/// it names `extract` whatever the server is asked with.
const GRAMMAR: [(&str, &[u16]); 2] = [("extract", &[13]), ("merge_action", &[17, 18])];

/// What to do with a table that is not what servers and review make of it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Write,
}

/// What all overloads of a name have in common, in one major.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Facts {
    /// As `pg_proc.prokind`.
    kind: String,
    /// Of `srv`: returns a set, returns a row, is volatile; a dash for none.
    flags: String,
    columns: String,
}

/// By name and major.
type Functions = BTreeMap<String, BTreeMap<u16, Facts>>;

pub(crate) fn run(mode: Mode) -> Result<()> {
    let review = review(&fs::read_to_string(REVIEW).context(REVIEW)?)?;
    let before = fs::read_to_string(TABLE).unwrap_or_default();
    let mut functions = read(&before).context(TABLE)?;
    let mut faults = Vec::new();
    let mut answers = Vec::new();
    for server in server::installed()? {
        let answer = server.ask()?;
        let (own, of_extensions) = (answer.functions.len(), answer.members.len());
        println!("PostgreSQL {}: {own} functions, {of_extensions} of extensions", server.major);
        faults.extend(unexpected(&server, &answer, &review));
        answers.push((server.major, answer));
    }
    faults.extend(extensions::Known::read()?.faults(&answers));
    for (major, answer) in answers {
        replace(&mut functions, major, answer);
    }
    if mode == Mode::Check {
        // A minor release may be older than the one the table was made from: what it lacks does no harm.
        for (name, majors) in read(&before).context(TABLE)? {
            let known = functions.entry(name).or_default();
            for (major, facts) in majors {
                known.entry(major).or_insert(facts);
            }
        }
    }
    faults.extend(functions.keys().filter(|name| !review.contains_key(*name)).map(|name| {
        format!("nobody has judged the function {name}: read what it does and write it into {REVIEW}")
    }));
    faults.extend(
        review
            .keys()
            .filter(|name| !functions.contains_key(*name))
            .map(|name| format!("no server has the function {name}: take it out of {REVIEW}")),
    );
    let after = write(&functions, &review)?;
    match mode {
        Mode::Check if before != after => {
            faults.push(format!("{TABLE} is not what the servers say: run `cargo xtask functions`"));
        }
        Mode::Check => {}
        Mode::Write => fs::write(TABLE, after)?,
    }
    if !faults.is_empty() {
        bail!("functions:\n{}", faults.join("\n"));
    }
    Ok(())
}

/// The class of every name. Words below `[Class]` are names, lines after a hash are for the reader.
fn review(text: &str) -> Result<BTreeMap<String, &'static str>> {
    let mut review = BTreeMap::new();
    let mut class = None;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            let known = CLASSES.into_iter().find(|class| *class == title);
            class = Some(known.with_context(|| format!("{REVIEW}: no class is called {title}"))?);
            continue;
        }
        for name in line.split_whitespace() {
            let class = class.with_context(|| format!("{REVIEW}: {name} stands before any class"))?;
            if review.insert(name.to_owned(), class).is_some() {
                bail!("{REVIEW}: {name} is there twice");
            }
        }
    }
    Ok(review)
}

/// The core has no table of operators and casts, because those of the server do what these classes say.
fn unexpected(server: &Server, answer: &Answer, review: &BTreeMap<String, &'static str>) -> Vec<String> {
    let check = |what: &str, names: &BTreeSet<String>, classes: &[&str]| -> Vec<String> {
        names
            .iter()
            .filter(|name| review.get(*name).is_none_or(|class| !classes.contains(class)))
            .map(|name| {
                format!("{what} of PostgreSQL {} calls {name}, which is none of {classes:?}", server.major)
            })
            .collect()
    };
    let mut faults = check("an operator", &answer.operators, &["Flows"]);
    faults.extend(check("a cast", &answer.casts, &["Flows", "Metadata"]));
    faults
}

/// Puts what a server says in the place of what was known of its major.
fn replace(functions: &mut Functions, major: u16, answer: Answer) {
    for majors in functions.values_mut() {
        majors.remove(&major);
    }
    for (name, facts) in answer.functions {
        functions.entry(name).or_default().insert(major, facts);
    }
    for (name, majors) in GRAMMAR {
        if majors.contains(&major) {
            let facts = Facts { kind: "f".to_owned(), flags: "-".to_owned(), columns: "-".to_owned() };
            functions.entry(name.to_owned()).or_default().insert(major, facts);
        }
    }
    functions.retain(|_, majors| !majors.is_empty());
}

fn read(table: &str) -> Result<Functions> {
    let mut functions = Functions::new();
    for line in table.lines() {
        let [name, first, last, _, kind, flags, columns, ..] = line.split('\t').collect::<Vec<_>>()[..]
        else {
            bail!("a line has too few fields: {line}");
        };
        let facts = Facts { kind: kind.to_owned(), flags: flags.to_owned(), columns: columns.to_owned() };
        let majors = functions.entry(name.to_owned()).or_default();
        for major in first.parse()?..=last.parse()? {
            majors.insert(major, facts.clone());
        }
    }
    Ok(functions)
}

/// A line for every run of majors in which a name means the same.
fn write(functions: &Functions, review: &BTreeMap<String, &'static str>) -> Result<String> {
    let mut table = String::new();
    for (name, majors) in functions {
        let (class, mark) = review.get(name).map_or(("Dangerous", UNREVIEWED), |class| (class, ""));
        let mut runs = Vec::<(u16, u16, &Facts)>::new();
        for (major, facts) in majors {
            match runs.last_mut() {
                Some((_, last, same)) if *last + 1 == *major && *same == facts => *last = *major,
                _ => runs.push((*major, *major, facts)),
            }
        }
        for (first, last, Facts { kind, flags, columns }) in runs {
            writeln!(table, "{name}\t{first}\t{last}\t{class}\t{kind}\t{flags}\t{columns}{mark}")?;
        }
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_nobody_has_judged_is_dangerous_and_marked() {
        let review = review("# why\n[Flows]\nlower upper\n").unwrap();
        let functions = read("lower\t13\t18\tFlows\tf\t-\t-\nnews\t18\t18\tFlows\tf\tv\t-\n").unwrap();
        let table = write(&functions, &review).unwrap();
        assert_eq!(table, "lower\t13\t18\tFlows\tf\t-\t-\nnews\t18\t18\tDangerous\tf\tv\t-\t# unreviewed\n");
    }

    #[test]
    fn a_server_replaces_what_was_known_of_its_major_alone() {
        let mut functions = read("gone\t13\t15\tFlows\tf\t-\t-\nlone\t15\t15\tFlows\tf\t-\t-\n").unwrap();
        replace(&mut functions, 15, Answer::default());
        assert_eq!(functions.keys().collect::<Vec<_>>(), ["gone"]);
        assert_eq!(functions["gone"].keys().collect::<Vec<_>>(), [&13, &14]);
    }

    #[test]
    fn a_name_has_one_class() {
        assert!(review("[Flows]\nlower\n[Constant]\nlower\n").is_err());
        assert!(review("[Flow]\nlower\n").is_err());
        assert!(review("lower\n").is_err());
    }
}
