use super::*;

fn pieces(statements: &str) -> Option<Vec<Piece>> {
    read(&format!("BEGIN {statements} END")).map(|body| body.pieces)
}

#[test]
fn an_assignment_is_read() {
    let assign =
        Piece::Assign { target: vec!["new".to_owned(), "email".to_owned()], value: "'x'".to_owned() };
    assert_eq!(pieces("NEW.email := 'x';"), Some(vec![assign]));
}
