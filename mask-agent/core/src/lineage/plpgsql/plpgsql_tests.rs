use proptest::prelude::*;

use super::*;

/// What a body of these statements does, one piece a line.
fn told(body: &str) -> Vec<String> {
    let body = read(body).unwrap_or_else(|| panic!("cannot be read: {body}"));
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = |piece: &Piece| match piece {
        Piece::Assign { target, value } => format!("{} <- {}", target.join("."), words(&value.text)),
        Piece::Caught(target) => format!("{} <- error", target.join(".")),
        Piece::Dynamic => "dynamic".to_owned(),
        Piece::Query { sql, into, returned } => {
            let into: Vec<String> = into.iter().map(|target| target.join(".")).collect();
            format!("{} [{}]{}", words(&sql.text), into.join(" "), if *returned { " returned" } else { "" })
        }
        Piece::Loop(value) => format!("loop {}", value.text),
        Piece::Raise(values) => {
            let values: Vec<&str> = values.iter().map(|value| value.text.as_str()).collect();
            format!("raise {}", values.join(" & "))
        }
        Piece::Return(value) => format!("return {}", value.text),
        Piece::Value(value) => format!("value {}", value.text),
    };
    body.pieces.iter().map(line).collect()
}

fn block(statements: &str) -> String {
    format!("DECLARE c CURSOR (k int, l int) FOR SELECT a FROM t WHERE b = k; BEGIN {statements} END")
}

/// Statements, and what each of them does.
const STATEMENTS: &[(&str, &[&str])] = &[
    ("NEW.email := upper(OLD.email);", &["new.email <- upper(OLD.email)"]),
    ("x = CASE WHEN a THEN 1 ELSE 2 END;", &["x <- CASE WHEN a THEN 1 ELSE 2 END"]),
    (
        "a[i + 1][2:j].f := f(b := 1);",
        &["value i + 1", "value 2", "value j", "a.f <- i + 1", "a.f <- 2", "a.f <- j", "a.f <- f(b := 1)"],
    ),
    ("$1 := 1; query := 2; \"Ret\"\"x\" := 3;", &["$1 <- 1", "query <- 2", "Ret\"x <- 3"]),
    ("return.x := 1; exception := 2; elsif := 3;", &["return.x <- 1", "exception <- 2", "elsif <- 3"]),
    ("SELECT a, b INTO STRICT x, r.f FROM t;", &["SELECT a, b FROM t [x r.f]"]),
    ("SELECT INTO x a FROM t;", &["SELECT a FROM t [x]"]),
    ("SELECT a FROM t WHERE b INTO x;", &["SELECT a FROM t WHERE b [x]"]),
    ("SELECT t.a FROM t INTO x ;", &["SELECT t.a FROM t [x]"]),
    ("SELECT t.a INTO x FROM t;", &["SELECT t.a FROM t [x]"]),
    ("WITH w AS (SELECT 1) SELECT*INTO x FROM w;", &["WITH w AS (SELECT 1) SELECT* FROM w [x]"]),
    ("INSERT INTO t SELECT a FROM u RETURNING a INTO x;", &["INSERT INTO t SELECT a FROM u RETURNING a [x]"]),
    (
        "MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE;",
        &["MERGE INTO t USING u ON t.a = u.a WHEN MATCHED THEN DELETE []"],
    ),
    ("DELETE FROM t /* ; */ WHERE b = ';' -- ;\n;", &["DELETE FROM t /* ; */ WHERE b = ';' []"]),
    ("PERFORM f(E'\\';', $q$;$q$);", &["SELECT f(E'\\';', $q$;$q$) []"]),
    ("CALL p(1); COMMIT AND CHAIN; ROLLBACK; NULL;", &["CALL p(1) []", "COMMIT AND CHAIN []", "ROLLBACK []"]),
    (
        "TRUNCATE t; LOCK t; SET a = 1; NOTIFY n;",
        &["TRUNCATE t []", "LOCK t []", "SET a = 1 []", "NOTIFY n []"],
    ),
    ("DO $$BEGIN END$$; COPY t TO STDOUT;", &["DO $$BEGIN END$$ []", "COPY t TO STDOUT []"]),
    ("CREATE TEMP TABLE u AS SELECT 1;", &["CREATE TEMP TABLE u AS SELECT 1 []"]),
    (
        "IF (CASE WHEN a THEN b END) THEN x := 1; ELSIF b THEN NULL; ELSEIF c THEN NULL; ELSE y := 2; END IF;",
        &["value (CASE WHEN a THEN b END)", "x <- 1", "value b", "value c", "y <- 2"],
    ),
    ("CASE x WHEN 1, 2 THEN y := 1; ELSE NULL; END CASE;", &["value (x) in (1, 2)", "y <- 1"]),
    ("CASE WHEN a THEN NULL; WHEN b THEN NULL; END CASE;", &["value a", "value b"]),
    ("<<l>> LOOP EXIT l WHEN a; CONTINUE WHEN b; EXIT l; EXIT; END LOOP l;", &["loop a", "loop b"]),
    ("WHILE a < (b) LOOP NULL; END LOOP;", &["loop a < (b)"]),
    ("LOOP IF a THEN EXIT; END IF; IF b THEN NULL; END IF; END LOOP;", &["loop a", "value b"]),
    ("LOOP IF a THEN RETURN; END IF; IF b THEN NULL; END IF; END LOOP;", &["loop a", "value b"]),
    (
        "FOR i IN REVERSE 10..m BY 2 LOOP NULL; END LOOP;",
        &["loop 10", "i <- 10", "loop m", "i <- m", "loop 2", "i <- 2"],
    ),
    ("FOR i IN 1..3 LOOP x := i; END LOOP;", &["loop 1", "i <- 1", "loop 3", "i <- 3", "x <- i"]),
    ("FOR a, r.b IN SELECT 1, 2 LOOP NULL; END LOOP;", &["SELECT 1, 2 [a r.b]"]),
    ("FOR r IN VALUES (1) LOOP NULL; END LOOP;", &["VALUES (1) [r]"]),
    ("FOR r IN UPDATE t SET a = 1 RETURNING b LOOP NULL; END LOOP;", &["UPDATE t SET a = 1 RETURNING b [r]"]),
    ("FOR r IN c(1, l := m) LOOP NULL; END LOOP;", &["k <- 1", "l <- m", "r <- c"]),
    ("FOR r IN EXECUTE q USING a, b LOOP NULL; END LOOP;", &["dynamic", "value q", "value a", "value b"]),
    ("FOREACH a, b SLICE 1 IN ARRAY m LOOP NULL; END LOOP;", &["loop m", "a <- m", "b <- m"]),
    ("OPEN c(1, 2); CLOSE c;", &["k <- 1", "l <- 2"]),
    ("OPEN d NO SCROLL FOR SELECT 1; FETCH d INTO x, y;", &["SELECT 1 [d]", "x <- d", "y <- d"]),
    ("OPEN d FOR EXECUTE q USING a;", &["dynamic", "value q", "value a"]),
    ("FETCH RELATIVE n + 1 FROM c INTO x;", &["loop n + 1", "x <- c"]),
    ("FETCH NEXT IN c INTO x; FETCH LAST c INTO y;", &["x <- c", "y <- c"]),
    ("MOVE FORWARD ALL FROM c; MOVE 2 IN c; MOVE c;", &["loop 2"]),
    ("RETURN; RETURN NEXT; RETURN NEXT x; RETURN (a, b);", &["return x", "return (a, b)"]),
    ("RETURN next.x; RETURN query.x;", &["return next.x", "return query.x"]),
    ("RETURN QUERY SELECT a FROM t;", &["SELECT a FROM t [] returned"]),
    ("RETURN QUERY EXECUTE q USING a;", &["dynamic", "value q", "value a"]),
    (
        "EXECUTE q || f(a, b) INTO STRICT x USING a, b;",
        &["dynamic", "value q || f(a, b)", "value a", "value b"],
    ),
    ("EXECUTE q USING a INTO x;", &["dynamic", "value q", "value a"]),
    ("RAISE; RAISE NOTICE 'a'; RAISE unique_violation;", &["raise ", "raise "]),
    ("RAISE SQLSTATE '22012';", &["raise "]),
    ("RAISE EXCEPTION '% %', a, f(b, c) USING hint = d, detail := e;", &["raise a & f(b, c) & d & e"]),
    ("RAISE info USING message = a;", &["raise a"]),
    ("RAISE division_by_zero USING message = 'x' || a;", &["raise 'x' || a"]),
    ("ASSERT a = b, 'x' || c; ASSERT d;", &["value a = b", "raise 'x' || c", "value d"]),
    (
        "GET DIAGNOSTICS n = ROW_COUNT; GET STACKED DIAGNOSTICS a := MESSAGE_TEXT, b = PG_CONTEXT;",
        &["n <- found", "a <- error", "b <- error"],
    ),
    ("GET CURRENT DIAGNOSTICS n = ROW_COUNT;", &["n <- found"]),
    (
        "BEGIN x := 1; EXCEPTION WHEN unique_violation OR SQLSTATE '1' THEN y := SQLERRM; END;",
        &["x <- 1", "y <- SQLERRM"],
    ),
    ("<<b>> DECLARE z int := 1; BEGIN NULL; END b;", &["z <- 1"]),
];

#[test]
fn every_statement_is_taken_apart() {
    for (statements, expected) in STATEMENTS {
        let pieces = told(&block(statements));
        assert_eq!(pieces[0], "SELECT a FROM t WHERE b = k [c]");
        assert_eq!(&pieces[1..], *expected, "{statements}");
    }
}

#[test]
fn declarations_name_variables_and_their_defaults() {
    let body = "#option dump\n<<top>> DECLARE alias t.a%TYPE; r CONSTANT t%ROWTYPE NOT NULL := f(1); \"Q\" numeric(3, 2)[];
        s text COLLATE \"C\" DEFAULT 'x'; p ALIAS FOR $1; e NO SCROLL CURSOR IS SELECT 1; DECLARE y int = 2;
        f SCROLL CURSOR FOR SELECT 2;
        BEGIN FOR i IN 1..2 LOOP NULL; END LOOP; END top;";
    let expected = [
        "r <- f(1)",
        "s <- 'x'",
        "p <- $1",
        "$1 <- p",
        "SELECT 1 [e]",
        "y <- 2",
        "SELECT 2 [f]",
        "loop 1",
        "i <- 1",
        "loop 2",
        "i <- 2",
    ];
    assert_eq!(told(body), expected);
    let variables = read(body).map(|body| body.variables).unwrap_or_default();
    assert_eq!(variables, ["alias", "r", "Q", "s", "p", "e", "y", "f", "i"]);
}

#[test]
fn what_is_not_certain_is_not_read() {
    let refused = [
        "",
        "SELECT 1",
        "BEGIN x := ; END",
        "BEGIN x := a INTO b FROM t; END",
        "BEGIN x := 1 END",
        "BEGIN SELECT a INTO x INTO y FROM t; END",
        "BEGIN SELECT a INTO x[1] FROM t; END",
        "BEGIN SELECT r.insert INTO x FROM r; END",
        "BEGIN SELECT insert INTO x FROM r; END",
        "BEGIN PERFORM 1 INTO x; END",
        "BEGIN RETURN QUERY SELECT 1 INTO x; END",
        "BEGIN IF CASE WHEN a THEN b END THEN NULL; END IF; END",
        "BEGIN (SELECT 1); END",
        "BEGIN U&\"x\" := 1; END",
        "BEGIN FETCH d INTO x; END",
        "DECLARE d CURSOR FOR SELECT 1; BEGIN d := 'other'; FETCH d INTO x; END",
        "DECLARE x := 1; BEGIN NULL; END",
        "DECLARE x scroll; BEGIN NULL; END",
        "DECLARE p ALIAS FOR current_user; BEGIN NULL; END",
        "BEGIN FOREACH a SLICE b IN ARRAY m LOOP NULL; END LOOP; END",
        "BEGIN INTO x SELECT 1; END",
        "<<l>> DECLARE x int; BEGIN x := l.x; END",
        "#variable_conflict use_column\nBEGIN END",
        "BEGIN END; SELECT 1",
        "BEGIN CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; END; END",
        "BEGIN SELECT 'a; END",
        "BEGIN SELECT 1\0; END",
    ];
    for body in refused {
        assert!(read(body).is_none(), "{body}");
    }
}

#[test]
fn a_loop_over_a_cursor_opens_it_whatever_its_portal_is_called() {
    let body = "DECLARE d CURSOR FOR SELECT 1; BEGIN d := 'other'; FOR r IN d LOOP NULL; END LOOP; END";
    assert_eq!(told(body), ["SELECT 1 [d]", "d <- 'other'", "r <- d"]);
}

#[test]
fn blocks_nested_too_deeply_are_not_read() {
    let nested = |depth| format!("{}{}", "BEGIN ".repeat(depth), "END;".repeat(depth));
    assert!(read(&nested(DEPTH_MAX)).is_some());
    assert!(read(&nested(DEPTH_MAX + 1)).is_none());
    assert!(read(&nested(100_000)).is_none());
}

proptest! {
    #[test]
    fn statements_after_each_other_do_what_each_does(picks in prop::collection::vec(0..STATEMENTS.len(), 1..8)) {
        // A cursor may be opened and a label given more than once: names are the body's.
        let text: String = picks.iter().map(|&pick| STATEMENTS[pick].0).collect();
        let expected: Vec<&str> = picks.iter().flat_map(|&pick| STATEMENTS[pick].1).copied().collect();
        prop_assert_eq!(&told(&block(&text))[1..], &expected[..]);
        let inside = format!("IF q THEN LOOP {text} END LOOP; END IF;");
        prop_assert_eq!(&told(&block(&inside))[2..], &expected[..]);
    }

    #[test]
    fn nothing_written_panics(text in "\\PC{0,60}") {
        drop(read(&text));
        drop(read(&block(&text)));
    }

    #[test]
    fn no_mix_of_its_words_panics(picks in prop::collection::vec((0..STATEMENTS.len(), 0..12_usize), 0..30)) {
        let word = |(pick, at): &(usize, usize)| {
            STATEMENTS[*pick].0.split_whitespace().nth(*at).unwrap_or(";")
        };
        drop(read(&block(&picks.iter().map(word).collect::<Vec<_>>().join(" "))));
    }
}

#[test]
fn options_are_known_that_leave_every_name_what_it_is() {
    let is_read = |option: &str| read(&format!("#{option}\nBEGIN NULL; END")).is_some();
    for option in
        ["option dump", "print_strict_params on", "PRINT_STRICT_PARAMS off", "variable_conflict error"]
    {
        assert!(is_read(option), "{option}");
    }
    for option in [
        "option error",
        "option on",
        "other dump",
        "other error",
        "other on",
        "print_strict_params dump",
        "variable_conflict dump",
        "variable_conflict use_column",
        "variable_conflict use_variable",
    ] {
        assert!(!is_read(option), "{option}");
    }
}

#[test]
fn blocks_side_by_side_are_no_deeper_than_one() {
    let blocks = "BEGIN NULL; END; ".repeat(DEPTH_MAX + 1);
    assert!(read(&format!("BEGIN {blocks} END")).is_some());
}

#[test]
fn a_body_is_as_long_as_a_statement_may_be() {
    let of_length = |bytes: usize| format!("BEGIN NULL; END{}", " ".repeat(bytes - "BEGIN NULL; END".len()));
    assert!(read(&of_length(SQL_BYTES_MAX)).is_some());
    assert!(read(&of_length(SQL_BYTES_MAX + 1)).is_none());
    assert!(read(&of_length(SQL_BYTES_MAX + 2)).is_none());
}
