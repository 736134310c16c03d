//! What definitions will ask later.

use super::fixture::{each, statements, uses};

/// What the second of two statements asks: a trigger's function, and a trigger on `customers`.
fn asked_by_trigger(when: &str, body: &str) -> String {
    let sql = format!(
        "create function f() returns trigger language plpgsql as $$ declare n int; begin {body} return new; end $$; \
         create trigger t before update on customers for each row {when} execute function f()"
    );
    each(&sql, Some(&["public"]), uses).trim_start_matches(" | ").to_owned()
}

const ALL_EQUAL: &str = "customers.email equality; customers.ssn equality; customers.salary equality";

#[test]
fn conditions_of_triggers_are_questions_when_they_are_made() {
    for (when, body, expected) in [
        ("when (new.ssn > '5')", "", "customers.ssn range"),
        ("when (old.ssn like '5%')", "return null;", "customers.ssn pattern"),
        ("", "if new.ssn > '5' then return null; end if;", "customers.ssn range"),
        ("", "if length(old.ssn) > 5 then raise notice 'a'; end if;", "customers.ssn function"),
        ("", "insert into orders (note) select 'x' where new.ssn > '5';", "customers.ssn range"),
        ("", "while new.ssn > '5' loop exit; end loop;", "customers.ssn range"),
        ("when (new.ssn <> old.ssn)", "", "customers.ssn equality"),
        ("when (new.city > '5')", "if new.city like '5%' then return null; end if;", ""),
        ("when (new.* is distinct from old.*)", "", ALL_EQUAL),
        (
            "",
            "if tg_op = 'UPDATE' and new is distinct from old then new.city := 'a'; end if;",
            "customers.* function",
        ),
    ] {
        assert_eq!(asked_by_trigger(when, body), expected, "{when} {body}");
    }
}

#[test]
fn a_condition_that_can_be_made_another_one_is_as_many_questions_as_there_are() {
    for condition in [
        "new.ssn > new.city",
        "new.ssn like old.city || '%'",
        "new.salary > old.salary",
        "new.salary > current_setting('a.b')::int",
        "new.salary > random() * 1000",
        "new > old",
        "row(new.*) <= row(old.*)",
        "record_gt(new, old)",
    ] {
        let asked = asked_by_trigger(&format!("when ({condition})"), "");
        assert!(asked.contains("row-count"), "{condition}: {asked}");
        let asked = asked_by_trigger("", &format!("if {condition} then return null; end if;"));
        assert!(asked.contains("row-count"), "{condition}: {asked}");
    }
    let looked_up = "select i into n from numbers; if new.salary > n then return null; end if;";
    assert_eq!(asked_by_trigger("", looked_up), "customers.salary row-count");
    for condition in [
        "new is distinct from old",
        "row(new.*) <> row(old.*)",
        "new.id > old.id",
        "new.city > current_setting('a.b')",
        "new.email <> new.city",
    ] {
        let asked = asked_by_trigger(&format!("when ({condition})"), "");
        assert!(!asked.contains("row-count"), "{condition}: {asked}");
    }
}

#[test]
fn a_function_that_a_trigger_runs_asks_when_it_is_made_again() {
    let made = |body: &str| {
        format!(
            "create or replace function f() returns trigger language plpgsql as \
             $$ begin if {body} then return null; end if; return new; end $$; "
        )
    };
    let trigger = "create trigger t before update on customers for each row execute function f(); ";
    let again = format!("{}{trigger}{}", made("new.id > 5"), made("new.ssn > '5'"));
    assert_eq!(each(&again, Some(&["public"]), uses), " |  | customers.ssn range");
    let behind = |condition: &str| {
        format!(
            "create or replace function g(v text) returns bool language sql as $$ select {condition} $$; "
        )
    };
    let called = format!("{}{}{trigger}{}", behind("true"), made("g(new.ssn)"), behind("v > '5'"));
    let asked = each(&called, Some(&["public"]), uses);
    assert!(asked.ends_with(" | customers.ssn function"), "{asked}");
    let other = format!(
        "{}{trigger}create function h() returns int language sql as 'select 1'",
        made("new.ssn > '5'")
    );
    assert_eq!(each(&other, Some(&["public"]), uses), " | customers.ssn range | ");
    // The same words, of another function.
    let definitions = |body: &str| statements(&format!("{}{trigger}", made(body))).unwrap()[1].definitions;
    assert_ne!(definitions("new.ssn > '5'"), definitions("new.ssn > '6'"));
    assert_eq!(definitions("new.ssn > '5'"), definitions("new.ssn > '5'"));
}

#[test]
fn conditions_of_rules_and_policies_are_questions_when_they_are_made() {
    for (sql, expected) in [
        (
            "create rule r as on update to customers where old.ssn > '5' do instead nothing",
            "customers.ssn range",
        ),
        (
            "create rule r as on update to customers where old.ssn > new.city do instead nothing",
            "customers.ssn row-count",
        ),
        ("create rule r as on update to customers where old.city > '5' do instead nothing", ""),
        ("create policy p on customers using (ssn > '5')", "customers.ssn range"),
        ("create policy p on customers with check (ssn like '5%')", "customers.ssn pattern"),
        ("alter policy p on customers using (ssn > city)", "customers.ssn row-count"),
        ("create policy p on customers using (email = current_user)", "customers.email equality"),
        ("create policy p on customers using (city = current_setting('my.city'))", ""),
        ("alter policy p on customers to public", ""),
    ] {
        assert_eq!(each(sql, Some(&["public"]), uses), expected, "{sql}");
    }
}

#[test]
fn a_policy_or_view_made_just_now_asks_again_when_a_function_it_calls_is_another() {
    let calls = |than: u32| {
        format!("create or replace function g(v numeric) returns bool language sql as 'select v > {than}'; ")
    };
    let policy = format!("{}create policy p on customers using (g(salary)); {}", calls(5), calls(6));
    assert_eq!(
        each(&policy, Some(&["public"]), uses),
        " | customers.salary function | customers.salary function"
    );
    let altered = format!("{}alter policy p on customers with check (g(id)); {}", calls(5), calls(6));
    assert_eq!(each(&altered, Some(&["public"]), uses), " |  | ");
    let other = format!("{}create policy p on customers using (salary > 5); {}", calls(5), calls(6));
    assert_eq!(each(&other, Some(&["public"]), uses), " | customers.salary range | ");
    let select = "select id from v; ";
    let view = "create view v as select id from customers where g(salary); ";
    let asked = statements(&format!("{}{view}{select}{}{select}", calls(5), calls(6))).unwrap();
    assert_ne!(asked[2].definitions, asked[4].definitions);
}
