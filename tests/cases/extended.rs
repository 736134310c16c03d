//! The extended protocol masks like the simple one: described, prepared, pipelined, in binary.

use anyhow::Result;
use mask_tests::{Agent, Postgres, have_root, output};

const SCHEMA: &str = "
    create table customers (id int primary key, city text, email text, ssn text);
    insert into customers select n, 'Lisbon', 'ana.canary' || n || '@example.org', '078-05-1120'
        from generate_series(1, 20) n;
    create table pgbench_accounts (aid int primary key, abalance int);
    insert into pgbench_accounts select n, n from generate_series(1, 100) n";

#[test]
fn pgbench_runs_in_every_query_mode_and_sees_no_clear_value() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start(postgres.port)?;
    let script = std::env::temp_dir().join(format!("mask-test-{}.sql", std::process::id()));
    std::fs::write(
        &script,
        "\\set n random(1, 20)
        select abalance from pgbench_accounts where aid = :n;
        select id, city, email from customers where id = :n \\gset
        update customers set city = 'Lisbon' where id = :n;
        begin;
        select ssn from customers where id = :n;
        commit;",
    )?;
    for mode in ["simple", "extended", "prepared"] {
        let mut pgbench = agent.client("/usr/bin/pgbench");
        pgbench.args(["-n", "-t", "20", "-c", "2", "-M", mode, "-f"]).arg(&script);
        pgbench.args(["-h", "127.0.0.1", "-U", "postgres", "-p", &postgres.port.to_string(), "postgres"]);
        let (ok, text) = output(&mut pgbench)?;
        assert!(ok && text.contains("actually processed: 40/40"), "{mode}: {text}\n{}", agent.log());
        assert!(!text.contains("canary"), "{mode}: {text}");
    }
    let _ = std::fs::remove_file(script);
    let masked = agent.trail()?.iter().filter(|record| record["cells_masked"].as_u64() > Some(0)).count();
    assert!(masked >= 3 * 40, "only {masked} statements had masked cells");
    Ok(())
}
