use std::{fs, os::unix::fs::PermissionsExt, path::PathBuf};

use super::*;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("mask-ledger-{name}-{}", std::process::id()));
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    folder
}

fn taint(column: &str, holds: Holds) -> Taint {
    let (schema, relation) = ("public".into(), "notes".into());
    Taint { schema, relation, column: column.into(), holds, counts: Counts::Always }
}

fn at(address: [u8; 4], database: &str, identity: Option<(i64, &str)>) -> Place {
    let identity = identity.map(|(system, name)| Identity { system, name: name.into() });
    Place { upstream: (address, 5432).into(), database: database.into(), identity }
}

fn database() -> Place {
    at([127, 0, 0, 1], "shop", None)
}

const HOLDS: [Holds; 4] = [Holds::Copies, Holds::Paired, Holds::Derived, Holds::Mixed];

/// A ledger of one column for each thing a column may hold; its text.
fn written(folder: &Path) -> String {
    let ledger = Ledger::open(folder).unwrap();
    for (column, holds) in ["a", "b", "c", "é"].into_iter().zip(HOLDS) {
        ledger.add(&database(), &[taint(column, holds)]).unwrap();
    }
    fs::read_to_string(folder.join(FILE_NAME)).unwrap()
}

fn held(ledger: &Ledger) -> Vec<Holds> {
    ledger.of(&database()).iter().map(|taint| taint.holds).collect()
}

#[test]
fn what_was_remembered_is_read_again_once_and_for_its_database_only() {
    let folder = folder("again");
    let text = written(&folder);
    let ledger = Ledger::open(&folder).unwrap();
    assert_eq!(held(&ledger), HOLDS);
    for (address, name) in [([127, 0, 0, 2], "shop"), ([127, 0, 0, 1], "other")] {
        assert_eq!(ledger.of(&at(address, name, None)), []);
    }
    ledger.add(&database(), &[taint("a", Holds::Copies)]).unwrap();
    assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), text, "it is known");
    let mode = fs::metadata(folder.join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    fs::remove_dir_all(folder).unwrap();
}

const SYSTEM: Option<(i64, &str)> = Some((7, "shop"));

#[test]
fn a_database_is_the_same_at_every_address_of_its_server_and_whatever_a_pooler_calls_it() {
    let folder = folder("addresses");
    let ledger = Ledger::open(&folder).unwrap();
    let columns = vec![taint("a", Holds::Copies)];
    ledger.add(&at([127, 0, 0, 1], "shop", SYSTEM), &columns).unwrap();
    for ledger in [ledger, Ledger::open(&folder).unwrap()] {
        for same in [
            at([127, 0, 0, 2], "shop", SYSTEM),
            at([127, 0, 0, 2], "pooled", SYSTEM),
            at([127, 0, 0, 1], "shop", None),
            at([127, 0, 0, 1], "shop", Some((8, "restored"))),
        ] {
            assert_eq!(ledger.of(&same), columns, "{same:?}");
            assert!(ledger.holds_what(&same, &at([127, 0, 0, 1], "shop", SYSTEM)), "{same:?}");
        }
        for other in [
            at([127, 0, 0, 2], "shop", None),
            at([127, 0, 0, 2], "shop", Some((8, "shop"))),
            at([127, 0, 0, 1], "other", Some((7, "other"))),
        ] {
            assert_eq!(ledger.of(&other), [], "{other:?}");
            assert!(!ledger.holds_what(&other, &at([127, 0, 0, 1], "shop", SYSTEM)), "{other:?}");
        }
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn lines_that_know_an_address_only_are_recognised_once() {
    let folder = folder("recognised");
    let before = written(&folder);
    let ledger = Ledger::open(&folder).unwrap();
    ledger.copy(&database(), &CopiedDatabase { from: "older".into(), to: "shop".into() }).unwrap();
    ledger.add(&at([127, 0, 0, 1], "older", None), &[taint("z", Holds::Copies)]).unwrap();
    assert_eq!(ledger.of(&at([127, 0, 0, 2], "shop", SYSTEM)), []);
    ledger.recognise(&at([127, 0, 0, 1], "older", Some((7, "older")))).unwrap();
    ledger.recognise(&at([127, 0, 0, 1], "shop", SYSTEM)).unwrap();
    let text = fs::read_to_string(folder.join(FILE_NAME)).unwrap();
    assert!(text.starts_with(&before));
    for ledger in [ledger, Ledger::open(&folder).unwrap()] {
        let columns = ledger.of(&at([127, 0, 0, 2], "shop", SYSTEM));
        assert_eq!(columns.iter().map(|taint| &*taint.column).collect::<Vec<_>>(), ["a", "b", "c", "z", "é"]);
        ledger.recognise(&at([127, 0, 0, 1], "shop", SYSTEM)).unwrap();
        assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), text);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_copy_holds_what_its_template_held_then_and_since() {
    let folder = folder("copies");
    let ledger = Ledger::open(&folder).unwrap();
    let postgres = at([127, 0, 0, 1], "postgres", Some((7, "postgres")));
    for (from, to) in [("shop", "copy"), ("copy", "again"), ("again", "shop"), ("other", "apart")] {
        ledger.copy(&postgres, &CopiedDatabase { from: from.into(), to: to.into() }).unwrap();
    }
    ledger.add(&at([127, 0, 0, 1], "shop", SYSTEM), &[taint("a", Holds::Copies)]).unwrap();
    for ledger in [ledger, Ledger::open(&folder).unwrap()] {
        for (name, address) in [("copy", 1), ("again", 1), ("again", 2)] {
            let place = at([127, 0, 0, address], name, Some((7, name)));
            assert_eq!(ledger.of(&place).len(), 1, "{place:?}");
        }
        assert_eq!(
            ledger.of(&at([127, 0, 0, 1], "again", None)).len(),
            1,
            "who may not ask which server it is"
        );
        for name in ["postgres", "apart", "other"] {
            assert_eq!(ledger.of(&at([127, 0, 0, 1], name, Some((7, name)))), [], "{name}");
        }
        assert_eq!(ledger.of(&at([127, 0, 0, 2], "copy", Some((8, "copy")))), []);
    }
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_line_that_was_cut_short_was_never_sent_and_the_next_one_is_whole() {
    let folder = folder("torn");
    let whole = written(&folder);
    let start = whole.trim_end().rfind('\n').unwrap() + 1;
    for end in start + 1..whole.len() - 1 {
        for tail in [&b""[..], b"\0\0\0"] {
            fs::write(folder.join(FILE_NAME), [&whole.as_bytes()[..end], tail].concat()).unwrap();
            let ledger = Ledger::open(&folder).unwrap();
            assert_eq!(held(&ledger), HOLDS[..3], "{end} {tail:?}");
            ledger.add(&database(), &[taint("é", Holds::Mixed)]).unwrap();
            assert_eq!(held(&Ledger::open(&folder).unwrap()), HOLDS, "{end} {tail:?}");
            assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), whole, "{end} {tail:?}");
        }
    }
    // Who edits it by hand may leave out the last end of line.
    fs::write(folder.join(FILE_NAME), whole.trim_end()).unwrap();
    let ledger = Ledger::open(&folder).unwrap();
    assert_eq!(held(&ledger), HOLDS);
    ledger.add(&database(), &[taint("ü", Holds::Copies)]).unwrap();
    assert_eq!(held(&Ledger::open(&folder).unwrap())[..4], HOLDS);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_line_that_is_none_stops_the_start_wherever_it_stands() {
    let folder = folder("garbage");
    let whole = written(&folder);
    let lines: Vec<&str> = whole.lines().collect();
    let old = lines[0].replace(",\"holds\":\"copies\"", "");
    for garbage in [
        "garbage",
        "{}",
        "\0\0\0",
        &lines[0][..40],
        &lines[0].replace("copies", "something-newer"),
        &lines[0].replace("\"column\"", "\"colum\""),
    ] {
        for at in 0..=lines.len() {
            let mut damaged = lines.clone();
            damaged.insert(at, garbage);
            let text = damaged.join("\n") + "\n";
            fs::write(folder.join(FILE_NAME), &text).unwrap();
            let error = format!("{:#}", Ledger::open(&folder).err().expect(garbage));
            let place = format!("tainted.jsonl:{}: ", at + 1);
            assert!(error.contains(&place) && error.contains("repair it"), "{error}");
            assert_eq!(fs::read_to_string(folder.join(FILE_NAME)).unwrap(), text, "it is left as it is");
        }
    }
    fs::write(folder.join(FILE_NAME), [&[0xff, b'\n'][..], whole.as_bytes()].concat()).unwrap();
    assert!(Ledger::open(&folder).is_err());
    fs::write(folder.join(FILE_NAME), format!("\n{old}\n\n{}\n", lines[3])).unwrap();
    assert_eq!(held(&Ledger::open(&folder).unwrap()), [Holds::Derived, Holds::Mixed], "older and empty ones");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn what_could_not_be_written_is_not_taken_for_written() {
    let file = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let ledger = Ledger(Mutex::new(Kept { file, columns: HashMap::new(), copies: HashMap::new() }));
    for _ in 0..2 {
        assert!(ledger.add(&database(), &[taint("a", Holds::Copies)]).is_err());
        assert_eq!(ledger.of(&database()), []);
    }
}

#[test]
fn what_a_database_is_made_of_is_known_but_for_the_servers_templates() {
    let folder = folder("origin");
    let ledger = Ledger::open(&folder).unwrap();
    let shop = at([127, 0, 0, 1], "shop", Some((7, "shop")));
    let copied = |from: &str, to: &str| {
        let copied = CopiedDatabase { from: from.to_owned(), to: to.to_owned() };
        ledger.copy(&shop, &copied).unwrap();
    };
    let origins = |system: i64, name: &str| {
        let origins = ledger.origins(&Identity { system, name: name.to_owned() });
        assert!(origins.iter().all(|origin| origin.system == system));
        origins.into_iter().map(|origin| origin.name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(origins(7, "shop"), "shop");
    copied("shop", "one");
    copied("one", "two");
    copied("template1", "new");
    copied("shop", "moved");
    assert_eq!(origins(7, "two"), "shop one two");
    assert_eq!([origins(7, "new"), origins(7, "moved"), origins(8, "two")], ["new", "shop moved", "two"]);
    copied("moved", "shop");
    assert_eq!([origins(7, "shop"), origins(7, "moved")], ["moved shop", "shop moved"]);
    fs::remove_dir_all(folder).unwrap();
}
