//! A value that stands in several columns of the server's own is looked for in all of them within one budget.

use anyhow::Result;
use mask_tests::have_root;

use super::budget::{Asking, THREE};

/// A statement with a value in it is shown by three views, and statistics of the value by a fourth.
#[test]
fn columns_of_the_server_have_one_budget() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let asking = Asking::start(THREE)?;
    let value = "email = 'bob@example.org'";
    let prepared = |pattern: &str| {
        format!(
            "prepare p as select id from customers where {value};
             select name from pg_prepared_statements where statement like '%email = ''{pattern}%'"
        )
    };
    let running = |pattern: &str| {
        format!("select pid from pg_stat_activity where query like '{pattern}%' and pid <> pg_backend_pid()")
    };
    let declared = |pattern: &str| {
        format!(
            "begin; declare c cursor for select id from customers where {value};
             select name from pg_cursors where statement ~ 'email = ''{pattern}'"
        )
    };
    let counted = |pattern: &str| {
        format!("select attname from pg_stats where most_common_vals::text like '%{pattern}%'")
    };
    for sql in [prepared("a"), running("b"), declared("c")] {
        assert!(asking.allows(&sql)?, "{sql}");
    }
    for sql in [prepared("d"), running("e"), declared("f"), counted("g")] {
        assert!(!asking.allows(&sql)?, "{sql}");
    }
    // Asked before, of another account, and of nothing that is masked.
    for sql in [
        prepared("a"),
        "select count(*) from customers where email like 'h%'".to_owned(),
        "select pid from pg_stat_activity where state like 'i%'".to_owned(),
        "select id from parts where label like 'j%'".to_owned(),
    ] {
        assert!(asking.allows(&sql)?, "{sql}");
    }
    Ok(())
}
