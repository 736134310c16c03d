//! Whether anything in a database speaks of a function: what does not is as it was when the function is made or changed.

use super::{Catalog, Relation, Routine};

/// Functions of extensions that run constant text, in which escapes may hide a name.
const RUN_TEXT: [&str; 2] = ["crosstab", "xpath_table"];

impl Catalog {
    /// Whether anything but functions of these names may call one: by its name, as a trigger, an operator, a cast, or as
    /// part of an aggregate.
    pub fn mentions(&self, names: &[&str]) -> bool {
        let is_plain = |name: &&str| !name.is_empty() && name.chars().all(is_in_name);
        if !names.iter().all(is_plain) {
            return true;
        }
        let lower: Vec<String> = names.iter().map(|name| name.to_lowercase()).collect();
        let is_meant = |name: &str| names.contains(&name);
        let says = |text: &str| hides_names(text) || lower.iter().any(|name| has_word(text, name));
        let by_routine = |routine: &Routine| {
            !is_meant(&routine.name)
                && (routine.definition.as_deref().is_some_and(says)
                    || routine.parts.iter().any(|part| is_meant(&part.name)))
        };
        let by_relation = |relation: &Relation| {
            let columns = &relation.columns;
            let expressions =
                columns.iter().flat_map(|column| [column.generated.as_deref(), column.default.as_deref()]);
            let clauses = relation.rules.iter().chain(&relation.policies).map(|text| Some(&**text));
            let mut texts = expressions.chain(clauses).chain([relation.definition.as_deref()]).flatten();
            let mut triggers = relation.triggers.iter().filter_map(|oid| self.routine(*oid));
            texts.any(says) || triggers.any(|routine| is_meant(&routine.name))
        };
        let operators = self.operators.values().flatten().map(|operator| &operator.function);
        let mut called = operators.chain(self.casts.values().flatten().map(|cast| &cast.function));
        called.any(|function| is_meant(&function.name))
            || self.all_routines().iter().any(by_routine)
            || self.relations().any(by_relation)
    }

    /// Names of the functions in which a snapshot differs from an earlier one; none where it does in anything else.
    pub fn differs_in_functions<'a>(&'a self, before: &'a Self) -> Option<Vec<&'a str>> {
        let is_same = self.major == before.major
            && self.relations.is_as(&before.relations)
            && self.types.is_as(&before.types)
            && self.user_names == before.user_names
            && self.operators == before.operators
            && self.casts == before.casts
            && self.type_names == before.type_names
            && self.search_path == before.search_path
            && self.loose_collations == before.loose_collations;
        if !is_same {
            return None;
        }
        let is_other = |routine: &&Routine, known: &Self| known.routine(routine.oid) != Some(routine);
        let new = self.all_routines().iter().filter(|routine| is_other(routine, before));
        let gone = before.all_routines().iter().filter(|routine| is_other(routine, self));
        let mut names: Vec<&str> = new.chain(gone).map(|routine| &*routine.name).collect();
        names.sort_unstable();
        names.dedup();
        Some(names)
    }
}

fn is_in_name(letter: char) -> bool {
    letter.is_alphanumeric() || matches!(letter, '_' | '$')
}

/// Whether a text has a word, in whatever case; `lower` is the word in lower case.
pub(crate) fn has_word(text: &str, lower: &str) -> bool {
    // Letters beyond ASCII may be others in lower case, some of them within.
    let is_it = |word: &str| {
        if word.is_ascii() { word.eq_ignore_ascii_case(lower) } else { word.to_lowercase() == lower }
    };
    text.split(|letter| !is_in_name(letter)).any(is_it)
}

/// Whether a text may write names by the numbers of their characters.
pub(crate) fn hides_names(text: &str) -> bool {
    let has = |word: &str| {
        text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word.as_bytes()))
    };
    text.contains('&') && has("u&\"") || text.contains('\\') && RUN_TEXT.iter().any(|function| has(function))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::catalog::{
        Called, Cast, Change, Column, Contents, Operand, Operator, RelationKind, RoutineKind, Volatility,
    };

    fn routine(oid: u32, name: &str, body: &str) -> Routine {
        Routine {
            oid,
            schema: "public".to_owned(),
            name: name.to_owned(),
            kind: RoutineKind::Function,
            language: "sql".to_owned(),
            definition: Some(format!("CREATE FUNCTION public.{name}() RETURNS int LANGUAGE sql AS '{body}'")),
            security_definer: false,
            volatility: Volatility::Volatile,
            inputs: Vec::new(),
            outputs: Vec::new(),
            returns: 23,
            returns_set: false,
            search_path: None,
            harmless: false,
            digest: None,
            parts: Vec::new(),
        }
    }

    fn contents() -> Contents {
        let column = Column { default: Some("public.defaulting()".into()), ..Column::new(1, "a", 23) };
        let view = Relation::new(2, "public", "v", RelationKind::View, vec![Column::new(1, "a", 23)]);
        let table = Relation::new(1, "public", "t", RelationKind::Table, vec![column]);
        let called = |name: &str| Called { schema: "public".to_owned(), name: name.to_owned() };
        let operator = Operator { left: Operand::Any, right: Operand::Any, function: called("operating") };
        let mut total = routine(12, "total", "");
        total.parts = vec![called("adding")];
        Contents {
            relations: vec![
                Relation {
                    triggers: vec![10],
                    rules: vec!["ruling()".to_owned()],
                    policies: vec!["Holding(a)".to_owned()],
                    ..table
                },
                Relation { definition: Some("SELECT public.shown() AS a".to_owned()), ..view },
            ],
            routines: vec![routine(10, "fired", ""), routine(11, "other", "select called()"), total],
            operators: HashMap::from([("+++".to_owned(), vec![operator])]),
            casts: HashMap::from([(7, vec![Cast { source: 0, function: called("casting") }])]),
            ..Contents::default()
        }
    }

    #[test]
    fn what_may_be_called_is_mentioned() {
        let catalog = Catalog::new(contents());
        let mentioned =
            ["defaulting", "ruling", "holding", "shown", "fired", "called", "adding", "operating"];
        for name in mentioned.into_iter().chain(["casting", "SHOWN", "a b", ""]) {
            assert!(catalog.mentions(&[name]), "{name}");
            assert!(catalog.mentions(&["nobody", name]), "{name}");
        }
        // A function speaks of itself.
        for name in ["nobody", "other", "call", "called_"] {
            assert!(!catalog.mentions(&[name]), "{name}");
        }
    }

    #[test]
    fn a_name_that_is_hidden_may_be_any() {
        for body in ["select U&\"\\0061\"()", "select crosstab(E\\x66)"] {
            let routines = vec![routine(10, "hiding", body)];
            assert!(
                Catalog::new(Contents { routines, ..Contents::default() }).mentions(&["nobody"]),
                "{body}"
            );
        }
        let routines = vec![routine(10, "plain", "select a & b, E\\n")];
        assert!(!Catalog::new(Contents { routines, ..Contents::default() }).mentions(&["nobody"]));
    }

    #[test]
    fn snapshots_differ_in_functions_where_all_else_is_the_same() {
        let before = Catalog::new(contents());
        let change = |change: fn(&mut Vec<Routine>)| {
            let mut routines = before.all_routines().to_vec();
            change(&mut routines);
            before.changed(Change { routines: Some(routines), ..Change::default() })
        };
        let found = |catalog: &Catalog| {
            let names = catalog.differs_in_functions(&before)?;
            Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        let names = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        let operators = Some(before.operators.clone());
        let casts = Some(before.casts.clone());
        assert_eq!(found(&before.changed(Change { operators, casts, ..Change::default() })), names(&[]));
        assert_eq!(found(&change(|routines| routines.push(routine(20, "new", "")))), names(&["new"]));
        assert_eq!(found(&change(|routines| drop(routines.pop()))), names(&["total"]));
        assert_eq!(
            found(&change(|routines| routines[0].name = "renamed".to_owned())),
            names(&["fired", "renamed"])
        );
        assert_eq!(found(&change(|routines| routines[1].harmless = true)), names(&["other"]));
        let relations = vec![Relation::new(3, "public", "w", RelationKind::Table, Vec::new())];
        assert_eq!(found(&before.changed(Change { relations, ..Change::default() })), None);
        assert_eq!(found(&before.changed(Change { casts: Some(HashMap::new()), ..Change::default() })), None);
    }
}
