//! Statements and all that is found in them and ruled on them, as recorded: a change to any of it is a change to a file
//! in `recorded/`, to be read like one to the code. `MASK_RECORD=1 cargo test -p mask-core recorded` writes them.
//!
//! A statement, or several that share a session, stands above the lines that begin with `>`.

use std::{fmt::Write as _, fs, path::PathBuf};

use super::{
    ColumnId, Effect, Env, Executes, Extent, Given, Holds, Keeps, Made, Origins, Outputs, Overlay, Place,
    Predicate, Shows, Statement, Value, WriteTarget, analyse, fixture,
};
use crate::{
    catalog::{Catalog, Contents},
    explain,
    masking::CellRule,
    policy::{self, Classification, ColumnRuling, Cost, Counts, Policy, Rows, Ruled, Taint},
};

const STRICT: &str = "
rules:
  derived: refuse
  opaque: refuse
  writes: refuse
  predicates: {pattern: refuse, range: refuse, function: refuse, ordering: refuse}
statements: {definitions: refuse, plans: refuse, procedures: refuse, roles: refuse}
";

/// What columns of the small database hold where masked values were kept in them.
const HELD: [(&str, &str, Holds); 5] = [
    ("orders", "note", Holds::Copies),
    ("orders", "amount", Holds::Paired),
    ("items", "label", Holds::Derived),
    ("numbers", "i", Holds::Mixed),
    ("twin", "*", Holds::Derived),
];

/// The database of the attack corpus as `mask-agent catalog --json` prints it, with less of the server's own.
const CORPUS: &str = include_str!("recorded/corpus.json");

#[test]
fn what_is_found_in_a_small_database_is_as_recorded() {
    let usual = fixture::policy("");
    compare("small", &Judge::new(fixture::catalog(), "public", usual, fixture::policy(STRICT)));
}

#[test]
fn what_is_found_in_the_database_of_the_corpus_is_as_recorded() {
    let contents: Contents = serde_json::from_str(CORPUS).unwrap();
    let strict = include_str!("../../../../policies/agent-strict.yaml");
    let strict = Policy::parse("agent-strict.yaml", strict).unwrap();
    compare("corpus", &Judge::new(Catalog::new(contents), "app", Policy::zero_config(), strict));
}

#[test]
fn what_is_found_of_what_was_kept_is_as_recorded() {
    let taint = |(relation, column, holds): (&str, &str, Holds)| {
        let schema = "public".to_owned();
        Taint {
            schema,
            relation: relation.to_owned(),
            column: column.to_owned(),
            holds,
            counts: Counts::Always,
        }
    };
    let mut judge = Judge::new(fixture::catalog(), "public", fixture::policy(""), fixture::policy(STRICT));
    let taints = HELD.map(taint);
    judge.classes = [&judge.usual, &judge.strict].map(|policy| policy.classify(&judge.catalog, &taints));
    judge.also = Judge::rest;
    compare("held", &judge);
}

#[expect(clippy::disallowed_methods, reason = "what is recorded stands in files beside this one")]
fn compare(database: &str, judge: &Judge) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/lineage/recorded").join(database);
    let records = std::env::var_os("MASK_RECORD").is_some();
    let mut files = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let recorded = fs::read_to_string(&path).unwrap();
        let found = record(&recorded, judge);
        if records {
            fs::write(&path, &found).unwrap();
        }
        for (line, (found, recorded)) in (1..).zip(found.lines().zip(recorded.lines())) {
            assert!(
                records || found == recorded,
                "{}:{line}\n found {found}\n wants {recorded}",
                path.display()
            );
        }
        assert!(records || found.len() == recorded.len(), "{}: not as long", path.display());
        files += 1;
    }
    assert!(files > 0, "nothing was compared");
}

/// The text with what is found now in place of what was.
fn record(text: &str, judge: &Judge) -> String {
    let mut record = String::new();
    let mut sql = String::new();
    for line in text.lines().filter(|line| !line.starts_with('>')).chain([""]) {
        if !line.is_empty() && !line.starts_with('#') {
            sql.push_str(line);
            sql.push('\n');
            continue;
        }
        if !sql.is_empty() {
            record.push_str(&judge.told(sql.trim_end()));
            sql.clear();
        }
        record.push_str(line);
        record.push('\n');
    }
    record.truncate(record.trim_end().len());
    record.push('\n');
    record
}

/// A database, and the two policies all is ruled by.
struct Judge {
    catalog: Catalog,
    schema: &'static str,
    usual: Policy,
    strict: Policy,
    classes: [Classification; 2],
    /// What is said of a statement besides.
    also: fn(&Self, &Statement) -> Vec<(&'static str, String)>,
}

impl Judge {
    fn new(catalog: Catalog, schema: &'static str, usual: Policy, strict: Policy) -> Self {
        let classes = [usual.classify(&catalog, &[]), strict.classify(&catalog, &[])];
        Self { catalog, schema, usual, strict, classes, also: |_, _| Vec::new() }
    }

    /// A string as it stands, and under it what it says.
    fn told(&self, sql: &str) -> String {
        let mut text = format!("{sql}\n");
        let path = Some(vec![self.schema.to_owned()]);
        let env = Env { catalog: &self.catalog, path, overlay: &Overlay::default() };
        match analyse(sql, &env, &self.classes[0]) {
            Ok(statements) => {
                for statement in &statements {
                    self.statement(&mut text, statement);
                }
            }
            Err(error) => writeln!(text, "> {error}").unwrap(),
        }
        text
    }

    fn statement(&self, text: &mut String, statement: &Statement) {
        writeln!(text, "> {}: {}", statement.command, self.outputs(&statement.outputs)).unwrap();
        for (what, found) in self.found(statement).into_iter().chain((self.also)(self, statement)) {
            if !found.is_empty() {
                writeln!(text, ">   {what}: {found}").unwrap();
            }
        }
        let ruled = |policy: &Policy, classes: &Classification| {
            self.ruled(&policy::rule(statement, &self.catalog, classes, policy.usage_rules()))
        };
        let usual = ruled(&self.usual, &self.classes[0]);
        for line in &usual {
            writeln!(text, ">   {line}").unwrap();
        }
        let strict = ruled(&self.strict, &self.classes[1]);
        for line in strict.iter().filter(|line| !usual.contains(line)) {
            writeln!(text, ">   strictly {line}").unwrap();
        }
    }

    fn name(&self, column: ColumnId) -> String {
        let name = explain::name(&self.catalog, column);
        let own = name.strip_prefix(self.schema).and_then(|name| name.strip_prefix('.'));
        own.map_or(name.clone(), str::to_owned)
    }

    fn names(&self, columns: &[ColumnId]) -> String {
        columns.iter().map(|column| self.name(*column)).collect::<Vec<_>>().join(", ")
    }

    /// As the other tests of lineage write it.
    fn origins(&self, origins: &Origins) -> String {
        let sign = if origins.is_identity { "=" } else { "<-" };
        let parts = [(sign, &origins.columns), ("via", &origins.views), ("~", &origins.implied)];
        let told = parts.into_iter().filter(|(sign, columns)| *sign == "=" || !columns.is_empty());
        let mut text = String::new();
        for (sign, columns) in told {
            write!(text, " {sign} {}", self.names(columns)).unwrap();
        }
        if let Some(why) = origins.untraceable {
            write!(text, " ?{why:?}").unwrap();
        }
        text
    }

    fn outputs(&self, outputs: &Outputs) -> String {
        match outputs {
            Outputs::Columns(columns) => joined(
                columns.iter().map(|output| format!("{}{}", output.name, self.origins(&output.origins))),
            ),
            Outputs::Cursor(name) => format!("cursor {name}"),
            Outputs::Each(each) => format!("*{}", self.origins(each)),
            Outputs::None => "-".to_owned(),
            Outputs::Plan(name) => format!("plan of {name}"),
            Outputs::Prepared(name) => format!("prepared {name}"),
        }
    }

    /// What is found in a statement, each by its name.
    fn found(&self, statement: &Statement) -> Vec<(&'static str, String)> {
        let predicates = statement.predicates.iter().map(|use_| {
            let Predicate { column, usage, guesses, asked } = *use_;
            format!("{} {} {guesses:?} {asked:?}", self.name(column), usage.name())
        });
        let channels = statement.channels.iter();
        let channels = channels.map(|channel| format!("{}{}", channel.by, self.origins(&channel.origins)));
        let writes = statement.writes.iter();
        let writes =
            writes.map(|write| format!("{}{}", self.target(&write.target), self.origins(&write.origins)));
        let touched = statement.touched.iter().map(|oid| match self.catalog.relation(*oid) {
            Some(relation) => relation.name.to_string(),
            None => oid.to_string(),
        });
        let mut touched: Vec<_> = touched.collect();
        touched.sort_unstable();
        let effect = Some(statement.effect).filter(|effect| *effect != Effect::None);
        vec![
            ("keeps", statement.keeps.as_ref().map(keeps).unwrap_or_default()),
            ("copy", debug(statement.copy.as_ref())),
            ("copy in", debug(statement.copy_in.as_ref())),
            ("effect", debug(effect)),
            ("relations", statement.relations.join(", ")),
            ("touched", touched.join(", ")),
            ("uses", joined(predicates)),
            ("writes", joined(writes)),
            ("given", joined(statement.given.iter().map(|given| self.given(given)))),
            ("executes", statement.executes.as_ref().map(executes).unwrap_or_default()),
            ("channels", joined(channels)),
            ("positions", statement.positions.join(", ")),
            ("made", joined(statement.made.iter().map(|made| self.made(made)))),
            ("sets path", debug(statement.sets_path.as_ref())),
            ("flags", flags(statement)),
            ("never sent", statement.refusal.as_ref().map_or("", |refusal| refusal.code).to_owned()),
        ]
    }

    /// What few statements are about.
    fn rest(&self, statement: &Statement) -> Vec<(&'static str, String)> {
        let holds = |write: &super::Write| format!("{} {:?}", self.target(&write.target), write.holds);
        let flags = [
            ("redefines", statement.redefines),
            ("sets role", statement.sets_role),
            ("reaches", statement.reaches),
        ];
        let flags = flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name.to_owned());
        vec![
            ("holds", joined(statement.writes.iter().map(holds))),
            ("computes", self.names(&statement.computes)),
            ("abroad", joined(statement.abroad.iter().map(|origins| self.origins(origins)))),
            ("copied", debug(statement.copied.as_ref())),
            ("settings", joined(statement.settings.iter().map(|setting| format!("{setting:?}")))),
            ("also", joined(flags)),
        ]
    }

    fn given(&self, given: &Given) -> String {
        let each = |extent: &Extent| match extent {
            Extent::Elements => " each",
            Extent::Whole => "",
        };
        let place = match &given.place {
            Place::Compared { with, extent } => format!("compared{}{}", each(extent), self.origins(with)),
            Place::Elsewhere => "elsewhere".to_owned(),
            Place::Put { target, extent } => format!("put{} into {}", each(extent), self.target(target)),
        };
        format!("{} {place}", value(&given.value))
    }

    fn target(&self, target: &WriteTarget) -> String {
        match target {
            WriteTarget::Column(column) => self.name(*column),
            WriteTarget::New { schema, relation, column } => format!("new {schema}.{relation}.{column}"),
        }
    }

    fn made(&self, made: &Made) -> String {
        match made {
            Made::Policy(policy) => {
                let table = policy.table.as_ref().map(|table| table.relname.as_str());
                format!("policy of {}", table.unwrap_or_default())
            }
            Made::Function { name, body: None } => format!("unreadable function {name}"),
            Made::Function { name, body: Some(body) } => {
                let set = if body.returns_set { " set" } else { "" };
                let (inputs, outputs) = (body.inputs.join(", "), body.outputs.join(", "));
                format!("{} function {name}({inputs}) -> ({outputs}) {}{set}", body.language, body.returns)
            }
            Made::Relation { name, columns } | Made::Shows { name, columns, .. } => {
                let kind = if matches!(made, Made::Shows { .. }) { "view" } else { "relation" };
                let columns =
                    columns.iter().map(|(name, made_of)| format!("{name}{}", self.origins(made_of)));
                format!("{kind} {name} ({})", columns.collect::<Vec<_>>().join(", "))
            }
            other => format!("{other:?}"),
        }
    }

    /// What is ruled on a statement, a line each.
    fn ruled(&self, ruled: &Ruled) -> Vec<String> {
        let rows = match &ruled.rows {
            Rows::Columns(columns) => joined(columns.iter().map(column)),
            Rows::Cursor(_) | Rows::None | Rows::Plan(_) | Rows::Prepared(_) => String::new(),
            Rows::Each(each) => format!("*{}", column(each)),
        };
        let budgeted = ruled.budgeted.iter().map(|budgeted| {
            let cost = match budgeted.cost {
                Cost::Fixed(count) => count.to_string(),
                Cost::Thousands(count) => format!("{count} thousand"),
                Cost::Elements(number) => format!("elements of ${number}"),
            };
            format!("{} costs {cost}", self.name(budgeted.column))
        });
        let taints = ruled.taints.iter();
        let taints = taints.map(|taint| format!("{}.{}.{}", taint.schema, taint.relation, taint.column));
        let denial = ruled.denial.as_ref().map(|denial| {
            let (code, columns) = (denial.refusal.code, self.names(&denial.columns));
            format!("{code} by {} for {columns}; allowed {:?}", denial.rule, denial.allowed)
        });
        let given = &ruled.given;
        let constants =
            given.constants.iter().map(|constant| format!("'{}' at {}", constant.text, constant.at));
        let parameters = given.parameters.iter();
        let parameters = parameters.map(|parameter| format!("${} {:?}", parameter.number, parameter.extent));
        let filled = given.filled.iter().map(|(number, column)| format!("${number} into {}", column.name));
        let filled_by = given.constant_columns.iter().map(|column| format!("constants into {}", column.name));
        let copied = ruled.copy_in.iter().flat_map(|copy| &copy.columns);
        let copied =
            copied.map(|column| column.as_ref().map_or("-".to_owned(), |column| column.name.to_string()));
        let lines = [
            ("ruled", rows),
            ("budget", joined(budgeted)),
            ("taints", joined(taints)),
            ("turned back", joined(constants.chain(parameters))),
            ("looked at", joined(filled.chain(filled_by))),
            ("copied", joined(copied)),
            ("withholds", if ruled.withholds { "errors".to_owned() } else { String::new() }),
            ("refused", denial.unwrap_or_default()),
        ];
        let told = lines.into_iter().filter(|(_, what)| !what.is_empty());
        told.map(|(name, what)| format!("{name}: {what}")).collect()
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.collect::<Vec<_>>().join("; ")
}

fn debug(what: Option<impl std::fmt::Debug>) -> String {
    what.map_or(String::new(), |what| format!("{what:?}"))
}

fn keeps(keeps: &Keeps) -> String {
    match keeps {
        Keeps::Cursor { name, holds: true } => format!("cursor {name} with hold"),
        Keeps::Cursor { name, holds: false } => format!("cursor {name}"),
        Keeps::Prepared(name) => format!("prepared {name}"),
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Constant { text, at } => format!("'{text}' at {at}"),
        Value::Parameter { number, at } => format!("${number} at {at}"),
    }
}

fn executes(executes: &Executes) -> String {
    let arguments = executes.arguments.iter().map(|argument| argument.as_ref().map_or("?".to_owned(), value));
    let shows = match executes.shows {
        Shows::Plan => "plan",
        Shows::Rows => "rows",
    };
    format!("{} with ({}) for its {shows}", executes.name, arguments.collect::<Vec<_>>().join(", "))
}

fn flags(statement: &Statement) -> String {
    let flags = [
        ("reads the statement", statement.reads_statement),
        ("opaque", statement.is_opaque),
        ("may quote", statement.may_quote),
        ("calls user code", statement.calls_user_code),
        ("meets rules", statement.meets_rules),
        ("reads large objects", statement.reads_large_objects),
        ("needs literals", statement.needs_literals),
    ];
    flags.into_iter().filter(|(_, is_set)| *is_set).map(|(name, _)| name).collect::<Vec<_>>().join(", ")
}

fn column(column: &ColumnRuling) -> String {
    let cell = match &column.cell {
        CellRule::Clear => "clear".to_owned(),
        CellRule::Mask(rule) => format!("{} by {}", rule.mask.name(), column.rule),
        CellRule::Redact => format!("redacted by {}", column.rule),
    };
    let of_type = if column.type_oid == 0 { String::new() } else { format!(" of {}", column.type_oid) };
    format!("{} {cell}{of_type}", column.name)
}
