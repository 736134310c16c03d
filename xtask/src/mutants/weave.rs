//! All mutants in one program: each function asks which of its bodies is meant.
//!
//! ```text
//! fn reads(&self) -> bool { match crate::mutants::active(7) {
//!     41 => { true },
//!     42 => { self.a || self.b },
//!     _ => { self.a && self.b } } }
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    ops::Range,
    path::Path,
    process::Command,
};

use anyhow::{Context, Result, bail};
use syn::visit::Visit;

use super::list::{Mutant, Place};

/// A mutant's number in the woven program; 0 is none.
pub(super) type Id = usize;

const ROOT: &str = "mask-agent/core/src/lib.rs";
/// What says which mutant is meant.
const SWITCH: &str = "mask-agent/core/src/mutants.rs";
/// Without optimisation, a function would have room on its stack for all of its mutants at once.
const PROFILE: &str =
    "\n[profile.dev.package.mask-core]\nopt-level = 1\ndebug = false\nincremental = false\n";

/// What mutants compute is none of the compiler's business.
const LENIENT: &str = "#![allow(warnings, arithmetic_overflow, unconditional_panic)]";

/// What the woven program is made of.
pub(super) struct Woven {
    /// The function of each mutant that has a place in it.
    pub(super) functions: BTreeMap<Id, usize>,
    /// Where each mutant's body stands in each file, in bytes.
    pub(super) arms: BTreeMap<String, Vec<(Range<usize>, Id)>>,
}

/// Copies the workspace, as it is here.
pub(super) fn copy(tree: &Path, mutants: &[Mutant]) -> Result<()> {
    let woven: BTreeSet<&Path> =
        mutants.iter().map(|mutant| Path::new(&mutant.file)).chain([Path::new(ROOT)]).collect();
    let files =
        Command::new("git").args(["ls-files", "--cached", "--others", "--exclude-standard"]).output()?;
    let files = String::from_utf8(files.stdout)?;
    let files: BTreeSet<&Path> = files.lines().map(Path::new).filter(|file| file.is_file()).collect();
    if tree.exists() {
        remove_others(tree, tree, &files)?;
    }
    for file in files.iter().filter(|file| !woven.contains(**file)) {
        let text = prepared(file, fs::read(file)?)?;
        write_changed(&tree.join(file), &text)?;
    }
    Ok(())
}

/// Removes what is no more in the workspace.
fn remove_others(folder: &Path, tree: &Path, files: &BTreeSet<&Path>) -> Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, tree, files)?;
        } else if !files.contains(path.strip_prefix(tree)?) && !path.ends_with(SWITCH) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// A file of the workspace as the copy has it.
fn prepared(file: &Path, bytes: Vec<u8>) -> Result<Vec<u8>> {
    let text = match file.to_str() {
        Some("Cargo.toml") => format!("{}{PROFILE}", String::from_utf8(bytes)?),
        Some("mask-agent/core/Cargo.toml") => {
            String::from_utf8(bytes)?.replace("[lints]\nworkspace = true\n", "")
        }
        // A few cases of each property are enough to see most changes, and the tests run thousands of times.
        Some(path)
            if path.starts_with("mask-agent/core/") && file.extension().is_some_and(|kind| kind == "rs") =>
        {
            few_cases(&String::from_utf8(bytes)?)
        }
        _ => return Ok(bytes),
    };
    Ok(text.into_bytes())
}

fn few_cases(text: &str) -> String {
    let few = ["400", "512"]
        .iter()
        .fold(text.to_owned(), |text, many| text.replace(&format!("cases: {many},"), "cases: 24,"));
    few.replace("with_cases(200)", "with_cases(24)").replace("0..20_000", "0..200")
}

/// Writes the files of the tree that have mutants, all but `without` in them.
pub(super) fn weave(tree: &Path, mutants: &[Mutant], without: &BTreeSet<Id>) -> Result<Woven> {
    let mut files: BTreeMap<&str, Vec<(Id, &Mutant)>> = BTreeMap::new();
    for (index, mutant) in mutants.iter().enumerate() {
        files.entry(&mutant.file).or_default().push((index + 1, mutant));
    }
    let mut woven = Woven { functions: BTreeMap::new(), arms: BTreeMap::new() };
    let mut count = 0;
    for (file, mutants) in files {
        let source = few_cases(&fs::read_to_string(file)?);
        let text = weave_file(&source, file, &mutants, without, &mut count, &mut woven)
            .with_context(|| file.to_owned())?;
        write_changed(&tree.join(file), text.as_bytes())?;
    }
    let text = fs::read_to_string(ROOT)?;
    let attributes = text.find("#![").context("the attributes of the core")?;
    let (docs, rest) = text.split_at(attributes);
    let text = format!("{docs}{LENIENT}\n{rest}");
    write_changed(&tree.join(ROOT), format!("{text}\nmod mutants;\n").as_bytes())?;
    let switch = include_str!("switch.rs.txt").replace("FUNCTIONS", &count.to_string());
    write_changed(&tree.join(SWITCH), switch.as_bytes())?;
    Ok(woven)
}

/// Writes the files of the tree as they are but for one mutant, which has no place among others.
pub(super) fn alone(tree: &Path, mutants: &[Mutant], id: Id) -> Result<()> {
    weave(tree, mutants, &(1..=mutants.len()).collect())?;
    let mutant = &mutants[id - 1];
    let source = few_cases(&fs::read_to_string(&mutant.file)?);
    let lines = Lines::of(&source);
    let (start, end) = (lines.offset(mutant.span.start), lines.offset(mutant.span.end));
    let text = format!("{} {} {}", &source[..start], mutant.replacement, &source[end..]);
    write_changed(&tree.join(&mutant.file), text.as_bytes())
}

/// A file that is as it was keeps its time, and what is built of it.
fn write_changed(path: &Path, text: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    fs::create_dir_all(path.parent().context("a file's folder")?)?;
    Ok(fs::write(path, text)?)
}

fn weave_file(
    source: &str,
    file: &str,
    mutants: &[(Id, &Mutant)],
    without: &BTreeSet<Id>,
    count: &mut usize,
    woven: &mut Woven,
) -> Result<String> {
    let lines = Lines::of(source);
    let mut bodies = Bodies { lines: &lines, found: Vec::new() };
    bodies.visit_file(&syn::parse_file(source)?);
    let arms = woven.arms.entry(file.to_owned()).or_default();
    let mut text = String::with_capacity(source.len() * 8);
    let mut written = 0;
    for Body { range: body, item } in bodies.found {
        let of_body: Vec<(Id, Range<usize>, &Mutant)> = mutants
            .iter()
            .map(|(id, mutant)| {
                (*id, lines.offset(mutant.span.start)..lines.offset(mutant.span.end), *mutant)
            })
            .filter(|(_, span, _)| body.start < span.start && span.end < body.end)
            .collect();
        let alive: Vec<_> = of_body.iter().filter(|(id, ..)| !without.contains(id)).collect();
        if alive.is_empty() {
            continue;
        }
        text.push_str(&source[written..body.start]);
        write!(text, "{{ match crate::mutants::active({count}) {{")?;
        let count_alive = alive.len();
        for (at, (id, span, mutant)) in alive.into_iter().enumerate() {
            woven.functions.insert(*id, *count);
            let (open, close) = either(item.as_deref(), at, count_alive);
            write!(text, "\n{id} => {{ ")?;
            let start = text.len();
            write!(text, "{open}{} {} ", &source[body.start..span.start], mutant.replacement)?;
            write!(text, "{}{close} ", &source[span.end..body.end])?;
            arms.push((start..text.len(), *id));
            text.push('}');
        }
        let (open, close) = either(item.as_deref(), count_alive, count_alive);
        write!(text, "\n_ => {{ {open}{}{close} }}\n}} }}", &source[body.clone()])?;
        written = body.end;
        *count += 1;
    }
    text.push_str(&source[written..]);
    Ok(text)
}

/// What makes one type of several iterators over these items, around that at a place of so many and the last behind
/// them; nothing around other bodies.
fn either(item: Option<&str>, at: usize, last: usize) -> (String, String) {
    let Some(item) = item else { return <_>::default() };
    let one = if at < last { "crate::mutants::Either::One(" } else { "" };
    let others = "crate::mutants::Either::Other(".repeat(at);
    let open = format!("{others}{one}crate::mutants::over::<{item}, _>(");
    (open, ")".repeat(at + 1 + usize::from(at < last)))
}

/// Where lines begin, to find what cargo-mutants and the parser mean.
struct Lines<'s> {
    source: &'s str,
    starts: Vec<usize>,
}

impl<'s> Lines<'s> {
    fn of(source: &'s str) -> Self {
        let after = source.match_indices('\n').map(|(at, _)| at + 1);
        Self { source, starts: std::iter::once(0).chain(after).collect() }
    }

    fn offset(&self, place: Place) -> usize {
        let start = self.starts[place.line - 1];
        let line = &self.source[start..];
        start + line.char_indices().nth(place.column - 1).map_or(line.len(), |(at, _)| at)
    }
}

/// Bodies of functions outside of any other, but those that run at compile time.
struct Bodies<'s> {
    lines: &'s Lines<'s>,
    found: Vec<Body>,
}

/// A function's body.
struct Body {
    range: Range<usize>,
    /// What is iterated over, where the type that is returned has no name: each mutant may have another one.
    item: Option<String>,
}

impl Bodies<'_> {
    fn add(&mut self, signature: &syn::Signature, block: &syn::Block) {
        let unnamed = matches!(&signature.output, syn::ReturnType::Type(_, kind) if matches!(**kind, syn::Type::ImplTrait(_)));
        let place = |at: proc_macro2::LineColumn| Place { line: at.line, column: at.column + 1 };
        let braces = block.brace_token.span;
        let start = self.lines.offset(place(braces.open().start()));
        let behind = self.lines.offset(place(signature.paren_token.span.close().end()));
        let item = self.lines.source[behind..start].trim().strip_prefix("-> impl Iterator<Item = ");
        let item = item.and_then(|rest| rest.strip_suffix('>')).map(ToOwned::to_owned);
        if signature.constness.is_some() || unnamed && item.is_none() {
            return;
        }
        let range = start..self.lines.offset(place(braces.close().end()));
        self.found.push(Body { range, item });
    }
}

impl Visit<'_> for Bodies<'_> {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        if let Some(block) = &function.default {
            self.add(&function.sig, block);
        }
    }
}

/// The mutants that a compiler's message is about; none where it is about no mutant's body.
pub(super) fn blamed(woven: &Woven, message: &serde_json::Value) -> Result<BTreeSet<Id>> {
    let spans = message["spans"].as_array().context("spans of a message")?;
    let mut blamed = BTreeSet::new();
    for primary in [true, false] {
        for span in spans.iter().filter(|span| span["is_primary"] == primary) {
            blamed.extend(blamed_at(woven, span)?);
        }
        if !blamed.is_empty() {
            break;
        }
    }
    Ok(blamed)
}

fn blamed_at(woven: &Woven, span: &serde_json::Value) -> Result<Option<Id>> {
    let file = span["file_name"].as_str().context("a span's file")?;
    if let Some(arms) = woven.arms.get(file) {
        let at = usize::try_from(span["byte_start"].as_u64().context("a span's start")?)?;
        return Ok(arms.iter().find(|(arm, _)| arm.contains(&at)).map(|(_, id)| *id));
    }
    match span.get("expansion").filter(|found| !found.is_null()) {
        Some(expansion) => blamed_at(woven, &expansion["span"]),
        None => Ok(None),
    }
}

/// Fails where cargo-mutants is not there.
pub(super) fn require() -> Result<()> {
    let found = Command::new("cargo").args(["mutants", "--version"]).output();
    if !found.is_ok_and(|found| found.status.success()) {
        bail!("cargo-mutants is missing: cargo install --locked cargo-mutants");
    }
    Ok(())
}
