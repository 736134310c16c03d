//! An unmodified client gets masked rows; then the daemon is killed, and the client nothing.

use anyhow::{Result, ensure};
use mask_tests::{Agent, Postgres, catch_interrupts, driver_python, output};

const SCHEMA: &str = "
    create table customers as
        select n as id, (array['Ana','Bruno','Chloe','Deniz','Emeka'])[n % 5 + 1] || ' ' ||
            (array['Silva','Meyer','Dubois','Kaya','Okafor'])[n / 5 % 5 + 1] as full_name,
            'person' || n || '@example.org' as email,
            '+351 21 ' || lpad((n * 7919 % 10000000)::text, 7, '0') as phone,
            (array['Lisbon','Berlin','Lyon','Izmir','Lagos'])[n % 5 + 1] as city
        from generate_series(1, 5000) n;
    create table payments as
        select n as id, n % 5000 + 1 as customer_id,
            '4111' || lpad((n::bigint * 104729 % 1000000000000)::text, 12, '0') as card_number,
            round((n * 37 % 100000) / 100.0, 2) as amount
        from generate_series(1, 5000) n";

const QUERY: &str = "select c.id, c.full_name, c.email, c.city, p.card_number, p.amount
    from customers c join payments p on p.customer_id = c.id order by c.id limit 3";

/// What an agent does: connect, ask, read.
const AGENT: &str = "
import psycopg, sys
with psycopg.connect(sys.argv[1]) as db:
    for row in db.execute(sys.argv[2]):
        print('|'.join(map(str, row)))
";

pub(crate) fn run() -> Result<()> {
    catch_interrupts();
    println!(
        "\n1. A throw-away PostgreSQL with 10,000 rows of personal data, and the daemon with no policy."
    );
    let postgres = Postgres::start("scram-sha-256")?;
    postgres.setup(SCHEMA)?;
    let mut agent = Agent::start(postgres.port)?;

    println!("\n2. The same psql, the same connection string.\n\n   Outside the protected cgroup:");
    let (_, clear) = postgres.psql(QUERY)?;
    show(&clear);
    println!("\n   Inside it:");
    let (ok, masked) = agent.psql(&postgres.dsn(), QUERY)?;
    show(&masked);
    ensure!(ok && !masked.is_empty(), "the protected client got nothing: {masked}");
    ensure!(
        clear.contains("@example.org") && !masked.contains("@example.org"),
        "e-mail addresses are not masked"
    );
    ensure!(clear.contains("4111") && !masked.contains("4111"), "card numbers are not masked");

    println!("\n   A Python agent with psycopg, the same connection string:");
    let mut python = agent.client(&driver_python()?);
    let (ok, rows) = output(python.args(["-c", AGENT]).arg(postgres.dsn()).arg(QUERY))?;
    show(&rows);
    ensure!(
        ok && !rows.contains("@example.org") && !rows.contains("4111"),
        "psycopg was shown a clear value"
    );

    println!("\n3. What the audit trail says of it:\n");
    for record in agent.trail()?.iter().filter(|record| record["kind"] == "statement") {
        println!("   {} pid {} {}", record["caller"]["exe"], record["caller"]["pid"], record["ruling"]);
        println!("   masked: {}", record["columns"]);
    }

    println!("\n4. The daemon is killed with SIGKILL. The database is still up:");
    agent.kill()?;
    let (up, _) = postgres.psql("select 1")?;
    let (served, refused) = agent.psql(&postgres.dsn(), QUERY)?;
    show(&refused);
    ensure!(up, "the database is down, so the refusal proves nothing");
    ensure!(!served && refused.contains("refused"), "a dead daemon did not mean refused");

    println!("\nMasked while it runs, refused when it is dead, never clear.");
    Ok(())
}

fn show(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}
