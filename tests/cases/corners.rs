//! Corners of the protocol in which rows could slip past their description: formats, portals, names that come to
//! mean something else, cursors, pipelines that fail halfway.

use anyhow::Result;
use mask_tests::{
    Agent, Postgres, have_root,
    wire::{Message, bind, close, describe, execute, parse, query, shows, sync, talk},
};

/// Columns that are masked by their names, and others that are not.
pub(super) const SCHEMA: &str = "
    create table customers (id int primary key, email text, salary int8);
    create table parts (id int primary key, label text, size int8);
    insert into customers values (1, 'ana.canary', 8765432187654321), (2, 'bob.canary', 8765432187654322), (3, null, null);
    insert into parts values (1, 'bolt', 17), (2, 'nut', 18), (3, null, null)";

pub(super) const POLICY: &str = "
version: 1
name: corners
classification:
  columns:
    - { name: [email, salary], tag: personal }
    - { name: [label, size], table: hidden*.*, tag: personal }
masks: { personal: redact }
";

/// As text, and the number in binary.
pub(super) const CANARIES: [&[u8]; 3] =
    [b"canary", b"87654321876543", &8_765_432_187_654_321_i64.to_be_bytes()];

/// What an agent makes of a conversation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Expected {
    /// Every statement is answered as it is direct, but for masked cells.
    Answered,
    /// Some statement is refused, or the connection is closed, whatever the table.
    Refused,
}
use Expected::{Answered, Refused};

pub(super) type Conversation = (&'static str, Expected, Vec<Vec<u8>>);

/// The statements of every conversation, in the names of one table.
struct Said<'a> {
    table: &'a str,
    a: &'a str,
    b: &'a str,
}

impl Said<'_> {
    fn named(&self, sql: &str) -> String {
        sql.replace('T', self.table).replace('A', self.a).replace('B', self.b)
    }

    fn say(&self, sql: &str) -> Vec<u8> {
        query(&self.named(sql))
    }

    fn all(&self) -> String {
        self.named("select A, B, id from T order by id")
    }

    fn ids(&self) -> String {
        self.named("select id from T order by id")
    }

    fn conversations(&self) -> Vec<Conversation> {
        [self.portals(), self.renamed(), self.statements(), self.cursors()].concat()
    }

    /// Descriptions, formats and portals.
    fn portals(&self) -> Vec<Conversation> {
        let all = self.all();
        let ids = self.ids();
        vec![
            (
                "formats differ from portal to portal",
                Answered,
                vec![
                    [
                        parse("s", &all),
                        [&[][..], &[1], &[0, 1, 1], &[1, 0, 0], &[0]]
                            .map(|formats| [bind("", "s", formats), execute("", 0)].concat())
                            .concat(),
                        sync(),
                    ]
                    .concat(),
                ],
            ),
            (
                "a description comes before, after, twice or never",
                Answered,
                vec![
                    [parse("s", &all), describe(b'S', "s"), run("s"), sync()].concat(),
                    [bind("", "s", &[1]), describe(b'P', ""), execute("", 0), sync()].concat(),
                    [
                        bind("", "s", &[0, 1, 0]),
                        describe(b'P', ""),
                        describe(b'S', "s"),
                        describe(b'P', ""),
                        execute("", 0),
                        sync(),
                    ]
                    .concat(),
                    [run("s"), bind("", "s", &[]), execute("", 0), sync()].concat(),
                ],
            ),
            (
                "a portal is suspended and resumed between others",
                Answered,
                vec![
                    query("begin"),
                    [parse("s", &all), bind("p", "s", &[1]), execute("p", 1), sync()].concat(),
                    [parse("", &ids), run(""), execute("p", 1), sync()].concat(),
                    [
                        bind("q", "s", &[0]),
                        execute("q", 2),
                        execute("p", 0),
                        execute("q", 0),
                        execute("q", 0),
                        sync(),
                    ]
                    .concat(),
                    query("commit"),
                    [execute("p", 0), sync()].concat(),
                ],
            ),
        ]
    }

    /// Names of statements and portals, taken again and given up.
    fn renamed(&self) -> Vec<Conversation> {
        let all = self.all();
        let ids = self.ids();
        vec![
            (
                "a name is parsed again with other columns",
                Answered,
                vec![
                    [
                        parse("s", &ids),
                        describe(b'S', "s"),
                        run("s"),
                        close(b'S', "s"),
                        parse("s", &all),
                        run("s"),
                        sync(),
                    ]
                    .concat(),
                    [
                        parse("", &ids),
                        describe(b'S', ""),
                        run(""),
                        parse("", &all),
                        run(""),
                        parse("", &ids),
                        run(""),
                        sync(),
                    ]
                    .concat(),
                ],
            ),
            (
                "a name that is taken keeps its statement",
                Answered,
                vec![
                    [parse("s", &all), sync()].concat(),
                    [parse("s", &ids), sync()].concat(),
                    [run("s"), sync()].concat(),
                    [close(b'S', "s"), parse("s", &ids), parse("s", &all), run("s"), sync()].concat(),
                    [run("s"), sync()].concat(),
                ],
            ),
            (
                "a portal outlives its statement",
                Answered,
                vec![
                    [
                        parse("", &all),
                        bind("p", "", &[1]),
                        parse("", &ids),
                        run(""),
                        execute("p", 1),
                        parse("s", &all),
                        bind("q", "s", &[1]),
                        close(b'S', "s"),
                        parse("s", &ids),
                        describe(b'S', "s"),
                        execute("q", 0),
                        sync(),
                    ]
                    .concat(),
                ],
            ),
            (
                "a portal's name is bound twice",
                Answered,
                vec![
                    [
                        parse("s", &all),
                        parse("i", &ids),
                        bind("p", "i", &[1]),
                        bind("p", "s", &[1]),
                        execute("p", 0),
                        sync(),
                    ]
                    .concat(),
                    [bind("p", "s", &[1]), close(b'P', "p"), bind("p", "i", &[1]), execute("p", 0), sync()]
                        .concat(),
                    [bind("p", "i", &[1]), close(b'P', "p"), bind("p", "s", &[1]), execute("p", 0), sync()]
                        .concat(),
                ],
            ),
            (
                "more formats than columns",
                Answered,
                vec![
                    [parse("s", &all), bind("", "s", &[1, 1, 1, 1]), execute("", 0), sync()].concat(),
                    [run("s"), sync()].concat(),
                ],
            ),
        ]
    }

    /// Statements that fail, and many at once.
    fn statements(&self) -> Vec<Conversation> {
        let all = self.all();
        let ids = self.ids();
        vec![
            (
                "names of nothing",
                Answered,
                vec![
                    [bind("", "nothing", &[1]), execute("", 0), sync()].concat(),
                    [execute("nothing", 0), sync()].concat(),
                    [describe(b'P', "nothing"), execute("nothing", 0), sync()].concat(),
                    [parse("", ""), run(""), sync()].concat(),
                    [parse("", &all), run(""), sync()].concat(),
                ],
            ),
            (
                "a pipeline fails halfway",
                Answered,
                vec![
                    [
                        parse("s", &all),
                        run("s"),
                        parse("", "select 1/0"),
                        run(""),
                        parse("s", &ids),
                        run("s"),
                        query("select 2"),
                        close(b'S', "s"),
                        sync(),
                    ]
                    .concat(),
                    [run("s"), sync()].concat(),
                    [parse("", "select nothing"), describe(b'S', "s"), sync()].concat(),
                    [run("s"), parse("", "select 3"), run(""), sync()].concat(),
                ],
            ),
            (
                "several statements in one query",
                Answered,
                vec![
                    self.say("select id from T; select A, id from T; select 1; select B from T where id = 1"),
                    self.say("select A from T; select 1/0; select B from T"),
                    self.say("begin; select B, A from T; commit; ; select id from T"),
                ],
            ),
        ]
    }

    /// Cursors, and SQL that names what the protocol made.
    fn cursors(&self) -> Vec<Conversation> {
        let all = self.all();
        vec![
            (
                "a cursor is fetched from after its transaction",
                Answered,
                vec![
                    self.say(
                        "begin; declare c cursor with hold for select A, B, id from T order by id; commit",
                    ),
                    query("fetch 1 from c"),
                    [parse("f", "fetch 1 from c"), describe(b'S', "f"), run("f"), sync()].concat(),
                    query("fetch backward 1 from c; fetch all from c; close c"),
                ],
            ),
            (
                "a cursor is binary",
                Answered,
                vec![
                    self.say("begin; declare c binary cursor for select B, A, id from T order by id"),
                    query("fetch 1 from c"),
                    [parse("", "fetch 1 from c"), bind("", "", &[0]), execute("", 0), sync()].concat(),
                    [parse("", "fetch backward 1 from c"), bind("", "", &[1]), execute("", 0), sync()]
                        .concat(),
                    query("fetch all from c; commit"),
                ],
            ),
            (
                "a portal of the protocol is fetched from in SQL",
                Answered,
                vec![
                    query("begin"),
                    [parse("s", &all), bind("p", "s", &[1]), execute("p", 1), sync()].concat(),
                    query("fetch 1 from p"),
                    [execute("p", 0), sync()].concat(),
                    query("commit"),
                ],
            ),
            (
                "a cursor's columns are renamed and computed",
                Answered,
                vec![
                    self.say("begin; declare c cursor for select A as id, B as size, id as label from T"),
                    query("fetch all from c; commit"),
                ],
            ),
            (
                "a cursor of SQL is executed by the protocol",
                Refused,
                vec![
                    self.say("begin; declare c cursor for select A, B from T"),
                    [describe(b'P', "c"), execute("c", 0), sync()].concat(),
                ],
            ),
            (
                "a statement is prepared and executed in SQL",
                Refused,
                vec![
                    self.say("prepare s as select A, B from T"),
                    query("execute s"),
                    self.say("prepare s as select A, B from T; execute s"),
                ],
            ),
            (
                "a statement of the protocol is executed in SQL",
                Refused,
                vec![
                    [parse("s", &self.named("select A, B from T")), sync()].concat(),
                    query("execute s"),
                    [parse("e", "execute s"), run("e"), sync()].concat(),
                ],
            ),
        ]
    }
}

/// A statement bound and executed, with results in binary.
fn run(statement: &str) -> Vec<u8> {
    [bind("", statement, &[1]), execute("", 0)].concat()
}

pub(super) fn kinds(answers: &[Vec<Message>]) -> Vec<String> {
    let kinds = |answer: &Vec<Message>| answer.iter().map(|(kind, _)| char::from(*kind)).collect();
    answers.iter().map(kinds).collect()
}

fn show_no_canary(name: &str, answers: &[Vec<Message>]) {
    for canary in CANARIES {
        for (number, answer) in answers.iter().enumerate() {
            assert!(!shows(answer, canary), "{name}: answer {number} shows {canary:02x?}: {answer:02x?}");
        }
    }
}

#[test]
fn no_corner_of_the_protocol_shows_a_masked_cell_and_none_is_answered_otherwise() -> Result<()> {
    if !have_root() {
        return Ok(());
    }
    let postgres = Postgres::start("trust")?;
    postgres.setup(SCHEMA)?;
    let agent = Agent::start_with(postgres.port, Some(POLICY))?;
    for (name, expected, said) in (Said { table: "customers", a: "email", b: "salary" }).conversations() {
        let direct = talk(None, postgres.port, &said)?;
        let masked = talk(Some(&agent), postgres.port, &said)?;
        let shown = |canary: &&[u8]| direct.iter().any(|answer| shows(answer, canary));
        assert!(CANARIES.iter().any(shown), "{name}: there is nothing to show");
        show_no_canary(name, &masked);
        if expected == Answered {
            assert_eq!(kinds(&direct), kinds(&masked), "{name}: {masked:02x?}\n{}", agent.log());
        }
    }
    for (name, expected, said) in (Said { table: "parts", a: "label", b: "size" }).conversations() {
        if expected == Answered {
            let direct = talk(None, postgres.port, &said)?;
            assert_eq!(direct, talk(Some(&agent), postgres.port, &said)?, "{name}");
        }
    }
    Ok(())
}
