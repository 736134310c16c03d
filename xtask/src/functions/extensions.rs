//! What the core says of extensions' functions by name, beside the extensions that servers have.
//!
//! That a function does with values what its class says, somebody has read. What can be asked of a server is that a listed
//! function is there, that what is called harmless is the extension's own C or SQL, runs with the rights of who calls it and,
//! where its result is to be made of its arguments alone, is the same for the same arguments, whichever extension has a
//! function of that name; and that what is said to be beside others takes no name or value of theirs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use anyhow::{Context, Result, bail};
use syn::{Expr, Item, Lit};

use super::server::{Answer, Member};

/// What the core reads.
const LIST: &str = "mask-agent/core/src/lineage/extensions.rs";

/// Volatile functions whose result is made of their arguments and of chance, and one that is declared so for no reason.
const CHANCE: [&str; 7] = [
    "gen_salt",
    "heap_tuple_infomask_flags",
    "normal_rand",
    "pgp_pub_encrypt",
    "pgp_pub_encrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
];

/// Functions of versions before an extension's newest, which can be asked for still.
const OLDER: [&str; 3] = ["pg_file_length", "pg_file_read", "pg_logfile_rotate"];

/// It is there from the beginning, and its names are in the server's own list.
const BUILT_IN: &str = "plpgsql";

/// The list as the core has it.
pub(super) struct Known {
    /// By extension and function, the class.
    functions: BTreeMap<(String, String), String>,
    computing: BTreeSet<String>,
    beside: BTreeSet<String>,
}

impl Known {
    /// Reads the core's source, which is Rust, for who builds this need not have what it takes to build the core.
    pub(super) fn read() -> Result<Self> {
        Self::of(&fs::read_to_string(LIST).context(LIST)?)
    }

    fn of(source: &str) -> Result<Self> {
        let file = syn::parse_file(source).context(LIST)?;
        let constant = |name: &str| {
            let mut items = file.items.iter();
            let found = items.find_map(|item| match item {
                Item::Const(item) if item.ident == name => Some(&*item.expr),
                _ => None,
            });
            found.with_context(|| format!("{LIST} has no {name}"))
        };
        let mut functions = BTreeMap::new();
        for entry in elements(constant("EXTENSIONS")?)? {
            let Expr::Tuple(entry) = entry else { bail!("{LIST}: an entry is no tuple") };
            let [extension, Expr::Path(class), names] = &entry.elems.iter().collect::<Vec<_>>()[..] else {
                bail!("{LIST}: an entry is not of three parts");
            };
            let class = class.path.segments.last().context("a path has a segment")?.ident.to_string();
            for name in elements(names)? {
                functions.insert((text(extension)?, text(name)?), class.clone());
            }
        }
        let names = |name| elements(constant(name)?)?.into_iter().map(text).collect::<Result<_>>();
        Ok(Self { functions, computing: names("COMPUTING_EXTENSIONS")?, beside: names("BESIDE")? })
    }

    /// What servers say otherwise.
    pub(super) fn faults(&self, servers: &[(u16, Answer)]) -> BTreeSet<String> {
        let mut faults = BTreeSet::new();
        let members =
            || servers.iter().flat_map(|(major, answer)| answer.members.iter().map(move |one| (*major, one)));
        let seen: BTreeSet<(&str, &str)> = members().map(|(_, one)| (&*one.extension, &*one.name)).collect();
        let extensions: BTreeSet<&str> = seen.iter().map(|(extension, _)| *extension).collect();
        for (extension, name) in self.functions.keys() {
            let is_missing = !seen.contains(&(&**extension, &**name)) && !OLDER.contains(&&**name);
            if extensions.contains(&**extension) && is_missing {
                faults.insert(format!("{extension} has no function {name}: take it out of {LIST}"));
            }
        }
        for (major, member) in members() {
            let Member { extension, name, .. } = member;
            for ((other, _), class) in self.functions.iter().filter(|((_, known), _)| known == name) {
                if let Some(what) = contradicts(member, class) {
                    faults.insert(format!(
                        "{name} of {extension} {what} in {major}, and is {class} for {other}"
                    ));
                }
            }
        }
        for (major, answer) in servers {
            faults.extend(self.taken(*major, answer));
        }
        faults
    }

    /// Names and values of others that extensions take which are said to take none.
    fn taken(&self, major: u16, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        for member in &answer.members {
            let Member { extension, name, .. } = member;
            let others = self.functions.keys().any(|(other, known)| known == name && other != extension);
            let is_taken = answer.functions.contains_key(name) || others;
            let is_beside = self.beside.contains(extension) && extension != BUILT_IN;
            if is_beside && is_taken && !member.takes_own {
                faults.push(format!("{extension} has a function {name} in {major}, a name that is taken"));
            }
            if self.computing.contains(extension) && member.is_definers {
                faults.push(format!("{name} of {extension} runs with its owner's rights in {major}"));
            }
        }
        for (extension, what) in &answer.foreign_makers {
            if self.beside.contains(extension) {
                faults.push(format!("{extension} has {what} in {major}, of values of others"));
            }
        }
        faults
    }
}

/// What a function is that one of this class cannot be.
fn contradicts(member: &Member, class: &str) -> Option<&'static str> {
    let is_harmless = matches!(class, "Constant" | "Flows" | "Metadata" | "Setting");
    if !is_harmless {
        return None;
    }
    if member.is_definers {
        return Some("runs with its owner's rights");
    }
    if !matches!(&*member.language, "c" | "internal" | "sql") {
        return Some("is in a language that nobody reads");
    }
    if member.is_trigger {
        return Some("is a trigger");
    }
    let is_pure = matches!(class, "Constant" | "Flows");
    (is_pure && member.volatility == "v" && !CHANCE.contains(&&*member.name)).then_some("is volatile")
}

/// The elements of an array, or of a reference to one.
fn elements(expression: &Expr) -> Result<Vec<&Expr>> {
    match expression {
        Expr::Array(array) => Ok(array.elems.iter().collect()),
        Expr::Reference(reference) => elements(&reference.expr),
        _ => bail!("{LIST}: a list is no array"),
    }
}

fn text(expression: &Expr) -> Result<String> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Ok(text.value()),
            _ => bail!("{LIST}: a name is no text"),
        },
        _ => bail!("{LIST}: a name is no literal"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function of `hstore` as the list has it, changed.
    fn faults(change: impl FnOnce(&mut Member)) -> Vec<String> {
        let mut member = Member {
            extension: "hstore".to_owned(),
            name: "akeys".to_owned(),
            language: "c".to_owned(),
            volatility: "i".to_owned(),
            is_definers: false,
            takes_own: true,
            is_trigger: false,
        };
        change(&mut member);
        let functions = [(("hstore".to_owned(), "akeys".to_owned()), "Flows".to_owned())].into();
        let computing = ["hstore".to_owned()].into();
        let known = Known { functions, computing, beside: ["sslinfo".to_owned()].into() };
        let answer = Answer { members: vec![member], ..Answer::default() };
        known.faults(&[(15, answer)]).into_iter().collect()
    }

    #[test]
    fn a_function_that_is_what_is_said_of_it_passes_and_one_that_is_not_does_not() {
        assert_eq!(faults(|_| ()), [""; 0]);
        assert_eq!(faults(|one| one.volatility = "v".to_owned()).len(), 1);
        assert_eq!(faults(|one| one.language = "plpgsql".to_owned()).len(), 1);
        assert_eq!(faults(|one| one.is_trigger = true).len(), 1);
        assert_eq!(faults(|one| one.is_definers = true).len(), 2);
        assert!(faults(|one| one.name = "bkeys".to_owned())[0].contains("hstore has no function akeys"));
    }

    #[test]
    fn a_name_that_is_taken_is_none_for_an_extension_beside_others() {
        let taken = faults(|one| (one.extension, one.takes_own) = ("sslinfo".to_owned(), false));
        assert!(taken[0].contains("sslinfo has a function akeys in 15, a name that is taken"), "{taken:?}");
        assert_eq!(faults(|one| one.extension = "sslinfo".to_owned()), [""; 0]);
    }

    #[test]
    fn the_cores_list_is_read() {
        let known = Known::of(include_str!("../../../mask-agent/core/src/lineage/extensions.rs")).unwrap();
        let class = &known.functions[&("dblink".to_owned(), "dblink".to_owned())];
        assert!(
            class == "Dangerous" && known.computing.contains("citext") && known.beside.contains("postgis")
        );
    }
}
