//! What definitions ask of masked columns later is asked when they are made.

use anyhow::Result;
use mask_tests::have_root;

use super::budget::{Asking, THREE};

/// Makes a definition and takes it back as often as the budget allows, and the same without masked columns.
fn makes_three(form: &str) -> Result<()> {
    let asking = Asking::start(THREE)?;
    let made = |n: u32, column: &str| {
        let sql = form.replace("{n}", &n.to_string()).replace("{column}", column);
        asking.allows(&format!("begin; {sql}; update customers set city = city; rollback"))
    };
    for n in 0..6 {
        assert!(made(n, "id")?, "{form}: {n}");
        assert_eq!(made(n, "salary")?, n < 3, "{form}: {n}");
    }
    // The same again.
    assert!(made(0, "salary")?, "{form}");
    Ok(())
}

#[test]
fn a_search_by_triggers_rules_or_policies_ends_as_any_does() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let function = |body: &str| {
        format!("create function f() returns trigger language plpgsql as $$ begin {body} end $$; ")
    };
    let trigger = "create trigger t before update on customers for each row";
    makes_three(&format!(
        "{}{trigger} when (new.{{column}} > {{n}}) execute function f()",
        function("return null;")
    ))?;
    makes_three(&format!(
        "{}{trigger} execute function f()",
        function("if new.{column} > {n} then return null; end if; return new;")
    ))?;
    makes_three("create rule r as on update to customers where old.{column} > {n} do instead nothing")?;
    makes_three("create policy p on customers using ({column} > {n})")
}
