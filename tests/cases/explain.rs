//! `mask-agent explain` tells what outputs are made of and what is ruled on them, without running anything.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Command, Stdio},
};

use anyhow::{Context, Result};
use mask_tests::{Postgres, Scratch, agent::binary, have_root, output};
use serde_json::{Value, json};

const SCHEMA: &str = "
    create schema app; alter role postgres set search_path = app;
    create table app.cust (id int primary key, email text, salary int, city text);
    create table app.other (id int, c text);
    create view app.contacts as select id, email as contact from app.cust";

const POLICY: &str = "
version: 1
name: explained
classification:
  columns:
    - { name: email, tag: email }
    - { name: salary, tag: pay }
masks: { email: pattern, pay: redact }
rules: { predicates: { ordering: refuse } }
";

struct Explaining {
    postgres: Postgres,
    scratch: Scratch,
}

impl Explaining {
    fn start() -> Result<Self> {
        let (postgres, scratch) = (Postgres::start_major(15)?, Scratch::new("explain")?);
        postgres.setup(SCHEMA)?;
        std::fs::write(scratch.0.join("policy.yaml"), POLICY)?;
        Ok(Self { postgres, scratch })
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        command.args(["explain", "--dsn", &self.postgres.dsn(), "--policy"]);
        command.arg(self.scratch.0.join("policy.yaml")).args(arguments);
        Ok(command)
    }

    fn report(&self, sql: &str) -> Result<Value> {
        let (ok, text) = output(&mut self.command(&["--json", sql])?)?;
        anyhow::ensure!(ok && text.ends_with('\n') && text.lines().count() == 1, "{text}");
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    /// The only statement's findings.
    fn one(&self, sql: &str) -> Result<Value> {
        let mut report = self.report(sql)?;
        let statements = report["statements"].as_array().context("a list")?;
        anyhow::ensure!(statements.len() == 1 && report["error"].is_null(), "{sql}: {report}");
        Ok(report["statements"][0].take())
    }

    fn text(&self, sql: &str) -> Result<String> {
        let (ok, text) = output(&mut self.command(&[sql])?)?;
        anyhow::ensure!(ok, "{text}");
        Ok(text)
    }
}

/// An approval that would have to show these columns, and nothing else.
fn shows(columns: &[&str]) -> Value {
    json!({ "show": columns, "admit": [], "never": null })
}

#[test]
fn what_an_approval_would_have_to_be_for_is_told() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let strict = format!(
        "{}statements: {{ definitions: refuse, procedures: refuse }}\n",
        POLICY.replace("rules: {", "rules: { opaque: refuse,")
    );
    std::fs::write(explaining.scratch.0.join("policy.yaml"), strict)?;
    let approval = |sql: &str| Ok::<_, anyhow::Error>(explaining.one(sql)?["approval"].take());
    let admits = |what: &str| json!({ "show": [], "admit": [what], "never": null });
    let never = |code: &str| json!({ "show": [], "admit": [], "never": code });
    assert_eq!(approval("select id from cust where email = 'a' and salary > 1")?, Value::Null);
    assert_eq!(approval("drop table other")?, admits("definition"));
    assert_eq!(approval("do $$ begin perform 1; end $$")?, admits("procedure"));
    assert_eq!(approval("do $$ begin execute 'select 1'; end $$")?, never("procedure"));
    assert_eq!(approval("select nobody_knows(1)")?, admits("untraceable"));
    assert_eq!(approval("select email, pg_read_file('a') from cust")?, never("dangerous-function"));
    assert_eq!(
        approval("create table kept as select email from cust order by salary")?,
        json!({ "show": ["app.cust.salary"], "admit": ["definition"], "never": null })
    );
    let text = explaining.text("drop table other; select pg_read_file('a')")?;
    for line in
        ["   an approval would have to admit: definition\n", "   no approval would do: dangerous-function\n"]
    {
        assert!(text.contains(line), "{text}");
    }
    Ok(())
}

#[test]
fn each_output_has_its_origins_and_its_ruling() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let told = explaining.one("select id, email, upper(email) as loud, 1 as one, ctid from cust")?;
    let clear = |name: &str, origins: Value, identity: bool| {
        json!({ "name": name, "origins": origins, "views": [], "implied": [], "identity": identity,
            "untraceable": null, "ruling": "clear", "rule": "default", "mask": null })
    };
    let expected = json!({
        "command": "SelectStmt",
        "outputs": [
            clear("id", json!(["app.cust.id"]), true),
            { "name": "email", "origins": ["app.cust.email"], "views": [], "implied": [], "identity": true,
                "untraceable": null, "ruling": "mask", "rule": "email", "mask": "pattern" },
            { "name": "loud", "origins": ["app.cust.email"], "views": [], "implied": [], "identity": false,
                "untraceable": null, "ruling": "redact", "rule": "builtin:derived", "mask": null },
            clear("one", json!([]), false),
            clear("ctid", json!(["app.cust.ctid"]), true),
        ],
        "open": false, "predicates": [], "writes": [], "refusal": null, "approval": shows(&["app.cust.email"]),
    });
    assert_eq!(told, expected);

    let row = &explaining.one("select c from cust c")?;
    assert_eq!(row["outputs"][0]["origins"], json!(["app.cust.*"]));
    assert_eq!(row["approval"], shows(&["app.cust.email", "app.cust.salary"]));

    let view = &explaining.one("select contact from contacts")?["outputs"][0];
    assert_eq!(view["origins"], json!(["app.cust.email"]));
    assert_eq!((&view["views"], &view["ruling"]), (&json!(["app.contacts.contact"]), &json!("mask")));

    let told = explaining.one("select n.i from generate_series(1, 9) n(i) join cust on n.i <= salary")?;
    let implied = &told["outputs"][0];
    assert_eq!(implied["implied"], json!(["app.cust.salary"]), "{told}");
    assert_eq!((&implied["ruling"], &implied["rule"]), (&json!("redact"), &json!("builtin:implied")));
    assert_eq!(told["approval"], shows(&["app.cust.salary"]));

    let unknown = &explaining.one("select nobody_knows(1)")?["outputs"][0];
    assert_eq!((&unknown["ruling"], &unknown["rule"]), (&json!("redact"), &json!("builtin:untraceable")));
    assert_eq!(unknown["untraceable"], "a function is not in the catalog");
    Ok(())
}

#[test]
fn uses_writes_and_refusals_are_told() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let told = explaining
        .one("select id from cust where email = 'a' and salary > 1 and city = 'b' and email = 'c'")?;
    let used = json!([
        { "column": "app.cust.email", "usage": "equality", "ruling": "allow" },
        { "column": "app.cust.salary", "usage": "range", "ruling": "budget" },
        { "column": "app.cust.city", "usage": "equality", "ruling": null },
    ]);
    assert_eq!((&told["predicates"], &told["refusal"]), (&used, &Value::Null));

    let told = explaining.one("select id from cust order by email")?;
    assert_eq!(told["predicates"][0]["ruling"], "refuse");
    assert_eq!(
        (&told["refusal"]["code"], &told["approval"]),
        (&json!("predicate"), &shows(&["app.cust.email"]))
    );
    assert_eq!(told["refusal"]["message"], "ordering on masked column app.cust.email is refused");
    assert!(told["refusal"]["hint"].is_string());
    assert_eq!(told["refusal"]["rule"], "rules.predicates.ordering");
    assert_eq!(told["refusal"]["columns"], json!(["app.cust.email"]));

    let told = explaining.one("insert into other select id, email from cust")?;
    assert_eq!((&told["outputs"], &told["command"]), (&Value::Null, &json!("InsertStmt")));
    let written = |target: &str, origin: &str, taints: bool| {
        json!({ "target": target, "origins": [origin], "views": [], "implied": [], "untraceable": null,
            "taints": taints })
    };
    let writes =
        [written("app.other.id", "app.cust.id", false), written("app.other.c", "app.cust.email", true)];
    assert_eq!(told["writes"], json!(writes));
    let told = explaining.one("update cust set email = email")?;
    assert_eq!(told["writes"], json!([written("app.cust.email", "app.cust.email", false)]));
    let told = explaining.one("create table kept as select email from cust")?;
    assert_eq!(told["writes"], json!([written("kept.email", "app.cust.email", true)]));

    let told = explaining.one("select pg_notify('a', email) from cust")?;
    assert_eq!(
        (&told["refusal"]["code"], &told["approval"]),
        (&json!("side-channel"), &shows(&["app.cust.email"]))
    );
    Ok(())
}

#[test]
fn every_statement_of_a_string_is_told_and_none_is_run() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let report = explaining.report("drop table other; select email from cust")?;
    assert_eq!(report["statements"].as_array().map(Vec::len), Some(2), "{report}");
    assert_eq!(report["statements"][1]["outputs"][0]["ruling"], "mask");
    assert!(explaining.postgres.psql("select from app.other")?.0);

    let report = explaining.report("select 1 from")?;
    assert_eq!(report["statements"], json!([]));
    let error = report["error"].as_str().context("an error")?;
    assert!(error.contains("syntax error"), "{error}");
    let deep = format!("select {}1{}", "(".repeat(200), ")".repeat(200));
    assert_eq!(explaining.report(&deep)?["error"], Value::Null);
    Ok(())
}

#[test]
fn strings_on_standard_input_are_answered_one_by_one() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let mut command = explaining.command(&["--json", "-"])?;
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let mut input = child.stdin.take().context("a pipe")?;
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();
    let mut ask = |bytes: &[u8]| -> Result<Value> {
        input.write_all(bytes)?;
        Ok(serde_json::from_str(&lines.next().context("a line")??)?)
    };
    // Each answer is there before the next question is.
    let told = ask(b"select email\nfrom cust; select 2\0")?;
    assert_eq!(told["statements"][0]["outputs"][0]["ruling"], "mask");
    assert_eq!(told["statements"].as_array().map(Vec::len), Some(2));
    assert_eq!(ask(b"\0")?, json!({ "statements": [], "error": null }));
    assert_eq!(ask(b"select '\xff'\0")?["error"], "the statement is not UTF-8");
    assert_eq!(ask(b"set search_path = nowhere\0")?["error"], Value::Null);
    let told = ask(b"select email from cust\0")?;
    assert_eq!(told["statements"][0]["outputs"][0]["origins"], json!(["app.cust.email"]));
    input.write_all(b"select city from cust")?;
    drop(input);
    let last: Value = serde_json::from_str(&lines.next().context("a line")??)?;
    assert_eq!(last["statements"][0]["outputs"][0]["ruling"], "clear");
    assert!(lines.next().is_none() && child.wait()?.success());
    Ok(())
}

#[test]
fn people_read_a_table_and_what_an_approval_needs() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let text = explaining
        .text("select city, email from cust where salary = 1; update other set c = email from cust")?;
    let expected = "\
1. SelectStmt
   output  ruling         rule     made of
   city    clear          default  app.cust.city
   email   mask: pattern  email    app.cust.email
   equality on app.cust.salary: allow
   an approval would have to show: app.cust.email
2. UpdateStmt
   writes app.other.c from app.cust.email: masked from then on
";
    assert_eq!(text, expected);
    let text = explaining.text("select id from cust order by email")?;
    let refused =
        "   refused (predicate, by rules.predicates.ordering): ordering on masked column app.cust.email";
    assert!(text.contains(refused), "{text}");
    assert!(explaining.text("select (")?.starts_with("refused: "));
    Ok(())
}

#[test]
fn what_cannot_be_explained_is_one_sentence_and_a_failure() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let explaining = Explaining::start()?;
    let dsn = explaining.postgres.dsn();
    let nobody = "host=127.0.0.1 port=1 user=postgres dbname=postgres";
    let bad = explaining.scratch.0.join("bad.yaml");
    std::fs::write(&bad, "version: 1\nname: bad\ncolour: red\n")?;
    let bad = bad.to_str().context("a path")?;
    for (arguments, sentence) in [
        (vec!["--dsn", nobody], "mask-agent: cannot connect to the database: "),
        (vec!["--dsn", "postgres"], "mask-agent: the connection string cannot be read"),
        (
            vec!["--dsn", &dsn.replace("user=postgres", "user=stranger")],
            "mask-agent: cannot connect to the database: ",
        ),
        (vec!["--dsn", &dsn, "--policy", bad], "unknown field `colour`"),
        (vec!["--dsn", &dsn, "--policy", "/nowhere"], "mask-agent: cannot read policy /nowhere: "),
    ] {
        let (ok, text) = output(Command::new(binary()?).arg("explain").args(&arguments).arg("select 1"))?;
        assert!(!ok && text.contains(sentence) && text.lines().count() == 1, "{arguments:?}: {text}");
    }
    Ok(())
}
