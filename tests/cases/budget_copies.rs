//! A database that is copied has one budget with its copies.

use anyhow::Result;
use mask_tests::have_root;

use super::budget::{Asking, SCHEMA, THREE};

#[test]
fn copies_of_a_database_have_its_budget() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    asking.postgres.setup("create database shop")?;
    let asks = |database: &str, sql: &str| -> Result<(bool, String)> {
        let dsn = asking.postgres.dsn().replace("dbname=postgres", &format!("dbname={database}"));
        asking.agent.psql(&dsn, sql)
    };
    let like =
        |column: &str, start: char| format!("select count(*) from customers where {column} like '{start}%'");
    let (made, text) = asks("shop", SCHEMA)?;
    assert!(made, "{text}");
    for start in ['a', 'b', 'c'] {
        let (answered, text) = asks("shop", &like("email", start))?;
        assert!(answered, "{text}");
    }
    for (from, to) in [("shop", "one"), ("one", "two")] {
        let (made, text) = asks("postgres", &format!("create database {to} template {from}"))?;
        assert!(made, "{text}");
        let (answered, text) = asks(to, &like("email", 'd'))?;
        assert!(!answered && text.contains("too many different predicates"), "{to}: {text}");
        let (answered, text) = asks(to, &like("city", 'd'))?;
        assert!(answered, "{to}: {text}");
    }
    // One that is made of none of them.
    let (made, text) = asks("postgres", "create database other")?;
    assert!(made, "{text}");
    let (made, text) = asks("other", SCHEMA)?;
    assert!(made, "{text}");
    let (answered, text) = asks("other", &like("email", 'd'))?;
    assert!(answered, "{text}");
    Ok(())
}
