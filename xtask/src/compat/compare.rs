//! What two runs of a suite printed, line by line, and what kind of difference each place is.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write},
    fs,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, ensure};

/// What stands in a detail of ours before the rule that refused.
const RULE: &str = "\"rule\":\"";
const REFUSED: &str = "ERROR:  mask-agent: ";
const WITHHELD: &str = "withheld by mask-agent";

/// What an error about the client's own text keeps only where nothing masked is meant.
const ASIDES: [&str; 3] = ["CONTEXT:", "DETAIL:", "HINT:"];

/// Errors that say something is missing which a refused statement would have made, or that its transaction is over.
const CONSEQUENCES: [&str; 8] = [
    " does not exist",
    " is not unique",
    " unrecognized",
    "could not determine",
    "current transaction is aborted",
    "no operator matches",
    "no function matches",
    "there is no",
];

/// What kind of difference a place is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Neither of the others: a program would notice.
    Other,
    /// As many cells, some of them placeholders.
    Masked,
    /// Refused by this rule of the policy.
    Refused(String),
    /// An error whose text may quote a masked value.
    Withheld,
    /// Says that something is missing, behind a refusal.
    Missing,
    /// Behind a refusal in the same test, whose rows or settings are not there.
    Behind,
}

impl fmt::Display for Kind {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other => text.write_str("other"),
            Self::Masked => text.write_str("masked cells"),
            Self::Refused(rule) => write!(text, "refused: {rule}"),
            Self::Withheld => text.write_str("error text withheld"),
            Self::Missing => text.write_str("missing after a refusal"),
            Self::Behind => text.write_str("otherwise after a refusal"),
        }
    }
}

/// A place where the runs differ.
#[derive(Debug)]
pub(super) struct Difference {
    pub(super) test: String,
    /// In what was printed direct.
    pub(super) line: u32,
    pub(super) kind: Kind,
    direct: Vec<String>,
    proxied: Vec<String>,
}

impl Difference {
    /// Whether a line of it holds a text.
    pub(super) fn holds(&self, text: &str) -> bool {
        self.direct.iter().chain(&self.proxied).any(|line| line.contains(text))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(text, "{}:{} ({})", self.test, self.line, self.kind)?;
        self.direct.iter().try_for_each(|line| writeln!(text, "  < {line}"))?;
        self.proxied.iter().try_for_each(|line| writeln!(text, "  > {line}"))
    }
}

/// All places where two folders of results differ.
pub(super) fn differences(direct: &Path, proxied: &Path) -> Result<Vec<Difference>> {
    let (tests, others) = (tests(direct)?, tests(proxied)?);
    ensure!(
        tests == others,
        "other tests ran: {:?}",
        tests.symmetric_difference(&others).collect::<Vec<_>>()
    );
    let mut all = Vec::new();
    for test in tests {
        let mut diff = Command::new("diff");
        let file = format!("{test}.out");
        let output = diff.arg("--text").arg(direct.join(&file)).arg(proxied.join(&file)).output()?;
        ensure!(output.status.code() != Some(2), "{}", String::from_utf8_lossy(&output.stderr));
        all.extend(places(&test, &String::from_utf8_lossy(&output.stdout))?);
    }
    Ok(all)
}

/// Names of the tests that printed something.
pub(super) fn tests(folder: &Path) -> Result<BTreeSet<String>> {
    let names = fs::read_dir(folder)?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    Ok(names.filter_map(|name| name.strip_suffix(".out").map(str::to_owned)).collect())
}

/// The places that `diff` lists of one test, in their order.
fn places(test: &str, listed: &str) -> Result<Vec<Difference>> {
    let mut places: Vec<Difference> = Vec::new();
    for line in listed.lines() {
        let printed = line.get(2..).unwrap_or("").to_owned();
        match (line.chars().next(), places.last_mut()) {
            (Some('<'), Some(place)) => place.direct.push(printed),
            (Some('>'), Some(place)) => place.proxied.push(printed),
            (Some('0'..='9'), _) => {
                let number = line.split(|letter: char| !letter.is_ascii_digit()).next();
                let line = number.and_then(|number| number.parse().ok()).context("diff names a line")?;
                let (direct, proxied) = (vec![], vec![]);
                places.push(Difference { test: test.to_owned(), line, kind: Kind::Other, direct, proxied });
            }
            _ => {}
        }
    }
    let mut refused = false;
    for place in &mut places {
        place.kind = kind(&place.direct, &place.proxied, refused);
        refused |= matches!(place.kind, Kind::Refused(_));
    }
    Ok(places)
}

fn kind(direct: &[String], proxied: &[String], after_refusal: bool) -> Kind {
    if let Some(rule) = proxied.iter().find_map(|line| line.split(RULE).nth(1)?.split('"').next()) {
        return Kind::Refused(rule.to_owned());
    }
    // The isolation tester prints no details.
    if let Some(message) = proxied.iter().find_map(|line| line.strip_prefix(REFUSED)) {
        return Kind::Refused(message.to_owned());
    }
    let is_aside = |line: &String| ASIDES.iter().any(|aside| line.starts_with(aside));
    let lacks_asides = proxied.is_empty() && !direct.is_empty() && direct.iter().all(is_aside);
    if lacks_asides || proxied.iter().any(|line| line.contains(WITHHELD)) {
        return Kind::Withheld;
    }
    if direct.len() == proxied.len()
        && direct.iter().zip(proxied).all(|(direct, proxied)| is_masked(direct, proxied, after_refusal))
    {
        return Kind::Masked;
    }
    let is_consequence =
        |line: &String| line.starts_with("ERROR") && CONSEQUENCES.iter().any(|words| line.contains(words));
    match proxied.iter().any(is_consequence) {
        true if after_refusal => Kind::Missing,
        _ if after_refusal => Kind::Behind,
        _ => Kind::Other,
    }
}

/// Whether a line has the same cells but for placeholders. Columns are as wide as their widest cell, so blanks and dashes
/// say nothing.
fn is_masked(direct: &str, proxied: &str, after_refusal: bool) -> bool {
    let (direct, proxied) = (cells(direct), cells(proxied));
    // A table that was not filled gives counts and sums like these.
    let is_empty = |cell: &str| after_refusal && matches!(cell, "" | "0");
    let same = |(direct, proxied): (&&str, &&str)| {
        direct == proxied || is_placeholder(proxied) && !is_empty(proxied)
    };
    direct.len() == proxied.len() && direct.iter().zip(&proxied).all(same)
}

fn cells(line: &str) -> Vec<&str> {
    let rule = line.starts_with('-') && line.chars().all(|letter| matches!(letter, '-' | '+'));
    if rule { line.split('+').map(|_| "").collect() } else { line.split('|').map(str::trim).collect() }
}

/// Whether a cell looks like a constant or a pattern of the built-in policy.
fn is_placeholder(cell: &str) -> bool {
    let is_pattern = cell.chars().all(|letter| {
        matches!(letter, 'x' | 'X' | '0' | '*') || letter.is_ascii_punctuation() || letter == ' '
    });
    is_pattern || cell == "f" || cell.contains("2000")
}

/// How many places of each kind there are, and in how many tests, in Markdown.
pub(super) fn table(differences: &[Difference]) -> String {
    let mut kinds: BTreeMap<&Kind, (u32, BTreeSet<&str>)> = BTreeMap::new();
    for difference in differences {
        let (count, tests) = kinds.entry(&difference.kind).or_default();
        *count += 1;
        tests.insert(&difference.test);
    }
    let mut text = "| difference | places | tests |\n|--|--|--|\n".to_owned();
    for (kind, (count, tests)) in kinds {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "| {kind} | {count} | {} |", tests.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(listed: &str) -> Vec<Kind> {
        places("t", listed).unwrap().into_iter().map(|place| place.kind).collect()
    }

    #[test]
    fn places_are_told_apart() {
        let refused = "1,2c1,3\n<  a \n< ---\n---\n> ERROR:  mask-agent: no\n\
            > DETAIL:  {\"code\":\"x\",\"rule\":\"rules.derived\"}\n> HINT:  h\n";
        assert_eq!(kinds(refused), [Kind::Refused("rules.derived".into())]);
        let bare = "1c1,2\n<  <waiting ...>\n---\n> \n> ERROR:  mask-agent: no\n";
        assert_eq!(kinds(bare), [Kind::Refused("no".into())]);
        let missing = "9a10\n> ERROR:  relation \"a\" does not exist\n";
        assert_eq!(kinds(missing), [Kind::Other]);
        assert_eq!(kinds(&format!("{refused}{missing}"))[1], Kind::Missing);
        assert_eq!(kinds(&format!("{refused}9d9\n< (1 row)\n"))[1], Kind::Behind);
        assert_eq!(kinds("9d9\n< (1 row)\n"), [Kind::Other]);
        let emptied = "9c9\n<      2\n---\n>      0\n";
        assert_eq!(kinds(emptied), [Kind::Masked]);
        assert_eq!(kinds(&format!("{refused}{emptied}"))[1], Kind::Behind);
        let withheld =
            "1c1\n< ERROR:  x\n---\n> ERROR:  data exception (text withheld by mask-agent: it may)\n";
        assert_eq!(kinds(withheld), [Kind::Withheld]);
        assert_eq!(kinds("1d1\n< DETAIL:  x\n"), [Kind::Withheld]);
    }

    #[test]
    fn only_cells_that_hold_placeholders_are_masked() {
        let head = "1,3c1,3\n<  id |   email   \n< ----+-----------\n";
        let masked =
            format!("{head}<   1 | a@b.org   \n---\n>  id |  email  \n> ----+---------\n>   1 | x@x.xxx \n");
        assert_eq!(kinds(&masked), [Kind::Masked]);
        let clear =
            format!("{head}<   1 | a@b.org   \n---\n>  id |  email  \n> ----+---------\n>   1 | c@b.org \n");
        assert_eq!(kinds(&clear), [Kind::Other]);
        assert_eq!(kinds("1c1\n< 1 | 2\n---\n> 1\n"), [Kind::Other]);
    }
}
