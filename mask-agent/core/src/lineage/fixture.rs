//! A small database for tests: customers' `email`, `ssn` and `salary` are masked, and a few things read them.

/// In words.
mod told;

use std::{collections::HashMap, sync::LazyLock};

pub(crate) use self::told::*;
use super::{Env, LineageError, Overlay, Statement, analyse};
use crate::{
    catalog::{
        Called, Cast, Catalog, Column, Constraint, ConstraintKind, Contents, FIRST_USER_OID, Operand,
        Operator, Relation, RelationKind, Routine, RoutineKind, TypeShape, Volatility,
    },
    lineage::ColumnId,
    policy::{Classification, Policy, column_name},
};

const DATE: u32 = 1082;
const INT4: u32 = 23;
const NUMERIC: u32 = 1700;
const TEXT: u32 = 25;

const POLICY: &str = "
version: 1
name: test
classification:
  columns:
    - {name: [email, work_email], tag: email}
    - {name: ssn, tag: ssn}
    - {name: [salary, birth_date], tag: pay}
    - {name: secret_label, tag: label}
masks:
  email: hash
  ssn: {partial: {last: 4}}
";

/// The policy of the tests, with more keys.
pub(crate) fn policy(more: &str) -> Policy {
    Policy::parse("test.yaml", &format!("{POLICY}{more}")).unwrap()
}

fn relation(oid: u32, name: &str, columns: &[(&str, u32)]) -> Relation {
    let (schema, name) = name.split_once('.').unwrap_or(("public", name));
    let columns =
        columns.iter().zip(1..).map(|((name, type_oid), number)| Column::new(number, name, *type_oid));
    Relation::new(oid, schema, name, RelationKind::Table, columns.collect())
}

fn view(oid: u32, name: &str, columns: &[(&str, u32)], definition: &str) -> Relation {
    let definition = Some(definition.to_owned()).filter(|text| !text.is_empty());
    Relation { kind: RelationKind::View, definition, ..relation(oid, name, columns) }
}

/// A materialized view of one column.
fn kept_rows(oid: u32, name: &str, definition: &str) -> Relation {
    let kind = RelationKind::MaterializedView;
    Relation { kind, ..view(oid, name, &[("id", INT4)], definition) }
}

/// Materialized views, of which one compares with a setting.
fn materialized() -> Vec<Relation> {
    vec![
        kept_rows(
            20_071,
            "searched",
            " SELECT customers.id FROM public.customers WHERE (customers.salary > (current_setting('my.n'::text))::numeric);",
        ),
        kept_rows(
            20_072,
            "gathered",
            " SELECT customers.id FROM public.customers WHERE (customers.salary > (5)::numeric);",
        ),
    ]
}

/// A table of which a column has a collation by which different values are equal.
fn collated() -> Relation {
    let mut collated = relation(20_032, "collated", &[("id", INT4), ("email", TEXT), ("ssn", TEXT)]);
    collated.columns[1].is_loose = true;
    collated.constraints = vec![Constraint { kind: ConstraintKind::Unique, columns: vec![2] }];
    collated
}

/// A table of which a column is filled by a function.
fn defaulted() -> Relation {
    let mut defaulted = relation(20_015, "defaulted", &[("id", INT4), ("filled", TEXT)]);
    defaulted.columns[1].default = Some("public.email_of(1)".into());
    defaulted
}

/// A table of which a column has the text of what is running, and another what nobody knows.
fn stamped() -> Relation {
    let mut stamped = relation(20_016, "stamped", &[("id", INT4), ("said", TEXT), ("lost", TEXT)]);
    stamped.columns[1].default = Some("current_query()".into());
    // It could not be read.
    stamped.columns[2].generated = Some("".into());
    stamped
}

/// Relations whose rows are changed with those of others.
fn changed_by_keys() -> Vec<Relation> {
    let passed_on = |other: u32, own: Relation| {
        let kind = ConstraintKind::ForeignKey { relation: other, columns: vec![1], cascades: true };
        Relation { constraints: vec![Constraint { kind, columns: vec![1] }], ..own }
    };
    vec![
        relation(20_041, "floors", &[("id", INT4)]),
        passed_on(20_041, relation(20_042, "tenants", &[("floor_id", INT4), ("email", TEXT)])),
        relation(20_043, "rooms", &[("id", INT4)]),
        passed_on(20_043, relation(20_044, "desks", &[("room_id", INT4), ("label", TEXT)])),
    ]
}

fn relations() -> Vec<Relation> {
    let held = |kind: ConstraintKind, columns: &[i16]| Constraint { kind, columns: columns.to_vec() };
    let mut people = relation(20_005, "people", &[("id", INT4), ("work_email", TEXT), ("handle", TEXT)]);
    people.columns[2].generated = Some("lower(work_email)".into());
    // An index on an expression.
    people.constraints.push(held(ConstraintKind::Unique, &[0]));
    let mut customers = relation(
        20_001,
        "customers",
        &[("id", INT4), ("city", TEXT), ("email", TEXT), ("ssn", TEXT), ("salary", NUMERIC)],
    );
    customers.constraints = vec![
        held(ConstraintKind::Unique, &[1]),
        held(ConstraintKind::Unique, &[3]),
        held(ConstraintKind::Check, &[2, 5]),
    ];
    let mut letters = relation(20_031, "letters", &[("id", INT4), ("address", TEXT)]);
    let key = ConstraintKind::ForeignKey { relation: 20_001, columns: vec![3], cascades: true };
    letters.constraints.push(held(key, &[2]));
    vec![
        customers,
        relation(
            20_002,
            "orders",
            &[("id", INT4), ("customer_id", INT4), ("note", TEXT), ("amount", NUMERIC), ("email_sent", INT4)],
        ),
        relation(20_003, "numbers", &[("i", INT4)]),
        collated(),
        Relation { has_user_code: true, ..relation(20_004, "triggered", &[("id", INT4), ("note", TEXT)]) },
        people,
        Relation { rules: vec![String::new()], ..relation(20_006, "ruled", &[("id", INT4), ("note", TEXT)]) },
        letters,
        relation(20_007, "items", &[("id", INT4), ("label", TEXT)]),
        relation(20_008, "archive.items", &[("id", INT4), ("secret_label", TEXT), ("label", TEXT)]),
        relation(20_009, "docs", &[("id", INT4), ("body", 114), ("tags", 1009)]),
        Relation { kind: RelationKind::Foreign, ..relation(20_010, "remote", &[("note", TEXT)]) },
        view(
            20_021,
            "contacts",
            &[("id", INT4), ("contact", TEXT)],
            " SELECT customers.id, customers.email AS contact FROM public.customers;",
        ),
        view(
            20_022,
            "rich",
            &[("city", TEXT), ("contact", TEXT)],
            " SELECT c.city, v.contact FROM public.customers c JOIN public.contacts v USING (id) \
             WHERE (c.salary > (1000)::numeric);",
        ),
        relation(20_011, "odds", &[("id", INT4), ("odd", 40_002)]),
        defaulted(),
        stamped(),
        relation(20_018, "thing", &[("id", INT4), ("note", TEXT)]),
        relation(20_019, "archive.thing", &[("id", INT4), ("email", TEXT)]),
        relation(20_026, "attic.thing", &[("id", INT4), ("note", TEXT)]),
        relation(20_027, "twin", &[("id", INT4), ("note", TEXT)]),
        relation(20_028, "archive.twin", &[("id", INT4), ("note", TEXT)]),
        relation(20_029, "pg_settings", &[("setting", TEXT), ("email", TEXT)]),
        relation(20_017, "depths", &[("id", INT4), ("deep", 40_005), ("late", 40_006), ("word", 40_001)]),
        relation(20_012, "kept_notes", &[("id", INT4), ("was", TEXT)]),
        Relation {
            rules: vec![
                "CREATE RULE keep AS ON UPDATE TO public.noted WHERE (new.note IS DISTINCT FROM old.note) \
                 DO INSERT INTO public.kept_notes (id, was) VALUES (old.id, new.note);"
                    .to_owned(),
                "CREATE RULE show AS ON DELETE TO public.noted DO SELECT customers.email FROM public.customers;"
                    .to_owned(),
                "CREATE RULE again AS ON INSERT TO public.noted DO INSERT INTO public.noted (id) VALUES (new.id);"
                    .to_owned(),
            ],
            ..relation(20_013, "noted", &[("id", INT4), ("note", TEXT)])
        },
        Relation {
            rules: vec![
                "CREATE RULE log AS ON UPDATE TO public.paid WHERE (new.salary > old.salary) \
                 DO INSERT INTO public.kept_notes (id) VALUES (old.id);"
                    .to_owned(),
                "CREATE RULE tell AS ON INSERT TO public.paid DO NOTIFY paid;".to_owned(),
            ],
            ..relation(20_014, "paid", &[("id", INT4), ("salary", NUMERIC)])
        },
        Relation {
            rules: vec![
                "CREATE RULE put AS ON INSERT TO public.mailbox DO INSTEAD INSERT INTO public.orders (id, note) \
                 VALUES (new.id, new.body) RETURNING orders.id, orders.note;"
                    .to_owned(),
            ],
            ..view(20_025, "mailbox", &[("id", INT4), ("body", TEXT)], " SELECT orders.id, orders.note AS body FROM public.orders;")
        },
        view(20_023, "unreadable", &[("a", TEXT)], ""),
        view(20_024, "labels", &[("secret_label", TEXT)], " SELECT orders.note FROM public.orders;"),
        relation(20_030, "pg_temp_3.batch", &[("id", INT4), ("value", TEXT), ("email", TEXT)]),
        relation(1_259, "pg_catalog.pg_class", &[("oid", 26), ("relname", 19)]),
        Relation {
            partition_key: vec![2],
            ..relation(20_051, "routed", &[("id", INT4), ("label", TEXT), ("note", TEXT)])
        },
        relation(1_262, "pg_catalog.pg_database", &[("oid", 26), ("datconnlimit", INT4)]),
        view(12_001, "pg_catalog.pg_stats", &[("tablename", 19), ("most_common_vals", 2277)], ""),
        view(12_002, "pg_catalog.pg_settings", &[("name", TEXT), ("setting", TEXT)], ""),
    ]
}

/// Tables of which other catalogs say more.
fn held_relations() -> Vec<Relation> {
    vec![
        Relation { partition_key: vec![2], ..relation(20_062, "parted", &[("id", INT4), ("email", TEXT)]) },
        relation(20_064, "abroad_too", &[("note", TEXT)]),
        Relation {
            kind: RelationKind::Foreign,
            parents: vec![20_064],
            ..relation(20_065, "abroad_part", &[("note", TEXT)])
        },
        Relation {
            has_user_code: true,
            parents: vec![20_028],
            ..relation(20_067, "heir_of_twin", &[("id", INT4), ("note", TEXT)])
        },
        view(
            20_068,
            "triggers_view",
            &[("was", TEXT)],
            " SELECT triggered.note AS was FROM public.triggered;",
        ),
        relation(20_066, "born", &[("id", INT4), ("birth_date", DATE)]),
        relation(20_063, "moods", &[("secret_label", 40_001)]),
        Relation {
            policies: vec!["(lower(email) = CURRENT_USER) and (city <> ''::text)".to_owned()],
            ..relation(20_060, "guarded", &[("id", INT4), ("email", TEXT), ("city", TEXT)])
        },
        Relation {
            policies: vec![
                "(EXISTS ( SELECT FROM public.guarded WHERE guarded.id = ring.id))".to_owned(),
                String::new(),
            ],
            ..relation(20_061, "ring", &[("id", INT4)])
        },
    ]
}

fn routine(oid: u32, name: &str, language: &str, inputs: &[&str], outputs: &[&str], rest: &str) -> Routine {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let written = matches!(language, "sql" | "plpgsql");
    let arguments: Vec<String> = inputs.iter().map(|name| format!("{name} integer")).collect();
    Routine {
        oid,
        schema: "public".to_owned(),
        name: name.to_owned(),
        kind: RoutineKind::Function,
        language: language.to_owned(),
        definition: written.then(|| {
            let arguments = arguments.join(", ");
            let (returns, body) = rest.split_once('\n').unwrap_or((rest, ""));
            format!("CREATE OR REPLACE FUNCTION public.{name}({arguments})\n{returns}\n LANGUAGE {language}\n{body}\n")
        }),
        security_definer: false,
        volatility: Volatility::Volatile,
        inputs: names(inputs),
        outputs: names(outputs),
        returns: TEXT,
        returns_set: !outputs.is_empty(),
        search_path: None,
        harmless: language == "c",
        digest: None,
        parts: Vec::new(),
    }
}

fn routines() -> Vec<Routine> {
    let body = |returns: &str, text: &str| format!(" RETURNS {returns}\nAS $function$ {text} $function$");
    let table = "TABLE(name text, mail text)";
    vec![
        routine(
            30_001,
            "email_of",
            "sql",
            &["who"],
            &[],
            &body("text", "select email from customers where id = who"),
        ),
        routine(30_002, "twice", "sql", &["n"], &[], " RETURNS integer\nRETURN (n * 2)"),
        routine(
            30_003,
            "people_in",
            "sql",
            &["n"],
            &["name", "mail"],
            &body(table, "select city, email from customers limit n"),
        ),
        routine(
            30_004,
            "look_up",
            "plpgsql",
            &["n"],
            &[],
            &body(
                "text",
                "declare found_one text; begin select ssn into found_one from customers where id = n; return found_one; end",
            ),
        ),
        routine(30_005, "add_one", "plpgsql", &["n"], &[], &body("integer", "begin return n + 1; end")),
        routine(
            30_006,
            "dynamic",
            "plpgsql",
            &["n"],
            &[],
            &body("text", "begin execute 'select 1'; return ''; end"),
        ),
        routine(30_007, "opaque", "plpython3u", &["n"], &[], ""),
        routine(
            30_008,
            "kept",
            "plpgsql",
            &["n"],
            &[],
            &body("integer", "begin insert into orders (note) select email from customers; return 1; end"),
        ),
        routine(30_009, "similarity", "c", &["a", "b"], &[], ""),
        // As extensions of 18 have it: the server's own function, by the name of this one.
        routine(30_012, "reverse", "sql", &["t"], &[], " RETURNS text\nRETURN reverse((t)::text)"),
        routine(30_010, "endless", "sql", &["n"], &[], &body("integer", "select endless(n)")),
        routine(
            30_012,
            "pair",
            "sql",
            &["n"],
            &["a", "b"],
            &body("record", "select email, id from customers"),
        ),
        Routine {
            schema: "archive".to_owned(),
            ..routine(
                30_013,
                "pair",
                "sql",
                &["n"],
                &["a", "b"],
                &body("record", "select note, id from orders"),
            )
        },
        routine(
            30_014,
            "either",
            "sql",
            &["n"],
            &["a", "b"],
            &body("record", "select email, id from customers"),
        ),
        routine(30_015, "either", "sql", &["n"], &[], &body("text", "select note from orders")),
        Routine { kind: RoutineKind::Aggregate, ..routine(30_016, "widest", "c", &["a"], &[], "") },
        Routine { kind: RoutineKind::Aggregate, ..routine(30_017, "dark", "internal", &["a"], &[], "") },
        Routine { harmless: false, ..routine(30_018, "crosstab", "c", &["source", "categories"], &[], "") },
        Routine { harmless: false, ..routine(30_019, "xpath_table", "c", &["key", "document"], &[], "") },
        Routine {
            kind: RoutineKind::Procedure,
            ..routine(30_011, "p", "plpgsql", &[], &[], "\nAS $procedure$ begin perform 1; end $procedure$")
        },
    ]
}

/// Functions of types that may keep only a part of what they return.
fn typed_routines() -> Vec<Routine> {
    let body = |returns: &str, text: &str| format!(" RETURNS {returns}\nAS $function$ {text} $function$");
    vec![
        Routine {
            returns: DATE,
            ..routine(
                30_020,
                "born_on",
                "sql",
                &["who"],
                &[],
                &body("date", "select birth_date from born where id = who"),
            )
        },
        Routine {
            returns: INT4,
            ..routine(
                30_021,
                "paid_about",
                "sql",
                &["who"],
                &[],
                &body("integer", "select salary from customers where id = who"),
            )
        },
    ]
}

pub(crate) fn catalog() -> Catalog {
    let user_names = ["===", "odd", "guarded", "deep", "late"].map(ToOwned::to_owned).into();
    let function = Called { schema: "public".to_owned(), name: "opaque".to_owned() };
    let of = |left, right| vec![Operator { left, right, function: function.clone() }];
    let from = |source, name: &str| Cast {
        source,
        function: Called { schema: "public".to_owned(), name: name.to_owned() },
    };
    let odd = Operand::Type(40_002);
    let operators = HashMap::from([
        ("===".to_owned(), of(Operand::Any, Operand::Any)),
        ("=".to_owned(), of(odd, odd)),
        ("<=".to_owned(), of(odd, odd)),
        ("<->".to_owned(), of(odd, odd)),
        ("+".to_owned(), of(odd, Operand::Any)),
        ("<~>".to_owned(), of(Operand::Type(40_003), Operand::Type(40_003))),
    ]);
    let contents = Contents {
        relations: [relations(), held_relations(), changed_by_keys(), materialized()].concat(),
        routines: [routines(), typed_routines()].concat(),
        user_names,
        operators,
        casts: HashMap::from([
            (40_002, vec![from(0, "")]),
            (40_003, vec![from(FIRST_USER_OID, "opaque")]),
            (1082, vec![from(INT4, "opaque")]),
        ]),
        ..Contents::default()
    };
    let types = HashMap::from([
        (FIRST_USER_OID, TypeShape::Base("first".to_owned())),
        (40_001, TypeShape::Domain(TEXT)),
        (40_002, TypeShape::Base("odd".to_owned())),
        (40_003, TypeShape::Base("third".to_owned())),
        (40_004, TypeShape::Domain(TEXT)),
        (40_005, TypeShape::Domain(40_002)),
        (40_006, TypeShape::Domain(FIRST_USER_OID)),
    ]);
    let type_names = HashMap::from([
        ("word".to_owned(), vec![40_001]),
        ("first".to_owned(), vec![FIRST_USER_OID]),
        ("odd".to_owned(), vec![40_002]),
        ("third".to_owned(), vec![40_003]),
        ("guarded".to_owned(), vec![40_004]),
        ("deep".to_owned(), vec![40_005]),
        ("late".to_owned(), vec![40_006]),
        // A type of users by the name of one of the server's.
        ("bpchar".to_owned(), vec![40_001]),
        ("date".to_owned(), vec![1082]),
    ]);
    let loose_collations = ["sloppy".to_owned()].into();
    Catalog::new(Contents { major: 17, types, type_names, loose_collations, ..contents })
}

pub(crate) fn classes(catalog: &Catalog) -> Classification {
    policy("").classify(catalog, &[])
}

/// The statements of a string, where names without a schema mean `public`.
pub(crate) fn statements(sql: &str) -> Result<Vec<Statement>, LineageError> {
    statements_along(Some(&["public"]), sql)
}

/// The statements of a string along a search path, or one nobody knows.
pub(crate) fn statements_along(path: Option<&[&str]>, sql: &str) -> Result<Vec<Statement>, LineageError> {
    let catalog = catalog();
    let overlay = Overlay::default();
    let path = path.map(|path| path.iter().map(|schema| (*schema).to_owned()).collect());
    let env = Env { catalog: &catalog, path, overlay: &overlay };
    analyse(sql, &env, &classes(&catalog))
}

/// `relation.column`, with the schema where it is not `public`.
pub(crate) fn name(column: ColumnId) -> String {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(catalog);
    let name = column_name(&CATALOG, column);
    name.strip_prefix("public.").unwrap_or(&name).to_owned()
}
