use super::*;
use crate::{
    lineage::fixture::{catalog, policy, statements},
    masking::CellRule,
    policy::{Cost, Policy},
};

/// What is ruled on each statement of a string: its columns, or the code of its refusal.
fn ruled_under(more: &str, sql: &str) -> String {
    let catalog = catalog();
    let policy = policy(more);
    let classes = policy.classify(&catalog, &[]);
    let words = |statement: &Statement| words(&rule(statement, &catalog, &classes, policy.usage_rules()));
    statements(sql).unwrap().iter().map(words).collect::<Vec<_>>().join(" | ")
}

fn words(ruled: &Ruled) -> String {
    if let Some(denial) = &ruled.denial {
        return format!("refuse {}", denial.refusal.code);
    }
    match &ruled.rows {
        Rows::Columns(columns) => columns.iter().map(column).collect::<Vec<_>>().join("; "),
        Rows::Cursor(name) => format!("cursor {name}"),
        Rows::Each(each) => format!("*{}", column(each)),
        Rows::None => "-".to_owned(),
        Rows::Plan(name) => format!("plan of {name}"),
        Rows::Prepared(name) => format!("prepared {name}"),
    }
}

fn column(column: &ColumnRuling) -> String {
    let cell = match &column.cell {
        CellRule::Clear => "clear".to_owned(),
        CellRule::Mask(_) => format!("mask {}", column.rule),
        CellRule::Redact => format!("redact {}", column.rule.trim_start_matches("builtin:")),
    };
    format!("{} {cell}", column.name)
}

#[track_caller]
fn check(sql: &str, expected: &str) {
    assert_eq!(ruled_under("", sql), expected, "{sql}");
}

const STRICT: &str = "
rules:
  derived: refuse
  opaque: refuse
  writes: refuse
  predicates: {pattern: refuse, range: refuse, function: refuse, ordering: refuse}
statements: {definitions: refuse, plans: refuse, procedures: refuse, roles: refuse}
";

fn taints(sql: &str) -> Vec<Taint> {
    let catalog = catalog();
    let policy = policy("");
    let classes = policy.classify(&catalog, &[]);
    let statements = statements(sql).unwrap();
    statements
        .iter()
        .flat_map(|statement| rule(statement, &catalog, &classes, policy.usage_rules()).taints)
        .collect()
}

fn tainted(sql: &str) -> String {
    let written = |taint: &Taint| format!("{}.{}.{}", taint.schema, taint.relation, taint.column);
    taints(sql).iter().map(written).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_masked_column_is_masked_by_its_rule_and_what_is_made_of_it_is_redacted() {
    check("select id, email, ssn as x from customers", "id clear; email mask email; x mask ssn");
    check(
        "select lower(email), email || ssn, count(email), max(salary) from customers",
        "lower redact derived; ?column? redact derived; count clear; max redact derived",
    );
    check("select c, c.id from customers c", "c redact derived; id clear");
    check(
        "select email::text, email::varchar, email::bytea from customers",
        "email mask email; email mask email; email redact derived",
    );
    check("select i from numbers join customers on i <= salary", "refuse predicate");
    check("select email from numbers join customers on i <= salary", "refuse predicate");
    check("select opaque(1), 1 as a", "opaque redact untraceable; a clear");
    check("select note from orders", "note clear");
    check("copy (select email, id from customers) to stdout", "email mask email; id clear");
    check("insert into customers (email) values ('a') returning email", "email mask email");
    check("explain analyze select email from customers", "* clear");
    check(
        "select (select email from customers c where c.id = o.customer_id), (select max(email) from customers) from orders o",
        "email mask email; max redact derived",
    );
    check("select email collate \"C\" from customers order by 1 limit 5", "email mask email");
}

#[test]
fn a_join_with_a_list_the_client_made_is_refused() {
    for list in [
        "(values (1), (2)) l(v)",
        "unnest($1::int[]) l(v)",
        "generate_series(1, 9) l(v)",
        "(select v from generate_series(1, 9) s(v), generate_series(1, v)) l",
    ] {
        check(&format!("select c.id from customers c join {list} on l.v = c.salary"), "refuse predicate");
        check(&format!("select c.id from customers c join {list} on l.v = c.id"), "id clear");
    }
    check(
        "with l(v) as (select 1 union all select 2) select id from customers, l where salary = v",
        "refuse predicate",
    );
    check(
        "select 1 from customers c where exists (select 1 from unnest($1::int[]) v where v = c.salary)",
        "refuse predicate",
    );
}

fn costs(more: &str, sql: &str) -> Vec<Cost> {
    let catalog = catalog();
    let policy = policy(more);
    let classes = policy.classify(&catalog, &[]);
    let statement = statements(sql).unwrap().remove(0);
    let ruled = rule(&statement, &catalog, &classes, policy.usage_rules());
    ruled.budgeted.iter().map(|use_| use_.cost).collect()
}

#[test]
fn a_list_costs_what_its_guesses_cost_one_by_one() {
    const COUNTED: &str = "\nrules: {predicates: {equality: budget}}\n";
    let long = format!("select id from customers where salary in (0{})", ", 1".repeat(2_500));
    for (sql, free, counted) in [
        ("select id from customers where email = 'a'", vec![], vec![Cost::Fixed(1)]),
        ("select id from customers where email in ('a', 'b')", vec![], vec![Cost::Fixed(2)]),
        (
            "select id from customers where email = any ($1)",
            vec![Cost::Thousands(1)],
            vec![Cost::Elements(1)],
        ),
        (&*long, vec![Cost::Fixed(2)], vec![Cost::Fixed(2)]),
        (
            "select id from customers where salary = any (string_to_array($1, ','))",
            vec![Cost::Fixed(1)],
            vec![Cost::Fixed(1)],
        ),
        ("insert into customers (email) values ('a')", vec![], vec![Cost::Fixed(1)]),
        ("select id from customers where city in ('a', 'b') and city like 'a%'", vec![], vec![]),
    ] {
        assert_eq!(costs("", sql), free, "{sql}");
        assert_eq!(costs(COUNTED, sql), counted, "{sql}");
    }
    // Where ranges are free, so are long lists.
    let free = "\nrules: {predicates: {range: allow}}\n";
    assert_eq!(costs(free, "select id from customers where email = any ($1)"), []);
    let of = |cost: Cost, elements: u32| cost.of(|_| elements);
    assert_eq!([1, 1_000, 1_001, 2_001].map(|elements| of(Cost::Thousands(1), elements)), [0, 0, 1, 2]);
    assert_eq!((of(Cost::Elements(1), 7), of(Cost::Fixed(3), 7)), (7, 3));
}

#[test]
fn a_union_is_masked_where_no_side_is_under_another_rule() {
    check("select email from customers union all select work_email from people", "email mask email");
    check("select email from customers union all select null", "email mask email");
    check("select email from customers union all select ssn from customers", "email redact derived");
    check("select email from customers union all select note from orders", "email mask email");
    check("select note from orders union all select email from customers", "note mask email");
    check(
        "select note from orders union all select 'a' union all select email from customers",
        "note mask email",
    );
    check("select email from customers union select secret_label from labels", "email redact derived");
    check("select note from orders union select secret_label from labels", "note mask label");
    // Both are shown as the same constant, but by rules of their own.
    check("select salary from customers union all select secret_label from labels", "salary redact derived");
    check("select email from customers union select lower(note) from orders", "email redact derived");
    check("select id from customers union all select id from orders", "id clear");
}

#[test]
fn columns_of_views_are_masked_by_what_they_are_or_are_called() {
    check("select contact, id from contacts", "contact mask email; id clear");
    check("select secret_label from labels", "secret_label mask label");
    check("select lower(secret_label) from labels", "lower redact derived");
    check("select a from unreadable", "a redact untraceable");
}

#[test]
fn a_column_that_is_stored_under_a_rule_has_no_other_by_a_view() {
    let catalog = catalog();
    let policy = policy("");
    let taint = Taint {
        schema: "public".to_owned(),
        relation: "contacts".to_owned(),
        column: "contact".to_owned(),
        holds: Holds::Copies,
        counts: Counts::Always,
    };
    let classes = policy.classify(&catalog, &[taint]);
    let statement = statements("select contact from contacts").unwrap().remove(0);
    assert_eq!(words(&rule(&statement, &catalog, &classes, policy.usage_rules())), "contact mask email");
}

#[test]
fn a_whole_row_is_asked_of_for_each_of_its_columns() {
    let (catalog, policy) = (catalog(), policy(""));
    let classes = policy.classify(&catalog, &[]);
    let asked = |sql: &str| {
        let statement = statements(sql).unwrap().remove(0);
        let budgeted = rule(&statement, &catalog, &classes, policy.usage_rules()).budgeted;
        budgeted.iter().map(|budgeted| column_name(&catalog, budgeted.column)).collect::<Vec<_>>().join(" ")
    };
    let all = "public.customers.email public.customers.ssn public.customers.salary";
    assert_eq!(asked("select id from customers c where c > row(1, 'a', 'b', 'c', 5)"), all);
    assert_eq!(asked("select id from orders o where o > row(1, 2, 'b', 5, 6)"), "");
}

#[test]
fn the_type_of_an_identity_is_its_columns() {
    let catalog = catalog();
    let policy = policy("");
    let classes = policy.classify(&catalog, &[]);
    let sql = "select salary, salary + 1, c.ctid from customers c";
    let statement = statements(sql).unwrap().remove(0);
    let Rows::Columns(columns) = rule(&statement, &catalog, &classes, policy.usage_rules()).rows else {
        panic!()
    };
    let types: Vec<_> = columns.iter().map(|column| (column.type_oid, column.type_modifier)).collect();
    assert_eq!(types, [(1700, -1), (0, -1), (0, -1)]);
}

#[test]
fn a_statement_that_puts_anything_anywhere_writes() {
    let writes = |sql: &str| {
        let catalog = catalog();
        let policy = policy("");
        let classes = policy.classify(&catalog, &[]);
        rule(&statements(sql).unwrap()[0], &catalog, &classes, policy.usage_rules()).writes
    };
    for sql in ["insert into orders (note) values ('a')", "delete from orders", "select 1 as a into t"] {
        assert!(writes(sql), "{sql}");
    }
    assert!(!writes("select email from customers") && !writes("show work_mem"));
}

/// What is turned back, where tokens of addresses and labels can be.
fn turned_back(sql: &str) -> String {
    let policy = "version: 1\nname: tokens\nclassification:\n  columns:\n\
                  \x20   - {name: [email, work_email], tag: email}\n    - {name: ssn, tag: ssn}\n\
                  \x20   - {name: secret_label, tag: label}\n\
                  masks: {email: {token: {reversible: true}}, ssn: {token: {reversible: true}}, label: {token: {reversible: true}}}\n";
    let policy = Policy::parse("p.yaml", policy).unwrap();
    let catalog = catalog();
    let classes = policy.classify(&catalog, &[]);
    let statement = statements(sql).unwrap().remove(0);
    let given = rule(&statement, &catalog, &classes, policy.usage_rules()).given;
    let constants =
        given.constants.iter().map(|constant| format!("'{}' {}", constant.text, constant.rule.rule));
    let parameters = given.parameters.iter();
    let parameters = parameters
        .map(|parameter| format!("${} {:?} {}", parameter.number, parameter.extent, parameter.rule.rule));
    constants.chain(parameters).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_value_is_turned_back_where_all_it_is_compared_with_have_the_tokens_of_one_scope() {
    for (sql, expected) in [
        ("select 1 from customers where email = 'a'", "'a' email"),
        ("select 1 from customers where email = $1", "$1 Whole email"),
        ("select 1 from customers where email = any ($1)", "$1 Elements email"),
        ("select 1 from customers where email = $1 and ssn = $2", "$1 Whole email; $2 Whole ssn"),
        ("select 1 from customers where email = $1 and ssn = $1", ""),
        ("select 1 from customers, people where email = $1 and work_email = $1", "$1 Whole email"),
        ("select 1 from customers where email = $1 or email = any ($1)", ""),
        ("select 1 from customers where email = $1 or ssn = any ($1)", ""),
        ("select 1 from customers where city = $1", ""),
        // Of several columns, each has to have it; one that only its view calls so is enough.
        (
            "select 1 from (select email from customers union all select work_email from people) t where email = 'a'",
            "'a' email",
        ),
        (
            "select 1 from (select email from customers union all select city from customers) t where email = 'a'",
            "",
        ),
        ("select 1 from labels where secret_label = 'a'", "'a' label"),
    ] {
        assert_eq!(turned_back(sql), expected, "{sql}");
    }
}

#[test]
fn what_is_given_masked_values_is_masked_from_then_on() {
    assert_eq!(tainted("insert into orders (note) select email from customers"), "public.orders.note");
    assert_eq!(tainted("update customers set city = email, email = ssn"), "public.customers.city");
    assert_eq!(tainted("create table t as select email as x, id from customers"), ".t.x");
    assert_eq!(tainted("select i into t from numbers, customers where i <= salary"), ".t.i");
    assert_eq!(tainted("explain analyze select email as x into t from customers"), ".t.x");
    assert_eq!(tainted("explain analyze create table t as select email as x from customers"), ".t.x");
    assert_eq!(tainted("explain analyze select city as x into t from customers"), "");
    assert_eq!(tainted("insert into orders (note) select city from customers where email = 'a'"), "");
    assert_eq!(tainted("insert into orders (note) values ('a')"), "");
    assert_eq!(tainted("insert into orders (note) values (opaque(1)::text)"), "public.orders.note");

    let catalog = catalog();
    let policy = policy("");
    let taints = taints("insert into orders (note) select email from customers");
    let classes = policy.classify(&catalog, &taints);
    let statement = statements("select note, id from orders").unwrap().remove(0);
    let ruled = words(&rule(&statement, &catalog, &classes, policy.usage_rules()));
    assert!(!ruled.contains("note clear") && ruled.ends_with("id clear"), "{ruled}");
}

#[test]
fn values_do_not_leave_by_the_side_nor_into_what_rules_or_others_hold() {
    for sql in [
        "select set_config('a.b', email, false) from customers",
        "select pg_notify('a', email) from customers",
        "select pg_notify('a', note) from orders join customers on note = email",
        "select setseed(length(email) / 100.0) from customers",
        "select pg_create_physical_replication_slot(ssn) from customers",
    ] {
        check(sql, "refuse side-channel");
    }
    check("select pg_notify('a', note) from orders", "pg_notify clear");
    check("select set_config('a.b', 'c', false)", "set_config clear");
    check("insert into ruled (note) select email from customers", "refuse write-from-sensitive");
    check("insert into remote (note) select email from customers", "refuse write-from-sensitive");
    check("insert into ruled (note) values ('a')", "-");
    let last = |sql: &str| ruled_under("", sql).rsplit(" | ").next().unwrap_or_default().to_owned();
    let made = "create foreign table ft (line text) server s; ";
    for (sql, ruled) in [
        ("insert into ft select email from customers", "refuse write-from-sensitive"),
        (
            "alter foreign table ft rename to gt; insert into gt select email from customers",
            "refuse write-from-sensitive",
        ),
        ("insert into ft select city from customers", "-"),
        ("insert into ft values ('a')", "-"),
        (
            "create table t (line text) partition by list (line); alter table t attach partition ft default; \
             insert into t select email from customers",
            "refuse write-from-sensitive",
        ),
        (
            "create table t (line text) partition by list (line); \
             create foreign table fp partition of t default server s; insert into t select email from customers",
            "refuse write-from-sensitive",
        ),
        (
            "alter table ft inherit orders; update orders set note = email from customers",
            "refuse write-from-sensitive",
        ),
        ("alter table orders inherit ft; insert into orders (note) select email from customers", "-"),
        ("insert into abroad_too (note) select email from customers", "refuse write-from-sensitive"),
        ("insert into orders (note) select email from customers", "-"),
    ] {
        assert_eq!(last(&format!("{made}{sql}")), ruled, "{sql}");
    }
    check("do $$ begin execute 'select 1'; end $$", "refuse procedure");
    check("do $$ begin perform 1; end $$", "-");
    for definition in [
        "create type mood as enum ('glad', 'sad')",
        "alter table orders add constraint c foreign key (id) references customers (id) on delete cascade",
    ] {
        let block =
            |does: &str| format!("do $$ begin {does}; exception when duplicate_object then null; end $$");
        check(&block(definition), "-");
        check(&block(&format!("{definition}; execute 'select 1'")), "refuse procedure");
    }
    for definition in [
        "alter table orders add foreign key (note) references customers (email) on update cascade",
        "alter table orders add constraint c check (opaque(id))",
        "create table copied as select email from customers",
    ] {
        check(&format!("do $$ begin {definition}; end $$"), "refuse procedure");
    }
}

#[test]
fn strict_rules_refuse_what_others_redact_count_or_remember() {
    for (sql, code) in [
        ("select lower(email) from customers", "derived"),
        ("select i from numbers, customers where i = salary", "derived"),
        ("select opaque(1)", "derived"),
        ("select id from customers where email like 'a%'", "predicate"),
        ("select id from customers where salary > 1", "predicate"),
        ("select id from customers where left(email, 1) = 'a'", "predicate"),
        ("select id from customers order by email", "predicate"),
        ("select id from customers limit (select salary from customers)", "predicate"),
        ("insert into orders (note) select email from customers", "write-from-sensitive"),
        ("create table t (a int)", "definition"),
        ("drop table orders", "definition"),
        ("do $$ begin perform 1; end $$", "procedure"),
        ("call p()", "procedure"),
    ] {
        assert_eq!(ruled_under(STRICT, sql), format!("refuse {code}"), "{sql}");
    }
    for (sql, expected) in [
        ("select id, email from customers where email = 'a'", "id clear; email mask email"),
        ("select count(*) from customers group by email", "count clear"),
        ("select lower(note) from orders where note like 'a%' order by note", "lower clear"),
        ("insert into orders (note) values ('a')", "-"),
    ] {
        assert_eq!(ruled_under(STRICT, sql), expected, "{sql}");
    }
    check("select 1 limit (select salary from customers)", "refuse predicate");
}

#[test]
fn a_denial_tells_its_rule_the_columns_and_what_is_allowed() {
    let detail = |more: &str, sql: &str| {
        let catalog = catalog();
        let policy = policy(more);
        let classes = policy.classify(&catalog, &[]);
        let statement = statements(sql).unwrap().remove(0);
        rule(&statement, &catalog, &classes, policy.usage_rules()).denial.unwrap().detail(&catalog)
    };
    for (sql, expected) in [
        (
            "select id from customers where salary > 1 and email like 'a%'",
            r#"{"allowed":["equality","grouping"],"code":"predicate","columns":["public.customers.email","public.customers.salary"],"rule":"rules.predicates.pattern"}"#,
        ),
        (
            "select lower(email), id from customers",
            r#"{"code":"derived","columns":["public.customers.email"],"rule":"rules.derived"}"#,
        ),
        ("select opaque(1)", r#"{"code":"derived","rule":"rules.opaque"}"#),
        (
            "insert into orders (note) select ssn from customers",
            r#"{"code":"write-from-sensitive","columns":["public.customers.ssn"],"rule":"rules.writes"}"#,
        ),
        ("create table t (a int)", r#"{"code":"definition","rule":"statements.definitions"}"#),
        ("do $$ begin perform 1; end $$", r#"{"code":"procedure","rule":"statements.procedures"}"#),
        (
            "explain select id from customers where email = 'a'",
            r#"{"code":"plan","columns":["public.customers.email"],"rule":"statements.plans"}"#,
        ),
        ("set role postgres", r#"{"code":"role","rule":"statements.roles"}"#),
        ("set session authorization 'a'", r#"{"code":"role","rule":"statements.roles"}"#),
        ("select set_config('Role', 'a', true)", r#"{"code":"role","rule":"statements.roles"}"#),
        (
            "select pg_notify('a', customers::text) from customers",
            r#"{"code":"side-channel","columns":["public.customers.email","public.customers.ssn","public.customers.salary"],"rule":"builtin:side-channel"}"#,
        ),
        ("select pg_read_file('a')", r#"{"code":"dangerous-function","rule":"builtin:dangerous-function"}"#),
        (
            "select pg_notify('a', city || ssn) from customers",
            r#"{"code":"side-channel","columns":["public.customers.ssn"],"rule":"builtin:side-channel"}"#,
        ),
        (
            "select most_common_vals from pg_stats",
            r#"{"code":"system-values","columns":["pg_catalog.pg_stats.most_common_vals"],"rule":"rules.derived"}"#,
        ),
        (
            "insert into ruled (note) select email from customers",
            r#"{"code":"write-from-sensitive","columns":["public.customers.email"],"rule":"builtin:write-from-sensitive"}"#,
        ),
    ] {
        assert_eq!(detail(STRICT, sql), expected, "{sql}");
    }
    assert_eq!(
        detail("", "insert into remote (note) select email from customers"),
        r#"{"code":"write-from-sensitive","columns":["public.customers.email"],"rule":"builtin:write-from-sensitive"}"#
    );
    let message = |sql: &str| {
        let catalog = catalog();
        let policy = policy(STRICT);
        let classes = policy.classify(&catalog, &[]);
        let statement = statements(sql).unwrap().remove(0);
        rule(&statement, &catalog, &classes, policy.usage_rules()).denial.unwrap().refusal.message
    };
    for (sql, why) in [
        ("select lower(email) from customers", "\"lower\" is refused: it is made of masked columns"),
        ("select opaque(1)", "\"opaque\" is refused: the body of a function cannot be read"),
        ("select dynamic(1)", "\"dynamic\" is refused: a function puts SQL together while it runs"),
        ("select nobody_knows(1)", "\"nobody_knows\" is refused: a function is not in the catalog"),
    ] {
        assert_eq!(message(sql), format!("output column {why}"));
    }
    check(
        "select most_common_vals, tablename from pg_stats",
        "most_common_vals mask system:values; tablename clear",
    );
}

#[test]
fn a_spent_budget_tells_what_costs_nothing() {
    let column = ColumnId { relation: 20_001, number: 3 };
    let spent = |more: &str| Denial::spent(column, &catalog(), policy(more).usage_rules()).detail(&catalog());
    assert_eq!(
        spent(STRICT),
        r#"{"allowed":["equality","grouping"],"code":"predicate-budget","columns":["public.customers.email"],"rule":"limits.predicates"}"#
    );
    assert_eq!(
        spent(""),
        r#"{"allowed":["equality","grouping","ordering"],"code":"predicate-budget","columns":["public.customers.email"],"rule":"limits.predicates"}"#
    );
}

#[test]
fn all_that_a_policy_has_against_a_statement_is_told() {
    let all = |more: &str, sql: &str| {
        let catalog = catalog();
        let policy = policy(more);
        let classes = policy.classify(&catalog, &[]);
        let statement = statements(sql).unwrap().remove(0);
        let ruled = rule(&statement, &catalog, &classes, policy.usage_rules());
        let denials = super::super::denials(&statement, &ruled, &catalog, &classes, policy.usage_rules());
        let codes = denials.iter().map(|denial| denial.refusal.code);
        codes.collect::<Vec<_>>().join(", ")
    };
    let everything = "select pg_notify('a', email), lower(ssn) from customers where salary > 1";
    assert_eq!(all(STRICT, everything), "side-channel, predicate, derived");
    assert_eq!(all("", everything), "side-channel");
    assert_eq!(
        all(STRICT, "create table t as select lower(email) from customers"),
        "definition, write-from-sensitive"
    );
    assert_eq!(all(STRICT, "select id from customers where email = 'a'"), "");
    for benign in [
        "explain select email from customers where id = 1",
        "set role none",
        "reset role",
        "reset session authorization",
        "set application_name = 'role'",
        "select set_config('role', 'none', false)",
        "select set_config('app.role', 'a', false)",
    ] {
        assert_eq!(all(STRICT, benign), "", "{benign}");
    }
}

#[test]
fn only_blind_questions_cost_budget_each_as_often_as_it_stands_there() {
    let budgeted = |sql: &str| {
        let catalog = catalog();
        let policy = policy("");
        let classes = policy.classify(&catalog, &[]);
        let statement = statements(sql).unwrap().remove(0);
        rule(&statement, &catalog, &classes, policy.usage_rules()).budgeted.len()
    };
    assert_eq!(budgeted("select id from customers where salary > 1"), 1);
    assert_eq!(budgeted("select id from customers where salary > 1 or salary < 5 or email like 'a%'"), 3);
    assert_eq!(budgeted("select id from customers where left(email, 1) = 'a'"), 1);
    assert_eq!(budgeted("select id from customers where email = 'a' order by email"), 0);
    assert_eq!(budgeted("select id from orders where amount > 1 and note like 'a%'"), 0);
    assert_eq!(budgeted("select (select id from contacts where contact like 'a%')"), 1);
}

#[test]
fn errors_may_quote_where_masked_columns_are_named_or_written_beside() {
    let withholds = |sql: &str| {
        let catalog = catalog();
        let policy = policy("");
        let classes = policy.classify(&catalog, &[]);
        rule(&statements(sql).unwrap()[0], &catalog, &classes, policy.usage_rules()).withholds
    };
    for sql in [
        "select email from customers",
        "select * from customers",
        "select id from customers where email = 'a'",
        "select contact from contacts",
        "select email_of(1)",
        "select opaque(1)",
        "select (c).ssn::int from customers c",
        "select row(c.*)::text::int from customers c",
        "select (c.*)::text::int from customers c",
        "select c.email::int from customers c",
        "do $$ begin alter table customers add foreign key (email) references contacts (contact); end $$",
        "select 1 from (select email as x from customers) s where (s).x::int > 1",
        "insert into customers (id) values (1)",
        "copy (select email from customers) to stdout",
        // Rows that foreign keys change are quoted like others.
        "delete from floors",
        "update floors set id = 5 where id = 4",
        "insert into floors values (1) on conflict (id) do update set id = 2",
        "merge into floors using rooms on floors.id = rooms.id when matched then delete",
        "delete from nowhere",
    ] {
        assert!(withholds(sql), "{sql}");
    }
    for sql in [
        "select id from customers",
        "select note from orders",
        "select 1 / 0",
        "insert into orders (note) values ('a')",
        "delete from rooms",
        "update rooms set id = 5 where id = 4",
        "insert into floors values (1) on conflict do nothing",
        "insert into nowhere values (1)",
        "select (o).note::int from orders o",
    ] {
        assert!(!withholds(sql), "{sql}");
    }
}
