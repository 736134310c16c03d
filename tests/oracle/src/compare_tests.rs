use super::*;

const TABLE: u32 = 20_000;
const VIEW: u32 = 20_001;

fn column(number: i16) -> Column {
    Column { relation: TABLE, number }
}

fn required(numbers: &[i16]) -> Flow {
    Flow { required: numbers.iter().map(|number| column(*number)).collect(), ..Flow::default() }
}

/// Ours, as the line of `explain` has it, on the columns a, b and c of a table and x of a view of the server's.
fn compare(server: &Statement, ours: &str) -> Comparison {
    let mut catalog = Catalog::default();
    for (number, name) in [(0, "*"), (1, "a"), (2, "b"), (3, "c")] {
        catalog.name(column(number), format!("s.t.{name}"));
    }
    catalog.generate(column(3), column(2));
    let view = Column { relation: VIEW, number: 1 };
    catalog.name(view, "s.v.x".into());
    catalog.own_view(VIEW);
    let expand = |column| Ok((column == view).then(|| required(&[1, 2])));
    Judge { catalog: &catalog, expand }.compare(server, &serde_json::from_str(ours).unwrap()).unwrap()
}

fn outputs(server: &[Flow], ours: &str) -> Comparison {
    compare(&Statement { outputs: Some(server.to_vec()), ..Statement::default() }, ours)
}

fn is_equal(comparison: &Comparison) -> bool {
    *comparison == Comparison::default()
}

#[test]
fn the_same_columns_are_equal() {
    assert!(is_equal(&outputs(
        &[required(&[1]), Flow::default()],
        r#"{"outputs":[{"name":"x","origins":["s.t.a"],"identity":true},{"origins":[]}]}"#,
    )));
}

#[test]
fn a_whole_row_is_all_its_columns() {
    let all = r#"{"outputs":[{"origins":["s.t.a","s.t.b","s.t.c"]}]}"#;
    let whole = r#"{"outputs":[{"origins":["s.t.*"]}]}"#;
    assert!(is_equal(&outputs(&[required(&[0])], all)));
    assert!(is_equal(&outputs(&[required(&[0])], whole)));
    assert!(is_equal(&outputs(&[required(&[1, 2, 3])], whole)));
    assert_eq!(outputs(&[required(&[1])], whole).over.len(), 1);
    assert_eq!(
        outputs(&[required(&[0])], r#"{"outputs":[{"origins":["s.t.a"]}]}"#).under,
        ["output 1 lacks s.t.*"]
    );
}

#[test]
fn what_is_missing_is_under_and_what_is_more_is_over() {
    let found = outputs(&[required(&[1])], r#"{"outputs":[{"origins":["s.t.b"]}]}"#);
    assert_eq!(found.under, ["output 1 lacks s.t.a"]);
    assert_eq!(found.over.len(), 1);
}

#[test]
fn outputs_that_do_not_pair_up_are_under() {
    assert_eq!(outputs(&[required(&[1])], r#"{"outputs":[]}"#).under.len(), 1);
    assert_eq!(outputs(&[required(&[1])], r#"{"outputs":null}"#).under.len(), 1);
    assert_eq!(outputs(&[], r#"{"outputs":[],"open":true}"#).under.len(), 1);
}

#[test]
fn an_open_answer_stands_for_every_column() {
    let open = r#"{"outputs":[{"origins":["s.t.a"]}],"open":true}"#;
    assert!(is_equal(&outputs(&[required(&[1]), required(&[1])], open)));
    assert_eq!(outputs(&[required(&[1]), required(&[2])], open).under, ["output 2 lacks s.t.b"]);
}

#[test]
fn tolerated_columns_may_be_named_or_not() {
    let flow = required(&[1]).softened();
    assert!(is_equal(&outputs(std::slice::from_ref(&flow), r#"{"outputs":[{"origins":["s.t.a"]}]}"#)));
    assert!(is_equal(&outputs(&[flow], r#"{"outputs":[{"origins":[]}]}"#)));
}

#[test]
fn untraceable_covers_all_and_is_more_than_the_server_unless_it_cannot_know_either() {
    let ours = r#"{"outputs":[{"origins":[],"untraceable":"the function \"f\" is opaque"}]}"#;
    let found = outputs(&[required(&[1])], ours);
    assert!(found.under.is_empty());
    assert_eq!(found.over[0].0, "untraceable: the function … is opaque");
    let mut opaque = required(&[1]);
    opaque.opaque.insert(20_002);
    assert!(is_equal(&outputs(&[opaque.clone()], ours)));
    assert_eq!(outputs(&[opaque], r#"{"outputs":[{"origins":[]}]}"#).unjudged.len(), 1);
}

#[test]
fn a_view_of_the_server_is_what_it_is_made_of() {
    assert!(is_equal(&outputs(&[required(&[1, 2])], r#"{"outputs":[{"origins":["s.v.x"]}]}"#)));
    assert_eq!(outputs(&[required(&[3])], r#"{"outputs":[{"origins":["s.v.x"]}]}"#).under.len(), 1);
    let kept = Flow::of(Column { relation: VIEW, number: 1 });
    assert!(is_equal(&outputs(
        std::slice::from_ref(&kept),
        r#"{"outputs":[{"origins":["s.t.a","s.t.b"]}]}"#
    )));
    assert_eq!(outputs(&[kept], r#"{"outputs":[{"origins":["s.t.a"]}]}"#).under.len(), 1);
}

#[test]
fn a_generated_column_may_be_what_it_is_made_of_as_well() {
    let generated = [required(&[3])];
    assert!(is_equal(&outputs(&generated, r#"{"outputs":[{"origins":["s.t.b","s.t.c"]}]}"#)));
    assert!(is_equal(&outputs(&generated, r#"{"outputs":[{"origins":["s.t.c"]}]}"#)));
    assert_eq!(outputs(&generated, r#"{"outputs":[{"origins":["s.t.b"]}]}"#).under.len(), 1);
    assert_eq!(outputs(&generated, r#"{"outputs":[{"origins":["s.t.a","s.t.c"]}]}"#).over.len(), 1);
}

#[test]
fn a_write_that_carries_something_must_be_there() {
    let server = Statement { writes: [(column(1), required(&[2]))].into(), ..Statement::default() };
    let ours = |writes: &str| compare(&server, &format!(r#"{{"outputs":null,"writes":[{writes}]}}"#));
    assert!(is_equal(&ours(r#"{"target":"s.t.a","origins":["s.t.b"]}"#)));
    assert_eq!(ours("").under, ["no write to s.t.a from s.t.b"]);
    assert_eq!(ours(r#"{"target":"s.t.a","origins":[]}"#).under, ["write to s.t.a lacks s.t.b"]);
    assert!(is_equal(&ours(r#"{"target":"s.t.a","origins":["s.t.b"]},{"target":"s.t.c","origins":[]}"#)));
    assert_eq!(
        ours(r#"{"target":"s.t.a","origins":["s.t.b"]},{"target":"s.t.c","origins":["s.t.b"]}"#).over.len(),
        1
    );
}

#[test]
fn a_predicate_that_decides_must_be_there() {
    let server = Statement { influence: required(&[1]), outputs: Some(vec![]), ..Statement::default() };
    let named = r#"{"outputs":[],"predicates":[{"column":"s.t.a","usage":"equality"}]}"#;
    assert!(is_equal(&compare(&server, named)));
    assert_eq!(compare(&server, r#"{"outputs":[]}"#).unlisted, ["s.t.a"]);
}
