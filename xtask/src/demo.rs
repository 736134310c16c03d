//! An unmodified client gets masked rows; then the daemon is killed, and the client nothing.

use anyhow::{Result, ensure};
use mask_tests::{Agent, Postgres, catch_interrupts, driver_python, output};

/// 10,000 rows in four tables.
const SCHEMA: &str = "
    create function pick(words text[], n int) returns text language sql immutable
        return words[n % cardinality(words) + 1];
    create table customers as
        select n as id, pick('{Ana,Bruno,Chloe,Deniz,Emeka,Freja,Goran,Hana}', n) as first_name,
            pick('{Silva,Meyer,Dubois,Kaya,Okafor,Jensen,Novak}', n / 3) as last_name,
            lower(pick('{ana,bruno,chloe,deniz,emeka,freja,goran,hana}', n)) || n || '@example.org' as email,
            '+351 21 ' || lpad((n * 7919 % 10000000)::text, 7, '0') as phone,
            pick('{Lisbon,Berlin,Lyon,Izmir,Lagos,Aarhus}', n) as city,
            date '1950-01-01' + n * 37 % 18000 as date_of_birth
        from generate_series(1, 4000) n;
    create table payments as
        select n as id, n % 4000 + 1 as customer_id,
            '4111' || lpad((n::bigint * 104729 % 1000000000000)::text, 12, '0') as card_number,
            round((n * 37 % 100000) / 100.0, 2) as amount, now() - n * interval '1 hour' as paid_at
        from generate_series(1, 4000) n;
    create table employees as
        select n as id, 'employee ' || n as full_name, 'staff' || n || '@example.com' as email,
            'DE' || lpad((n * 7907)::text, 20, '0') as iban, 30000 + n * 53 % 60000 as salary,
            pick('{support,sales,finance,platform}', n) as department
        from generate_series(1, 500) n;
    create table support_tickets as
        select n as id, n % 4000 + 1 as customer_id, n % 500 + 1 as employee_id,
            pick('{open,waiting,closed}', n) as status,
            pick('{login,invoice,delivery,refund}', n) as subject
        from generate_series(1, 1500) n";

const QUERY: &str = "select c.id, c.first_name, c.email, c.city, p.card_number, p.amount
    from customers c join payments p on p.customer_id = c.id order by c.id limit 3";

/// What is shown beside it: another table, other personal data.
const STAFF: &str = "select t.id, t.subject, t.status, e.department, e.email, e.iban
    from support_tickets t join employees e on e.id = t.employee_id order by t.id limit 2";

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

    println!("\n2. The same psql, the same connection string, the same two queries.");
    let mut clear = String::new();
    let mut masked = String::new();
    for query in [QUERY, STAFF] {
        clear += &postgres.psql(query)?.1;
        let (ok, text) = agent.psql(&postgres.dsn(), query)?;
        ensure!(ok && !text.is_empty(), "the protected client got nothing: {text}");
        masked += &text;
    }
    beside(("outside the protected cgroup", &clear), ("inside it", &masked));
    for value in ["@example", "4111", "DE0000"] {
        ensure!(clear.contains(value) && !masked.contains(value), "{value} is not masked");
    }
    for value in ["Lisbon", "Berlin", "waiting", "platform"] {
        ensure!(clear.contains(value) == masked.contains(value), "{value} should have stayed as it is");
    }

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
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let sql = text(&record["sql"]).split_whitespace().take(8).collect::<Vec<_>>().join(" ");
        let caller = &record["caller"];
        println!(
            "     {} (pid {}) {}: {sql} …",
            text(&caller["exe"]),
            caller["pid"],
            text(&record["ruling"])
        );
        let columns = record["columns"].as_array().map_or(&[][..], Vec::as_slice);
        for column in columns {
            let (name, mask, rule) = (text(&column["name"]), text(&column["mask"]), text(&column["rule"]));
            println!("       {name} masked by {mask}, because it is {rule}");
        }
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

/// Two texts of as many lines, side by side.
fn beside(left: (&str, &str), right: (&str, &str)) {
    let width = left.1.lines().chain([left.0]).map(|line| line.chars().count()).max().unwrap_or(0);
    println!("\n     {:<width$}   {}", left.0, right.0);
    for (clear, masked) in left.1.lines().zip(right.1.lines()) {
        println!("     {clear:<width$}   {masked}");
    }
}

fn show(text: &str) {
    for line in text.lines() {
        println!("     {line}");
    }
}
