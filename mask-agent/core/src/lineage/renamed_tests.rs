use super::{
    fixture::{check, check_writes, each, outputs},
    *,
};

/// Columns of `customers` are masked, and no others.
struct Customers;

impl Masked for Customers {
    fn is_masked(&self, relation: u32, number: i16) -> bool {
        relation == 20_001 && number == 3
    }

    fn is_sensitive(&self, relation: u32) -> bool {
        relation == 20_001
    }

    fn holds(&self, _relation: u32, _number: i16) -> Option<Holds> {
        None
    }

    fn names_column(&self, name: &str) -> bool {
        name == "email"
    }
}

#[test]
fn what_has_the_name_of_a_masked_column_and_is_none_is_renamed() {
    let catalog = fixture::catalog();
    let env = Env { catalog: &catalog, path: None, overlay: &Overlay::default() };
    let refused = |sql: &str| analyse(sql, &env, &Customers).unwrap()[0].refusal.is_some();
    assert!(!refused("alter table archive.thing rename email to mail"));
    assert!(refused("alter table customers rename email to mail"));
    assert!(refused("alter table orders rename email to mail"));
}

#[test]
fn a_schema_that_has_anothers_name_has_its_relations() {
    check(
        "alter schema attic rename to cellar; alter schema archive rename to attic; select email from attic.thing",
        "- | - | email = archive.thing.email",
    );
    check(
        "alter schema attic rename to cellar; select note from cellar.thing",
        "- | note = attic.thing.note",
    );
    check_writes(
        "alter schema attic rename to a; alter schema a rename to b; insert into b.thing (note) select email from customers",
        " |  | attic.thing.note <- customers.email; new thing.note <- customers.email",
    );
}

#[test]
fn a_column_that_is_generated_no_more_keeps_what_it_was_made_of() {
    let made = "create table t (a text, b text generated always as (lower(a)) stored);
        create table heir () inherits (t);";
    let last = |sql: &str| {
        let writes = fixture::each(&format!("{made} {sql}"), Some(&["public"]), fixture::writes);
        writes.rsplit(" | ").next().map(ToOwned::to_owned)
    };
    assert_eq!(
        last(
            "insert into heir (a) select email from customers; alter table t alter column b drop expression"
        )
        .as_deref(),
        Some("new t.b <- customers.email; new heir.b <- customers.email"),
    );
    let plain = "insert into heir (a) select note from orders; alter table t alter column b drop expression";
    assert_eq!(last(plain).as_deref(), Some("new t.b <- orders.note; new heir.b <- orders.note"));
    let standing = "people.handle <- people.work_email, people.handle";
    check_writes("alter table people alter column handle drop expression", standing);
}

#[test]
fn a_column_that_may_be_there_may_be_another_than_the_catalog_knows() {
    for made in [
        "alter table orders drop column note; \
         alter table orders add column if not exists note text generated always as (secret()) stored; ",
        "alter table orders drop column note, \
         add column if not exists note text default (select ssn from customers); ",
    ] {
        let said = each(&format!("{made}select note from orders"), Some(&["public"]), outputs);
        assert!(!said.ends_with("note = orders.note"), "{said}");
    }
    let plain =
        "alter table orders add column if not exists note text not null default ''; select note from orders";
    assert!(each(plain, Some(&["public"]), outputs).ends_with("note = orders.note"));
}
